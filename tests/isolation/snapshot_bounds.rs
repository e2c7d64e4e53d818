//! What is kept of sandboxes is within bounds, whatever they write and however many there are.

use std::time::{Duration, Instant};

use computesdk::error::ErrorKind;
use computesdk::provider::{CreateRequest, Resources};
use computesdk::providers::local::Config;

use crate::harness::{At, Case, cases, sh};
use crate::python;
use crate::snapshots::Made;

pub(super) const CASES: &[Case] = cases![
    a_disk_is_for_what_a_sandbox_changes if snapshots,
    a_sandbox_that_writes_without_end_is_kept_all_the_same if snapshots,
    a_file_that_claims_to_be_huge_takes_no_memory if snapshots,
    what_there_is_no_room_for_is_refused_and_takes_none if snapshots,
    many_tiny_files_are_refused_where_there_is_no_room if snapshots,
    snapshots_of_snapshots_end_where_the_kernel_would if snapshots,
    a_snapshot_that_is_not_there_is_told_with_those_that_are if snapshots,
    a_name_is_checked_and_an_id_cannot_be_guessed if snapshots,
];

async fn a_disk_is_for_what_a_sandbox_changes(at: At) {
    let mut made = Made::at(&at);
    let one = at.sandbox().await;
    sh(&one, "head -c 6000000 /dev/urandom > ~/large").await;
    let id = made.keep(&one).await;
    let resources = Resources { disk: Some(4 << 20), memory: Some(64 << 20), ..Resources::default() };
    let request = CreateRequest { template_id: Some(id), resources, ..CreateRequest::default() };
    let two = made.create(request).await.unwrap();
    let metrics = two.metrics().await.unwrap();
    assert!(metrics.disk < 1 << 20 && metrics.disk_total == 4 << 20, "{metrics:?}");
    let full = sh(&two, "stat -c %s ~/large; head -c 5000000 /dev/zero > ~/more; stat -c %s ~/more").await;
    let sizes: Vec<u64> = full.stdout.lines().map(|line| line.parse().unwrap()).collect();
    assert!(sizes[0] == 6_000_000 && sizes[1] < 4 << 20, "{full:?}");
    made.clear(vec![one, two]).await;
}

async fn a_sandbox_that_writes_without_end_is_kept_all_the_same(at: At) {
    let mut made = Made::at(&at);
    let resources = Resources { memory: Some(128 << 20), disk: Some(32 << 20), ..Resources::default() };
    let one = at.create(CreateRequest { resources, ..CreateRequest::default() }).await;
    let line = "setsid -f sh -c 'while :; do for n in 1 2 3 4 5 6 7 8; do head -c 1000000 /dev/zero > /tmp/$n; done; rm /tmp/*; \
                done' > /dev/null 2>&1; sleep 0.1";
    sh(&one, line).await;
    for _ in 0..5 {
        match one.snapshot(None).await {
            Ok(snapshot) => made.snapshots.push(snapshot),
            Err(error) => assert_eq!(error.kind(), ErrorKind::QuotaExceeded, "{error}"),
        }
    }
    assert_eq!(sh(&one, "echo alive").await.stdout, "alive\n");
    made.clear(vec![one]).await;
}

async fn a_file_that_claims_to_be_huge_takes_no_memory(at: At) {
    let mut made = Made::at(&at);
    let one = at.sandbox().await;
    sh(
        &one,
        "truncate -s 1T ~/huge; echo begin | dd of=~/huge conv=notrunc status=none; \
              echo end | dd of=~/huge bs=1M seek=500000 conv=notrunc status=none",
    )
    .await;
    let begun = Instant::now();
    let two = made.copy_of(&one).await;
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
    let seen = sh(
        &two,
        "stat -c '%s %b' ~/huge; head -c 6 ~/huge; dd if=~/huge bs=1M skip=500000 count=1 status=none | head -c 4",
    );
    assert_eq!(seen.await.stdout, "1099511627776 16\nbegin\nend\n");
    made.clear(vec![one, two]).await;
}

async fn what_there_is_no_room_for_is_refused_and_takes_none(_: At) {
    let made = Made::of(Config { snapshot_memory: Some(8 << 20), spares: Some(0), ..Config::default() });
    let one = made.sandbox().await;
    sh(&one, "head -c 10M /dev/zero > ~/large").await;
    for _ in 0..3 {
        let error = one.snapshot(None).await.err().unwrap();
        assert_eq!(error.kind(), ErrorKind::QuotaExceeded, "{error}");
        assert!(error.message().contains("8388608"), "{error}");
        assert!(error.hint().unwrap().contains("`snapshotMemory`"), "{error}");
    }
    made.clear(vec![one]).await;
}

async fn many_tiny_files_are_refused_where_there_is_no_room(_: At) {
    let made = Made::of(Config { snapshot_memory: Some(24 << 20), spares: Some(0), ..Config::default() });
    let one = made.sandbox().await;
    python(
        &one,
        "import os\nos.mkdir('/app')\nfor n in range(60000): os.close(os.open(f'/app/{n}', os.O_CREAT))",
    )
    .await;
    let error = one.snapshot(None).await.err().unwrap();
    assert_eq!(error.kind(), ErrorKind::QuotaExceeded, "{error}");
    // They hold nothing, and all the same they are more than there is ever room for.
    let needed = error.message().split("it needs ").nth(1).and_then(|rest| rest.split(' ').next()).unwrap();
    assert!(needed.parse::<u64>().unwrap() >= 60_000 << 10, "{error}");
    made.clear(vec![one]).await;
}

async fn snapshots_of_snapshots_end_where_the_kernel_would(at: At) {
    let mut made = Made::at(&at);
    let mut last = at.sandbox().await;
    let mut all = Vec::new();
    for level in 0..16 {
        sh(
            &last,
            format!(
                "echo {level} > ~/{level}; echo {level} > ~/last; rm -f ~/removed; mkdir ~/removed || true"
            ),
        )
        .await;
        let next = made.copy_of(&last).await;
        all.push(std::mem::replace(&mut last, next));
    }
    assert_eq!(sh(&last, "ls ~ | wc -l; cat ~/last").await.stdout, "18\n15\n");
    let error = last.snapshot(None).await.err().unwrap();
    assert_eq!(error.kind(), ErrorKind::Unsupported, "{error}");
    assert!(error.message().contains("16") && error.hint().is_some(), "{error}");
    all.push(last);
    // Those below go first: what stands on them keeps what it needs.
    made.clear(all).await;
}

async fn a_snapshot_that_is_not_there_is_told_with_those_that_are(at: At) {
    let mut made = Made::at(&at);
    let one = at.sandbox().await;
    made.snapshots.push(one.snapshot(Some("isolation-told")).await.unwrap());
    let nothing = CreateRequest { template_id: Some("snap_0".to_owned()), ..CreateRequest::default() };
    let error = made.create(nothing).await.err().unwrap();
    assert_eq!(error.kind(), ErrorKind::NotFound, "{error}");
    assert!(
        error.message().contains("`snap_0`") && error.hint().unwrap().contains("isolation-told"),
        "{error}"
    );
    // Ids are for those who have them.
    assert!(!error.hint().unwrap().contains(&made.snapshots[0].id), "{error}");
    made.clear(vec![one]).await;
}

async fn a_name_is_checked_and_an_id_cannot_be_guessed(at: At) {
    let mut made = Made::at(&at);
    let one = at.sandbox().await;
    for name in ["", "a b", "a/b", "../x", "ü", "a\n", &"x".repeat(129)] {
        let error = one.snapshot(Some(name)).await.err().unwrap();
        assert_eq!(error.kind(), ErrorKind::InvalidArgument, "{error}");
        assert!(error.message().contains("`name`"), "{error}");
    }
    let (first, second) = (made.keep(&one).await, made.keep(&one).await);
    assert!(first != second && first.strip_prefix("snap_").is_some_and(|hex| hex.len() == 32), "{first}");
    made.clear(vec![one]).await;
}
