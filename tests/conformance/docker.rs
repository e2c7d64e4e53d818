//! The provider `docker`, at a real engine: `scripts/engine.sh` starts it.
#![expect(clippy::disallowed_methods, reason = "where the engine is, is said to the tests alone")]

use std::sync::Arc;

use computesdk::providers::docker::{Config, Docker, Pull};

use crate::harness::{At, Lack, Place};

/// Made of this machine's own programs.
const IMAGE: &str = "computesdk-test:latest";

/// What is not so in a container.
const LACKS: &[Lack] = &[
    ("quotas", "files are on the engine's disk, and few engines can limit how many"),
    ("terminals", "terminals are counted as processes"),
    ("snapshots", "not in this version"),
];

pub(super) fn place() -> Place {
    let Ok(socket) = std::env::var("COMPUTESDK_TEST_ENGINE") else {
        return Err(std::env::var("COMPUTESDK_TEST_ENGINE_MISSING")
            .map_or("no engine is named: eval \"$(scripts/engine.sh)\"", |why| &*why.leak()));
    };
    let config = Config {
        socket_path: Some(socket),
        image: Some(IMAGE.to_owned()),
        pull: Pull::Never,
        ..Config::default()
    };
    Ok(At(Arc::new(Docker::new(config)), LACKS))
}
