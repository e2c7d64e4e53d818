//! Running commands to their end.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use computesdk::command::{Output, RunOptions};
use computesdk::error::ErrorKind;
use computesdk::provider::{Command, CreateRequest, Program, Wanted};
use computesdk::sandbox::Sandbox;
use futures_util::future::join_all;
use tokio_util::sync::CancellationToken;

use super::streams::told;
use crate::harness::{At, Case, cases, eventually, pace, sh, shell, soon};

pub(super) const CASES: &[Case] = cases![
    a_nonzero_exit_is_a_result,
    an_end_by_a_signal_is_128_and_its_number,
    arguments_arrive_literally,
    a_line_is_the_shells,
    stdout_and_stderr_are_never_mixed_up,
    large_output_arrives_whole,
    bytes_that_are_not_utf_8_are_replaced,
    output_beyond_the_limit_is_read_and_dropped,
    a_limit_never_cuts_a_character,
    a_missing_program_exits_with_127,
    what_is_no_program_exits_with_126,
    a_missing_working_directory_is_not_found,
    a_working_directory_is_where_it_runs,
    the_environment_of_a_command_lies_over_the_sandboxes,
    an_impossible_command_is_refused,
    a_line_of_any_length_is_run,
    arguments_up_to_the_kernels_limit_arrive,
    a_user_is_honoured_or_refused_by_name,
    the_duration_is_that_of_the_command,
    a_timeout_is_a_result_with_the_output_so_far,
    a_timeout_kills_all_that_came_of_the_command if kill,
    a_timeout_ends_what_ignores_every_signal if kill,
    a_timeout_of_zero_is_over_at_once,
    a_timeout_longer_than_any_clock_is_none,
    an_abort_before_the_start_starts_nothing,
    an_abort_gives_the_output_so_far,
    an_abort_kills_all_that_came_of_the_command if kill,
    an_abort_at_any_moment_settles if kill,
    an_abort_after_the_end_changes_nothing,
    a_dropped_run_kills_the_command if kill,
    a_grandchild_that_holds_the_pipe_is_not_waited_for,
    a_grandchild_that_floods_the_pipe_is_not_waited_for,
    what_a_grandchild_writes_before_the_end_is_kept,
    commands_run_side_by_side,
    a_command_that_kills_everything_harms_no_other_sandbox,
];

/// How soon something that was killed must be gone.
pub(super) const GONE: Duration = Duration::from_secs(2);

pub(super) fn args(argv: &[&str]) -> Command {
    Command { program: Program::Args(argv.iter().map(|&arg| arg.to_owned()).collect()), ..Command::default() }
}

pub(super) fn within(timeout: Duration) -> RunOptions {
    RunOptions { timeout: Some(timeout), ..RunOptions::default() }
}

pub(super) async fn run(sandbox: &Sandbox, argv: &[&str]) -> Output {
    sandbox.run_command(args(argv), RunOptions::default()).await.unwrap()
}

/// Whether a process of the sandbox has these words on its command line.
async fn runs(sandbox: &Sandbox, words: &str) -> bool {
    // The pattern does not match itself.
    let pattern = format!("[{}]{}", &words[..1], &words[1..]);
    sh(sandbox, format!("cat /proc/[0-9]*/cmdline 2>/dev/null | tr '\\0' ' ' | grep -q '{pattern}'"))
        .await
        .exit_code
        == 0
}

pub(super) async fn assert_gone(sandbox: &Sandbox, words: &str) {
    eventually(&format!("`{words}` is gone"), GONE, async || !runs(sandbox, words).await).await;
}

async fn a_nonzero_exit_is_a_result(at: At) {
    let sandbox = at.sandbox().await;
    for code in [0, 1, 2, 42, 127, 255] {
        let output = sh(&sandbox, format!("echo out; echo err >&2; exit {code}")).await;
        assert_eq!((output.exit_code, output.signal), (code, None));
        assert_eq!((output.stdout.as_str(), output.stderr.as_str()), ("out\n", "err\n"));
        assert!(!output.timed_out && !output.truncated);
    }
}

async fn an_end_by_a_signal_is_128_and_its_number(at: At) {
    let sandbox = at.sandbox().await;
    for (name, number) in [("KILL", 9), ("TERM", 15), ("SEGV", 11), ("USR1", 10)] {
        let output = sh(&sandbox, format!("kill -{name} $$")).await;
        assert_eq!((output.exit_code, output.signal), (128 + number, Some(number)), "{name}");
    }
}

async fn arguments_arrive_literally(at: At) {
    let sandbox = at.sandbox().await;
    let odd = [
        "$(id)",
        "; touch /tmp/x",
        "`id`",
        "a\nb",
        "-n",
        "",
        "*",
        "'\"\\",
        "é☕😀",
        "\u{1b}[0m",
        "$HOME",
        "~",
    ];
    let output = run(&sandbox, &[&["printf", "%s|"], &odd[..]].concat()).await;
    assert_eq!(output.stdout, odd.map(|arg| format!("{arg}|")).concat());
    assert!(!sandbox.filesystem().exists("/tmp/x").await);
}

async fn a_line_is_the_shells(at: At) {
    let sandbox = at.sandbox().await;
    let output =
        sh(&sandbox, "x=$(echo one two | wc -w); for i in 1 2; do echo $i; done | tac; exit $x").await;
    assert_eq!((output.stdout.as_str(), output.exit_code), ("2\n1\n", 2));
    assert_ne!(sh(&sandbox, "if then fi").await.exit_code, 0);
}

async fn stdout_and_stderr_are_never_mixed_up(at: At) {
    let sandbox = at.sandbox().await;
    let output = sh(&sandbox, "for i in $(seq 2000); do echo out; echo err >&2; done").await;
    assert!(output.stdout == "out\n".repeat(2000), "{}", output.stdout);
    assert!(output.stderr == "err\n".repeat(2000), "{}", output.stderr);
}

async fn large_output_arrives_whole(at: At) {
    let sandbox = at.sandbox().await;
    let output = sh(&sandbox, "seq 300000; seq 300000 -1 1 >&2").await;
    let numbers = (1..=300_000).map(|n| format!("{n}\n"));
    assert!(output.stdout == numbers.clone().collect::<String>());
    assert!(output.stderr == numbers.rev().collect::<String>());
}

async fn bytes_that_are_not_utf_8_are_replaced(at: At) {
    let sandbox = at.sandbox().await;
    let output = sh(&sandbox, r"printf '\377\376\000\303(\342\202'; printf 'a\360\237\230' >&2").await;
    assert_eq!(output.stdout, "\u{FFFD}\u{FFFD}\0\u{FFFD}(\u{FFFD}");
    assert_eq!(output.stderr, "a\u{FFFD}");
}

async fn output_beyond_the_limit_is_read_and_dropped(at: At) {
    let sandbox = at.sandbox().await;
    let seen = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&seen);
    let options = told(move |_, text: String| {
        counter.fetch_add(text.len(), Ordering::Relaxed);
        async { Ok(()) }
    });
    let options = RunOptions { max_output: Some(1000), ..options };
    let line = "yes | head -c 10000000; echo small >&2; exit 3";
    let output = sandbox.run_command(shell(line), options).await.unwrap();
    assert_eq!((output.stdout.as_str(), output.stderr.as_str()), ("y\n".repeat(500).as_str(), "small\n"));
    assert_eq!((output.truncated, output.exit_code), (true, 3));
    assert_eq!(seen.load(Ordering::Relaxed), 10_000_006);
    let exact = RunOptions { max_output: Some(4), ..RunOptions::default() };
    let output = sandbox.run_command(shell("printf 1234"), exact).await.unwrap();
    assert_eq!((output.stdout.as_str(), output.truncated), ("1234", false));
}

async fn a_limit_never_cuts_a_character(at: At) {
    let sandbox = at.sandbox().await;
    for (limit, kept) in [(0, ""), (1, "a"), (2, "a"), (3, "a"), (4, "a☕"), (7, "a☕"), (8, "a☕😀")] {
        let options = RunOptions { max_output: Some(limit), ..RunOptions::default() };
        let output = sandbox.run_command(args(&["printf", "a☕😀z"]), options).await.unwrap();
        assert_eq!((output.stdout.as_str(), output.truncated), (kept, true), "{limit}");
    }
}

async fn a_missing_program_exits_with_127(at: At) {
    let sandbox = at.sandbox().await;
    for name in ["no-such-program", "/no/such/program", "./nothing", "/etc/passwd/x"] {
        let output = run(&sandbox, &[name, "argument"]).await;
        assert_eq!((output.exit_code, output.stdout.as_str()), (127, ""), "{name}");
        assert!(output.stderr.contains(name), "{}", output.stderr);
    }
    assert_eq!(sh(&sandbox, "no-such-program").await.exit_code, 127);
}

async fn what_is_no_program_exits_with_126(at: At) {
    let sandbox = at.sandbox().await;
    sh(&sandbox, "printf '\\1\\2\\3' > /tmp/garbage; chmod +x /tmp/garbage").await;
    for name in ["/etc/passwd", "/tmp", "/tmp/garbage"] {
        let output = run(&sandbox, &[name]).await;
        assert_eq!(output.exit_code, 126, "{name}: {}", output.stderr);
        assert!(output.stderr.contains(name), "{}", output.stderr);
    }
}

async fn a_missing_working_directory_is_not_found(at: At) {
    let sandbox = at.sandbox().await;
    for program in ["true", "no-such-program"] {
        let command = Command { cwd: Some("/no/such/place".to_owned()), ..args(&[program]) };
        let error = sandbox.run_command(command, RunOptions::default()).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotFound, "{error}");
        assert!(error.message().contains("/no/such/place"), "{error}");
    }
}

async fn a_working_directory_is_where_it_runs(at: At) {
    let sandbox = at.sandbox().await;
    for cwd in ["/", "/tmp", "/usr/../tmp"] {
        let command = Command { cwd: Some(cwd.to_owned()), ..args(&["/bin/pwd"]) };
        let output = sandbox.run_command(command, RunOptions::default()).await.unwrap();
        assert_eq!(output.stdout, if cwd == "/" { "/\n" } else { "/tmp\n" });
    }
    assert_eq!(sh(&sandbox, "[ \"$PWD\" = \"$HOME\" ] && touch here && ls").await.stdout, "here\n");
    for cwd in ["tmp", "", "/a\0b"] {
        let command = Command { cwd: Some(cwd.to_owned()), ..args(&["true"]) };
        let error = sandbox.run_command(command, RunOptions::default()).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidArgument, "{cwd:?}");
    }
}

async fn the_environment_of_a_command_lies_over_the_sandboxes(at: At) {
    let env = |pairs: &[(&str, &str)]| {
        pairs.iter().map(|&(name, value)| (name.to_owned(), value.to_owned())).collect::<BTreeMap<_, _>>()
    };
    let envs = env(&[("A", "sandbox"), ("B", "sandbox"), ("LANG", "xx"), ("E", "")]);
    let sandbox = at.create(CreateRequest { envs, ..CreateRequest::default() }).await;
    let command = Command {
        env: env(&[("B", "command"), ("C", "a\nb $A")]),
        ..args(&["printenv", "A", "B", "C", "LANG", "E"])
    };
    let output = sandbox.run_command(command, RunOptions::default()).await.unwrap();
    assert_eq!(output.stdout, "sandbox\ncommand\na\nb $A\nxx\n\n");
    // The next command knows nothing of it.
    assert_eq!(run(&sandbox, &["printenv", "B"]).await.stdout, "sandbox\n");
}

async fn an_impossible_command_is_refused(at: At) {
    let sandbox = at.sandbox().await;
    let with_env = |name: &str, value: &str| Command {
        env: BTreeMap::from([(name.to_owned(), value.to_owned())]),
        ..args(&["true"])
    };
    let long = "x".repeat(128 << 10);
    let many = vec!["x".repeat(100_000).leak() as &str; 30];
    let impossible = [
        args(&[]),
        args(&[""]),
        args(&["echo", "a\0b"]),
        args(&["echo", &long]),
        args(&[&["echo"], &many[..]].concat()),
        shell("echo \0"),
        with_env("A=B", ""),
        with_env("", ""),
        with_env("A", "\0"),
        with_env("A", &long),
    ];
    for command in impossible {
        let error = sandbox.run_command(command.clone(), RunOptions::default()).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidArgument, "{error}");
    }
}

async fn a_line_of_any_length_is_run(at: At) {
    let sandbox = at.sandbox().await;
    for length in [131_000, 131_071, 131_072, 131_073, 5_000_000] {
        let line = format!("exit 7 # {}", "x".repeat(length - 9));
        assert_eq!(line.len(), length);
        assert_eq!(sh(&sandbox, line).await.exit_code, 7, "{length}");
    }
    let output = sh(&sandbox, format!("{} cat; echo end", "#\n".repeat(100_000))).await;
    assert_eq!(output.stdout, "end\n", "a script is not its own input");
}

async fn arguments_up_to_the_kernels_limit_arrive(at: At) {
    let sandbox = at.sandbox().await;
    let long = "x".repeat((128 << 10) - 1);
    let argv: Vec<&str> = ["printf", "%s"].into_iter().chain([long.as_str(); 12]).collect();
    assert_eq!(run(&sandbox, &argv).await.stdout.len(), 12 * long.len());
}

async fn a_user_is_honoured_or_refused_by_name(at: At) {
    let sandbox = at.sandbox().await;
    let own = run(&sandbox, &["id", "-un"]).await.stdout;
    for user in [own.trim(), "root", "0", "nobody-here"] {
        let command = Command { user: Some(user.to_owned()), ..args(&["id", "-un"]) };
        match sandbox.run_command(command, RunOptions::default()).await {
            // A server that only speaks as E2B does has a root in name.
            Ok(output) if user == "root" && at.lacks("one_user").is_some() => assert_eq!(output.exit_code, 0),
            Ok(output) => assert_eq!(output.stdout.trim(), user),
            Err(error) => {
                let kind = match at.lacks("one_user") {
                    None => ErrorKind::Unsupported,
                    Some(_) => ErrorKind::InvalidArgument,
                };
                assert_eq!(error.kind(), kind, "{error}");
                assert!(error.message().contains("`user`") && user != own.trim(), "{error}");
            }
        }
    }
}

async fn the_duration_is_that_of_the_command(at: At) {
    let sandbox = at.sandbox().await;
    let begun = Instant::now();
    let output = sh(&sandbox, "sleep 0.1").await;
    assert!(output.duration >= Duration::from_millis(100) && output.duration <= begun.elapsed());
}

async fn a_timeout_is_a_result_with_the_output_so_far(at: At) {
    let sandbox = at.sandbox().await;
    let line = shell("echo out; echo err >&2; sleep 1000");
    let (limit, begun) = (Duration::from_millis(200) * pace(), Instant::now());
    let output = sandbox.run_command(line, within(limit)).await.unwrap();
    assert!(begun.elapsed() < GONE * pace());
    assert_eq!((output.exit_code, output.timed_out), (124, true));
    assert_eq!((output.stdout.as_str(), output.stderr.as_str()), ("out\n", "err\n"));
    assert!(output.duration >= limit);
    assert_eq!(sh(&sandbox, "echo next").await.stdout, "next\n");
}

/// A line that leaves relatives of every kind behind, all of them sleeping this long.
fn family(seconds: u32) -> String {
    format!(
        "sleep {seconds} & (sleep {seconds} &) ; setsid -f sleep {seconds}; nohup sleep {seconds} >/dev/null 2>&1 & \
         sh -c 'trap \"\" TERM HUP INT; sleep {seconds}; sleep {seconds}' & \
         env -i /bin/sh -c 'exec setsid /bin/sleep {seconds}' & echo all; sleep {seconds}"
    )
}

async fn a_timeout_kills_all_that_came_of_the_command(at: At) {
    let sandbox = at.sandbox().await;
    let other = sandbox.instance().spawn(&shell("sleep 1114")).await.unwrap();
    let limit = within(Duration::from_secs(1) * pace());
    let output = sandbox.run_command(shell(family(1113)), limit).await.unwrap();
    assert!(output.timed_out && output.stdout == "all\n", "{output:?}");
    assert_gone(&sandbox, "sleep 1113").await;
    assert!(runs(&sandbox, "sleep 1114").await, "another command has died with it");
    drop(other);
}

async fn a_timeout_ends_what_ignores_every_signal(at: At) {
    let sandbox = at.sandbox().await;
    let line = shell(
        "for n in $(seq 64); do trap '' $n; done 2>/dev/null; kill -TERM $$; echo mine; while :; do :; done",
    );
    let output =
        soon("the end", GONE, sandbox.run_command(line, within(Duration::from_millis(200) * pace())))
            .await
            .unwrap();
    assert_eq!((output.exit_code, output.stdout.as_str()), (124, "mine\n"));
}

async fn a_timeout_of_zero_is_over_at_once(at: At) {
    let sandbox = at.sandbox().await;
    let output = soon("the end", GONE, sandbox.run_command(shell("sleep 1000"), within(Duration::ZERO)))
        .await
        .unwrap();
    assert_eq!((output.exit_code, output.timed_out), (124, true));
}

async fn a_timeout_longer_than_any_clock_is_none(at: At) {
    let sandbox = at.sandbox().await;
    let output = sandbox.run_command(shell("echo done"), within(Duration::MAX)).await.unwrap();
    assert_eq!((output.stdout.as_str(), output.timed_out), ("done\n", false));
}

fn cancelled_by(cancel: &CancellationToken) -> RunOptions {
    RunOptions { cancel: cancel.clone(), ..RunOptions::default() }
}

async fn an_abort_before_the_start_starts_nothing(at: At) {
    let sandbox = at.sandbox().await;
    let cancel = CancellationToken::new();
    cancel.cancel();
    let error = sandbox.run_command(shell("touch /tmp/started"), cancelled_by(&cancel)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Aborted);
    assert!(error.output().is_none());
    // Whatever had been sent has arrived once a later command has run.
    assert_eq!(sh(&sandbox, "ls /tmp").await.stdout, "");
}

async fn an_abort_gives_the_output_so_far(at: At) {
    let sandbox = at.sandbox().await;
    let cancel = CancellationToken::new();
    let token = cancel.clone();
    let options = told(move |_, text: String| {
        if text.contains("now") {
            token.cancel();
        }
        async { Ok(()) }
    });
    let line = shell("echo before; sleep 0.01; echo now >&2; sleep 1000");
    let options = RunOptions { cancel, ..options };
    let error = soon("the end", GONE, sandbox.run_command(line, options)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Aborted);
    let output = error.output().unwrap();
    assert_eq!((output.stdout.as_str(), output.stderr.as_str()), ("before\n", "now\n"));
    assert_eq!(output.signal, Some(9));
}

async fn an_abort_kills_all_that_came_of_the_command(at: At) {
    let sandbox = at.sandbox().await;
    let cancel = CancellationToken::new();
    let running = sandbox.run_command(shell(family(1115)), cancelled_by(&cancel));
    let aborting = async {
        eventually("it runs", GONE, async || runs(&sandbox, "sleep 1115").await).await;
        cancel.cancel();
    };
    let (result, ()) = tokio::join!(running, aborting);
    assert_eq!(result.unwrap_err().kind(), ErrorKind::Aborted);
    assert_gone(&sandbox, "sleep 1115").await;
}

async fn an_abort_at_any_moment_settles(at: At) {
    let sandbox = at.sandbox().await;
    for step in 0..60_u64 {
        let cancel = CancellationToken::new();
        let aborting = async {
            tokio::time::sleep(Duration::from_micros(step * 50)).await;
            cancel.cancel();
        };
        let running = sandbox.run_command(shell("sleep 0.002; sleep 1116"), cancelled_by(&cancel));
        let (result, ()) = soon("the end", GONE, async { tokio::join!(running, aborting) }).await;
        assert_eq!(result.unwrap_err().kind(), ErrorKind::Aborted, "step {step}");
    }
    assert_gone(&sandbox, "sleep 1116").await;
}

async fn an_abort_after_the_end_changes_nothing(at: At) {
    let sandbox = at.sandbox().await;
    let cancel = CancellationToken::new();
    let output = sandbox.run_command(shell("sleep 1117 & echo done"), cancelled_by(&cancel)).await.unwrap();
    cancel.cancel();
    assert_eq!((output.stdout.as_str(), output.exit_code), ("done\n", 0));
    // Having begun, which may take a moment, it goes on.
    eventually("it runs", GONE, async || runs(&sandbox, "sleep 1117").await).await;
}

async fn a_dropped_run_kills_the_command(at: At) {
    let sandbox = at.sandbox().await;
    let running = sandbox.run_command(shell(family(1118)), RunOptions::default());
    tokio::select! {
        result = running => panic!("{result:?}"),
        () = eventually("it runs", GONE, async || runs(&sandbox, "sleep 1118").await) => {}
    }
    assert_gone(&sandbox, "sleep 1118").await;
    for step in 0..40_u64 {
        let running = sandbox.run_command(shell("sleep 1119"), RunOptions::default());
        let _ = tokio::time::timeout(Duration::from_micros(step * 50), running).await;
    }
    assert_gone(&sandbox, "sleep 1119").await;
}

async fn a_grandchild_that_holds_the_pipe_is_not_waited_for(at: At) {
    let sandbox = at.sandbox().await;
    for line in ["sleep 1120 & echo hi", "setsid -f sleep 1120; echo hi", "(sleep 1120; echo late) & echo hi"]
    {
        let output = soon("the end", GONE, sh(&sandbox, line)).await;
        assert_eq!((output.stdout.as_str(), output.exit_code), ("hi\n", 0));
    }
    eventually("what a command leaves behind runs", GONE, async || runs(&sandbox, "sleep 1120").await).await;
}

async fn a_grandchild_that_floods_the_pipe_is_not_waited_for(at: At) {
    let sandbox = at.sandbox().await;
    let line = "yes & yes >&2 & sleep 0.05; exit 3";
    let options = RunOptions { max_output: Some(1000), ..RunOptions::default() };
    let output = soon("the end", GONE, sandbox.run_command(shell(line), options)).await.unwrap();
    assert_eq!((output.exit_code, output.truncated), (3, true));
}

async fn what_a_grandchild_writes_before_the_end_is_kept(at: At) {
    let sandbox = at.sandbox().await;
    for _ in 0..20 {
        let line = "mkfifo /tmp/f$$; (seq 10000; echo > /tmp/f$$; exec sleep 1000) & read x < /tmp/f$$";
        let output = soon("the end", GONE, sh(&sandbox, line)).await;
        assert!(output.stdout.ends_with("\n10000\n") && output.stdout.starts_with("1\n2\n"));
        assert_eq!(output.stdout.lines().count(), 10_000);
    }
}

async fn commands_run_side_by_side(at: At) {
    let sandbox = at.sandbox().await;
    sh(&sandbox, "mkfifo /tmp/a /tmp/b").await;
    // Each waits for the other.
    let (one, other) = soon("the end", GONE, async {
        tokio::join!(
            sh(&sandbox, "echo 1 > /tmp/a; cat /tmp/b"),
            sh(&sandbox, "read x < /tmp/a; echo \"$x and 2\" > /tmp/b")
        )
    })
    .await;
    assert_eq!((one.stdout.as_str(), other.exit_code), ("1 and 2\n", 0));
    let outputs = join_all(
        (0..20).map(|n| sh(&sandbox, format!("echo {n}; echo {n} >&2; exit {n}"))).collect::<Vec<_>>(),
    )
    .await;
    for (n, output) in outputs.iter().enumerate() {
        assert_eq!(output.stdout, format!("{n}\n"));
        assert_eq!((&output.stderr, output.exit_code), (&output.stdout, n as i32));
    }
}

/// Panics where a command that kills everything would kill what runs on this machine, whoever it belongs to: at a
/// provider that is being written, say.
pub(super) async fn assert_apart(sandbox: &Sandbox) {
    let Ok(kernel) = std::fs::read_to_string("/proc/sys/kernel/random/boot_id") else { return };
    let here = std::fs::read_link("/proc/self/ns/pid").unwrap();
    let line = "cat /proc/sys/kernel/random/boot_id; readlink /proc/self/ns/pid";
    let there = sh(sandbox, line).await.stdout;
    assert_ne!(there, format!("{kernel}{}\n", here.display()), "what runs there is among what runs here");
}

async fn a_command_that_kills_everything_harms_no_other_sandbox(at: At) {
    let (one, other) = (at.sandbox().await, at.sandbox().await);
    assert_apart(&one).await;
    let waiting = other.instance().spawn(&shell("read x; exit 9")).await.unwrap();
    let mut waiting_here = one.instance().spawn(&Command { stdin: true, ..shell("cat") }).await.unwrap();
    sh(&one, "kill -9 -1; kill -9 1; kill -SEGV 1; for p in $(seq 2 4000); do kill -9 $p 2>/dev/null; done")
        .await;
    assert_eq!(waiting_here.output.next(Wanted::BOTH).await, None);
    assert_eq!(sh(&one, "echo lives").await.stdout, "lives\n");
    assert_eq!(waiting.control.wait().await.unwrap(), computesdk::provider::Exit::Code(9));
    assert_eq!(sh(&other, "echo lives").await.stdout, "lives\n");
}
