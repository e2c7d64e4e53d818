//! Pause, and the ways to resume.

use std::sync::Arc;
use std::time::Duration;

use http::StatusCode;
use serde::Deserialize;

use super::sandboxes::{described, timeout};
use super::{Outcome, Refusal, check_id, done, find, parsed, parsed_or_default, unknown};
use crate::answer::json;
use crate::options::Api;
use crate::request::Asked;
use crate::sandbox::{Sandbox, State};
use crate::world::World;

/// How often a state that passes is looked at.
const LOOK: Duration = Duration::from_millis(5);

#[derive(Debug, Default, Deserialize)]
struct Pause {
    memory: Option<bool>,
}

pub(super) async fn pause(world: &Arc<World>, id: &str, asked: &Asked) -> Outcome {
    let Pause { memory } = parsed_or_default(&asked.body)?;
    if memory == Some(false) {
        return Err(Refusal::bad("pausing without memory is not enabled for your team"));
    }
    let sandbox = find(world, id)?;
    sandbox.shift(State::Running, State::Pausing).map_err(|state| {
        let message = match state {
            State::Paused => format!("Error pausing sandbox - sandbox '{id}' is already paused"),
            state => format!("Sandbox '{id}' cannot be paused while in '{}' state", state.name()),
        };
        Refusal::new(StatusCode::CONFLICT, message)
    })?;
    // It goes on if the caller goes away, as the server's own work does.
    let pausing = world.options.pausing;
    let paused = tokio::spawn(async move {
        tokio::time::sleep(pausing).await;
        sandbox.pause().await
    });
    match paused.await {
        Ok(Ok(())) => done(),
        _ if world.sandbox(id).is_none() => Err(unknown(id)),
        _ => Err(Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, "Error pausing sandbox")),
    }
}

#[derive(Debug, Default, Deserialize)]
struct Wanted {
    timeout: Option<i64>,
}

#[derive(Debug, Deserialize)]
struct Required {
    timeout: i64,
}

pub(super) async fn connect(world: &Arc<World>, id: &str, asked: &Asked, api: Api) -> Outcome {
    let seconds = match api {
        Api::V1 => parsed::<Required>(&asked.body)?.timeout,
        Api::V2 | Api::Both => parsed_or_default::<Wanted>(&asked.body)?.timeout.unwrap_or(300),
    };
    let timeout = timeout(world, seconds)?;
    check_id(id)?;
    loop {
        let sandbox = find(world, id)?;
        match sandbox.state() {
            State::Running | State::Snapshotting => {
                sandbox.live_for(timeout, false);
                return Ok(json(StatusCode::OK, &described(world, &sandbox)));
            }
            State::Paused => return resumed(world, &sandbox, timeout).await,
            State::Pausing => tokio::time::sleep(LOOK).await,
        }
    }
}

pub(super) async fn resume(world: &Arc<World>, id: &str, asked: &Asked) -> Outcome {
    let Wanted { timeout: seconds } = parsed_or_default(&asked.body)?;
    let timeout = timeout(world, seconds.unwrap_or(15))?;
    loop {
        let sandbox = find(world, id)?;
        let message = match sandbox.state() {
            State::Paused => return resumed(world, &sandbox, timeout).await,
            State::Pausing => {
                tokio::time::sleep(LOOK).await;
                continue;
            }
            State::Running => format!("Sandbox {id} is already running"),
            State::Snapshotting => {
                format!("Sandbox snapshot is currently being created for sandbox '{id}'")
            }
        };
        return Err(Refusal::new(StatusCode::CONFLICT, message));
    }
}

async fn resumed(world: &Arc<World>, sandbox: &Arc<Sandbox>, timeout: Duration) -> Outcome {
    sandbox.resume(timeout).await?;
    Ok(json(StatusCode::CREATED, &described(world, sandbox)))
}
