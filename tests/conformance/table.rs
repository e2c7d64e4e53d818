//! Processes that are found again: by their numbers, from every handle of their sandbox, until its end.

use std::sync::Arc;
use std::time::Duration;

use computesdk::command::RunOptions;
use computesdk::compute;
use computesdk::error::ErrorKind;
use computesdk::process::Process;
use computesdk::provider::Wanted;
use computesdk::sandbox::Sandbox;
use futures_util::future::join_all;

use super::background::{SOON, begin, begin_fed, ended, wrote};
use super::commands::assert_gone;
use crate::harness::{At, Case, cases, eventually, sh, shell, soon};

pub(super) const CASES: &[Case] = cases![
    two_hundred_run_at_once if kill,
    one_is_found_by_its_number_from_everywhere if kill,
    the_running_are_listed_in_the_order_of_their_starts if kill,
    the_latest_that_have_ended_are_found if kill,
    the_end_of_the_sandbox_is_told_to_all if kill,
    the_end_of_the_sandbox_at_any_moment_settles if kill,
];

async fn two_hundred_run_at_once(at: At) {
    let sandbox = at.sandbox().await;
    let begun = (0..200).map(|number| {
        begin_fed(&sandbox, if number % 2 == 0 { "read x; exit $x" } else { "exec sleep 3139" })
    });
    let all = join_all(begun.collect::<Vec<_>>()).await;
    let mut numbers: Vec<u32> = all.iter().map(|process| process.pid()).collect();
    numbers.sort_unstable();
    numbers.dedup();
    assert_eq!((numbers.len(), sandbox.processes().await.unwrap().len()), (200, 200));
    let ends = all.iter().enumerate().map(async |(number, process)| {
        if number % 2 == 0 {
            process.control().write_stdin(format!("{}\n", number % 100).as_bytes()).await.unwrap();
            assert_eq!(ended(process).await.exit_code, number as i32 % 100);
        } else {
            process.control().kill().await.unwrap();
            assert_eq!(ended(process).await.signal, Some(9));
        }
    });
    join_all(ends).await;
    assert!(sandbox.processes().await.unwrap().is_empty());
    assert_gone(&sandbox, "sleep 3139").await;
}

async fn one_is_found_by_its_number_from_everywhere(at: At) {
    let sandbox = at.sandbox().await;
    let process = begin_fed(&sandbox, "echo $$; read x").await;
    let instance = at.0.connect(sandbox.id()).await.unwrap().unwrap();
    let other = Sandbox::new(Arc::clone(&at.0), instance, false);
    for handle in [&*sandbox, &other] {
        let found = handle.process(process.pid()).await.unwrap().unwrap();
        assert_eq!(found.pid(), process.pid());
        wrote(&found, &format!("{}\n", process.pid())).await;
        assert_eq!(handle.processes().await.unwrap().len(), 1);
        for number in [0, 1, process.pid() + 1, u32::MAX] {
            assert!(handle.process(number).await.unwrap().is_none(), "{number}");
        }
    }
    let found = other.process(process.pid()).await.unwrap().unwrap();
    found.control().write_stdin(b"\n").await.unwrap();
    assert_eq!(ended(&process).await, ended(&found).await);
    // Of another sandbox it is nothing.
    assert!(at.sandbox().await.process(process.pid()).await.unwrap().is_none());
}

async fn the_running_are_listed_in_the_order_of_their_starts(at: At) {
    let sandbox = at.sandbox().await;
    let mut all = Vec::new();
    for _ in 0..10 {
        all.push(begin(&sandbox, "exec sleep 3140").await);
    }
    // What is waited for is nobody else's.
    sh(&sandbox, "true").await;
    for gone in [7, 4, 0] {
        let process = all.remove(gone);
        process.control().kill().await.unwrap();
        ended(&process).await;
        let listed = sandbox.processes().await.unwrap();
        let numbers = |list: &[Arc<Process>]| list.iter().map(|process| process.pid()).collect::<Vec<_>>();
        assert_eq!(numbers(&listed), numbers(&all));
    }
}

async fn the_latest_that_have_ended_are_found(at: At) {
    let sandbox = at.sandbox().await;
    let first = begin_fed(&sandbox, "read x; echo late").await;
    let mut all = Vec::new();
    for number in 0..70 {
        let process = begin(&sandbox, &format!("echo {number}")).await;
        ended(&process).await;
        all.push(process.pid());
    }
    // The one that began first is the latest to end.
    first.control().write_stdin(b"\n").await.unwrap();
    ended(&first).await;
    let running = begin(&sandbox, "exec sleep 3141").await;
    let found = sandbox.process(first.pid()).await.unwrap().unwrap();
    assert_eq!(ended(&found).await.stdout, "late\n");
    for (number, pid) in all.iter().enumerate() {
        let found = sandbox.process(*pid).await.unwrap();
        assert_eq!(found.is_some(), number >= 7, "{number}");
        if let Some(found) = found {
            assert_eq!(ended(&found).await.stdout, format!("{number}\n"));
        }
    }
    assert!(sandbox.process(running.pid()).await.unwrap().is_some());
}

async fn the_end_of_the_sandbox_is_told_to_all(at: At) {
    let sandbox = at.sandbox().await;
    let process = begin_fed(&sandbox, "echo on; sleep 3142").await;
    let over = begin(&sandbox, "echo over").await;
    ended(&over).await;
    let mut reader = process.reader(Wanted::BOTH, true);
    assert!(reader.next().await.is_some());
    let waiter = tokio::spawn({
        let process = Arc::clone(&process);
        async move { process.wait().await.unwrap_err() }
    });
    let writer = tokio::spawn(process.write(vec![0; 1 << 20].into()));
    sandbox.destroy().await.unwrap();
    let error = soon("an answer", SOON, waiter).await.unwrap();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    assert!(error.message().contains("destroyed"), "{error}");
    assert!(soon("an answer", SOON, writer).await.unwrap().is_err());
    assert_eq!(soon("the end", SOON, reader.next()).await, None);
    process.control().kill().await.unwrap();
    assert_eq!(over.wait().await.unwrap().stdout, "over\n", "what is known stays");
    let refused = [
        sandbox.process(process.pid()).await.map(drop).unwrap_err(),
        sandbox.process(over.pid()).await.map(drop).unwrap_err(),
        sandbox.processes().await.map(drop).unwrap_err(),
        sandbox.spawn(shell("true"), RunOptions::default()).await.map(drop).unwrap_err(),
    ];
    assert!(refused.iter().all(|error| error.kind() == ErrorKind::NotFound), "{refused:?}");
}

async fn the_end_of_the_sandbox_at_any_moment_settles(at: At) {
    for step in 0..20_u64 {
        let sandbox = compute::create_at(&at.0, &Default::default(), false).await.unwrap();
        let starts = (0..5).map(|_| {
            let sandbox = sandbox.clone();
            tokio::spawn(async move {
                let process = sandbox.spawn(shell("yes"), RunOptions::default()).await?;
                let mut stuck = process.reader(Wanted::BOTH, true);
                stuck.next().await;
                process.wait().await
            })
        });
        let starts = starts.collect::<Vec<_>>();
        tokio::time::sleep(Duration::from_micros(step * step * 50)).await;
        sandbox.destroy().await.unwrap();
        for settled in soon("all answers", SOON, join_all(starts)).await {
            assert_eq!(settled.unwrap().unwrap_err().kind(), ErrorKind::NotFound);
        }
        let instance = Arc::downgrade(sandbox.instance());
        drop(sandbox);
        eventually("nothing holds it", SOON, async || instance.strong_count() == 0).await;
    }
}
