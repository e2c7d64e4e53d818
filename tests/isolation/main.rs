//! Attacks on local sandboxes. Each is made from inside on the real thing, with something planted on the
//! host to be stolen, changed or killed, and is looked at from both sides.
//!
//! All of it holds for a host process of root's and for one without any privilege (`scripts/as-nobody.sh`).

#![expect(clippy::unwrap_used, reason = "a case that panics has failed")]
#![expect(clippy::disallowed_methods, reason = "the host is looked at, and attacked, from outside too")]
#![expect(clippy::print_stdout, reason = "how a host that is a child tells its parent")]

mod agent;
mod bounds;
mod closed;
mod escapes;
mod files;
#[path = "../harness/mod.rs"]
mod harness;
mod kernel;
mod mount_escapes;
mod mounts;
mod neighbours;
mod network;
mod outlets;
mod processes;
mod resources;
mod shared;
mod snapshot_bounds;
mod snapshot_escapes;
mod snapshots;
mod starving;
mod stores;
mod templates;
mod terminals;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::atomic::{AtomicU32, Ordering};

use computesdk::provider::Enforcement;
use computesdk::providers::local::Config;
use computesdk::sandbox::Sandbox;

use crate::harness::sh;

fn main() -> ExitCode {
    if let Some(line) = closed::line_for_child() {
        return closed::be_host(&line);
    }
    harness::run(
        None,
        &[("local", harness::local(Config::default()))],
        &[
            files::CASES,
            processes::CASES,
            resources::CASES,
            stores::CASES,
            bounds::CASES,
            starving::CASES,
            kernel::CASES,
            network::CASES,
            outlets::CASES,
            neighbours::CASES,
            terminals::CASES,
            closed::CASES,
            mounts::CASES,
            mount_escapes::CASES,
            templates::CASES,
            escapes::CASES,
            shared::CASES,
            agent::CASES,
            snapshots::CASES,
            snapshot_escapes::CASES,
            snapshot_bounds::CASES,
        ],
        &[],
    )
}

/// What nobody in a sandbox may ever see.
const CANARY: &str = "canary-4711-of-the-host";

/// A directory of the host with a file in it, away when the case is over.
#[derive(Debug)]
struct Planted(PathBuf);

impl Planted {
    fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("computesdk-planted-{}-{number}", std::process::id()));
        fs::create_dir(&path).unwrap();
        fs::write(path.join("file"), CANARY).unwrap();
        Self(path)
    }

    fn path(&self) -> &str {
        self.0.to_str().unwrap()
    }

    fn file(&self) -> String {
        format!("{}/file", self.path())
    }

    fn assert_untouched(&self) {
        self.assert_untouched_but(&[]);
    }

    /// Likewise, where a case has added these itself.
    fn assert_untouched_but(&self, added: &[&str]) {
        assert_eq!(fs::read_to_string(self.file()).unwrap(), CANARY);
        let names = fs::read_dir(&self.0).unwrap().map(|entry| entry.unwrap().file_name());
        let others = names.filter(|name| !added.iter().any(|added| name == added));
        assert_eq!(others.count(), 1, "something was added to {}", self.path());
    }
}

impl Drop for Planted {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Everything that a line writes.
async fn all_output(sandbox: &Sandbox, line: impl Into<String>) -> String {
    let output = sh(sandbox, line).await;
    output.stdout + &output.stderr
}

/// Runs Python and gives back what it printed; it must come to its end.
async fn python(sandbox: &Sandbox, source: &str) -> String {
    let run = sandbox
        .run_code(source, Some(computesdk::code::Language::Python), Default::default(), Default::default())
        .await
        .unwrap();
    assert_eq!(run.output.exit_code, 0, "{source}\n{}", run.output.stderr);
    run.output.stdout
}

async fn is_limited_as_a_whole(sandbox: &Sandbox) -> bool {
    sandbox.info().await.unwrap().limits.unwrap().enforcement == Enforcement::Cgroup
}

/// Whether this process may do everything on this machine.
fn is_root() -> bool {
    use std::os::unix::fs::MetadataExt;
    fs::metadata("/proc/self").unwrap().uid() == 0
}

/// The number of a system call: on x86-64, and where the kernel's common table is used.
const fn call(x86_64: u32, common: u32) -> u32 {
    if cfg!(target_arch = "x86_64") { x86_64 } else { common }
}

/// The processes of the host whose command line begins like this.
fn on_the_host(command_line: &str) -> Vec<PathBuf> {
    let begins = |path: &Path| {
        fs::read(path.join("cmdline"))
            .is_ok_and(|line| String::from_utf8_lossy(&line).replace('\0', " ").starts_with(command_line))
    };
    let entries = fs::read_dir("/proc").unwrap().map(|entry| entry.unwrap().path());
    entries.filter(|path| begins(path)).collect()
}
