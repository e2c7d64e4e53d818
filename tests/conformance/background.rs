//! Processes that go on: waited for, written to, ended and found again.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use computesdk::command::{Output, RunOptions, TIMED_OUT};
use computesdk::error::{Error, ErrorKind};
use computesdk::process::Process;
use computesdk::provider::{Chunk, Command, Wanted};
use computesdk::sandbox::Sandbox;
use futures_util::future::join_all;
use tokio_util::sync::CancellationToken;

use super::commands::{args, assert_gone, within};
use super::streams::told;
use crate::harness::{At, Case, cases, eventually, pace, sh, shell, soon};

pub(super) const CASES: &[Case] = cases![
    any_number_of_waiters_get_the_same_result if kill,
    one_that_nobody_holds_goes_on if kill,
    kill_ends_all_that_came_of_it if kill,
    kill_and_wait_need_no_reader if kill,
    a_signal_reaches_the_process_alone if kill,
    a_time_limit_ends_it_and_all_that_came_of_it if kill,
    a_time_limit_is_a_result_however_short_it_is if kill,
    an_abort_ends_it_and_tells_every_waiter if kill,
    an_abort_before_the_start_begins_nothing if kill,
    a_listener_is_told_until_its_end if kill,
    a_listener_that_fails_ends_it if kill,
    its_input_is_open_until_it_is_closed if kill,
    input_larger_than_a_pipe_is_waited_for if kill,
    input_arrives_in_the_order_of_the_calls if kill,
    writing_to_one_that_has_ended_is_refused if kill,
    what_it_leaves_behind_is_not_waited_for if kill,
    one_that_cannot_be_run_says_so_as_a_shell_would if kill,
    one_whose_directory_is_missing_is_not_found if kill,
    code_goes_on_as_well if kill,
    a_dropped_start_leaves_nothing if kill,
];

/// How long what ought to come may take on a machine that is busy.
pub(super) const SOON: Duration = Duration::from_secs(10);

/// Starts a line that nobody reads from the start.
pub(super) async fn begin(sandbox: &Sandbox, line: &str) -> Arc<Process> {
    begin_as(sandbox, shell(line), RunOptions::default()).await
}

/// Starts a line whose input is open.
pub(super) async fn begin_fed(sandbox: &Sandbox, line: &str) -> Arc<Process> {
    begin_as(sandbox, Command { stdin: true, ..shell(line) }, RunOptions::default()).await
}

async fn begin_as(sandbox: &Sandbox, command: Command, options: RunOptions) -> Arc<Process> {
    let process = sandbox.spawn(command, options).await.unwrap();
    process.release();
    process
}

/// Waits until a process has written this much to its standard output.
pub(super) async fn wrote(process: &Process, text: &str) {
    let mut reader = process.reader(Wanted { stdout: true, stderr: false }, false);
    let mut seen = String::new();
    while !seen.contains(text) {
        let Some(Chunk::Stdout(piece)) = soon(text, SOON, reader.next()).await else {
            panic!("it has ended without {text:?}: {seen:?}")
        };
        seen.push_str(std::str::from_utf8(&piece).unwrap());
    }
}

pub(super) async fn ended(process: &Process) -> Output {
    soon("the end", SOON, process.wait()).await.unwrap()
}

async fn any_number_of_waiters_get_the_same_result(at: At) {
    let sandbox = at.sandbox().await;
    let process = begin_fed(&sandbox, "read x; echo out; echo err >&2; exit 77").await;
    let waiters = (0..20).map(|_| {
        tokio::spawn({
            let process = Arc::clone(&process);
            async move { process.wait().await.unwrap() }
        })
    });
    let waiters = join_all(waiters.collect::<Vec<_>>());
    assert!(!process.has_ended());
    process.control().write_stdin(b"\n").await.unwrap();
    let output = ended(&process).await;
    assert_eq!((output.stdout.as_str(), output.stderr.as_str(), output.exit_code), ("out\n", "err\n", 77));
    assert!(waiters.await.into_iter().all(|waited| waited.unwrap() == output));
    assert_eq!(process.wait().await.unwrap(), output, "after the end too");
    assert!(process.has_ended());
}

async fn one_that_nobody_holds_goes_on(at: At) {
    let sandbox = at.sandbox().await;
    let pid = begin_fed(&sandbox, "echo begun; read x; echo $x; exit 6").await.pid();
    let found = sandbox.process(pid).await.unwrap().unwrap();
    found.control().write_stdin(b"found\n").await.unwrap();
    let output = ended(&found).await;
    assert_eq!((output.stdout.as_str(), output.exit_code), ("begun\nfound\n", 6));
}

async fn kill_ends_all_that_came_of_it(at: At) {
    let sandbox = at.sandbox().await;
    let line =
        "trap '' TERM; setsid -f sleep 3131; (sleep 3131 & sleep 3131) & nohup sleep 3131 & echo on; wait";
    let process = begin(&sandbox, line).await;
    wrote(&process, "on").await;
    process.control().kill().await.unwrap();
    assert_eq!(ended(&process).await.signal, Some(9));
    assert_gone(&sandbox, "sleep 3131").await;
    process.control().kill().await.unwrap();
}

async fn kill_and_wait_need_no_reader(at: At) {
    let sandbox = at.sandbox().await;
    let token = CancellationToken::new();
    let ends: [(RunOptions, Option<i32>); 3] = [
        (RunOptions::default(), Some(9)),
        (within(Duration::from_millis(300) * pace()), Some(9)),
        (RunOptions { cancel: token.clone(), ..RunOptions::default() }, None),
    ];
    for (number, (options, signal)) in ends.into_iter().enumerate() {
        let process = sandbox.spawn(shell("yes"), options).await.unwrap();
        // One that is stuck, and the hold that was never let go of.
        let mut stuck = process.reader(Wanted::BOTH, true);
        assert!(stuck.next().await.is_some());
        match number {
            0 => process.control().kill().await.unwrap(),
            1 => {}
            _ => token.cancel(),
        }
        let output = soon("the end", SOON, process.wait()).await;
        assert_eq!(output.ok().and_then(|output| output.signal), signal);
    }
}

async fn a_signal_reaches_the_process_alone(at: At) {
    let sandbox = at.sandbox().await;
    let line = "sleep 3132 & trap 'echo caught; exit 5' TERM; echo ready; while :; do read -t 0.05 x; done";
    let process = begin_fed(&sandbox, line).await;
    wrote(&process, "ready").await;
    process.control().signal(15).await.unwrap();
    let output = ended(&process).await;
    assert_eq!((output.stdout.as_str(), output.exit_code, output.signal), ("ready\ncaught\n", 5, None));
    eventually("it lives", SOON, async || sh(&sandbox, "pgrep -fcx 'sleep 3132'").await.stdout == "1\n")
        .await;
    process.control().signal(15).await.unwrap();
    // What it has left behind is still its own.
    process.control().kill().await.unwrap();
    assert_gone(&sandbox, "sleep 3132").await;
    // One that does not expect it.
    let process = begin(&sandbox, "exec sleep 3133").await;
    process.control().signal(15).await.unwrap();
    let output = ended(&process).await;
    assert_eq!((output.exit_code, output.signal), (143, Some(15)));
}

async fn a_time_limit_ends_it_and_all_that_came_of_it(at: At) {
    let sandbox = at.sandbox().await;
    let line = "echo out; echo err >&2; setsid -f sleep 3134; sleep 3134";
    let process = begin_as(&sandbox, shell(line), within(Duration::from_millis(500) * pace())).await;
    let output = ended(&process).await;
    assert_eq!((output.stdout.as_str(), output.stderr.as_str()), ("out\n", "err\n"));
    assert_eq!((output.exit_code, output.timed_out), (TIMED_OUT, true));
    assert_gone(&sandbox, "sleep 3134").await;
}

async fn a_time_limit_is_a_result_however_short_it_is(at: At) {
    let sandbox = at.sandbox().await;
    for micros in (0..2000).step_by(50) {
        let options = within(Duration::from_micros(micros));
        let process = begin_as(&sandbox, shell("exec sleep 3135"), options).await;
        assert!(ended(&process).await.timed_out);
    }
    assert_gone(&sandbox, "sleep 3135").await;
}

async fn an_abort_ends_it_and_tells_every_waiter(at: At) {
    let sandbox = at.sandbox().await;
    let token = CancellationToken::new();
    let options = RunOptions { cancel: token.clone(), ..RunOptions::default() };
    let process = begin_as(&sandbox, shell("echo out; setsid -f sleep 3136; sleep 3136"), options).await;
    wrote(&process, "out").await;
    token.cancel();
    for _ in 0..3 {
        let error = soon("the end", SOON, process.wait()).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Aborted);
        assert_eq!(error.output().unwrap().stdout, "out\n");
    }
    assert!(process.has_ended() && process.exit_code().is_none());
    assert_gone(&sandbox, "sleep 3136").await;
    // After the end it changes nothing.
    let token = CancellationToken::new();
    let options = RunOptions { cancel: token.clone(), ..RunOptions::default() };
    let process = begin_as(&sandbox, shell("exit 8"), options).await;
    assert_eq!(ended(&process).await.exit_code, 8);
    token.cancel();
    assert_eq!(ended(&process).await.exit_code, 8);
}

async fn an_abort_before_the_start_begins_nothing(at: At) {
    let sandbox = at.sandbox().await;
    let token = CancellationToken::new();
    token.cancel();
    let options = RunOptions { cancel: token, ..RunOptions::default() };
    let error = sandbox.spawn(shell("touch /tmp/ran"), options).await.unwrap_err();
    assert_eq!((error.kind(), error.operation()), (ErrorKind::Aborted, Some("spawn")));
    assert!(sandbox.processes().await.unwrap().is_empty());
    assert!(!sandbox.filesystem().exists("/tmp/ran").await);
}

async fn a_listener_is_told_until_its_end(at: At) {
    let sandbox = at.sandbox().await;
    let heard: Arc<Mutex<String>> = Arc::default();
    let hearing = Arc::clone(&heard);
    let options = told(move |_, text: String| {
        hearing.lock().unwrap().push_str(&text);
        async { Ok(()) }
    });
    let process = begin_as(&sandbox, shell("seq 200000; printf '\\303'"), options).await;
    ended(&process).await;
    let expected: String = (1..=200_000).map(|number| format!("{number}\n")).collect();
    assert!(*heard.lock().unwrap() == format!("{expected}\u{FFFD}"));
}

async fn a_listener_that_fails_ends_it(at: At) {
    let sandbox = at.sandbox().await;
    let options = told(|_, _| async { Err(Error::invalid("enough")) });
    let process = begin_as(&sandbox, shell("echo; exec sleep 3137"), options).await;
    for _ in 0..3 {
        let error = soon("the end", SOON, process.wait()).await.unwrap_err();
        assert_eq!((error.kind(), error.message()), (ErrorKind::InvalidArgument, "enough"));
    }
    assert_gone(&sandbox, "sleep 3137").await;
}

async fn its_input_is_open_until_it_is_closed(at: At) {
    let sandbox = at.sandbox().await;
    let process = begin_fed(&sandbox, "cat; echo end").await;
    for piece in ["one ", "two\n"] {
        process.control().write_stdin(piece.as_bytes()).await.unwrap();
        wrote(&process, piece).await;
    }
    assert!(!process.has_ended());
    process.control().close_stdin().await.unwrap();
    process.control().close_stdin().await.unwrap();
    assert_eq!(ended(&process).await.stdout, "one two\nend\n");
    // Without one it is at its end from the start.
    let process = begin(&sandbox, "cat; echo end").await;
    assert_eq!(ended(&process).await.stdout, "end\n");
}

async fn input_larger_than_a_pipe_is_waited_for(at: At) {
    let sandbox = at.sandbox().await;
    sh(&sandbox, "mkfifo /tmp/go").await;
    let process = begin_fed(&sandbox, "cat /tmp/go; wc -c").await;
    let writing = process.control().write_stdin(&[b'x'; 3_000_000]);
    tokio::pin!(writing);
    tokio::select! {
        written = &mut writing => panic!("nobody has read it: {written:?}"),
        _ = sh(&sandbox, "seq 1000000 > /dev/null") => {}
    }
    let go_on = sh(&sandbox, "echo go > /tmp/go");
    soon("the rest", SOON, async { tokio::join!(writing, go_on) }).await.0.unwrap();
    process.control().close_stdin().await.unwrap();
    assert_eq!(ended(&process).await.stdout, "go\n3000000\n");
}

async fn input_arrives_in_the_order_of_the_calls(at: At) {
    let sandbox = at.sandbox().await;
    let process = begin_fed(&sandbox, "uniq -c | tr -s ' '").await;
    // Each larger than a pipe, and the end as well: nobody waits for the one before.
    let writes =
        (0..20).map(|number| tokio::spawn(process.write(format!("{number}\n").repeat(40_000).into())));
    let writes = writes.collect::<Vec<_>>();
    let end = tokio::spawn(process.end_input());
    for written in join_all(writes).await.into_iter().chain([end.await]) {
        written.unwrap().unwrap();
    }
    let expected: String = (0..20).map(|number| format!(" 40000 {number}\n")).collect();
    assert_eq!(ended(&process).await.stdout, expected);
}

async fn writing_to_one_that_has_ended_is_refused(at: At) {
    let sandbox = at.sandbox().await;
    let process = begin_fed(&sandbox, "exit 0").await;
    ended(&process).await;
    assert_eq!(process.write("x".into()).await.unwrap_err().kind(), ErrorKind::Unavailable);
    process.end_input().await.unwrap();
    assert_eq!(process.write("x".into()).await.unwrap_err().kind(), ErrorKind::Unavailable);
    // What waits for room is told as well.
    let process = begin_fed(&sandbox, "exec sleep 3138").await;
    let writing = tokio::spawn(process.write(vec![b'x'; 1 << 20].into()));
    process.control().kill().await.unwrap();
    let written = soon("an answer", SOON, writing).await.unwrap();
    assert_eq!(written.unwrap_err().kind(), ErrorKind::Unavailable);
}

async fn what_it_leaves_behind_is_not_waited_for(at: At) {
    let sandbox = at.sandbox().await;
    for left in [
        "sleep 3143 &",
        "setsid -f sleep 3143",
        "(sleep 3143 & sleep 3143) &",
        "(trap '' PIPE; yes 3143) &",
        "yes 3143 >&2 &",
    ] {
        let process = begin(&sandbox, &format!("{left} echo now; exit 2")).await;
        let mut reader = process.reader(Wanted::BOTH, true);
        soon("the end", SOON, async { while reader.next().await.is_some() {} }).await;
        assert_eq!(ended(&process).await.exit_code, 2, "{left}");
        process.control().kill().await.unwrap();
    }
    assert_gone(&sandbox, "3143").await;
}

async fn one_that_cannot_be_run_says_so_as_a_shell_would(at: At) {
    let sandbox = at.sandbox().await;
    for (program, code) in [("no-such-program", 127), ("/etc/passwd", 126)] {
        let command = Command { stdin: true, ..args(&[program]) };
        let process = begin_as(&sandbox, command, RunOptions::default()).await;
        let output = ended(&process).await;
        assert_eq!((output.stdout.as_str(), output.exit_code), ("", code));
        assert!(output.stderr.contains(program), "{output:?}");
        process.control().kill().await.unwrap();
        assert!(sandbox.processes().await.unwrap().is_empty());
    }
}

async fn one_whose_directory_is_missing_is_not_found(at: At) {
    let sandbox = at.sandbox().await;
    let command = Command { cwd: Some("/nowhere".to_owned()), ..shell("true") };
    let error = sandbox.spawn(command, RunOptions::default()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    assert!(error.message().contains("/nowhere"), "{error}");
    let error = sandbox.spawn(args(&[]), RunOptions::default()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidArgument);
    assert!(sandbox.processes().await.unwrap().is_empty());
}

async fn code_goes_on_as_well(at: At) {
    let sandbox = at.sandbox().await;
    let source = "print('begun', flush=True)\nprint(input())";
    let command = Command { stdin: true, ..Command::default() };
    let (language, process) = sandbox.spawn_code(source, None, command, RunOptions::default()).await.unwrap();
    process.release();
    assert_eq!(language.to_string(), "python");
    wrote(&process, "begun\n").await;
    let found = sandbox.process(process.pid()).await.unwrap().unwrap();
    found.control().write_stdin(b"heard\n").await.unwrap();
    assert_eq!(ended(&process).await.stdout, "begun\nheard\n");
}

async fn a_dropped_start_leaves_nothing(at: At) {
    let sandbox = at.sandbox().await;
    for step in 0..60_u64 {
        tokio::select! {
            biased;
            () = tokio::time::sleep(Duration::from_micros(step * 20)) => {}
            process = begin(&sandbox, "exec sleep 3144") => process.control().kill().await.unwrap(),
        }
    }
    assert_gone(&sandbox, "sleep 3144").await;
    eventually("nothing is listed", SOON, async || sandbox.processes().await.unwrap().is_empty()).await;
}
