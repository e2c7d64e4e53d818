//! The provider `e2b`, at a server that speaks its wire: `tests/fakes/e2b`.

use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};

use computesdk::providers::e2b::{Config, E2b, Secret};
use serde_json::Value;

use crate::harness::{At, Lack, Place};

/// What is not so at E2B.
const LACKS: &[Lack] = &[
    ("sizes", "the template decides how large a sandbox is"),
    ("layers", "what isolates a sandbox is not told"),
    ("json", "metadata is text"),
    ("endless", "every sandbox has an end"),
    ("one_user", "commands may run as other users, and root reaches for files"),
    ("streams", "both streams of a process come over one connection"),
    ("terminals", "terminals are counted as processes"),
    ("login_path", "the login shell has a path of its own"),
    ("loopback", "a URL leads over the internet, through a proxy for HTTP"),
    ("open_files", "a server reads files, ahead of whoever asks, and tells their size before"),
    ("measures", "measured is every few seconds, and processes are not counted"),
];

/// The fake ends when its input does: with this program.
static RUNNING: Mutex<Option<Child>> = Mutex::new(None);

pub(super) fn place() -> Place {
    let Some(program) = program() else {
        return Err("the fake is not built: cargo build --package e2b-fake");
    };
    #[expect(
        clippy::disallowed_methods,
        reason = "no process of the library: the server that it is tested against"
    )]
    let mut fake = Command::new(program)
        .args(["--max-sandboxes", "1000"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut ready = String::new();
    BufReader::new(fake.stdout.take().unwrap()).read_line(&mut ready).unwrap();
    RUNNING.lock().unwrap().replace(fake);
    let ready: Value = serde_json::from_str(&ready).unwrap();
    let url = ready["url"].as_str().unwrap().to_owned();
    let config = Config {
        api_key: Some(Secret::from(format!("e2b_{}", "0".repeat(40)))),
        api_url: Some(url.clone()),
        sandbox_url: Some(url),
        ..Config::default()
    };
    Ok(At(Arc::new(E2b::new(config)), LACKS))
}

/// Beside this program, or where cargo puts programs.
fn program() -> Option<PathBuf> {
    let own = std::env::current_exe().unwrap();
    let folders = own.ancestors().skip(1).take(2);
    folders.map(|folder| folder.join("e2b-fake")).find(|path| path.is_file())
}
