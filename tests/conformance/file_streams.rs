//! Files as streams.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use computesdk::error::{ErrorKind, Result};
use computesdk::provider::ByteStream;
use computesdk::sandbox::Sandbox;
use futures_util::{StreamExt, stream};

use crate::files::{names, noise, text, write};
use crate::harness::{At, Case, cases, eventually, sh, soon};

pub(super) const CASES: &[Case] = cases![
    a_stream_gives_the_file_in_pieces,
    what_cannot_be_opened_gives_no_stream,
    a_stream_reads_what_it_is_asked_for,
    a_dropped_stream_lets_go_of_the_file if open_files & quotas,
    a_file_that_shrinks_ends_its_stream,
    what_has_no_size_is_streamed_too,
    the_end_of_the_sandbox_ends_a_stream,
    a_source_is_asked_for_more_when_that_is_written,
    the_end_of_the_sandbox_lets_go_of_a_source,
];

/// The largest piece.
const PIECE: usize = 1 << 20;
/// What must not wait for anything.
const AT_ONCE: Duration = Duration::from_secs(2);

async fn drain(mut stream: ByteStream) -> Result<(Bytes, usize)> {
    let (mut all, mut largest) = (BytesMut::new(), 0);
    while let Some(piece) = stream.next().await.transpose()? {
        assert!(!piece.is_empty());
        largest = largest.max(piece.len());
        all.extend_from_slice(&piece);
    }
    assert!(stream.next().await.is_none());
    Ok((all.freeze(), largest))
}

async fn a_stream_gives_the_file_in_pieces(at: At) {
    let sandbox = at.sandbox().await;
    let files = sandbox.filesystem();
    for length in [0, 1, 49_152, 49_153, PIECE - 1, PIECE, PIECE + 1, 5 * PIECE + 17] {
        let content = noise(length);
        files.write("/tmp/file", content.clone()).await.unwrap();
        let (read, largest) = drain(files.open("/tmp/file").await.unwrap()).await.unwrap();
        assert!(read == content, "{length}");
        assert!(largest <= PIECE, "{largest}");
    }
}

async fn what_cannot_be_opened_gives_no_stream(at: At) {
    let sandbox = at.sandbox().await;
    sh(&sandbox, "mkfifo /tmp/fifo; mkdir /tmp/dir; truncate -s 10T /tmp/sparse").await;
    for (path, kind) in [
        ("/missing", ErrorKind::NotFound),
        ("/tmp/dir", ErrorKind::InvalidArgument),
        ("/tmp/fifo", ErrorKind::InvalidArgument),
        ("/dev/zero", ErrorKind::InvalidArgument),
        ("/tmp/sparse", ErrorKind::InvalidArgument),
        ("relative", ErrorKind::InvalidArgument),
    ] {
        let error = soon(path, AT_ONCE, sandbox.filesystem().open(path)).await.err().unwrap();
        assert_eq!((error.kind(), error.operation()), (kind, Some("readFile")), "{path}: {error}");
    }
}

async fn a_stream_reads_what_it_is_asked_for(at: At) {
    let sandbox = at.sandbox().await;
    let files = sandbox.filesystem();
    let length = 3 * PIECE + at.measures().read_ahead;
    files.write("/tmp/file", Bytes::from(vec![b'a'; length])).await.unwrap();
    let mut stream = files.open("/tmp/file").await.unwrap();
    let first = stream.next().await.unwrap().unwrap();
    // What it has not been asked for yet is not read yet.
    sh(
        &sandbox,
        format!("head -c {length} /dev/zero | tr '\\0' b | dd of=/tmp/file conv=notrunc status=none"),
    )
    .await;
    let rest: Vec<_> = stream.map(Result::unwrap).collect().await;
    let rest = rest.concat();
    assert_eq!(first.len() + rest.len(), length);
    assert!(first.iter().all(|byte| *byte == b'a'));
    assert!(rest[at.measures().read_ahead..].iter().all(|byte| *byte == b'b'));
}

/// KiB that the sandbox's files take.
async fn used(sandbox: &Sandbox) -> u64 {
    sh(sandbox, "df --output=used -k /tmp | tail -n 1").await.stdout.trim().parse().unwrap()
}

async fn a_dropped_stream_lets_go_of_the_file(at: At) {
    let sandbox = at.sandbox().await;
    let files = sandbox.filesystem();
    files.write("/tmp/file", noise(8 << 20)).await.unwrap();
    let mut stream = files.open("/tmp/file").await.unwrap();
    stream.next().await.unwrap().unwrap();
    files.remove("/tmp/file").await.unwrap();
    assert!(used(&sandbox).await > 8000);
    drop(stream);
    eventually("its space is free", AT_ONCE, async || used(&sandbox).await < 1000).await;
}

async fn a_file_that_shrinks_ends_its_stream(at: At) {
    let sandbox = at.sandbox().await;
    let files = sandbox.filesystem();
    let ahead = at.measures().read_ahead;
    files.write("/tmp/file", noise((8 << 20) + ahead)).await.unwrap();
    let mut stream = files.open("/tmp/file").await.unwrap();
    stream.next().await.unwrap().unwrap();
    sh(&sandbox, "truncate -s 1500000 /tmp/file").await;
    let (rest, _) = drain(stream).await.unwrap();
    assert!(rest.len() < 1_000_000 + ahead, "{}", rest.len());
}

async fn what_has_no_size_is_streamed_too(at: At) {
    let sandbox = at.sandbox().await;
    let stream = sandbox.filesystem().open("/proc/self/status").await.unwrap();
    let (status, _) = drain(stream).await.unwrap();
    assert!(status.starts_with(b"Name:"), "{status:?}");
}

async fn the_end_of_the_sandbox_ends_a_stream(at: At) {
    let sandbox = at.sandbox().await;
    let files = sandbox.filesystem();
    files.write("/tmp/file", noise(4 * PIECE + at.measures().read_ahead)).await.unwrap();
    let mut stream = files.open("/tmp/file").await.unwrap();
    stream.next().await.unwrap().unwrap();
    sandbox.destroy().await.unwrap();
    let error = soon("an end", AT_ONCE, drain(stream)).await.unwrap_err();
    assert_eq!((error.kind(), error.operation()), (ErrorKind::NotFound, Some("readFile")), "{error}");
    assert!(error.message().contains("it was destroyed"), "{error}");
    assert_eq!(error.sandbox(), Some(sandbox.id()));
}

async fn a_source_is_asked_for_more_when_that_is_written(at: At) {
    let sandbox = at.sandbox().await;
    let (asked, sandbox_) = (Arc::new(AtomicUsize::new(0)), (*sandbox).clone());
    let counted = Arc::clone(&asked);
    let on_the_way = at.measures().on_the_way as u64 >> 10;
    let pieces = stream::unfold(0_usize, move |number| {
        let (asked, sandbox) = (Arc::clone(&counted), sandbox_.clone());
        async move {
            asked.fetch_add(1, Ordering::Relaxed);
            if number > 2 {
                // What came before the latest piece is in the file that is being written, or about to be.
                let written = used(&sandbox).await;
                let taken = written + on_the_way;
                assert!(taken >= (number as u64 - 1) * 4096, "{written} KiB after {number} pieces");
            }
            (number < 8).then(|| (Ok(noise(4 << 20)), number + 1))
        }
    });
    sandbox.filesystem().write("/tmp/file", Box::pin(pieces) as ByteStream).await.unwrap();
    assert_eq!(asked.load(Ordering::Relaxed), 9);
    assert_eq!(sandbox.filesystem().stat("/tmp/file").await.unwrap().size, Some(32 << 20));
}

/// Notes that it was dropped.
struct Dropped(Arc<AtomicBool>);

impl Drop for Dropped {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

async fn the_end_of_the_sandbox_lets_go_of_a_source(at: At) {
    for before in [0, 10, 2_000_000] {
        let sandbox = at.sandbox().await;
        write(&sandbox, "/tmp/file", "old").await;
        let gone = Arc::new(AtomicBool::new(false));
        let held = Dropped(Arc::clone(&gone));
        let begin = stream::iter((before > 0).then(|| Ok(noise(before))));
        let stuck = stream::once(async move {
            let _held = held;
            std::future::pending().await
        });
        let files = sandbox.filesystem();
        let writing = files.write("/tmp/file", Box::pin(begin.chain(stuck)) as ByteStream);
        let ending = async {
            eventually("it is being written", AT_ONCE, async || {
                before < 100_000 || names(&files.list("/tmp").await.unwrap()).len() == 2
            })
            .await;
            assert_eq!(text(&sandbox, "/tmp/file").await, "old");
            sandbox.destroy().await.unwrap();
        };
        let (written, ()) = soon("an end", AT_ONCE, async { tokio::join!(writing, ending) }).await;
        assert_eq!(written.unwrap_err().kind(), ErrorKind::NotFound);
        // A connection that ends may hold it a moment longer.
        let let_go = format!("it is let go of after {before} bytes");
        eventually(&let_go, AT_ONCE, async || gone.load(Ordering::Relaxed)).await;
    }
}
