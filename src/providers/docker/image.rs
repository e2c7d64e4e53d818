//! What containers are made from: an image that the engine has, or that it gets from a registry.

use bytes::BytesMut;
use futures_util::StreamExt;

use super::config::{Coming, Pull, Watcher};
use super::engine::Engine;
use super::error::{nonsense, tidy};
use super::program;
use super::wire::Progress;
use crate::error::{Error, ErrorKind, Result};

/// The longest line that is told while an image comes.
const LINE: usize = 1 << 20;

/// Makes sure that the engine has an image, and that it is one for the agent that this build has.
pub(super) async fn provide(
    engine: &Engine,
    name: &str,
    pull: Pull,
    watcher: Option<&dyn Watcher>,
) -> Result<()> {
    let missing = || {
        Error::new(ErrorKind::NotFound, format!("the engine has no image `{name}`")).with_hint(format!(
            "get it by `docker pull {name}`, or let it be pulled: docker({{ pull: 'missing' }})"
        ))
    };
    let known = match pull {
        Pull::Always => None,
        Pull::Missing | Pull::Never => engine.image(name).await?,
    };
    let image = match (known, pull) {
        (Some(image), _) => image,
        (None, Pull::Never) => return Err(missing()),
        (None, Pull::Missing | Pull::Always) => {
            get(engine, name, watcher).await?;
            engine.image(name).await?.ok_or_else(missing)?
        }
    };
    let fits = image.os == "linux" && image.architecture == program::ARCHITECTURE;
    if fits {
        return Ok(());
    }
    Err(Error::unsupported(format!(
        "the image `{name}` is for {}/{}, and this build's agent for linux/{}",
        tidy(&image.os),
        tidy(&image.architecture),
        program::ARCHITECTURE
    ))
    .with_hint("use an engine and an image of this machine's architecture"))
}

/// Gets an image from its registry. What happens meanwhile is logged, and told whoever watches.
async fn get(engine: &Engine, name: &str, watcher: Option<&dyn Watcher>) -> Result<()> {
    // A name without a tag would be all of its tags.
    let is_whole = name.rsplit('/').next().is_some_and(|last| last.contains([':', '@']));
    let whole = if is_whole { name.to_owned() } else { format!("{name}:latest") };
    let response = engine.pull(&whole).await.map_err(|error| not_pulled(name, &error))?;
    let (mut stream, mut line) = (response.stream(), BytesMut::new());
    while let Some(bytes) = stream.next().await {
        line.extend_from_slice(&bytes?);
        while let Some(end) = line.iter().position(|byte| *byte == b'\n') {
            heed(name, &line.split_to(end + 1), watcher).await?;
        }
        if line.len() > LINE {
            return Err(nonsense("what it tells of an image is too long"));
        }
    }
    heed(name, &line, watcher).await
}

async fn heed(name: &str, line: &[u8], watcher: Option<&dyn Watcher>) -> Result<()> {
    let Ok(progress) = serde_json::from_slice::<Progress>(line) else { return Ok(()) };
    if let Some(error) = progress.error {
        return Err(not_pulled(name, &Error::new(ErrorKind::NotFound, tidy(&error))));
    }
    let (status, layer) = (tidy(&progress.status), progress.id.as_deref().map(tidy));
    tracing::info!(image = name, layer, status, "an image comes");
    let Some(watcher) = watcher else { return Ok(()) };
    let (current, total) = (progress.detail.current, progress.detail.total);
    watcher.comes(Coming { image: name.to_owned(), status, layer, current, total }).await
}

fn not_pulled(name: &str, error: &Error) -> Error {
    Error::new(
        ErrorKind::NotFound,
        format!("the image `{name}` is not there and cannot be pulled: {}", error.message()),
    )
    .with_hint(format!(
        "get it by `docker pull {name}` or `docker load`, or name another: `image`, `templateId`"
    ))
}
