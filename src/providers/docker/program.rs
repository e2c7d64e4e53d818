//! The agent, where containers find it: on a volume of the engine's that every sandbox mounts, read-only. So nobody
//! inside can put anything in its place, nothing is copied for a sandbox, and it works with any image.
//!
//! The volume is called by its content. It is filled once for each engine, through a container that never runs, whose
//! name is the lock: there cannot be two.

use std::collections::BTreeMap;
use std::collections::HashSet;
use std::sync::{LazyLock, Mutex, PoisonError};
use std::time::Duration;

use serde_json::json;

use super::engine::Engine;
use super::leftovers;
use super::tar;
use crate::error::{Error, ErrorKind, Result};

static PROGRAM: &[u8] = include_bytes!(env!("COMPUTESDK_AGENT_PROGRAM"));

/// Where it is mounted.
pub(super) const FOLDER: &str = "/.computesdk";
/// Itself.
pub(super) const PATH: &str = "/.computesdk/agent";
const NAME: &str = "agent";

/// It may be run, and not read: so whoever runs it is hidden from the first instruction on.
const MODE: u32 = 0o111;

/// The architecture that it is for, as engines call it.
pub(super) const ARCHITECTURE: &str = if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" };

/// Who the relay is: nobody's user, so that no command may signal or stop it.
pub(super) const RELAY: u32 = 65_533;

/// The label of what is not a sandbox but belongs to them.
const LABEL: &str = "computesdk.agent";

/// How long somebody else may take to fill the volume; then he has gone.
const PATIENCE: Duration = Duration::from_secs(10);
const PAUSE: Duration = Duration::from_millis(100);

/// The engines that have it, as far as this process knows.
static FILLED: LazyLock<Mutex<HashSet<String>>> = LazyLock::new(Mutex::default);

/// The name of the volume.
pub(super) fn volume() -> String {
    // FNV-1a, which needs no secret: it tells versions of one program apart.
    let sum = PROGRAM
        .iter()
        .fold(0xcbf2_9ce4_8422_2325_u64, |sum, byte| (sum ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3));
    format!("computesdk-agent-{sum:016x}-{}", PROGRAM.len())
}

/// Makes sure that the volume is there and filled. `image` is any that the engine has.
pub(super) async fn provide(engine: &Engine, image: &str) -> Result<()> {
    let known = |place: &str| FILLED.lock().unwrap_or_else(PoisonError::into_inner).contains(place);
    if known(&engine.place) {
        return Ok(());
    }
    fill(engine, image).await?;
    // Somebody has to look, and this is once for each engine.
    tokio::spawn(leftovers::remove(engine.clone()));
    FILLED.lock().unwrap_or_else(PoisonError::into_inner).insert(engine.place.to_string());
    Ok(())
}

/// The volume may have been removed meanwhile: it is looked for again.
pub(super) fn forget(engine: &Engine) {
    FILLED.lock().unwrap_or_else(PoisonError::into_inner).remove(&*engine.place);
}

async fn fill(engine: &Engine, image: &str) -> Result<()> {
    let volume = volume();
    let labels = BTreeMap::from([(LABEL.to_owned(), env!("CARGO_PKG_VERSION").to_owned())]);
    engine.make_volume(&volume, &labels).await?;
    let container = json!({
        "Image": image,
        "Entrypoint": [PATH],
        "Labels": labels,
        "HostConfig": {
            "NetworkMode": "none",
            "Mounts": [{
                "Type": "volume", "Source": volume, "Target": FOLDER, "VolumeOptions": { "NoCopy": true },
            }],
        },
    });
    let mut waited = Duration::ZERO;
    loop {
        match engine.create(&volume, &container).await {
            Ok(made) => {
                let filled = fill_through(engine, &made.id).await;
                engine.remove(&made.id).await?;
                return filled;
            }
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {
                if waited >= PATIENCE {
                    engine.remove(&volume).await?;
                    waited = Duration::ZERO;
                }
                tokio::time::sleep(PAUSE).await;
                waited += PAUSE;
            }
            Err(error) => return Err(error),
        }
    }
}

async fn fill_through(engine: &Engine, container: &str) -> Result<()> {
    if engine.has_file(container, PATH, PROGRAM.len()).await? {
        return Ok(());
    }
    engine.put(container, FOLDER, tar::of(NAME, MODE, PROGRAM)).await?;
    if engine.has_file(container, PATH, PROGRAM.len()).await? {
        return Ok(());
    }
    Err(Error::new(ErrorKind::Unavailable, "the engine does not keep a file that was put on a volume"))
}
