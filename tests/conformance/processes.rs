//! What is started and not waited for: output and control, each for itself.

use std::sync::Arc;
use std::time::Duration;

use computesdk::error::ErrorKind;
use computesdk::provider::{Chunk, Command, Exit, Output, Process, Size, Wanted};
use computesdk::sandbox::Sandbox;
use futures_util::future::join_all;

use crate::harness::{At, Case, cases, eventually, sh, shell, soon};

pub(super) const CASES: &[Case] = cases![
    output_comes_in_the_order_of_arrival,
    output_is_over_once_and_for_all,
    dropping_a_read_loses_nothing,
    any_number_of_waiters_get_the_same_answer,
    kill_ends_a_command_that_is_being_waited_for if kill,
    kill_after_the_end_kills_what_was_left_behind if kill,
    kill_needs_no_reader if kill,
    a_signal_reaches_the_command if kill,
    a_signal_after_the_end_is_fine if kill,
    input_can_be_written_piece_by_piece,
    input_can_be_ended_twice,
    writing_to_what_no_longer_reads_is_unavailable,
    a_reader_that_goes_is_told_to_the_writer,
    a_process_goes_on_without_its_handle,
    a_dropped_spawn_leaves_nothing if kill,
    the_number_is_that_in_the_sandbox,
    what_has_no_terminal_has_no_size,
    what_could_not_be_started_behaves_like_what_has_ended,
];

const SOON: Duration = Duration::from_secs(2);

async fn spawn(sandbox: &Sandbox, line: &str) -> Process {
    sandbox.instance().spawn(&shell(line)).await.unwrap()
}

async fn spawn_fed(sandbox: &Sandbox, line: &str) -> Process {
    sandbox.instance().spawn(&Command { stdin: true, ..shell(line) }).await.unwrap()
}

async fn text(output: &mut Box<dyn Output>) -> Option<String> {
    let bytes = match output.next(Wanted::BOTH).await? {
        Chunk::Stdout(bytes) | Chunk::Stderr(bytes) => bytes,
    };
    Some(String::from_utf8(bytes.to_vec()).unwrap())
}

async fn runs(sandbox: &Sandbox, pid: &str) -> bool {
    // A zombie runs no more; nobody may have waited for it yet.
    let state = sh(sandbox, format!("cut -d' ' -f3 /proc/{pid}/stat 2>/dev/null")).await.stdout;
    !matches!(state.trim(), "" | "Z" | "X")
}

async fn output_comes_in_the_order_of_arrival(at: At) {
    let sandbox = at.sandbox().await;
    let mut process = spawn_fed(&sandbox, "echo 1; read x; echo 2 >&2; read x; echo 3").await;
    for (step, expected) in ["1\n", "2\n", "3\n"].iter().enumerate() {
        let chunk = process.output.next(Wanted::BOTH).await.unwrap();
        assert_eq!(matches!(chunk, Chunk::Stderr(_)), step == 1);
        let (Chunk::Stdout(bytes) | Chunk::Stderr(bytes)) = chunk;
        assert_eq!(bytes, expected);
        // The last line ends the command, which then no longer reads.
        let _ = process.control.write_stdin(b"\n").await;
    }
    assert_eq!(process.output.next(Wanted::BOTH).await, None);
}

async fn output_is_over_once_and_for_all(at: At) {
    let sandbox = at.sandbox().await;
    let late = Duration::from_millis(100) + at.measures().unnoticed;
    let line = format!("(sleep {}; echo late) & echo now", late.as_secs_f64());
    let mut process = spawn(&sandbox, &line).await;
    assert_eq!(text(&mut process.output).await.as_deref(), Some("now\n"));
    assert_eq!(process.output.next(Wanted::BOTH).await, None);
    sh(&sandbox, format!("sleep {}", (2 * late).as_secs_f64())).await;
    assert_eq!(process.output.next(Wanted::BOTH).await, None);
}

async fn dropping_a_read_loses_nothing(at: At) {
    let sandbox = at.sandbox().await;
    let mut process = spawn(&sandbox, "for i in $(seq 200); do echo $i; sleep 0.001; done").await;
    let mut all = String::new();
    loop {
        match tokio::time::timeout(Duration::from_micros(300), text(&mut process.output)).await {
            Ok(Some(piece)) => all.push_str(&piece),
            Ok(None) => break,
            Err(_) => {}
        }
    }
    assert_eq!(all, (1..=200).map(|n| format!("{n}\n")).collect::<String>());
}

async fn any_number_of_waiters_get_the_same_answer(at: At) {
    let sandbox = at.sandbox().await;
    let process = spawn_fed(&sandbox, "read x; exit 77").await;
    let waiters = (0..20).map(|_| {
        tokio::spawn({
            let control = Arc::clone(&process.control);
            async move { control.wait().await.unwrap() }
        })
    });
    let waiters = join_all(waiters.collect::<Vec<_>>());
    process.control.write_stdin(b"go\n").await.unwrap();
    for exit in waiters.await {
        assert_eq!(exit.unwrap(), Exit::Code(77));
    }
    assert_eq!(process.control.wait().await.unwrap(), Exit::Code(77), "after the end too");
}

async fn kill_ends_a_command_that_is_being_waited_for(at: At) {
    let sandbox = at.sandbox().await;
    let process = spawn(&sandbox, "trap '' TERM; echo ready; sleep 1000; sleep 1000").await;
    let (exit, killed) =
        soon("the end", SOON, async { tokio::join!(process.control.wait(), process.control.kill()) }).await;
    killed.unwrap();
    assert_eq!(exit.unwrap(), Exit::Signal(9));
    process.control.kill().await.unwrap();
}

async fn kill_after_the_end_kills_what_was_left_behind(at: At) {
    let sandbox = at.sandbox().await;
    let mut process = spawn(&sandbox, "setsid -f sleep 1000; sleep 1000 & echo $!").await;
    let left = text(&mut process.output).await.unwrap();
    assert_eq!(process.control.wait().await.unwrap(), Exit::Code(0));
    assert!(runs(&sandbox, left.trim()).await);
    process.control.kill().await.unwrap();
    eventually("what was left is gone", SOON, async || {
        !runs(&sandbox, left.trim()).await && sh(&sandbox, "pgrep -x sleep").await.exit_code != 0
    })
    .await;
}

async fn kill_needs_no_reader(at: At) {
    let sandbox = at.sandbox().await;
    // Blocked on a full pipe that nobody reads.
    let process = spawn(&sandbox, "yes; yes").await;
    process.control.kill().await.unwrap();
    assert_eq!(soon("the end", SOON, process.control.wait()).await.unwrap(), Exit::Signal(9));
}

async fn a_signal_reaches_the_command(at: At) {
    let sandbox = at.sandbox().await;
    let mut process =
        spawn_fed(&sandbox, "trap 'echo caught; exit 5' TERM; echo ready; while :; do read x; done").await;
    assert_eq!(text(&mut process.output).await.as_deref(), Some("ready\n"));
    process.control.signal(15).await.unwrap();
    assert_eq!(text(&mut process.output).await.as_deref(), Some("caught\n"));
    assert_eq!(process.control.wait().await.unwrap(), Exit::Code(5));
}

async fn a_signal_after_the_end_is_fine(at: At) {
    let sandbox = at.sandbox().await;
    let process = spawn(&sandbox, "exit 3").await;
    assert_eq!(process.control.wait().await.unwrap(), Exit::Code(3));
    for signal in [9, 15, 0, -1, 9999] {
        process.control.signal(signal).await.unwrap();
    }
    assert_eq!(process.control.wait().await.unwrap(), Exit::Code(3));
    assert_eq!(sh(&sandbox, "echo lives").await.stdout, "lives\n");
}

async fn input_can_be_written_piece_by_piece(at: At) {
    let sandbox = at.sandbox().await;
    let mut process = spawn_fed(&sandbox, "cat").await;
    for piece in ["one ", "two ", "three"] {
        process.control.write_stdin(piece.as_bytes()).await.unwrap();
        assert_eq!(text(&mut process.output).await.as_deref(), Some(piece));
    }
    process.control.close_stdin().await.unwrap();
    assert_eq!(process.control.wait().await.unwrap(), Exit::Code(0));
}

async fn input_can_be_ended_twice(at: At) {
    let sandbox = at.sandbox().await;
    let process = spawn_fed(&sandbox, "cat").await;
    process.control.close_stdin().await.unwrap();
    process.control.close_stdin().await.unwrap();
    assert_eq!(process.control.wait().await.unwrap(), Exit::Code(0));
    process.control.close_stdin().await.unwrap();
    let error = process.control.write_stdin(b"x").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
}

async fn writing_to_what_no_longer_reads_is_unavailable(at: At) {
    let sandbox = at.sandbox().await;
    let process = spawn_fed(&sandbox, "exec <&-; sleep 1000").await;
    let error = soon("a refusal", SOON, async {
        loop {
            if let Err(error) = process.control.write_stdin(&[0; 1 << 16]).await {
                return error;
            }
        }
    })
    .await;
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    // One that was never to be written to.
    let process = spawn(&sandbox, "sleep 1000").await;
    assert_eq!(process.control.write_stdin(b"x").await.unwrap_err().kind(), ErrorKind::Unavailable);
}

async fn a_reader_that_goes_is_told_to_the_writer(at: At) {
    let sandbox = at.sandbox().await;
    let process = spawn(&sandbox, "exec yes").await;
    drop(process.output);
    assert_eq!(soon("the end", SOON, process.control.wait()).await.unwrap(), Exit::Signal(13));
}

async fn a_process_goes_on_without_its_handle(at: At) {
    let sandbox = at.sandbox().await;
    drop(spawn(&sandbox, "sleep 0.1; touch /tmp/went-on").await);
    let mut process = spawn(&sandbox, "sleep 0.1; echo still read").await;
    drop(process.control);
    assert_eq!(text(&mut process.output).await.as_deref(), Some("still read\n"));
    eventually("it went on", SOON, async || sandbox.filesystem().exists("/tmp/went-on").await).await;
}

async fn a_dropped_spawn_leaves_nothing(at: At) {
    let sandbox = at.sandbox().await;
    for step in 0..60_u64 {
        let line = shell("exec sleep 2222");
        tokio::select! {
            biased;
            () = tokio::time::sleep(Duration::from_micros(step * 20)) => {}
            started = sandbox.instance().spawn(&line) => started.unwrap().control.kill().await.unwrap(),
        }
    }
    let is_gone = async || sh(&sandbox, "pgrep -fx 'sleep 2222'").await.exit_code == 1;
    eventually("nothing is left", SOON, is_gone).await;
}

async fn the_number_is_that_in_the_sandbox(at: At) {
    let sandbox = at.sandbox().await;
    let mut process = spawn(&sandbox, "echo $$").await;
    assert_eq!(text(&mut process.output).await, Some(format!("{}\n", process.control.pid())));
}

async fn what_has_no_terminal_has_no_size(at: At) {
    let sandbox = at.sandbox().await;
    let process = spawn(&sandbox, "sleep 1000").await;
    assert_eq!(
        process.control.resize(Size { cols: 80, rows: 24 }).await.unwrap_err().kind(),
        ErrorKind::Unsupported
    );
}

async fn what_could_not_be_started_behaves_like_what_has_ended(at: At) {
    let sandbox = at.sandbox().await;
    let program = computesdk::provider::Program::Args(vec!["no-such-program".to_owned()]);
    let mut process =
        sandbox.instance().spawn(&Command { program, stdin: true, ..Command::default() }).await.unwrap();
    assert_eq!(process.control.wait().await.unwrap(), Exit::Code(127));
    assert!(matches!(process.output.next(Wanted::BOTH).await, Some(Chunk::Stderr(_))));
    while let Some(chunk) = process.output.next(Wanted::BOTH).await {
        assert!(matches!(chunk, Chunk::Stderr(_)), "{chunk:?}");
    }
    process.control.kill().await.unwrap();
    process.control.signal(15).await.unwrap();
    process.control.close_stdin().await.unwrap();
    assert_eq!(process.control.write_stdin(b"x").await.unwrap_err().kind(), ErrorKind::Unavailable);
}
