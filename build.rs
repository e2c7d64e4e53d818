//! Builds the agent, the program that is embedded in the library, and sets up the link to Node.
//!
//! The agent is a static program for the machine that the library is for, so that it is one and the same program whichever
//! C library that machine has: glibc is in it, whose calls it relies on (musl's refuse some). It has a target directory of its
//! own (cargo holds a lock on this one), which all builds of the library have in common, an explicit `--target`
//! (`+crt-static` would otherwise break the procedural macros that run here), and none of this build's settings.
//! `COMPUTESDK_AGENT` names one that was built elsewhere.

#![expect(clippy::disallowed_methods, reason = "cargo speaks to build scripts through the environment")]

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

fn main() {
    if env::var_os("CARGO_FEATURE_NAPI").is_some() {
        napi_build::setup();
    }
    if variable("CARGO_CFG_TARGET_OS") == "linux" {
        println!("cargo:rustc-env=COMPUTESDK_AGENT_PROGRAM={}", agent().display());
    }
}

fn agent() -> PathBuf {
    println!("cargo:rerun-if-env-changed=COMPUTESDK_AGENT");
    if let Some(path) = env::var_os("COMPUTESDK_AGENT") {
        println!("cargo:rerun-if-changed={}", path.display());
        return PathBuf::from(path);
    }
    for path in ["agent/src", "agent/Cargo.toml", "Cargo.lock"] {
        println!("cargo:rerun-if-changed={path}");
    }
    let root = PathBuf::from(variable("CARGO_MANIFEST_DIR"));
    // The addon may be linked by other means (an old glibc's symbols, say); the agent needs no library at all.
    let target = variable("TARGET").replace("-linux-musl", "-linux-gnu");
    let output = PathBuf::from(variable("OUT_DIR"));
    let place = agents(&output);

    let mut cargo = Command::new(variable("CARGO"));
    let inherited = env::vars_os().map(|(name, _)| name).filter(|name| {
        let name = name.to_string_lossy();
        let foreign =
            ["CARGO_", "RUSTC_", "RUSTFLAGS", "CC", "CFLAGS", "LINKER", "TARGET", "OUT_DIR", "HOST"];
        foreign.iter().any(|prefix| name.starts_with(prefix)) && name != "CARGO_HOME"
    });
    for name in inherited {
        cargo.env_remove(name);
    }
    let status = cargo
        .current_dir(&root)
        .env("RUSTFLAGS", "-C target-feature=+crt-static")
        .args(["build", "--locked", "--profile", "agent", "--package", "computesdk-agent"])
        .args(["--features", "program", "--bin", "computesdk-agent", "--target", &target, "--target-dir"])
        .arg(&place)
        .status()
        .unwrap_or_else(|error| panic!("cannot run cargo for the agent: {error}"));
    assert!(status.success(), "the agent does not build for {target}; see the messages above");
    let (built, program) =
        (place.join(&target).join("agent/computesdk-agent"), output.join("computesdk-agent"));
    fs::copy(&built, &program).unwrap_or_else(|error| panic!("cannot copy {}: {error}", built.display()));
    program
}

/// Where agents are built: beside what cargo builds with these features and that profile, in the directory that it has
/// marked as its own; in `output`, where none is.
fn agents(output: &Path) -> PathBuf {
    let whole = output.ancestors().find(|path| path.join("CACHEDIR.TAG").exists());
    whole.unwrap_or(output).join("agents")
}

fn variable(name: &str) -> String {
    env::var(name).unwrap_or_else(|_| panic!("cargo sets {name} for build scripts"))
}
