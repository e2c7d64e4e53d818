//! Terminals, with what people do at them.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use computesdk::error::ErrorKind;
use computesdk::process::Reader;
use computesdk::provider::{Chunk, Size};
use computesdk::sandbox::Sandbox;
use computesdk::terminal::{Terminal, TerminalOptions};
use futures_util::future::join_all;

use super::background::SOON;
use super::commands::assert_gone;
use crate::harness::{At, Case, cases, eventually, sh, soon};

pub(super) const CASES: &[Case] = cases![
    a_terminal_is_one_in_every_respect if kill,
    a_terminal_is_the_controlling_one_of_its_own_session if kill,
    its_size_is_what_it_was_given_and_what_it_was_changed_to if kill,
    its_environment_and_directory_are_honoured if kill,
    the_login_shell_is_what_runs_unless_another_is_given if kill,
    ctrl_c_interrupts_what_is_in_the_foreground if kill,
    ctrl_z_stops_and_fg_goes_on if kill,
    ctrl_d_ends_the_input if kill,
    typing_arrives_in_the_order_of_the_calls if kill,
    one_is_found_by_its_id_and_its_number if kill,
    what_it_showed_before_the_first_reader_is_kept if kill,
    every_reader_of_it_gets_everything if kill,
    fifty_are_open_at_once if kill,
    too_many_are_refused_by_number if kill & terminals,
    two_sandboxes_have_terminals_apart if kill,
    one_that_cannot_be_run_says_so if kill,
];

/// A terminal with a line of its own in it.
pub(super) async fn open(sandbox: &Sandbox, line: &str) -> Arc<Terminal> {
    // A terminal that knows no more than text, so that shells show nothing else.
    let env = BTreeMap::from([("TERM".to_owned(), "dumb".to_owned())]);
    let options = TerminalOptions { command: Some(line.to_owned()), env, ..TerminalOptions::default() };
    sandbox.open_terminal(options).await.unwrap()
}

/// An interactive shell whose prompt is `ready> `.
pub(super) async fn open_shell(sandbox: &Sandbox) -> (Arc<Terminal>, Screen) {
    let terminal = open(sandbox, "PS1='ready> ' exec bash --norc --noprofile -i").await;
    let mut screen = Screen::of(&terminal);
    screen.until("ready> ").await;
    (terminal, screen)
}

/// What a terminal shows.
pub(super) struct Screen {
    reader: Reader,
    shown: String,
}

impl Screen {
    pub(super) fn of(terminal: &Terminal) -> Self {
        Self { reader: terminal.reader(), shown: String::new() }
    }

    async fn more(&mut self) -> bool {
        let Ok(chunk) = tokio::time::timeout(SOON, self.reader.next()).await else {
            panic!("nothing more is shown after {:?}", self.shown)
        };
        match chunk {
            Some(Chunk::Stdout(bytes)) => self.shown.push_str(&String::from_utf8_lossy(&bytes)),
            Some(Chunk::Stderr(_)) => panic!("a terminal has one stream"),
            None => return false,
        }
        true
    }

    /// Waits for this text, and gives and forgets what was shown up to it.
    pub(super) async fn until(&mut self, text: &str) -> String {
        loop {
            if let Some(at) = self.shown.find(text) {
                return self.shown.drain(..at + text.len()).collect();
            }
            assert!(self.more().await, "it has ended without {text:?}: {:?}", self.shown);
        }
    }

    /// All until the end.
    pub(super) async fn rest(mut self) -> String {
        while self.more().await {}
        self.shown
    }
}

pub(super) async fn write(terminal: &Arc<Terminal>, text: &str) {
    terminal.write(text.to_owned().into()).await.unwrap();
}

pub(super) async fn ended(terminal: &Terminal) -> i32 {
    soon("the end of a terminal", SOON, terminal.wait()).await
}

async fn a_terminal_is_one_in_every_respect(at: At) {
    let sandbox = at.sandbox().await;
    let line = "for fd in 0 1 2; do test -t $fd && echo terminal $fd; done; tty; tty </dev/tty; stty -a; \
                ls -l /proc/$$/fd/[0-2] | grep -c ' /dev/pts/0$'; echo to the terminal > /dev/tty; printf '\\033[31mred\\033[0m☕'; echo err >&2";
    let terminal = open(&sandbox, line).await;
    let screen = Screen::of(&terminal).rest().await;
    assert!(
        screen.starts_with("terminal 0\r\nterminal 1\r\nterminal 2\r\n/dev/pts/0\r\n/dev/tty\r\n"),
        "{screen}"
    );
    assert!(screen.ends_with("3\r\nto the terminal\r\n\u{1b}[31mred\u{1b}[0m☕err\r\n"), "{screen}");
    for expected in ["rows 24; columns 80;", " iutf8", " icanon", " echo ", "isig icanon", "intr = ^C;"] {
        assert!(screen.contains(expected), "{expected} in {screen}");
    }
    assert_eq!(ended(&terminal).await, 0);
}

async fn a_terminal_is_the_controlling_one_of_its_own_session(at: At) {
    let sandbox = at.sandbox().await;
    // State, parent, group, session, terminal, foreground group; the shell's own, which is in the foreground.
    let line =
        "read -a stat < /proc/$$/stat; echo $$ ${stat[4]} ${stat[5]} ${stat[6]} ${stat[7]}; ps -o tty= -p $$";
    let terminal = open(&sandbox, &format!("{line}; true")).await;
    let screen = Screen::of(&terminal).rest().await;
    let pid = terminal.pid();
    // Device 136:0 is /dev/pts/0.
    assert_eq!(screen.replace("?", ""), format!("{pid} {pid} {pid} {} {pid}\r\npts/0\r\n", 136 << 8));
    // Others have none.
    let output = sh(&sandbox, "echo x > /dev/tty; tty").await;
    assert!(output.stdout == "not a tty\n" && output.stderr.contains("/dev/tty"), "{output:?}");
}

async fn its_size_is_what_it_was_given_and_what_it_was_changed_to(at: At) {
    let sandbox = at.sandbox().await;
    let source = "import os, signal
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGWINCH])
while True: print(*os.get_terminal_size(0), flush=True); signal.sigwait([signal.SIGWINCH])";
    sandbox.filesystem().write("/tmp/size.py", bytes::Bytes::from(source)).await.unwrap();
    let options = TerminalOptions {
        command: Some("python3 /tmp/size.py".to_owned()),
        size: Size { cols: 132, rows: 43 },
        ..TerminalOptions::default()
    };
    let terminal = sandbox.open_terminal(options).await.unwrap();
    let mut screen = Screen::of(&terminal);
    assert_eq!(screen.until("\n").await, "132 43\r\n");
    for (cols, rows) in [(120, 30), (1, 1), (u16::MAX, u16::MAX)] {
        terminal.resize(Size { cols, rows }).await.unwrap();
        assert_eq!(terminal.size(), Size { cols, rows });
        screen.until(&format!("{cols} {rows}\r\n")).await;
    }
    // Asked for at once, the last one counts.
    let resizes: Vec<_> =
        (1..100).map(|n| tokio::spawn(terminal.resize(Size { cols: n, rows: n }))).collect();
    join_all(resizes).await;
    assert_eq!(terminal.size(), Size { cols: 99, rows: 99 });
    screen.until("99 99\r\n").await;
    terminal.kill().await.unwrap();
}

async fn its_environment_and_directory_are_honoured(at: At) {
    let sandbox = at.sandbox().await;
    sh(&sandbox, "mkdir /tmp/work").await;
    let env = [("TERM", "vt100"), ("OWN", "é ☕")].map(|(name, value)| (name.to_owned(), value.to_owned()));
    for (env, expected) in [
        (BTreeMap::new(), "/tmp/work xterm-256color  /home/user C.UTF-8\r\n"),
        (BTreeMap::from(env), "/tmp/work vt100 é ☕ /home/user C.UTF-8\r\n"),
    ] {
        let command = Some("echo $PWD $TERM \"$OWN\" $HOME $LANG".to_owned());
        let options =
            TerminalOptions { command, env, cwd: Some("/tmp/work".to_owned()), ..Default::default() };
        let terminal = sandbox.open_terminal(options).await.unwrap();
        assert_eq!(Screen::of(&terminal).rest().await, expected);
    }
    let missing = TerminalOptions { cwd: Some("/nowhere".to_owned()), ..TerminalOptions::default() };
    let error = sandbox.open_terminal(missing).await.unwrap_err();
    assert_eq!((error.kind(), error.operation()), (ErrorKind::NotFound, Some("terminal.create")));
    assert!(error.message().contains("/nowhere"), "{error}");
    for cwd in ["relative", "/nul\0"] {
        let options = TerminalOptions { cwd: Some(cwd.to_owned()), ..TerminalOptions::default() };
        assert_eq!(sandbox.open_terminal(options).await.unwrap_err().kind(), ErrorKind::InvalidArgument);
    }
}

async fn the_login_shell_is_what_runs_unless_another_is_given(at: At) {
    let sandbox = at.sandbox().await;
    let terminal = sandbox.open_terminal(TerminalOptions::default()).await.unwrap();
    let mut screen = Screen::of(&terminal);
    write(&terminal, "shopt -q login_shell && echo log''in; case $- in *i*) echo inter''active;; esac\n")
        .await;
    screen.until("login\r\n").await;
    screen.until("interactive\r\n").await;
    assert!(!terminal.command().is_empty());
    write(&terminal, "exit 3\n").await;
    assert_eq!(ended(&terminal).await, 3);
}

async fn ctrl_c_interrupts_what_is_in_the_foreground(at: At) {
    let sandbox = at.sandbox().await;
    let (terminal, mut screen) = open_shell(&sandbox).await;
    // What is typed before a program has the terminal is for the shell: it says so first, and not as it was typed.
    write(&terminal, "sleep 4141 & sh -c 'echo be''gun; exec cat'\n").await;
    screen.until("begun\r\n").await;
    write(&terminal, "echoed by cat\n").await;
    screen.until("echoed by cat\r\nechoed by cat\r\n").await;
    write(&terminal, "\x03").await;
    screen.until("^C").await;
    screen.until("ready> ").await;
    write(&terminal, "echo $?; jobs; exit 7\n").await;
    screen.until("\n130\r\n").await;
    // What is in the background is not meant.
    screen.until("Running").await;
    assert_eq!(ended(&terminal).await, 7);
    terminal.kill().await.unwrap();
    assert_gone(&sandbox, "sleep 4141").await;
}

async fn ctrl_z_stops_and_fg_goes_on(at: At) {
    let sandbox = at.sandbox().await;
    let (terminal, mut screen) = open_shell(&sandbox).await;
    for turn in 0..3 {
        write(&terminal, &format!("sh -c 'echo begun{turn}''; exec cat'\n")).await;
        screen.until(&format!("begun{turn}\r\n")).await;
        write(&terminal, "\x1a").await;
        screen.until("Stopped").await;
        screen.until("ready> ").await;
        write(&terminal, "fg\n").await;
        screen.until("exec cat'\r\n").await;
        write(&terminal, "again\n").await;
        screen.until("again\r\nagain\r\n").await;
        write(&terminal, "\x04").await;
        screen.until("ready> ").await;
    }
    // One that is stopped when the terminal is killed goes as well.
    write(&terminal, "sh -c 'echo be''gun; exec sleep 4142'\n").await;
    screen.until("begun\r\n").await;
    write(&terminal, "\x1a").await;
    screen.until("Stopped").await;
    terminal.kill().await.unwrap();
    assert_gone(&sandbox, "sleep 4142").await;
}

async fn ctrl_d_ends_the_input(at: At) {
    let sandbox = at.sandbox().await;
    let (terminal, mut screen) = open_shell(&sandbox).await;
    write(&terminal, "sh -c 'echo be''gun; exec wc -l'\n").await;
    screen.until("begun\r\n").await;
    write(&terminal, "one\ntwo\n\x04").await;
    screen.until("\n2\r\n").await;
    screen.until("ready> ").await;
    write(&terminal, "\x04").await;
    assert_eq!(ended(&terminal).await, 0);
}

async fn typing_arrives_in_the_order_of_the_calls(at: At) {
    let sandbox = at.sandbox().await;
    let terminal = open(&sandbox, "stty raw -echo; echo ready; head -c 40000 | tr -d '\\n'").await;
    let mut screen = Screen::of(&terminal);
    screen.until("ready").await;
    let typed: Vec<String> = (0..).map(|number: u32| format!("{number}\n")).take(10_000).collect();
    let expected: String = typed.concat()[..40_000].chars().filter(|one| *one != '\n').collect();
    let writes: Vec<_> = typed.into_iter().map(|text| tokio::spawn(terminal.write(text.into()))).collect();
    assert_eq!(screen.rest().await.trim_start(), expected);
    // What was typed after the end is told so, or was read by nobody.
    for written in join_all(writes).await {
        assert!(written.unwrap().is_ok() || terminal.has_ended());
    }
}

async fn one_is_found_by_its_id_and_its_number(at: At) {
    let sandbox = at.sandbox().await;
    let (one, other) = (open(&sandbox, "cat").await, open(&sandbox, "cat").await);
    let instance = at.0.connect(sandbox.id()).await.unwrap().unwrap();
    let connected = Sandbox::new(Arc::clone(&at.0), instance, false);
    for handle in [&*sandbox, &connected] {
        let ids: Vec<_> = handle.terminals().await.unwrap().iter().map(|one| one.id().to_owned()).collect();
        assert_eq!(ids, [one.id(), other.id()]);
        for key in [one.id().to_owned(), one.pid().to_string()] {
            let found = handle.terminal(&key).await.unwrap().unwrap();
            assert_eq!((found.id(), found.pid(), found.command()), (one.id(), one.pid(), "cat"));
        }
        for nothing in ["terminal-id", "", "0", "term_", "-1"] {
            assert!(handle.terminal(nothing).await.unwrap().is_none(), "{nothing}");
        }
        // A terminal is no process that goes on.
        assert!(handle.process(one.pid()).await.unwrap().is_none());
        assert!(handle.processes().await.unwrap().is_empty());
    }
    assert_ne!(one.id(), other.id());
    assert!(at.sandbox().await.terminal(one.id()).await.unwrap().is_none());
    one.kill().await.unwrap();
    assert_eq!(sandbox.terminals().await.unwrap().len(), 1);
}

async fn what_it_showed_before_the_first_reader_is_kept(at: At) {
    let sandbox = at.sandbox().await;
    let terminal = open(&sandbox, "echo early; touch /tmp/shown; read x; echo late").await;
    eventually("it is shown", SOON, async || sandbox.filesystem().exists("/tmp/shown").await).await;
    // Its end may be known before it is known that this has arrived.
    let _ = terminal.write("\n".into()).await;
    ended(&terminal).await;
    assert_eq!(Screen::of(&terminal).rest().await, "early\r\n\r\nlate\r\n");
    assert_eq!(Screen::of(&terminal).rest().await, "early\r\n\r\nlate\r\n");
    // The latest of it.
    let terminal = open(&sandbox, "seq 1000000").await;
    assert_eq!(ended(&terminal).await, 0);
    let screen = Screen::of(&terminal).rest().await;
    assert_eq!(screen.len(), 1 << 20);
    assert!(screen.ends_with("\r\n999999\r\n1000000\r\n"));
}

async fn every_reader_of_it_gets_everything(at: At) {
    let sandbox = at.sandbox().await;
    let terminal = open(&sandbox, "stty -echo; read x; seq 300000").await;
    let found = sandbox.terminal(terminal.id()).await.unwrap().unwrap();
    let screens: Vec<_> = [&terminal, &found, &terminal, &found].map(|one| Screen::of(one)).into();
    write(&terminal, "\n").await;
    let expected: String = (1..=300_000).map(|number| format!("{number}\r\n")).collect();
    let read = screens.into_iter().map(async |screen| screen.rest().await.ends_with(&expected));
    assert_eq!(soon("the end", SOON, join_all(read)).await, [true; 4]);
}

async fn fifty_are_open_at_once(at: At) {
    let sandbox = at.sandbox().await;
    let opened = join_all((0..50).map(|_| open(&sandbox, "echo on; read x; echo got $x; cat"))).await;
    assert_eq!(sandbox.terminals().await.unwrap().len(), 50);
    let talks = opened.iter().enumerate().map(async |(number, terminal)| {
        let mut screen = Screen::of(terminal);
        screen.until("on\r\n").await;
        write(terminal, &format!("{number}\n")).await;
        screen.until(&format!("got {number}\r\n")).await;
    });
    join_all(talks).await;
    join_all(opened.iter().map(async |terminal| terminal.kill().await.unwrap())).await;
    assert!(sandbox.terminals().await.unwrap().is_empty());
}

async fn too_many_are_refused_by_number(at: At) {
    let sandbox = at.sandbox().await;
    let opened = join_all((0..64).map(|_| open(&sandbox, "exec cat"))).await;
    for _ in 0..3 {
        let error = sandbox.open_terminal(TerminalOptions::default()).await.unwrap_err();
        assert_eq!(
            (error.kind(), error.operation()),
            (ErrorKind::QuotaExceeded, Some("terminal.create")),
            "{error:?}"
        );
        assert!(error.message().contains("64") && error.hint().unwrap().contains("kill"), "{error:?}");
    }
    assert_eq!(sh(&sandbox, "echo commands run").await.stdout, "commands run\n");
    // Those that have ended take no room, whoever still holds them.
    for terminal in &opened[..3] {
        terminal.kill().await.unwrap();
        let another = open(&sandbox, "echo on; exec cat").await;
        Screen::of(&another).until("on\r\n").await;
        let error = sandbox.open_terminal(TerminalOptions::default()).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::QuotaExceeded);
    }
}

async fn two_sandboxes_have_terminals_apart(at: At) {
    let (one, other) = (at.sandbox().await, at.sandbox().await);
    let terminals = (open(&one, "tty; cat").await, open(&other, "tty; cat").await);
    let mut screens = (Screen::of(&terminals.0), Screen::of(&terminals.1));
    // Of one name, and yet not the same.
    screens.0.until("/dev/pts/0\r\n").await;
    screens.1.until("/dev/pts/0\r\n").await;
    sh(&one, "echo from one > /dev/pts/0; ls /dev/pts").await;
    sh(&other, "echo from the other > /dev/pts/0").await;
    screens.0.until("from one\r\n").await;
    screens.1.until("from the other\r\n").await;
    for terminal in [terminals.0, terminals.1] {
        terminal.kill().await.unwrap();
    }
    assert!(!screens.0.rest().await.contains("from"));
    assert!(!screens.1.rest().await.contains("from"));
}

async fn one_that_cannot_be_run_says_so(at: At) {
    let sandbox = at.sandbox().await;
    let env = BTreeMap::from([("PATH".to_owned(), "/nowhere".to_owned())]);
    let command = at.lacks("login_path").map(|_| "no-such-program".to_owned());
    let options = TerminalOptions { command, env, ..TerminalOptions::default() };
    let terminal = sandbox.open_terminal(options).await.unwrap();
    assert_eq!(ended(&terminal).await, 127);
    let screen = Screen::of(&terminal).rest().await;
    assert!(screen.contains("command not found\r\n"), "{screen}");
    let nul = TerminalOptions { command: Some("a\0b".to_owned()), ..TerminalOptions::default() };
    assert_eq!(sandbox.open_terminal(nul).await.unwrap_err().kind(), ErrorKind::InvalidArgument);
    tokio::time::timeout(Duration::from_millis(1), terminal.kill()).await.unwrap_or(Ok(())).unwrap();
}
