//! Sandboxes that are made in advance: whose they are, and what becomes of those that nobody wants.

use std::sync::Arc;
use std::time::{Duration, Instant};

use computesdk::provider::{CreateRequest, Provider, Resources};
use computesdk::providers::local::{Config, Local};
use futures_util::StreamExt;
use futures_util::stream;

use super::harness::{At, Case, cases, eventually, sh};
use super::{Holdings, Process, REST, SETTLED, at_rest, broker, descendants, holdings};

pub(super) const CASES: &[Case] = cases![
    a_sandbox_made_in_advance_is_handed_over_once_and_let_go_of_when_nobody_asks,
    a_sandbox_made_in_advance_that_has_ended_is_not_handed_over,
    a_create_that_nobody_waits_for_any_more_leaves_no_trace,
    creates_of_several_kinds_at_once_leave_no_trace,
];

/// How long it may take until nothing is kept in advance any more.
const UNUSED: Duration = Duration::from_secs(20);

/// The process 1 of every sandbox that the broker has made.
fn made() -> Vec<Process> {
    let broker = broker().pid;
    descendants(broker).into_iter().filter(|one| one.parent == broker).collect()
}

async fn with_spares(before: usize, spares: usize) -> Vec<Process> {
    eventually("the spares are made", REST, async || made().len() == before + spares).await;
    made()
}

/// Not for a moment only: there is one while the next is about to be made.
async fn assert_nothing_is_kept_but(before: &Holdings) {
    let mut since = None;
    eventually(&format!("back to {before:?}"), UNUSED, async || {
        since = if holdings() == *before { since.or_else(|| Some(Instant::now())) } else { None };
        since.is_some_and(|since: Instant| since.elapsed() > Duration::from_millis(200))
    })
    .await;
}

async fn a_sandbox_made_in_advance_is_handed_over_once_and_let_go_of_when_nobody_asks(at: At) {
    let before = at_rest(&at).await;
    let at = At(Arc::new(Local::default()), &[]);
    let first = at.sandbox().await;
    sh(&first, "echo mine > /tmp/mark").await;
    let ready = with_spares(1, 2).await;
    let second = at.sandbox().await;
    assert_eq!(sh(&second, "ls -A /tmp /home/user").await.stdout, "/home/user:\n\n/tmp:\n");
    // What is another's is no spare.
    let other = CreateRequest {
        resources: Resources { processes: Some(64), ..Resources::default() },
        ..CreateRequest::default()
    };
    let third = at.create(other).await;
    assert_eq!(third.info().await.unwrap().limits.unwrap().processes, Some(64));
    // From now on it is such ones that are made.
    with_spares(3, 2).await;
    second.destroy().await.unwrap();
    assert_eq!(ready.iter().filter(|one| one.lives()).count(), 1, "only the first: {ready:?}");
    for sandbox in [first, third] {
        sandbox.destroy().await.unwrap();
    }
    assert_nothing_is_kept_but(&before).await;
}

async fn a_sandbox_made_in_advance_that_has_ended_is_not_handed_over(at: At) {
    let before = at_rest(&at).await;
    let at = At(Arc::new(Local::new(Config { spares: Some(1), ..Config::default() })), &[]);
    let first = at.sandbox().await;
    for _ in 0..10 {
        let all = with_spares(1, 1).await;
        let spare = all.iter().max_by_key(|one| one.pid).unwrap();
        spare.kill("-KILL");
        eventually("it has ended", SETTLED, async || !spare.lives()).await;
        let next = at.sandbox().await;
        assert_eq!(sh(&next, "echo works").await.stdout, "works\n");
        next.destroy().await.unwrap();
    }
    first.destroy().await.unwrap();
    assert_nothing_is_kept_but(&before).await;
}

async fn a_create_that_nobody_waits_for_any_more_leaves_no_trace(at: At) {
    let before = at_rest(&at).await;
    let at = At(Arc::new(Local::default()), &[]);
    let first = at.sandbox().await;
    with_spares(1, 2).await;
    let other = || {
        let resources = Resources { processes: Some(64), ..Resources::default() };
        CreateRequest { resources, ..CreateRequest::default() }
    };
    // Asked for, and given up before it is there.
    assert!(tokio::time::timeout(Duration::ZERO, at.create(other())).await.is_err());
    eventually("no more are made", UNUSED, async || holdings().processes == before.processes + 1).await;
    // Whoever asks for one has it, and more like it are made again.
    let second = at.create(other()).await;
    with_spares(2, 2).await;
    for sandbox in [first, second] {
        sandbox.destroy().await.unwrap();
    }
    assert_nothing_is_kept_but(&before).await;
}

async fn creates_of_several_kinds_at_once_leave_no_trace(at: At) {
    let before = at_rest(&at).await;
    let with = |spares| {
        let local = Local::new(Config { spares: Some(spares), ..Config::default() });
        At(Arc::new(local) as Arc<dyn Provider>, &[])
    };
    let places = [with(0), with(1), with(4), with(16)];
    let lives = (0..300).map(|turn: usize| {
        let at = &places[turn / 3 % places.len()];
        async move {
            let processes = [64, 65][turn / 40 % 2];
            let resources = Resources { processes: Some(processes), ..Resources::default() };
            let creating = at.create(CreateRequest { resources, ..CreateRequest::default() });
            // Some are given up while they are made, some are left to themselves when they are there.
            let patience =
                Duration::from_millis(if turn.is_multiple_of(5) { turn as u64 % 7 } else { 60_000 });
            let Ok(sandbox) = tokio::time::timeout(patience, creating).await else { return };
            assert_eq!(sandbox.info().await.unwrap().limits.unwrap().processes, Some(processes));
            assert_eq!(sh(&sandbox, "ls -A /tmp; touch /tmp/used; echo $$").await.stdout, "2\n", "{turn}");
            // A pause: the broker makes more.
            if turn.is_multiple_of(9) {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            sandbox.destroy().await.unwrap();
        }
    });
    stream::iter(lives).for_each_concurrent(6, |life| life).await;
    assert_nothing_is_kept_but(&before).await;
}
