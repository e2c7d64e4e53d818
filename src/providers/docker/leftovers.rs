//! Containers that nobody will ever use: whoever made them ended before they ran, or their engine before it could
//! remove them. What runs ends by itself, and is removed by the engine.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::engine::Engine;
use super::plan::ID;
use super::wire::Listed;

/// How old a container is that somebody may still be about to start.
const YOUNG: Duration = Duration::from_secs(600);

/// Removes them, once. What cannot be removed is left for the next time.
pub(super) async fn remove(engine: Engine) {
    let Ok(all) = engine.containers(&[ID]).await else { return };
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    for container in all.iter().filter(|container| is_left(container, now)) {
        if engine.remove(&container.id).await.is_ok() {
            tracing::info!(container = container.id, "a container that was left is removed");
        }
    }
}

fn is_left(container: &Listed, now: Duration) -> bool {
    match &*container.state {
        "created" => now.saturating_sub(Duration::from_secs(container.created)) > YOUNG,
        "exited" | "dead" => true,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_runs_or_is_about_to_is_no_leftover() {
        let now = Duration::from_secs(10_000);
        let left = |state: &str, created| {
            is_left(&Listed { id: String::new(), state: state.to_owned(), created }, now)
        };
        assert!(left("exited", 9_999) && left("dead", 1) && left("created", 1));
        assert!(!left("created", 9_990) && !left("running", 1) && !left("removing", 1) && !left("", 1));
        assert!(!left("created", u64::MAX), "another clock is ahead");
    }
}
