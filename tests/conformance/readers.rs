//! What a process that goes on writes: kept for whoever reads it, however many, however slow.

use std::sync::Arc;
use std::time::Duration;

use computesdk::command::RunOptions;
use computesdk::process::{Process, Reader};
use computesdk::provider::{Chunk, Wanted};
use computesdk::sandbox::Sandbox;
use futures_util::future::join_all;

use super::background::{SOON, begin, begin_fed};
use crate::harness::{At, Case, cases, eventually, sh, shell, soon};

pub(super) const CASES: &[Case] = cases![
    output_is_read_as_it_comes if kill,
    every_reader_gets_everything if kill,
    a_reader_of_one_stream_gets_no_other if kill,
    output_that_nobody_reads_stops_nobody if kill,
    a_limit_sets_what_is_kept if kill,
    a_kept_end_begins_with_a_character if kill,
    all_is_kept_until_it_is_known_who_reads if kill,
    a_slow_reader_holds_up_its_process_and_no_other if kill,
    a_slow_reader_of_one_stream_leaves_the_other_alone if kill & streams,
    a_reader_that_goes_holds_up_nobody if kill,
    an_observer_holds_up_nobody if kill,
    a_reader_that_comes_after_the_end_gets_the_latest if kill,
];

/// Bytes of each stream that are kept unless the caller says otherwise.
const KEPT: usize = 1 << 20;
const STDOUT: Wanted = Wanted { stdout: true, stderr: false };

/// What `seq` writes.
fn sequence(last: usize) -> String {
    (1..=last).map(|number| format!("{number}\n")).collect()
}

/// All that is left to read of both streams.
async fn rest(reader: &mut Reader) -> [String; 2] {
    let mut bytes = [Vec::new(), Vec::new()];
    while let Some(chunk) = reader.next().await {
        match chunk {
            Chunk::Stdout(piece) => bytes[0].extend_from_slice(&piece),
            Chunk::Stderr(piece) => bytes[1].extend_from_slice(&piece),
        }
    }
    bytes.map(|bytes| String::from_utf8(bytes).unwrap())
}

async fn keeping(sandbox: &Sandbox, bytes: usize, line: &str) -> Arc<Process> {
    let options = RunOptions { max_output: Some(bytes), ..RunOptions::default() };
    let process = sandbox.spawn(shell(line), options).await.unwrap();
    process.release();
    process
}

/// A process that writes blocks of 64 KiB for ever, and counts them in a file.
async fn begin_counted(sandbox: &Sandbox, file: &str) -> Arc<Process> {
    let line = format!(
        "n=0; while head -c 65536 /dev/zero; do n=$((n+1)); echo $n > {file}.new; mv {file}.new {file}; done"
    );
    sandbox.spawn(shell(line), RunOptions::default()).await.unwrap()
}

async fn counted(sandbox: &Sandbox, file: &str) -> usize {
    sandbox.filesystem().read_text(file).await.map_or(0, |text| text.trim().parse().unwrap())
}

/// How many blocks a process can have written that nobody has read: what is kept, a pipe, and what is on its way.
fn unread(at: &At) -> usize {
    ((KEPT + at.measures().on_the_way) >> 16) + 3
}

/// Numbers that take up more room when they are written than there is for what nobody reads.
fn too_many(at: &At) -> usize {
    400_000 + at.measures().on_the_way / 6
}

async fn output_is_read_as_it_comes(at: At) {
    let sandbox = at.sandbox().await;
    let process = begin_fed(&sandbox, "echo one; read x; echo two >&2; read x; printf three; exit 3").await;
    let mut reader = process.reader(Wanted::BOTH, true);
    for expected in [Chunk::Stdout("one\n".into()), Chunk::Stderr("two\n".into())] {
        assert_eq!(reader.next().await, Some(expected));
        assert!(!process.has_ended() && process.exit_code().is_none());
        process.control().write_stdin(b"\n").await.unwrap();
    }
    assert_eq!(rest(&mut reader).await, ["three", ""]);
    assert_eq!(reader.next().await, None, "once and for all");
    let output = process.wait().await.unwrap();
    assert_eq!((output.stdout.as_str(), output.stderr.as_str()), ("one\nthree", "two\n"));
    assert_eq!((output.exit_code, output.truncated), (3, false));
    assert_eq!(process.exit_code(), Some(output.exit_code));
}

async fn every_reader_gets_everything(at: At) {
    let sandbox = at.sandbox().await;
    let process = sandbox.spawn(shell("seq 400000; echo end >&2"), RunOptions::default()).await.unwrap();
    let readers = (0..5).map(|_| process.reader(Wanted::BOTH, true)).collect::<Vec<_>>();
    process.release();
    let read = readers.into_iter().map(async |mut reader| rest(&mut reader).await);
    for [stdout, stderr] in soon("the end", SOON, join_all(read)).await {
        assert!(stdout == sequence(400_000), "{} bytes", stdout.len());
        assert_eq!(stderr, "end\n");
    }
}

async fn a_reader_of_one_stream_gets_no_other(at: At) {
    let sandbox = at.sandbox().await;
    let process = begin(&sandbox, "for i in 1 2 3; do echo o$i; echo e$i >&2; done").await;
    let mut errors = process.reader(Wanted { stdout: false, stderr: true }, true);
    assert_eq!(rest(&mut errors).await, ["", "e1\ne2\ne3\n"]);
    assert_eq!(rest(&mut process.reader(STDOUT, false)).await, ["o1\no2\no3\n", ""]);
}

async fn output_that_nobody_reads_stops_nobody(at: At) {
    let sandbox = at.sandbox().await;
    let line = "seq 2800000; seq 2800000 >&2; exit 4";
    let process = begin(&sandbox, line).await;
    let output = process.wait().await.unwrap();
    assert_eq!((output.exit_code, output.truncated), (4, true));
    for text in [output.stdout, output.stderr] {
        assert_eq!(text.len(), KEPT);
        assert!(text.ends_with("2799999\n2800000\n"));
    }
}

async fn a_limit_sets_what_is_kept(at: At) {
    let sandbox = at.sandbox().await;
    for (kept, expected, truncated) in [(0, "", true), (1, "5", true), (4, "2345", true), (5, "12345", false)]
    {
        let output = keeping(&sandbox, kept, "printf 12345").await.wait().await.unwrap();
        assert_eq!((output.stdout.as_str(), output.truncated), (expected, truncated), "of {kept} bytes");
    }
    let output = keeping(&sandbox, 8 << 20, "seq 1000000").await.wait().await.unwrap();
    assert!(output.stdout == sequence(1_000_000) && !output.truncated);
    // For each stream.
    let output = keeping(&sandbox, 3, "printf 123; printf 1234 >&2").await.wait().await.unwrap();
    assert_eq!((output.stdout.as_str(), output.stderr.as_str(), output.truncated), ("123", "234", true));
}

async fn a_kept_end_begins_with_a_character(at: At) {
    let sandbox = at.sandbox().await;
    for (kept, expected) in [(6, "☕☕"), (5, "☕"), (4, "☕"), (3, "☕"), (2, "")] {
        let output = keeping(&sandbox, kept, "printf ☕☕☕").await.wait().await.unwrap();
        assert_eq!(output.stdout, expected, "of {kept} bytes");
    }
}

async fn all_is_kept_until_it_is_known_who_reads(at: At) {
    let sandbox = at.sandbox().await;
    let many = too_many(&at);
    let process = sandbox.spawn(shell(format!("seq {many}")), RunOptions::default()).await.unwrap();
    // Far longer than it would take to write it all.
    sh(&sandbox, format!("seq {} > /dev/null", 4 * many)).await;
    assert!(!process.has_ended(), "nobody has read it, and nobody has said that nobody will");
    let mut reader = process.reader(STDOUT, true);
    process.release();
    assert!(rest(&mut reader).await[0] == sequence(many));
    // One that is asked for too late has missed something, but nothing in between.
    let [latest, _] = rest(&mut process.reader(STDOUT, true)).await;
    assert!((KEPT..KEPT + (128 << 10)).contains(&latest.len()), "{} bytes", latest.len());
    assert!(sequence(many).ends_with(&latest));
}

async fn a_slow_reader_holds_up_its_process_and_no_other(at: At) {
    let sandbox = at.sandbox().await;
    let process = begin_counted(&sandbox, "/tmp/count").await;
    let mut reader = process.reader(Wanted::BOTH, true);
    process.release();
    eventually("it writes", SOON, async || counted(&sandbox, "/tmp/count").await > 0).await;
    let others = (0..200).map(async |number| {
        // The shell's own, so that there are no more processes than that.
        let line = format!("for n in {{1..2000}}; do echo $n; done; exit {}", number % 7);
        let other = begin(&sandbox, &line).await;
        assert_eq!(other.wait().await.unwrap().exit_code, number % 7);
    });
    join_all(others).await;
    let before = counted(&sandbox, "/tmp/count").await;
    assert!(before <= unread(&at), "{before} blocks were written and none was read");
    let mut read = 0;
    while read < 4 * KEPT + 2 * at.measures().on_the_way {
        let Some(Chunk::Stdout(piece)) = reader.next().await else { panic!("it has ended") };
        assert!(piece.iter().all(|byte| *byte == 0));
        read += piece.len();
    }
    eventually("it goes on", SOON, async || counted(&sandbox, "/tmp/count").await > before).await;
    assert!(counted(&sandbox, "/tmp/count").await <= (read >> 16) + unread(&at));
    process.control().kill().await.unwrap();
    assert_eq!(process.wait().await.unwrap().signal, Some(9));
}

async fn a_slow_reader_of_one_stream_leaves_the_other_alone(at: At) {
    let sandbox = at.sandbox().await;
    let line = "(seq 1000000 >&2; touch /tmp/told) & seq 1000000; touch /tmp/written; wait";
    let process = sandbox.spawn(shell(line), RunOptions::default()).await.unwrap();
    let mut reader = process.reader(STDOUT, true);
    process.release();
    eventually("the other is written", SOON, async || sandbox.filesystem().exists("/tmp/told").await).await;
    assert!(!sandbox.filesystem().exists("/tmp/written").await, "nobody has read it");
    assert!(rest(&mut reader).await[0] == sequence(1_000_000));
}

async fn a_reader_that_goes_holds_up_nobody(at: At) {
    let sandbox = at.sandbox().await;
    let many = too_many(&at);
    let process = sandbox.spawn(shell(format!("seq {many}; exit 5")), RunOptions::default()).await.unwrap();
    let mut reader = process.reader(Wanted::BOTH, true);
    process.release();
    assert!(matches!(reader.next().await, Some(Chunk::Stdout(_))));
    // Far longer than it would take to write it all.
    sh(&sandbox, format!("seq {} > /dev/null", 4 * many)).await;
    assert!(!process.has_ended());
    // Dropped while it waits as well.
    let _ = tokio::time::timeout(Duration::ZERO, async { while reader.next().await.is_some() {} }).await;
    drop(reader);
    let output = soon("the end", SOON, process.wait()).await.unwrap();
    assert_eq!((output.exit_code, output.stdout.len()), (5, KEPT));
}

async fn an_observer_holds_up_nobody(at: At) {
    let sandbox = at.sandbox().await;
    let process = begin_fed(&sandbox, "read x; seq 2800000").await;
    let mut observer = process.reader(Wanted::BOTH, false);
    process.control().write_stdin(b"\n").await.unwrap();
    assert_eq!(process.wait().await.unwrap().exit_code, 0);
    let [stdout, _] = rest(&mut observer).await;
    assert_eq!(stdout.len(), KEPT, "the latest, in one piece");
    assert!(stdout.ends_with("2799999\n2800000\n"));
}

async fn a_reader_that_comes_after_the_end_gets_the_latest(at: At) {
    let sandbox = at.sandbox().await;
    let process = begin(&sandbox, "echo out; echo err >&2").await;
    process.wait().await.unwrap();
    for _ in 0..3 {
        assert_eq!(rest(&mut process.reader(Wanted::BOTH, true)).await, ["out\n", "err\n"]);
    }
    assert_eq!(rest(&mut process.reader(Wanted { stdout: false, stderr: false }, true)).await, ["", ""]);
}
