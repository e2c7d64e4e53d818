//! What snapshots leave behind, and how they end.

use std::time::Duration;

use computesdk::compute;
use computesdk::error::ErrorKind;
use computesdk::provider::{CreateRequest, Snapshot};
use computesdk::sandbox::Sandbox;

use super::harness::{At, Case, Lent, cases, eventually, sh, soon};
use super::{Holdings, SETTLED, assert_back_to, at_rest, broker};

pub(super) const CASES: &[Case] = cases![
    snapshots_that_were_deleted_leave_nothing_behind if snapshots,
    snapshots_that_nobody_waits_for_leave_nothing_behind if snapshots,
    a_sandbox_that_is_destroyed_while_it_is_kept_leaves_nothing_behind if snapshots,
    snapshots_end_with_the_broker_and_the_next_sandbox_is_made if snapshots,
];

/// What this process holds when the broker has a place for snapshots, and none there.
async fn at_rest_without_any(at: &At) -> Holdings {
    let sandbox = at.sandbox().await;
    delete(at, &sandbox.snapshot(None).await.unwrap()).await;
    sandbox.destroy().await.unwrap();
    at_rest(at).await
}

async fn delete(at: &At, snapshot: &Snapshot) {
    compute::delete_snapshot_at(&at.0, &snapshot.id).await.unwrap();
}

async fn from(at: &At, snapshot: &Snapshot) -> Lent {
    at.create(CreateRequest { template_id: Some(snapshot.id.clone()), ..CreateRequest::default() }).await
}

/// A sandbox that takes a while to be kept.
async fn filled(at: &At) -> Lent {
    let sandbox = at.sandbox().await;
    sh(&sandbox, "mkdir ~/d; cd ~/d; seq 10000 | xargs touch; head -c 20M /dev/zero > big").await;
    sandbox
}

async fn snapshots_that_were_deleted_leave_nothing_behind(at: At) {
    let before = at_rest_without_any(&at).await;
    let mut sandbox = at.sandbox().await;
    for level in 0..8 {
        sh(&sandbox, format!("echo {level} > ~/{level}")).await;
        let snapshot = sandbox.snapshot(None).await.unwrap();
        let next = from(&at, &snapshot).await;
        sandbox.destroy().await.unwrap();
        let last = sh(&next, "ls ~ | wc -l").await.stdout;
        assert_eq!(last.trim(), (level + 1).to_string());
        sandbox = next;
    }
    sandbox.destroy().await.unwrap();
    for snapshot in compute::snapshots_at(&at.0).await.unwrap() {
        delete(&at, &snapshot).await;
    }
    assert_back_to(&before).await;
}

async fn snapshots_that_nobody_waits_for_leave_nothing_behind(at: At) {
    let before = at_rest_without_any(&at).await;
    let sandbox = filled(&at).await;
    let mut completed = Vec::new();
    for wait in [0, 1, 2, 5, 10, 20, 40] {
        for _ in 0..3 {
            let kept = tokio::time::timeout(Duration::from_millis(wait), sandbox.snapshot(None)).await;
            completed.extend(kept.map(Result::unwrap));
        }
    }
    assert!(completed.len() < 21, "each of them was quicker than its caller");
    assert_eq!(compute::snapshots_at(&at.0).await.unwrap().len(), completed.len());
    for snapshot in &completed {
        delete(&at, snapshot).await;
    }
    sandbox.destroy().await.unwrap();
    assert_back_to(&before).await;
}

async fn a_sandbox_that_is_destroyed_while_it_is_kept_leaves_nothing_behind(at: At) {
    let before = at_rest_without_any(&at).await;
    let sandbox = filled(&at).await;
    let ending = async {
        tokio::time::sleep(Duration::from_millis(4)).await;
        sandbox.destroy().await.unwrap();
    };
    let (kept, ()) = soon("both ends", SETTLED, async { tokio::join!(sandbox.snapshot(None), ending) }).await;
    match kept {
        Ok(snapshot) => delete(&at, &snapshot).await,
        Err(error) => assert_eq!(error.kind(), ErrorKind::NotFound, "{error}"),
    }
    assert_back_to(&before).await;
}

async fn snapshots_end_with_the_broker_and_the_next_sandbox_is_made(at: At) {
    let sandbox = at.sandbox().await;
    let snapshot = sandbox.snapshot(Some("of-the-first")).await.unwrap();
    let keeping = filled(&at).await;
    let first = broker();
    let (kept, ()) = tokio::join!(keeping.snapshot(None), async {
        tokio::time::sleep(Duration::from_millis(3)).await;
        first.kill("-9");
    });
    assert!(kept.is_err() || compute::snapshots_at(&at.0).await.unwrap().len() < 3);
    eventually("it is known", SETTLED, async || compute::snapshots_at(&at.0).await.unwrap().is_empty()).await;
    let request = CreateRequest { template_id: Some(snapshot.id.clone()), ..CreateRequest::default() };
    let error = compute::create_at(&at.0, &request, false).await.err().unwrap();
    assert_eq!(error.kind(), ErrorKind::NotFound, "{error}");
    // Numbers of the first mean nothing to the next.
    let next: Sandbox = compute::create_at(&at.0, &CreateRequest::default(), false).await.unwrap();
    let again = next.snapshot(Some("of-the-first")).await.unwrap();
    let copy = from(&at, &again).await;
    assert_eq!(sh(&copy, "echo works").await.stdout, "works\n");
    copy.destroy().await.unwrap();
    next.destroy().await.unwrap();
    delete(&at, &again).await;
}
