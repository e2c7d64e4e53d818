//! This process' own streams. They may be shared with others who made them non-blocking, and have nobody at their
//! other end.

use std::io::{self, ErrorKind, Read, Write};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::mpsc;

use crate::error::Error;
use crate::provider::{ByteStream, Chunk};

/// Read at once from standard input.
const PIECE: usize = 64 * 1024;
/// How long until the next look at a stream that cannot be waited for.
const PAUSE: Duration = Duration::from_millis(1);

/// Writes a text to standard output; the exit code of a command that has nothing more to do.
pub(super) fn say(text: &str) -> i32 {
    match put(&mut io::stdout(), text.as_bytes()) {
        Ok(()) => 0,
        // Nobody reads any more, and knows it.
        Err(error) if error.kind() == ErrorKind::BrokenPipe => 1,
        Err(error) => {
            note(&format!("standard output cannot be written: {error}\n"));
            1
        }
    }
}

/// Writes a line of our own to standard error, marked as such. If nobody hears it, nobody can be told that.
pub(super) fn note(text: &str) {
    let _ = put(&mut io::stderr(), format!("computesdk: {text}").as_bytes());
}

/// Writes what a program wrote, to the same stream; ready when it has been taken.
pub(super) async fn pass(chunk: Chunk) -> io::Result<()> {
    let write = move || match &chunk {
        Chunk::Stdout(bytes) => put(&mut io::stdout(), bytes),
        Chunk::Stderr(bytes) => put(&mut io::stderr(), bytes),
    };
    tokio::task::spawn_blocking(write).await.unwrap_or_else(|error| Err(io::Error::other(error)))
}

fn put(stream: &mut impl Write, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        match stream.write(bytes) {
            Ok(0) => return Err(ErrorKind::WriteZero.into()),
            Ok(written) => bytes = &bytes[written..],
            Err(error) => wait_out(error)?,
        }
    }
    loop {
        match stream.flush() {
            Ok(()) => return Ok(()),
            Err(error) => wait_out(error)?,
        }
    }
}

fn wait_out(error: io::Error) -> io::Result<()> {
    match error.kind() {
        ErrorKind::Interrupted => Ok(()),
        ErrorKind::WouldBlock => {
            std::thread::sleep(PAUSE);
            Ok(())
        }
        _ => Err(error),
    }
}

/// Standard input, piece by piece: the next is read when the one before has been taken. Its thread may wait for a
/// piece that never comes; it ends with the process.
pub(super) fn input() -> ByteStream {
    let (sender, receiver) = mpsc::channel(1);
    let read = move || {
        let mut buffer = vec![0; PIECE];
        loop {
            let piece = match io::stdin().read(&mut buffer) {
                Ok(0) => return,
                Ok(read) => Ok(Bytes::copy_from_slice(&buffer[..read])),
                Err(error) => match wait_out(error) {
                    Ok(()) => continue,
                    Err(error) => Err(unreadable(error)),
                },
            };
            let last = piece.is_err();
            if sender.blocking_send(piece).is_err() || last {
                return;
            }
        }
    };
    match std::thread::Builder::new().name("stdin".to_owned()).spawn(read) {
        Ok(_) => Box::pin(futures_util::stream::unfold(receiver, async |mut receiver| {
            Some((receiver.recv().await?, receiver))
        })),
        Err(error) => Box::pin(futures_util::stream::iter([Err(unreadable(error))])),
    }
}

fn unreadable(error: io::Error) -> Error {
    Error::invalid(format!("standard input cannot be read: {error}")).with_source(error)
}
