//! The ends of terminals: by their commands, by a kill, by the end of their sandbox.

use computesdk::error::ErrorKind;
use computesdk::provider::Size;
use computesdk::terminal::TerminalOptions;
use futures_util::future::join_all;

use super::background::SOON;
use super::commands::assert_gone;
use super::terminals::{Screen, ended, open, open_shell, write};
use crate::harness::{At, Case, cases, eventually, sh, soon};

pub(super) const CASES: &[Case] = cases![
    its_exit_code_is_that_of_its_command if kill,
    kill_is_a_hang_up_that_can_be_heard if kill,
    kill_leaves_everybody_a_second if kill,
    kill_ends_what_ignores_the_hang_up if kill,
    kill_ends_all_that_was_started_in_it if kill,
    killing_twice_or_after_the_end_is_fine if kill,
    one_that_has_ended_is_not_found if kill,
    one_that_shows_without_end_is_held_and_killed_promptly if kill,
    what_others_show_after_its_end_is_not_waited_for if kill,
    one_that_was_let_go_of_for_a_while_goes_on if kill,
    the_end_of_the_sandbox_ends_it if kill,
];

async fn its_exit_code_is_that_of_its_command(at: At) {
    let sandbox = at.sandbox().await;
    let ends = [
        ("exit 0", 0),
        ("exit 42", 42),
        ("kill -9 $$", 137),
        ("kill -TERM $$", 143),
        ("no-such-program", 127),
    ];
    for (line, code) in ends {
        let terminal = open(&sandbox, line).await;
        assert_eq!((ended(&terminal).await, terminal.exit_code()), (code, Some(code)), "{line}");
        assert_eq!(ended(&terminal).await, code, "asked again");
    }
    let terminal = open(&sandbox, "sleep 4146").await;
    assert_eq!((terminal.has_ended(), terminal.exit_code()), (false, None));
}

async fn kill_is_a_hang_up_that_can_be_heard(at: At) {
    let sandbox = at.sandbox().await;
    let line = "trap 'echo heard > /tmp/heard; exit 5' HUP; echo ready; while :; do sleep 0.05; done";
    let terminal = open(&sandbox, line).await;
    Screen::of(&terminal).until("ready").await;
    terminal.kill().await.unwrap();
    assert_eq!(sandbox.filesystem().read_text("/tmp/heard").await.unwrap(), "heard\n");
    assert_eq!((terminal.has_ended(), terminal.exit_code()), (true, Some(5)));
}

async fn kill_leaves_everybody_a_second(at: At) {
    let sandbox = at.sandbox().await;
    // Whoever is at its end last has a while left after the shell has gone.
    let source = "import os, signal, time
def heard(*_):
  time.sleep(0.5); open('/tmp/saved', 'w').write('saved'); os._exit(0)
signal.signal(signal.SIGHUP, heard)
os.close(0); os.close(1); print('rea' + 'dy', file=open('/dev/tty', 'w'), flush=True); os.close(2)
while True: time.sleep(60)";
    sandbox.filesystem().write("/tmp/save.py", bytes::Bytes::from(source)).await.unwrap();
    let (terminal, mut screen) = open_shell(&sandbox).await;
    write(&terminal, "python3 /tmp/save.py\n").await;
    screen.until("ready").await;
    terminal.kill().await.unwrap();
    assert_eq!(sandbox.filesystem().read_text("/tmp/saved").await.unwrap(), "saved");
}

async fn kill_ends_what_ignores_the_hang_up(at: At) {
    let sandbox = at.sandbox().await;
    let terminal = open(&sandbox, "trap '' HUP TERM INT; echo ready; while :; do sleep 4143; done").await;
    Screen::of(&terminal).until("ready").await;
    soon("the end", SOON, terminal.kill()).await.unwrap();
    assert_eq!(terminal.exit_code(), Some(137));
    assert_gone(&sandbox, "sleep 4143").await;
}

async fn kill_ends_all_that_was_started_in_it(at: At) {
    let sandbox = at.sandbox().await;
    let (terminal, mut screen) = open_shell(&sandbox).await;
    write(
        &terminal,
        "sleep 4144 & nohup sleep 4144 & setsid -f sleep 4144; (setsid sleep 4144 &); disown -a\n",
    )
    .await;
    write(&terminal, "while [ $(pgrep -fcx 'sleep 4144') != 4 ]; do sleep 0.05; done; echo all'' run\n")
        .await;
    screen.until("\nall run\r\n").await;
    terminal.kill().await.unwrap();
    assert_gone(&sandbox, "sleep 4144").await;
    // What it left behind when it ended by itself goes with a kill as well.
    let line = "setsid -f sleep 4145; (trap '' HUP; exec sleep 4145) & until [ $(pgrep -fcx 'sleep 4145') = 2 ]; do :; done";
    let terminal = open(&sandbox, line).await;
    assert_eq!(ended(&terminal).await, 0);
    assert_eq!(sh(&sandbox, "pgrep -fcx 'sleep 4145'").await.stdout, "2\n");
    terminal.kill().await.unwrap();
    assert_gone(&sandbox, "sleep 4145").await;
}

async fn killing_twice_or_after_the_end_is_fine(at: At) {
    let sandbox = at.sandbox().await;
    let terminal = open(&sandbox, "cat").await;
    let kills = join_all((0..5).map(|_| terminal.kill())).await;
    assert!(kills.into_iter().all(|killed| killed.is_ok()));
    terminal.kill().await.unwrap();
    assert_eq!(terminal.exit_code(), Some(128 + 1));
    let terminal = open(&sandbox, "exit 6").await;
    assert_eq!(ended(&terminal).await, 6);
    terminal.kill().await.unwrap();
    assert_eq!(terminal.exit_code(), Some(6));
}

async fn one_that_has_ended_is_not_found(at: At) {
    let sandbox = at.sandbox().await;
    let terminal = open(&sandbox, "exit 4").await;
    ended(&terminal).await;
    let size = Size { cols: 80, rows: 24 };
    for error in [terminal.write("x".into()).await.unwrap_err(), terminal.resize(size).await.unwrap_err()] {
        assert_eq!(error.kind(), ErrorKind::NotFound);
        assert!(
            error.message().contains(terminal.id()) && error.message().contains("exit code 4"),
            "{error}"
        );
    }
    assert!(sandbox.terminals().await.unwrap().is_empty());
    assert!(sandbox.terminal(terminal.id()).await.unwrap().is_none());
    // One who types when it ends is told, even if there is no room to type.
    let terminal = open(&sandbox, "stty raw; echo ready; sleep 0.3").await;
    Screen::of(&terminal).until("ready").await;
    let error = soon("an answer", SOON, terminal.write(vec![b'x'; 1 << 20].into())).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
}

async fn one_that_shows_without_end_is_held_and_killed_promptly(at: At) {
    let sandbox = at.sandbox().await;
    let flood = "n=0; while :; do head -c 65536 /dev/zero | tr '\\0' y; n=$((n+1)); echo $n > $file.new; mv $file.new $file; done";
    let held = open(&sandbox, &format!("file=/tmp/held; {flood}")).await;
    let free = open(&sandbox, &format!("file=/tmp/free; {flood}")).await;
    let mut stuck = held.reader();
    assert!(stuck.next().await.is_some());
    let count = async |file: &str| {
        sandbox.filesystem().read_text(file).await.map_or(0, |text| text.trim().parse::<u32>().unwrap())
    };
    let on_the_way = (at.measures().on_the_way >> 16) as u32;
    eventually("what nobody reads goes on", SOON, async || count("/tmp/free").await > 100 + on_the_way).await;
    assert!(count("/tmp/held").await <= 20 + on_the_way, "what somebody reads waits");
    for terminal in [held, free, open(&sandbox, "yes").await] {
        soon("the end", SOON, terminal.kill()).await.unwrap();
        assert!(terminal.has_ended());
    }
    // It is read to its end all the same.
    soon("the end", SOON, async { while stuck.next().await.is_some() {} }).await;
}

async fn what_others_show_after_its_end_is_not_waited_for(at: At) {
    let sandbox = at.sandbox().await;
    for left in ["yes 4147", "while :; do echo 4147; sleep 0.05; done", "sleep 4147"] {
        let line = format!("setsid -f sh -c \"trap '' HUP; {left}\"; echo shown; exit 3");
        let terminal = open(&sandbox, &line).await;
        assert_eq!(ended(&terminal).await, 3, "{left}");
        let shown = soon("all that it showed", SOON, Screen::of(&terminal).rest()).await;
        assert!(shown.contains("shown\r\n"), "{left}: {} bytes", shown.len());
        terminal.kill().await.unwrap();
    }
    assert_gone(&sandbox, "4147").await;
}

async fn one_that_was_let_go_of_for_a_while_goes_on(at: At) {
    let sandbox = at.sandbox().await;
    let line = "echo one; exec </dev/null >/dev/null 2>&1; sleep 0.5; exec </dev/tty >/dev/tty; read x; echo two $x; exit 2";
    let terminal = open(&sandbox, line).await;
    let mut screen = Screen::of(&terminal);
    screen.until("one\r\n").await;
    write(&terminal, "typed\n").await;
    screen.until("two typed\r\n").await;
    assert_eq!(ended(&terminal).await, 2);
}

async fn the_end_of_the_sandbox_ends_it(at: At) {
    let sandbox = at.sandbox().await;
    let terminals = join_all((0..10).map(|_| open(&sandbox, "echo on; trap '' HUP; cat"))).await;
    let mut screens: Vec<_> = terminals.iter().map(|terminal| Screen::of(terminal)).collect();
    screens[0].until("on").await;
    sandbox.destroy().await.unwrap();
    for (terminal, screen) in terminals.iter().zip(screens) {
        assert_eq!((ended(terminal).await, terminal.exit_code()), (137, Some(137)));
        screen.rest().await;
        assert_eq!(terminal.write("x".into()).await.unwrap_err().kind(), ErrorKind::NotFound);
        terminal.kill().await.unwrap();
    }
    for error in [
        sandbox.terminals().await.map(drop).unwrap_err(),
        sandbox.terminal(terminals[0].id()).await.map(drop).unwrap_err(),
        sandbox.open_terminal(TerminalOptions::default()).await.map(drop).unwrap_err(),
    ] {
        assert_eq!(error.kind(), ErrorKind::NotFound);
    }
}
