//! The state of a sandbox, kept for others to be made from.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use computesdk::compute;
use computesdk::error::{Error, ErrorKind};
use computesdk::provider::{CreateRequest, Snapshot};
use computesdk::sandbox::Sandbox;

use crate::harness::{At, Case, Lent, cases, eventually, sh};

pub(super) const CASES: &[Case] = cases![
    a_sandbox_of_a_snapshot_has_what_was_kept_and_the_other_goes_on if snapshots,
    what_a_sandbox_of_a_snapshot_changes_is_seen_nowhere_else if snapshots,
    many_sandboxes_are_made_of_a_snapshot_at_once if snapshots,
    a_sandbox_of_a_snapshot_can_be_kept if snapshots,
    a_snapshot_goes_by_its_name_too if snapshots,
    a_name_leads_to_the_latest_snapshot_that_was_given_it if snapshots,
    snapshots_are_listed_until_they_are_deleted if snapshots,
    deleting_a_snapshot_that_is_not_there_is_fine if snapshots,
    a_snapshot_that_is_in_use_is_not_deleted if snapshots,
    what_is_no_template_and_no_snapshot_is_not_found,
    a_sandbox_that_has_ended_is_not_kept if snapshots,
];

async fn kept(sandbox: &Sandbox) -> Snapshot {
    sandbox.snapshot(None).await.unwrap()
}

async fn try_from(at: &At, id: &str) -> Result<Lent, Error> {
    let request = CreateRequest { template_id: Some(id.to_owned()), ..CreateRequest::default() };
    compute::create_at(&at.0, &request, false).await.map(Lent::of)
}

async fn from(at: &At, id: &str) -> Lent {
    try_from(at, id).await.unwrap()
}

async fn read(sandbox: &Sandbox, path: &str) -> Bytes {
    sandbox.filesystem().read(path).await.unwrap()
}

async fn write(sandbox: &Sandbox, path: &str, content: &str) {
    sandbox.filesystem().write(path, Bytes::from(content.to_owned())).await.unwrap();
}

async fn delete(at: &At, id: &str) {
    compute::delete_snapshot_at(&at.0, id).await.unwrap();
}

/// Ends sandboxes, and then lets go of what they were made from.
async fn clear(at: &At, sandboxes: Vec<Lent>, snapshots: &[&Snapshot]) {
    for sandbox in &sandboxes {
        sandbox.destroy().await.unwrap();
    }
    for snapshot in snapshots {
        delete(at, &snapshot.id).await;
    }
}

async fn a_sandbox_of_a_snapshot_has_what_was_kept_and_the_other_goes_on(at: At) {
    let one = at.sandbox().await;
    write(&one, "/home/user/kept", "kept").await;
    sh(
        &one,
        "mkdir -p ~/d/e && echo deep > ~/d/e/f && ln -s d/e/f ~/link && printf '#!/bin/sh\necho ran' > ~/run \
              && chmod 750 ~/run",
    )
    .await;
    let snapshot = kept(&one).await;
    write(&one, "/home/user/kept", "changed since").await;
    let two = from(&at, &snapshot.id).await;
    assert_ne!(one.id(), two.id());
    assert_eq!(read(&two, "/home/user/kept").await, "kept");
    let line = "cat ~/link; ~/run; stat -c %a ~/run; pwd; id -u; touch ~/new && echo writable";
    let seen = sh(&two, line).await.stdout;
    assert_eq!(seen, format!("deep\nran\n750\n{}", sh(&one, "pwd; id -u; echo writable").await.stdout));
    assert_eq!(read(&one, "/home/user/kept").await, "changed since");
    clear(&at, vec![one, two], &[&snapshot]).await;
}

async fn what_a_sandbox_of_a_snapshot_changes_is_seen_nowhere_else(at: At) {
    let one = at.sandbox().await;
    sh(&one, "echo a > ~/changed; echo a > ~/removed; mkdir ~/gone; echo a > ~/gone/file").await;
    let snapshot = kept(&one).await;
    let two = from(&at, &snapshot.id).await;
    let line = "echo b > ~/changed; rm ~/removed; rm -r ~/gone; echo b > ~/added; mkdir ~/gone; ls ~/gone";
    assert_eq!(sh(&two, line).await.stdout, "");
    let three = from(&at, &snapshot.id).await;
    for other in [&one, &three] {
        let seen = sh(other, "cat ~/changed ~/removed ~/gone/file; ls ~/added").await;
        assert_eq!((seen.stdout.as_str(), seen.exit_code != 0), ("a\na\na\n", true), "{seen:?}");
    }
    assert_eq!(sh(&two, "cat ~/changed; ls ~ ~/gone | grep -c .").await.stdout, "b\n5\n");
    clear(&at, vec![one, two, three], &[&snapshot]).await;
}

async fn many_sandboxes_are_made_of_a_snapshot_at_once(at: At) {
    let one = at.sandbox().await;
    write(&one, "/home/user/number", "none").await;
    let snapshot = kept(&one).await;
    let (at, id) = (Arc::new(at), snapshot.id.clone());
    let made = futures_util::future::join_all((0..20).map(|number| {
        let (at, id) = (Arc::clone(&at), id.clone());
        async move {
            let sandbox = from(&at, &id).await;
            let seen = sh(&sandbox, format!("cat ~/number; echo {number} > ~/number; cat ~/number")).await;
            assert_eq!(seen.stdout, format!("none{number}\n"));
            sandbox
        }
    }));
    let made = made.await;
    assert_eq!(made.iter().map(|sandbox| sandbox.id().to_owned()).collect::<HashSet<_>>().len(), 20);
    assert_eq!(read(&one, "/home/user/number").await, "none");
    clear(&at, made, &[&snapshot]).await;
}

async fn a_sandbox_of_a_snapshot_can_be_kept(at: At) {
    let one = at.sandbox().await;
    sh(&one, "echo 1 > ~/one; echo 1 > ~/removed; mkdir ~/d; echo 1 > ~/d/one").await;
    let first = kept(&one).await;
    let two = from(&at, &first.id).await;
    sh(&two, "echo 2 > ~/two; rm ~/removed; echo 2 > ~/d/two; echo 2 >> ~/one").await;
    let second = kept(&two).await;
    clear(&at, vec![one, two], &[]).await;
    let three = from(&at, &second.id).await;
    let seen = sh(&three, "cat ~/one ~/two; ls ~/d ~/removed").await;
    assert_eq!(seen.stdout.split_whitespace().filter(|word| word.len() < 4).count(), 5, "{seen:?}");
    assert!(seen.stdout.starts_with("1\n2\n2\n") && seen.exit_code != 0, "{seen:?}");
    clear(&at, vec![three], &[&second, &first]).await;
}

async fn a_snapshot_goes_by_its_name_too(at: At) {
    let one = at.sandbox().await;
    write(&one, "/home/user/named", "named").await;
    let snapshot = one.snapshot(Some("conformance-named")).await.unwrap();
    assert!(snapshot.names.iter().any(|name| name.contains("conformance-named")), "{snapshot:?}");
    let two = from(&at, "conformance-named").await;
    assert_eq!(read(&two, "/home/user/named").await, "named");
    clear(&at, vec![one, two], &[&snapshot]).await;
}

async fn a_name_leads_to_the_latest_snapshot_that_was_given_it(at: At) {
    let one = at.sandbox().await;
    write(&one, "/home/user/version", "1").await;
    let first = one.snapshot(Some("conformance-versions")).await.unwrap();
    write(&one, "/home/user/version", "2").await;
    let second = one.snapshot(Some("conformance-versions")).await.unwrap();
    let mut made = vec![one, from(&at, "conformance-versions").await];
    assert_eq!(read(&made[1], "/home/user/version").await, "2");
    // Some have one id for all that have a name.
    if first.id != second.id {
        made.push(from(&at, &first.id).await);
        assert_eq!(read(&made[2], "/home/user/version").await, "1");
    }
    clear(&at, made, &[&first, &second]).await;
}

async fn snapshots_are_listed_until_they_are_deleted(at: At) {
    let one = at.sandbox().await;
    let snapshots = [kept(&one).await, one.snapshot(Some("conformance-listed")).await.unwrap()];
    let listed = compute::snapshots_at(&at.0).await.unwrap();
    assert!(snapshots.iter().all(|snapshot| listed.contains(snapshot)), "{listed:?}");
    for snapshot in &snapshots {
        delete(&at, &snapshot.id).await;
        let error = try_from(&at, &snapshot.id).await.err().unwrap();
        assert_eq!(error.kind(), ErrorKind::NotFound, "{error}");
    }
    let listed = compute::snapshots_at(&at.0).await.unwrap();
    assert!(!snapshots.iter().any(|snapshot| listed.contains(snapshot)), "{listed:?}");
}

async fn deleting_a_snapshot_that_is_not_there_is_fine(at: At) {
    let one = at.sandbox().await;
    let snapshot = kept(&one).await;
    delete(&at, &snapshot.id).await;
    delete(&at, &snapshot.id).await;
    delete(&at, "conformance-never-there").await;
}

async fn a_snapshot_that_is_in_use_is_not_deleted(at: At) {
    let one = at.sandbox().await;
    let snapshot = kept(&one).await;
    one.destroy().await.unwrap();
    let two = from(&at, &snapshot.id).await;
    let error = compute::delete_snapshot_at(&at.0, &snapshot.id).await.err().unwrap();
    assert_eq!(error.operation(), Some("snapshots.delete"), "{error}");
    two.destroy().await.unwrap();
    eventually("it can be deleted", Duration::from_secs(2), async || {
        compute::delete_snapshot_at(&at.0, &snapshot.id).await.is_ok()
    })
    .await;
}

async fn what_is_no_template_and_no_snapshot_is_not_found(at: At) {
    let error = try_from(&at, "conformance-nothing-of-that-name").await.err().unwrap();
    assert_eq!(error.kind(), ErrorKind::NotFound, "{error}");
    assert!(error.message().contains("conformance-nothing-of-that-name"), "{error}");
}

async fn a_sandbox_that_has_ended_is_not_kept(at: At) {
    let one = at.sandbox().await;
    one.destroy().await.unwrap();
    let error = one.snapshot(None).await.err().unwrap();
    assert_eq!((error.kind(), error.operation()), (ErrorKind::NotFound, Some("snapshot")), "{error}");
}
