//! Making, finding and ending sandboxes.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use bytes::Bytes;
use computesdk::command::RunOptions;
use computesdk::compute::{self, Compute, Settings, Strategy};
use computesdk::error::{Error, ErrorKind, Result};
use computesdk::provider::{
    Capabilities, Content, CreateRequest, Filter, Info, Instance, Network, Provider, Resources, Status,
    Wanted,
};
use computesdk::sandbox::Sandbox;
use futures_util::future::join_all;
use futures_util::{FutureExt, stream};

use crate::harness::{At, Case, cases, eventually, pace, sh, shell, soon};

pub(super) const CASES: &[Case] = cases![
    a_sandbox_is_ready_when_it_is_made,
    create_twice_makes_two_sandboxes,
    a_given_id_becomes_the_id,
    an_id_that_is_taken_already_exists,
    of_two_creates_at_once_with_one_id_one_succeeds,
    an_id_is_free_again_after_the_end,
    an_impossible_id_is_refused,
    connect_gives_another_handle_of_the_same_sandbox,
    connect_changes_nothing_of_its_life,
    what_does_not_exist_is_not_found,
    list_has_what_lives_and_nothing_else,
    info_tells_the_facts,
    metadata_is_read_back_equal,
    limits_are_told_as_they_were_asked_for if sizes,
    limits_that_cannot_be_set_are_told_and_refused_by_name,
    impossible_limits_are_refused,
    an_impossible_environment_is_refused,
    an_unknown_runtime_is_refused,
    an_option_is_honoured_or_refused_by_name,
    a_life_without_end_has_no_expiry,
    a_sandbox_ends_when_its_time_is_over,
    a_life_can_be_made_longer,
    a_life_longer_than_any_clock_is_without_end,
    destroy_twice_is_fine,
    destroy_at_once_from_many_callers_is_fine,
    destroy_settles_everything_that_runs,
    after_its_end_every_call_says_why,
    a_dropped_create_gives_back_the_id,
    a_dropped_destroy_goes_on,
    errors_say_where_they_happened,
    strategies_take_providers_in_their_order,
];

/// How soon after the end of a sandbox everything that waits for it must have settled.
const SETTLED: Duration = Duration::from_secs(2);

fn named(id: &str) -> CreateRequest {
    CreateRequest { sandbox_id: Some(id.to_owned()), ..CreateRequest::default() }
}

fn living(timeout: Duration) -> CreateRequest {
    CreateRequest { timeout: Some(timeout), ..CreateRequest::default() }
}

/// An id that no other case uses, in this run or one beside it.
fn id_of(case: &str) -> String {
    format!("{case}-{}", std::process::id())
}

async fn refusal(at: &At, request: CreateRequest) -> Error {
    match compute::create_at(&at.0, &request, false).await {
        Ok(sandbox) => panic!("made {} of {request:?}", sandbox.id()),
        Err(error) => error,
    }
}

async fn ids(at: &At) -> Vec<String> {
    at.0.list(&Filter::default()).await.unwrap().iter().map(|one| one.id().to_owned()).collect()
}

async fn a_sandbox_is_ready_when_it_is_made(at: At) {
    let sandbox = at.sandbox().await;
    assert_eq!(sh(&sandbox, "echo ready").await.stdout, "ready\n");
}

async fn create_twice_makes_two_sandboxes(at: At) {
    let request = CreateRequest { runtime: Some("python".to_owned()), ..CreateRequest::default() };
    let (one, other) = (at.create(request.clone()).await, at.create(request).await);
    assert_ne!(one.id(), other.id());
    one.filesystem().write("/tmp/mine", Bytes::from_static(b"1")).await.unwrap();
    assert!(!other.filesystem().exists("/tmp/mine").await);
}

async fn a_given_id_becomes_the_id(at: At) {
    let id = id_of("given.id_1");
    assert_eq!(at.create(named(&id)).await.id(), id);
}

async fn an_id_that_is_taken_already_exists(at: At) {
    let id = id_of("taken");
    let first = at.create(named(&id)).await;
    assert_eq!(refusal(&at, named(&id)).await.kind(), ErrorKind::AlreadyExists);
    assert_eq!(sh(&first, "echo unharmed").await.stdout, "unharmed\n");
}

async fn of_two_creates_at_once_with_one_id_one_succeeds(at: At) {
    let request = named(&id_of("raced"));
    let results = join_all((0..4).map(|_| compute::create_at(&at.0, &request, false))).await;
    let (made, refused): (Vec<_>, Vec<_>) = results.into_iter().partition(Result::is_ok);
    assert_eq!(made.len(), 1);
    for error in refused.into_iter().map(Result::unwrap_err) {
        assert_eq!(error.kind(), ErrorKind::AlreadyExists);
    }
    made[0].as_ref().unwrap().destroy().await.unwrap();
}

async fn an_id_is_free_again_after_the_end(at: At) {
    let id = id_of("again");
    let first = at.create(named(&id)).await;
    first.destroy().await.unwrap();
    let second = at.create(named(&id)).await;
    // The end of the first is over: told again, it must not touch its successor.
    first.destroy().await.unwrap();
    assert_eq!(sh(&second, "echo lives").await.stdout, "lives\n");
    assert!(at.0.connect(&id).await.unwrap().is_some());
}

async fn an_impossible_id_is_refused(at: At) {
    for id in ["", "a/b", "a b", "../x", "a\nb", "é", &"x".repeat(1000)] {
        assert_eq!(refusal(&at, named(id)).await.kind(), ErrorKind::InvalidArgument, "{id}");
    }
}

async fn connect_gives_another_handle_of_the_same_sandbox(at: At) {
    let made = at.sandbox().await;
    made.filesystem().write("/tmp/note", Bytes::from_static(b"hello")).await.unwrap();
    let found = compute::get_at(&at.0, made.id(), false).await.unwrap().unwrap();
    let again = compute::get_at(&at.0, made.id(), false).await.unwrap().unwrap();
    assert_eq!((found.id(), again.id()), (made.id(), made.id()));
    assert_eq!(sh(&found, "cat /tmp/note").await.stdout, "hello");
    found.destroy().await.unwrap();
    assert_eq!(again.filesystem().read("/tmp/note").await.unwrap_err().kind(), ErrorKind::NotFound);
}

async fn connect_changes_nothing_of_its_life(at: At) {
    let made = at.sandbox().await;
    let before = made.info().await.unwrap();
    at.0.connect(made.id()).await.unwrap().unwrap();
    let after = at.0.info(made.id()).await.unwrap().unwrap();
    assert_eq!((before.expires_at, before.timeout), (after.expires_at, after.timeout));
}

async fn what_does_not_exist_is_not_found(at: At) {
    for id in ["nobody-has-this", "", "../../x", "a b\n", &"x".repeat(10_000)] {
        assert!(at.0.connect(id).await.unwrap().is_none(), "{id}");
        assert!(at.0.info(id).await.unwrap().is_none(), "{id}");
        at.0.destroy(id).await.unwrap();
    }
}

async fn list_has_what_lives_and_nothing_else(at: At) {
    let (one, other) = (at.sandbox().await, at.sandbox().await);
    let listed = ids(&at).await;
    assert!(listed.iter().any(|id| id == one.id()) && listed.iter().any(|id| id == other.id()));
    one.destroy().await.unwrap();
    let listed = ids(&at).await;
    assert!(listed.iter().all(|id| id != one.id()) && listed.iter().any(|id| id == other.id()));
}

async fn info_tells_the_facts(at: At) {
    let before = SystemTime::now();
    let sandbox = at.sandbox().await;
    let info = sandbox.info().await.unwrap();
    assert_eq!(info.id, sandbox.id());
    assert_eq!((info.status, info.reason), (Status::Running, None));
    assert!(before <= info.created_at && info.created_at <= SystemTime::now());
    assert_eq!(info.timeout, Duration::from_secs(300));
    assert_eq!(info.expires_at, Some(info.created_at + info.timeout));
    assert_eq!((info.metadata, info.runtime), (None, None));
    assert_eq!(info.isolation.is_empty(), at.lacks("layers").is_some());
    let asked = at.0.info(sandbox.id()).await.unwrap().unwrap();
    assert_eq!((asked.created_at, asked.expires_at), (info.created_at, info.expires_at));
}

async fn metadata_is_read_back_equal(at: At) {
    let texts =
        serde_json::json!({ "text": "é\u{0}\n\"", "empty": "", "": "a=b&c", "a b=c&d": "%41+", "true": "1" });
    let json = serde_json::json!({
        "number": -1.5e300, "large": u64::MAX, "nothing": null, "list": [true, {"deep": []}],
    });
    let refused = at.lacks("json").is_some();
    for (metadata, refused) in [(texts, false), (json, refused)] {
        let metadata = metadata.as_object().cloned();
        let request = CreateRequest { metadata: metadata.clone(), ..CreateRequest::default() };
        if refused {
            let error = refusal(&at, request).await;
            assert_eq!(error.kind(), ErrorKind::InvalidArgument, "{error}");
            assert!(error.message().contains("`metadata."), "{error}");
        } else {
            let sandbox = at.create(request).await;
            assert_eq!(at.0.info(sandbox.id()).await.unwrap().unwrap().metadata, metadata);
        }
    }
}

async fn limits_are_told_as_they_were_asked_for(at: At) {
    let disk = at.lacks("quotas").is_none().then_some(16 << 20);
    let resources = Resources { memory: Some(256 << 20), disk, processes: Some(32), ..Resources::default() };
    let sandbox = at.create(CreateRequest { resources, ..CreateRequest::default() }).await;
    let limits = sandbox.info().await.unwrap().limits.unwrap();
    assert_eq!((limits.memory, limits.disk), (256 << 20, disk.unwrap_or(limits.disk)));
    assert_eq!((limits.cpus, limits.processes), (None, Some(32)));
    let resources = Resources { cpus: Some(0.5), ..Resources::default() };
    match compute::create_at(&at.0, &CreateRequest { resources, ..CreateRequest::default() }, false).await {
        Ok(sandbox) => {
            assert_eq!(sandbox.info().await.unwrap().limits.unwrap().cpus, Some(0.5));
            sandbox.destroy().await.unwrap();
        }
        Err(error) => {
            assert_eq!(error.kind(), ErrorKind::Unsupported, "{error}");
            assert!(error.message().contains("`resources.cpus`"), "{error}");
        }
    }
}

async fn limits_that_cannot_be_set_are_told_and_refused_by_name(at: At) {
    let limits = at.sandbox().await.info().await.unwrap().limits.unwrap();
    assert!(limits.memory > 0 && limits.disk > 0);
    let refused =
        |name: &str| at.lacks("sizes").is_some() || (name == "disk" && at.lacks("quotas").is_some());
    for (name, resources) in [
        ("memory", Resources { memory: Some(1 << 30), ..Resources::default() }),
        ("disk", Resources { disk: Some(1 << 30), ..Resources::default() }),
        ("cpus", Resources { cpus: Some(1.0), ..Resources::default() }),
        ("processes", Resources { processes: Some(100), ..Resources::default() }),
    ] {
        if !refused(name) {
            continue;
        }
        let error = refusal(&at, CreateRequest { resources, ..CreateRequest::default() }).await;
        assert_eq!(error.kind(), ErrorKind::Unsupported, "{error}");
        assert!(error.message().contains(&format!("`resources.{name}`")), "{error}");
    }
}

async fn impossible_limits_are_refused(at: At) {
    let kind = match at.lacks("sizes") {
        None => ErrorKind::InvalidArgument,
        Some(_) => ErrorKind::Unsupported,
    };
    let impossible = [
        Resources { memory: Some(1), ..Resources::default() },
        Resources { disk: Some(0), ..Resources::default() },
        Resources { processes: Some(0), ..Resources::default() },
        Resources { cpus: Some(0.0), ..Resources::default() },
        Resources { cpus: Some(-1.0), ..Resources::default() },
        Resources { cpus: Some(f64::NAN), ..Resources::default() },
        Resources { cpus: Some(f64::INFINITY), ..Resources::default() },
    ];
    for resources in impossible {
        let error = refusal(&at, CreateRequest { resources, ..CreateRequest::default() }).await;
        assert_eq!(error.kind(), kind, "{resources:?}");
        assert!(error.message().contains("`resources."), "{error}");
    }
}

async fn an_impossible_environment_is_refused(at: At) {
    for (name, value) in [("", "x"), ("A=B", "x"), ("A\0", "x"), ("A", "x\0y"), ("A", &"x".repeat(128 << 10))]
    {
        let envs = BTreeMap::from([(name.to_owned(), value.to_owned())]);
        let error = refusal(&at, CreateRequest { envs, ..CreateRequest::default() }).await;
        assert_eq!(error.kind(), ErrorKind::InvalidArgument, "{name:?}");
    }
}

async fn an_unknown_runtime_is_refused(at: At) {
    for runtime in ["cobol", "", "pythonista", "nodes"] {
        let request = CreateRequest { runtime: Some(runtime.to_owned()), ..CreateRequest::default() };
        assert_eq!(refusal(&at, request).await.kind(), ErrorKind::InvalidArgument, "{runtime}");
    }
}

async fn an_option_is_honoured_or_refused_by_name(at: At) {
    let plain = CreateRequest::default;
    let options = [
        ("templateId", CreateRequest { template_id: Some("no-such-template".to_owned()), ..plain() }),
        ("domain", CreateRequest { domain: Some("example.org".to_owned()), ..plain() }),
        ("ports", CreateRequest { ports: vec![8080], ..plain() }),
        ("network", CreateRequest { network: Some(Network::Full), ..plain() }),
        (
            "network",
            CreateRequest { network: Some(Network::Allow(vec!["example.org".to_owned()])), ..plain() },
        ),
    ];
    for (name, request) in options {
        match compute::create_at(&at.0, &request, false).await {
            Ok(sandbox) => sandbox.destroy().await.unwrap(),
            Err(error) if error.kind() == ErrorKind::NotFound => {
                assert_eq!(name, "templateId", "{error}");
                assert!(error.message().contains("`no-such-template`"), "{error}");
            }
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::Unsupported, "{name}: {error}");
                assert!(error.message().contains(&format!("`{name}`")), "{name}: {error}");
            }
        }
    }
    let network = Some(Network::None);
    at.create(CreateRequest { network, ..plain() }).await;
}

async fn a_life_without_end_has_no_expiry(at: At) {
    if at.lacks("endless").is_some() {
        let error = refusal(&at, living(Duration::ZERO)).await;
        assert_eq!(error.kind(), ErrorKind::Unsupported, "{error}");
        assert!(error.message().contains("`timeout: 0`"), "{error}");
        return;
    }
    let sandbox = at.create(living(Duration::ZERO)).await;
    sandbox.extend_timeout(Duration::from_secs(1)).await.unwrap();
    let info = sandbox.info().await.unwrap();
    assert_eq!((info.timeout, info.expires_at), (Duration::ZERO, None));
}

async fn a_sandbox_ends_when_its_time_is_over(at: At) {
    let sandbox = at.create(living(Duration::from_millis(300))).await;
    // What runs does not want to end.
    let in_time = Duration::from_secs(2) + at.measures().tick;
    let error = soon("the end of the command", in_time, async {
        let stubborn = shell("trap '' TERM INT HUP; while :; do :; done");
        sandbox.run_command(stubborn, RunOptions::default()).await.unwrap_err()
    })
    .await;
    assert_eq!(error.kind(), ErrorKind::NotFound);
    assert!(error.message().contains("its time was over"), "{error}");
    let info = sandbox.info().await.unwrap();
    assert_eq!(info.status, Status::Stopped);
    assert!(info.reason.unwrap().contains("its time was over"));
    assert!(at.0.connect(sandbox.id()).await.unwrap().is_none());
    sandbox.destroy().await.unwrap();
}

async fn a_life_can_be_made_longer(at: At) {
    let (short, longer) = (Duration::from_millis(300), Duration::from_secs(60));
    let sandbox = at.create(living(short)).await;
    let before = sandbox.info().await.unwrap();
    sandbox.extend_timeout(longer).await.unwrap();
    let after = sandbox.info().await.unwrap();
    // Rounded up each time.
    let tick = at.measures().tick;
    let within = |least: Duration| least..=least + 2 * tick;
    assert!(within(short + longer).contains(&after.timeout), "{after:?}");
    let gained = after.expires_at.unwrap().duration_since(before.expires_at.unwrap()).unwrap();
    assert!(within(longer).contains(&gained), "{after:?}");
    // Past its first end.
    let past = (short.max(tick) + Duration::from_millis(200)).as_secs_f64();
    assert_eq!(sh(&sandbox, format!("sleep {past}; echo lives")).await.stdout, "lives\n");
}

async fn a_life_longer_than_any_clock_is_without_end(at: At) {
    if at.lacks("endless").is_some() {
        let error = refusal(&at, living(Duration::MAX)).await;
        assert_eq!(error.kind(), ErrorKind::QuotaExceeded, "{error}");
    } else {
        let sandbox = at.create(living(Duration::MAX)).await;
        assert_eq!(sandbox.info().await.unwrap().expires_at, None);
    }
    let sandbox = at.sandbox().await;
    sandbox.extend_timeout(Duration::MAX).await.unwrap();
    sandbox.extend_timeout(Duration::MAX).await.unwrap();
    assert_eq!(sh(&sandbox, "echo lives").await.stdout, "lives\n");
}

async fn destroy_twice_is_fine(at: At) {
    let sandbox = at.sandbox().await;
    sandbox.destroy().await.unwrap();
    sandbox.destroy().await.unwrap();
    at.0.destroy(sandbox.id()).await.unwrap();
}

async fn destroy_at_once_from_many_callers_is_fine(at: At) {
    let sandbox = at.sandbox().await;
    for result in join_all((0..8).map(|_| sandbox.destroy())).await {
        result.unwrap();
    }
}

async fn destroy_settles_everything_that_runs(at: At) {
    let sandbox = at.sandbox().await;
    sh(&sandbox, "mkfifo /tmp/fifo").await;
    let waited_for = sandbox.instance().spawn(&shell("sleep 1000")).await.unwrap();
    let mut read = sandbox.instance().spawn(&shell("exec sleep 1000")).await.unwrap();
    let control = Arc::clone(&waited_for.control);
    let endless = stream::repeat_with(|| Ok(Bytes::from_static(&[0; 1 << 16])));
    let files = sandbox.instance().files();
    let work: Vec<std::pin::Pin<Box<dyn Future<Output = Option<Error>> + Send>>> = vec![
        Box::pin(async { sandbox.run_command(shell("sleep 1000"), RunOptions::default()).await.err() }),
        Box::pin(async { sandbox.run_command(shell("cat /tmp/fifo"), RunOptions::default()).await.err() }),
        Box::pin(async { sandbox.run_command(shell("yes"), RunOptions::default()).await.err() }),
        Box::pin(async {
            let options = RunOptions { timeout: Some(Duration::from_secs(900)), ..RunOptions::default() };
            sandbox.run_code("while True: pass", None, shell(""), options).await.err()
        }),
        Box::pin(async { control.wait().await.err() }),
        Box::pin(async { waited_for.control.wait().await.err() }),
        Box::pin(async {
            assert_eq!(read.output.next(Wanted::BOTH).await, None);
            None
        }),
        Box::pin(async {
            let content = Content { size: None, bytes: Box::pin(stream::once(std::future::pending())) };
            tokio::select! {
                result = files.write("/tmp/never", content) => result.err(),
                // A source that never comes is the caller's; it must not be in the way of the others.
                () = tokio::time::sleep(SETTLED / 2) => None,
            }
        }),
        Box::pin(async {
            files.write("/tmp/endless", Content { size: None, bytes: Box::pin(endless) }).await.err()
        }),
    ];
    let destroyed = async {
        eventually("the commands run", SETTLED, async || {
            sh(&sandbox, "cat /proc/[0-9]*/cmdline | tr '\\0' ' ' | grep -c 'cat /tmp/fifo'").await.exit_code
                == 0
        })
        .await;
        let end = std::time::Instant::now();
        sandbox.destroy().await.unwrap();
        end
    };
    let ((errors, settled), end) =
        tokio::join!(async { (join_all(work).await, std::time::Instant::now()) }, destroyed);
    assert!(settled - end < SETTLED * pace(), "{:?}", settled - end);
    for error in errors.into_iter().flatten() {
        let kinds = [ErrorKind::NotFound, ErrorKind::QuotaExceeded];
        assert!(kinds.contains(&error.kind()), "{error}");
    }
}

async fn calls(sandbox: &Sandbox) -> Vec<(&'static str, Option<Error>)> {
    let files = sandbox.filesystem();
    let code = sandbox.run_code("print(1)", None, shell(""), RunOptions::default());
    vec![
        ("run", sandbox.run_command(shell("true"), RunOptions::default()).await.err()),
        ("code", code.await.err()),
        ("spawn", sandbox.instance().spawn(&shell("true")).await.err()),
        ("read", files.read("/etc/passwd").await.err()),
        ("write", files.write("/tmp/x", Bytes::new()).await.err()),
        ("large write", files.write("/tmp/x", Bytes::from(vec![0; 1 << 20])).await.err()),
        ("mkdir", files.make_dir("/tmp/d").await.err()),
        ("list", files.list("/tmp").await.err()),
        ("remove", files.remove("/tmp/x").await.err()),
        ("stat", files.stat("/tmp").await.err()),
        ("open", files.open("/etc/passwd").await.err()),
        ("rename", files.rename("/tmp/x", "/tmp/y").await.err()),
        ("copy", files.copy("/etc", "/tmp/y").await.err()),
        ("extend", sandbox.extend_timeout(Duration::from_secs(1)).await.err()),
    ]
}

async fn after_its_end_every_call_says_why(at: At) {
    let sandbox = at.sandbox().await;
    let mut process = sandbox.instance().spawn(&shell("sleep 1000")).await.unwrap();
    sandbox.destroy().await.unwrap();
    for (call, error) in calls(&sandbox).await {
        let error = error.unwrap_or_else(|| panic!("{call} worked"));
        assert_eq!(error.kind(), ErrorKind::NotFound, "{call}: {error}");
        assert!(error.message().contains("it was destroyed"), "{call}: {error}");
    }
    assert!(!sandbox.filesystem().exists("/etc/passwd").await);
    assert_eq!(process.control.wait().await.unwrap_err().kind(), ErrorKind::NotFound);
    assert_eq!(process.output.next(Wanted::BOTH).await, None);
    process.control.kill().await.unwrap();
    let info = sandbox.info().await.unwrap();
    assert_eq!((info.status, info.reason.as_deref()), (Status::Stopped, Some("it was destroyed")));
    assert!(at.0.info(sandbox.id()).await.unwrap().is_none());
}

async fn a_dropped_create_gives_back_the_id(at: At) {
    let id = id_of("dropped");
    // Each time a little further.
    for step in 0..40_u64 {
        let request = named(&id);
        tokio::select! {
            biased;
            () = tokio::time::sleep(Duration::from_micros(step * 100)) => {}
            made = compute::create_at(&at.0, &request, false) => made.unwrap().destroy().await.unwrap(),
        }
        // Where it is made elsewhere, it is unmade there when it has been made.
        eventually(&format!("step {step}"), at.measures().unmade, async || {
            at.0.connect(&id).await.unwrap().is_none() && !ids(&at).await.contains(&id)
        })
        .await;
    }
    let made = at.create(named(&id)).await;
    assert_eq!(sh(&made, "echo mine").await.stdout, "mine\n");
}

async fn a_dropped_destroy_goes_on(at: At) {
    let sandbox = at.sandbox().await;
    let process = sandbox.instance().spawn(&shell("sleep 1000")).await.unwrap();
    // On a busy machine it may be over by then.
    drop(sandbox.destroy().now_or_never());
    let ended = soon("the end of the command", SETTLED, process.control.wait()).await;
    assert_eq!(ended.unwrap_err().kind(), ErrorKind::NotFound);
    assert!(at.0.info(sandbox.id()).await.unwrap().is_none());
}

async fn errors_say_where_they_happened(at: At) {
    let sandbox = at.sandbox().await;
    let error = sandbox.filesystem().read("/nowhere").await.unwrap_err();
    assert_eq!(error.operation(), Some("readFile"));
    assert_eq!(error.provider(), Some(at.0.name()));
    assert_eq!(error.sandbox(), Some(sandbox.id()));
    let error = refusal(&at, named("")).await;
    assert_eq!((error.operation(), error.provider()), (Some("create"), Some(at.0.name())));
}

/// A provider that has nothing and makes nothing.
#[derive(Debug)]
struct Nothing;

#[async_trait]
impl Provider for Nothing {
    fn name(&self) -> &str {
        "nothing"
    }
    fn capabilities(&self) -> Capabilities {
        Capabilities::default()
    }
    async fn create(&self, _: &CreateRequest) -> Result<Arc<dyn Instance>> {
        Err(Error::new(ErrorKind::Unavailable, "there is nothing here"))
    }
    async fn connect(&self, _: &str) -> Result<Option<Arc<dyn Instance>>> {
        Ok(None)
    }
    async fn list(&self, _: &Filter) -> Result<Vec<Arc<dyn Instance>>> {
        Ok(Vec::new())
    }
    async fn info(&self, _: &str) -> Result<Option<Info>> {
        Ok(None)
    }
    async fn destroy(&self, _: &str) -> Result<()> {
        panic!("it has no sandbox to end")
    }
}

async fn strategies_take_providers_in_their_order(at: At) {
    let compute = |strategy, fallback| {
        let providers: Vec<Arc<dyn Provider>> = vec![Arc::new(Nothing), Arc::clone(&at.0)];
        Compute::new(Settings { providers, strategy, fallback, ..Settings::default() })
    };
    // Whoever made it is also whom it is found at, and who ends it.
    let life = async |compute: &Compute| {
        let sandbox = compute.create(&CreateRequest::default()).await.map_err(|error| error.kind())?;
        assert!(compute.get(sandbox.id()).await.unwrap().is_some());
        compute.destroy(sandbox.id()).await.unwrap();
        assert!(compute.get(sandbox.id()).await.unwrap().is_none());
        Ok(sandbox.provider().name().to_owned())
    };
    let (here, nowhere) = (Ok(at.0.name().to_owned()), Err(ErrorKind::Unavailable));
    assert_eq!(life(&compute(Strategy::Priority, true)).await, here);
    assert_eq!(life(&compute(Strategy::Priority, false)).await, nowhere);
    let in_turn = compute(Strategy::RoundRobin, false);
    for expected in [&nowhere, &here, &nowhere, &here] {
        assert_eq!(life(&in_turn).await, *expected);
    }
}
