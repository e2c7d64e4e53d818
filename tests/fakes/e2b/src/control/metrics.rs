//! What sandboxes use.

use std::sync::Arc;

use http::StatusCode;
use jiff::Timestamp;
use serde_json::{Map, Value, json};

use super::{Outcome, Refusal, find};
use crate::answer::json;
use crate::request::Asked;
use crate::sandbox::{Sandbox, State};
use crate::usage::Usage;
use crate::world::World;

/// The most that are asked for at once.
const MANY: usize = 100;

/// What one uses now: the one sample that there is, if it is of the time that is asked for.
pub(super) async fn of_one(world: &World, id: &str, asked: &Asked) -> Outcome {
    let sandbox = find(world, id)?;
    let now = Timestamp::now();
    let bound = |name: &str| asked.query.get(name).and_then(|text| text.parse::<i64>().ok());
    let within = bound("start").is_none_or(|start| start <= now.as_second())
        && bound("end").is_none_or(|end| end >= now.as_second());
    let samples = if within { sample(&sandbox, now).await? } else { None };
    Ok(json(StatusCode::OK, &samples.into_iter().collect::<Vec<_>>()))
}

pub(super) async fn of_many(world: &Arc<World>, asked: &Asked) -> Outcome {
    let ids = asked.query.list("sandbox_ids");
    if ids.is_empty() || ids.len() > MANY {
        return Err(Refusal::bad(format!("Too many sandboxes requested, maximum is {MANY}")));
    }
    let mut found = Map::new();
    for id in ids {
        if let Some(sandbox) = world.sandbox(id)
            && let Some(sample) = sample(&sandbox, Timestamp::now()).await?
        {
            found.insert(id.to_owned(), sample);
        }
    }
    Ok(json(StatusCode::OK, &json!({ "sandboxes": found })))
}

/// A paused one uses nothing, and has no sample.
async fn sample(sandbox: &Sandbox, now: Timestamp) -> Result<Option<Value>, Refusal> {
    if sandbox.state() == State::Paused {
        return Ok(None);
    }
    let usage = Usage::of(sandbox).await?;
    Ok(Some(json!({
        "timestamp": now,
        "timestampUnix": now.as_second(),
        "cpuCount": usage.cpu_count,
        "cpuUsedPct": usage.cpu_used_pct,
        "memUsed": usage.mem_used,
        "memTotal": usage.mem_total,
        "memCache": 0,
        "diskUsed": usage.disk_used,
        "diskTotal": usage.disk_total,
    })))
}
