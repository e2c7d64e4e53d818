//! What goes into a command while it runs, and who is told of what comes out.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use computesdk::command::{Listener, Output, RunOptions};
use computesdk::error::{Error, Result};
use computesdk::provider::Command;
use computesdk::sandbox::Sandbox;
use futures_util::{StreamExt, stream};
use tokio::sync::Notify;

use super::commands::{GONE, assert_gone, within};
use crate::harness::{At, Case, cases, eventually, pace, sh, shell, soon};

pub(super) const CASES: &[Case] = cases![
    a_listener_is_told_while_the_command_runs,
    a_character_is_never_split,
    a_run_is_over_after_the_last_call_to_its_listener,
    a_listener_that_is_not_ready_holds_the_command_back,
    a_listener_that_is_slow_holds_up_no_timeout,
    a_listener_that_never_returns_holds_up_no_result,
    a_listener_that_fails_kills_the_command,
    input_is_at_its_end_unless_it_is_given,
    input_arrives_exactly,
    input_that_nobody_reads_is_no_failure,
    input_that_never_comes_does_not_outlive_the_command,
    input_that_fails_is_the_runs_failure,
];

async fn fed(sandbox: &Sandbox, line: &str, stdin: computesdk::provider::ByteStream) -> Result<Output> {
    let options = RunOptions { stdin: Some(stdin), ..RunOptions::default() };
    sandbox.run_command(Command { stdin: true, ..shell(line) }, options).await
}

fn once(bytes: impl Into<Bytes>) -> computesdk::provider::ByteStream {
    let bytes = bytes.into();
    Box::pin(stream::iter([Ok(bytes)]))
}

/// A listener that does one thing with each piece.
struct Each<F>(F);

#[async_trait]
impl<F, W> Listener for Each<F>
where
    F: FnMut(usize, String) -> W + Send,
    W: Future<Output = Result<()>> + Send,
{
    async fn stdout(&mut self, text: String) -> Result<()> {
        (self.0)(1, text).await
    }
    async fn stderr(&mut self, text: String) -> Result<()> {
        (self.0)(2, text).await
    }
}

pub(super) fn told<F, W>(each: F) -> RunOptions
where
    F: FnMut(usize, String) -> W + Send + 'static,
    W: Future<Output = Result<()>> + Send + 'static,
{
    RunOptions { listener: Some(Box::new(Each(each))), ..RunOptions::default() }
}

async fn a_listener_is_told_while_the_command_runs(at: At) {
    let sandbox = at.sandbox().await;
    let ready = Arc::new(Notify::new());
    let heard = Arc::clone(&ready);
    // The command ends only after its first line was heard.
    let answer = stream::once(async move {
        heard.notified().await;
        Ok(Bytes::from_static(b"heard\n"))
    });
    let options = told(move |_, _| {
        ready.notify_one();
        async { Ok(()) }
    });
    let options = RunOptions { stdin: Some(Box::pin(answer)), ..options };
    let command = Command { stdin: true, ..shell("echo ready; read answer; echo $answer") };
    assert_eq!(sandbox.run_command(command, options).await.unwrap().stdout, "ready\nheard\n");
}

async fn a_character_is_never_split(at: At) {
    let sandbox = at.sandbox().await;
    let pieces: Arc<Mutex<[String; 3]>> = Arc::default();
    let told_so_far = Arc::clone(&pieces);
    // Each byte is written for itself, and the next one only after a while or after a byte of the other stream.
    let line = r"for byte in 303 251 342 230 225 360 237 230 200; do
        printf \\$byte; sleep 0.01; printf \\$byte >&2
    done";
    let options = told(move |stream, text: String| {
        assert!(!text.is_empty() && !text.contains('\u{FFFD}'), "{text:?}");
        told_so_far.lock().unwrap()[stream].push_str(&text);
        async { Ok(()) }
    });
    let output = sandbox.run_command(shell(line), options).await.unwrap();
    assert_eq!((output.stdout.as_str(), output.stderr.as_str()), ("é☕😀", "é☕😀"));
    assert_eq!(pieces.lock().unwrap()[1..], ["é☕😀", "é☕😀"]);
}

async fn a_run_is_over_after_the_last_call_to_its_listener(at: At) {
    let sandbox = at.sandbox().await;
    let over = Arc::new(AtomicBool::new(false));
    let heard: Arc<Mutex<String>> = Arc::default();
    let (is_over, hearing) = (Arc::clone(&over), Arc::clone(&heard));
    let options = told(move |_, text: String| {
        assert!(!is_over.load(Ordering::SeqCst), "told after the end");
        let hearing = Arc::clone(&hearing);
        async move {
            // A listener that takes its time.
            tokio::time::sleep(Duration::from_millis(1)).await;
            hearing.lock().unwrap().push_str(&text);
            Ok(())
        }
    });
    // The half character at the end is told only when nothing more can come.
    let line = r"for i in $(seq 200); do echo $i; done; sleep 0.01; printf '\303'";
    let output = sandbox.run_command(shell(line), options).await.unwrap();
    over.store(true, Ordering::SeqCst);
    assert!(output.stdout.ends_with("200\n\u{FFFD}"));
    assert_eq!(*heard.lock().unwrap(), output.stdout);
}

async fn a_listener_that_is_not_ready_holds_the_command_back(at: At) {
    let sandbox = at.sandbox().await;
    let go_on = Arc::new(Notify::new());
    let gate = Arc::clone(&go_on);
    let mut is_first = true;
    let options = told(move |_, _| {
        let gate = std::mem::take(&mut is_first).then(|| Arc::clone(&gate));
        async move {
            if let Some(gate) = gate {
                gate.notified().await;
            }
            Ok(())
        }
    });
    let line = shell("touch /tmp/begun; head -c 20000000 /dev/zero; touch /tmp/done");
    let running = sandbox.run_command(line, options);
    let watching = async {
        let files = sandbox.filesystem();
        eventually("it has begun", GONE, async || files.exists("/tmp/begun").await).await;
        // Far longer than it would take to write it all.
        tokio::time::sleep(Duration::from_millis(300)).await;
        assert!(!files.exists("/tmp/done").await, "nobody has read what it wrote");
        go_on.notify_one();
    };
    let (output, ()) = tokio::join!(running, watching);
    assert_eq!(output.unwrap().stdout.len(), 20_000_000);
}

async fn a_listener_that_is_slow_holds_up_no_timeout(at: At) {
    let sandbox = at.sandbox().await;
    let pace = pace();
    let options = told(move |_, _| async move {
        tokio::time::sleep(Duration::from_millis(1500) * pace).await;
        Ok(())
    });
    let line = format!("echo heard; sleep {}; touch /tmp/late; sleep 1212", 0.6 * f64::from(pace));
    let options = RunOptions { timeout: Some(Duration::from_millis(200) * pace), ..options };
    let output = soon("the end", GONE, sandbox.run_command(shell(line), options)).await.unwrap();
    assert!(output.timed_out, "{output:?}");
    assert_eq!(output.stdout, "heard\n");
    assert!(!sandbox.filesystem().exists("/tmp/late").await, "it ran on while its listener took its time");
}

async fn a_listener_that_never_returns_holds_up_no_result(at: At) {
    let sandbox = at.sandbox().await;
    let options = told(|_, _| std::future::pending());
    let options = RunOptions { timeout: Some(Duration::from_millis(100) * pace()), ..options };
    let running = sandbox.run_command(shell("echo heard; sleep 1313"), options);
    let output = soon("the result", Duration::from_secs(10), running).await.unwrap();
    assert!(output.timed_out && output.stdout == "heard\n", "{output:?}");
}

async fn a_listener_that_fails_kills_the_command(at: At) {
    let sandbox = at.sandbox().await;
    let calls = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&calls);
    let options = told(move |_, _| {
        counter.fetch_add(1, Ordering::Relaxed);
        async { Err(Error::invalid("enough")) }
    });
    let line = shell("yes & echo; sleep 1111");
    let error = soon("the end", GONE, sandbox.run_command(line, options)).await.unwrap_err();
    assert_eq!(error.message(), "enough");
    assert_eq!(calls.load(Ordering::Relaxed), 1);
    assert_gone(&sandbox, "sleep 1111").await;
    assert_gone(&sandbox, "yes").await;
}

async fn input_is_at_its_end_unless_it_is_given(at: At) {
    let sandbox = at.sandbox().await;
    let output = soon("the end", GONE, sh(&sandbox, "cat; read line; echo $?")).await;
    assert_eq!(output.stdout, "1\n");
}

async fn input_arrives_exactly(at: At) {
    let sandbox = at.sandbox().await;
    let text: String = (0..200_000).map(|n| format!("{n}\n")).collect();
    let pieces = text.as_bytes().chunks(7919).map(|piece| Ok(Bytes::copy_from_slice(piece)));
    let output = fed(&sandbox, "cat", Box::pin(stream::iter(pieces.collect::<Vec<_>>()))).await.unwrap();
    assert!(output.stdout == text);
    assert_eq!(fed(&sandbox, "od -An -tx1", once(&b"\0\xff\n"[..])).await.unwrap().stdout, " 00 ff 0a\n");
    assert_eq!(fed(&sandbox, "wc -c", Box::pin(stream::empty())).await.unwrap().stdout, "0\n");
}

async fn input_that_nobody_reads_is_no_failure(at: At) {
    let sandbox = at.sandbox().await;
    let endless = stream::repeat_with(|| Ok(Bytes::from_static(&[b'x'; 1 << 16])));
    let output = fed(&sandbox, "head -c 3; exit 5", Box::pin(endless)).await.unwrap();
    assert_eq!((output.stdout.as_str(), output.exit_code), ("xxx", 5));
    assert_eq!(fed(&sandbox, "exit 6", once(vec![0; 1 << 20])).await.unwrap().exit_code, 6);
}

async fn input_that_never_comes_does_not_outlive_the_command(at: At) {
    let sandbox = at.sandbox().await;
    let never = || Box::pin(stream::once(std::future::pending()));
    let output = soon("the end", GONE, fed(&sandbox, "echo done", never())).await.unwrap();
    assert_eq!(output.stdout, "done\n");
    let options = RunOptions { stdin: Some(never()), ..within(Duration::from_millis(100)) };
    let output = sandbox.run_command(Command { stdin: true, ..shell("cat") }, options).await.unwrap();
    assert!(output.timed_out);
}

async fn input_that_fails_is_the_runs_failure(at: At) {
    let sandbox = at.sandbox().await;
    let source = stream::iter([Ok(Bytes::from_static(b"a")), Err(Error::invalid("the source broke"))]);
    let error = soon("the end", GONE, fed(&sandbox, "cat; sleep 1112", source.boxed())).await.unwrap_err();
    assert_eq!(error.message(), "the source broke");
    assert_gone(&sandbox, "sleep 1112").await;
}
