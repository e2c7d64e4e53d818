//! Snapshots: the files of a sandbox, for others to start from.
//!
//! A real snapshot has the memory too, so that processes go on in every sandbox that is made from it. Here
//! there are only files: what was made or changed since the sandbox began, in all its directories. What was removed
//! of the template's is there again.

use std::sync::Arc;
use std::time::UNIX_EPOCH;

use bytes::Bytes;
use computesdk::error::{Error, ErrorKind, Result};
use computesdk::provider::Exit;
use http::StatusCode;
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::{Value, json};

use super::listing::Page;
use super::{Outcome, Refusal, check_id, done, find, parsed};
use crate::answer::{json, with};
use crate::request::Asked;
use crate::sandbox::{Sandbox, State};
use crate::world::{Kept, World, random};

/// The team that every key belongs to.
const TEAM: &str = "fake-team";

/// Packs what is not the template's. Below the first directories everything is the sandbox' own; of the
/// second, which are the template's, what was changed since the sandbox began, which is the argument.
const PACK: &str = r#"
cd /
since=$1
own=
for path in /* /.[!.]*; do
    case $path in
        /proc | /sys | /dev | /run | /usr | /bin | /sbin | /lib* | /etc | /opt | '/.[!.]*') ;;
        *) own="$own ${path#/}" ;;
    esac
done
{
    find $own -xdev -print0
    find etc opt usr/local -xdev -newerct "@$since" -print0
} | tar --null --no-recursion --ignore-failed-read --files-from=- --create --file=-
"#;

/// Packs the files of a sandbox.
async fn pack(sandbox: &Sandbox) -> Result<Bytes> {
    let began = sandbox.instance.info().await?.created_at.duration_since(UNIX_EPOCH).unwrap_or_default();
    // To the nanosecond: what all sandboxes share may have been made in the same second.
    let began = format!("{}.{:09}", began.as_secs(), began.subsec_nanos());
    let printed = sandbox.output(&["/bin/sh", "-c", PACK, "sh", &began]).await?;
    match printed.exit {
        // With 1, a file changed while it was read.
        Exit::Code(0 | 1) => Ok(printed.stdout.into()),
        _ => Err(failed("packed", &printed.stderr)),
    }
}

/// Unpacks what was packed.
pub async fn unpack(sandbox: &Sandbox, files: &[u8]) -> Result<()> {
    let argv = ["tar", "--extract", "--file=-", "--directory=/", "--preserve-permissions", "--overwrite-dir"];
    let printed = sandbox.output_with(&argv, Some(files)).await?;
    match printed.exit {
        Exit::Code(0) => Ok(()),
        _ => Err(failed("unpacked", &printed.stderr)),
    }
}

fn failed(what: &str, why: &[u8]) -> Error {
    let why = String::from_utf8_lossy(why);
    Error::new(ErrorKind::Internal, format!("the files cannot be {what}: {why}"))
}

#[derive(Debug, Deserialize)]
struct Named {
    name: Option<String>,
}

pub(super) async fn create(world: &Arc<World>, id: &str, asked: &Asked) -> Outcome {
    check_id(id)?;
    let Named { name } = parsed(&asked.body)?;
    let sandbox = find(world, id)?;
    sandbox.shift(State::Running, State::Snapshotting).map_err(|state| {
        let message = format!("Sandbox '{id}' cannot be snapshotted while in '{}' state", state.name());
        Refusal::new(StatusCode::CONFLICT, message)
    })?;
    let files = pack(&sandbox).await;
    // It may have ended meanwhile.
    let _ = sandbox.shift(State::Snapshotting, State::Running);
    let files = files
        .map_err(|_| Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, "Error creating snapshot template"))?;
    let (id, names) = match name {
        None => (format!("{}:default", random::<20>(b"abcdefghijklmnopqrstuvwxyz0123456789")?), vec![]),
        Some(name) => {
            let (name, tag) = name.split_once(':').unwrap_or((&name, "default"));
            let name = format!("{TEAM}/{}", name.rsplit('/').next().unwrap_or_default());
            (format!("{name}:{tag}"), vec![name])
        }
    };
    let kept = world.keep(Kept {
        id,
        names,
        sandbox: sandbox.id.clone(),
        template: sandbox.wishes.template.clone(),
        taken_at: Timestamp::now(),
        files,
    });
    Ok(json(StatusCode::CREATED, &described(&kept)))
}

fn described(kept: &Kept) -> Value {
    json!({ "snapshotID": kept.id, "names": kept.names })
}

pub(super) fn list(world: &World, asked: &Asked) -> Outcome {
    let query = &asked.query;
    let page = Page::of(query, false)?;
    let mut found = world.all_kept();
    found.retain(|kept| {
        let of = query.get("sandboxID").and_then(|id| id.split('-').next());
        let named = query.get("name").is_none_or(|name| {
            let name = name.rsplit('/').next().unwrap_or_default();
            let id = kept.id.rsplit('/').next().unwrap_or_default();
            !kept.names.is_empty() && (id == name || id.split(':').next() == Some(name))
        });
        of.is_none_or(|id| id == kept.sandbox) && named
    });
    let (found, next) = page.choose(found, |kept| (kept.taken_at, kept.id.clone()));
    let found: Vec<_> = found.iter().map(|kept| described(kept)).collect();
    let answer = json(StatusCode::OK, &found);
    Ok(match next {
        Some(next) => with(answer, "x-next-token", &next),
        None => answer,
    })
}

pub(super) fn delete(world: &World, id: &str) -> Outcome {
    let Some(kept) = world.kept(id) else {
        return Err(Refusal::new(StatusCode::NOT_FOUND, format!("template '{id}' not found")));
    };
    let mut using = world.all();
    using.retain(|sandbox| sandbox.origin.as_deref() == Some(&kept.id));
    if let Some(sandbox) = using.first() {
        let state = if sandbox.state() == State::Paused { "paused" } else { "running" };
        let message = format!("cannot delete template '{id}' because there are {state} sandboxes using it");
        return Err(Refusal::bad(message));
    }
    world.forget(&kept.id);
    done()
}
