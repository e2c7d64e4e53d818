//! Several providers at once: who is asked, in which order, and what is told of those that fail.

use async_trait::async_trait;

use super::*;
use crate::provider::{Capabilities, Info, Instance};
use crate::request::tests::memory::{At, Memory};

/// A provider that fails in one way.
#[derive(Debug)]
struct Failing(&'static str, ErrorKind);

#[async_trait]
impl Provider for Failing {
    fn name(&self) -> &str {
        self.0
    }
    fn capabilities(&self) -> Capabilities {
        Capabilities::default()
    }
    async fn create(&self, _: &CreateRequest) -> Result<Arc<dyn Instance>> {
        Err(Error::new(self.1, format!("{} is full", self.0)).with_hint("wait"))
    }
    async fn connect(&self, _: &str) -> Result<Option<Arc<dyn Instance>>> {
        if self.1 == ErrorKind::NotFound { Ok(None) } else { Err(Error::new(self.1, "no answer")) }
    }
    async fn list(&self, _: &Filter) -> Result<Vec<Arc<dyn Instance>>> {
        if self.1 == ErrorKind::NotFound { Ok(Vec::new()) } else { Err(Error::new(self.1, "no answer")) }
    }
    async fn info(&self, _: &str) -> Result<Option<Info>> {
        self.connect("").await.map(|_| None)
    }
    async fn destroy(&self, _: &str) -> Result<()> {
        Err(Error::new(self.1, "destroyed at the wrong place"))
    }
}

fn compute(kinds: &[(&'static str, ErrorKind)], fallback: bool, strategy: Strategy) -> Compute {
    let providers =
        kinds.iter().map(|(name, kind)| Arc::new(Failing(name, *kind)) as Arc<dyn Provider>).collect();
    Compute::new(Settings { providers, strategy, fallback, strict: false })
}

const TWO: [(&str, ErrorKind); 2] = [("a", ErrorKind::Unavailable), ("b", ErrorKind::Unavailable)];

async fn refusal(compute: &Compute) -> Error {
    compute.create(&CreateRequest::default()).await.expect_err("nobody creates here")
}

#[tokio::test]
async fn every_provider_is_tried_and_every_failure_told() {
    let error = refusal(&compute(&TWO, true, Strategy::Priority)).await;
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert_eq!(error.message(), "no provider can create a sandbox: a: a is full (wait); b: b is full (wait)");
}

#[tokio::test]
async fn without_fallback_the_first_failure_is_the_error() {
    let error = refusal(&compute(&TWO, false, Strategy::Priority)).await;
    assert_eq!((error.message(), error.provider()), ("a is full", Some("a")));
}

#[tokio::test]
async fn a_wrong_request_is_not_tried_elsewhere() {
    let providers = [("a", ErrorKind::InvalidArgument), ("b", ErrorKind::Unavailable)];
    let error = refusal(&compute(&providers, true, Strategy::Priority)).await;
    assert_eq!((error.message(), error.kind()), ("a is full", ErrorKind::InvalidArgument));
}

#[tokio::test]
async fn round_robin_begins_with_each_in_turn() {
    let compute = compute(&TWO, false, Strategy::RoundRobin);
    for expected in ["a is full", "b is full", "a is full"] {
        assert_eq!(refusal(&compute).await.message(), expected);
    }
}

#[tokio::test]
async fn an_unknown_sandbox_is_none_only_if_every_provider_says_so() {
    let silent = [("a", ErrorKind::NotFound), ("b", ErrorKind::Unavailable)];
    let error = compute(&silent, true, Strategy::Priority).get("x").await.expect_err("b did not answer");
    assert_eq!((error.kind(), error.provider()), (ErrorKind::Unavailable, Some("b")));
    let sure = [("a", ErrorKind::NotFound), ("b", ErrorKind::NotFound)];
    assert!(compute(&sure, true, Strategy::Priority).get("x").await.expect("both answered").is_none());
}

#[tokio::test]
async fn a_list_gives_what_it_can() {
    let some = [("a", ErrorKind::NotFound), ("b", ErrorKind::Unavailable)];
    let listed = compute(&some, true, Strategy::Priority).list(&Filter::default()).await.expect("a answered");
    assert!(listed.sandboxes.is_empty());
    let [failure] = listed.failures.as_slice() else { panic!("{listed:?}") };
    assert_eq!((failure.provider(), failure.kind()), (Some("b"), ErrorKind::Unavailable));
    let error = compute(&TWO, true, Strategy::Priority).list(&Filter::default()).await.unwrap_err();
    assert_eq!(error.message(), "no provider can list its sandboxes: a: no answer; b: no answer");
    let mute = [("a", ErrorKind::Unsupported)];
    let error = compute(&mute, true, Strategy::Priority).list(&Filter::default()).await.unwrap_err();
    assert_eq!((error.kind(), error.provider()), (ErrorKind::Unsupported, Some("a")));
}

#[tokio::test]
async fn a_sandbox_of_nobody_is_destroyed_nowhere() {
    let sure = [("a", ErrorKind::NotFound), ("b", ErrorKind::NotFound)];
    assert!(compute(&sure, true, Strategy::Priority).destroy("x").await.is_ok());
    let silent = [("a", ErrorKind::Unavailable), ("b", ErrorKind::NotFound)];
    let error = compute(&silent, true, Strategy::Priority).destroy("x").await.expect_err("a did not answer");
    assert_eq!((error.kind(), error.provider()), (ErrorKind::Unavailable, Some("a")));
}

#[test]
fn an_unknown_name_lists_the_known_ones() {
    let error = compute(&TWO, true, Strategy::Priority).named("c").expect_err("there is no c");
    assert_eq!(error.message(), "no provider `c` is configured; there is: a, b");
}

/// Two providers that work, and what is in them.
fn working(strategy: Strategy) -> (Compute, [Arc<Memory>; 2]) {
    let memories = ["a", "b"].map(|name| Arc::new(Memory { name, ..Memory::default() }));
    let providers = memories.iter().map(|memory| Arc::new(At(Arc::clone(memory))) as Arc<dyn Provider>);
    let settings = Settings { providers: providers.collect(), strategy, fallback: true, strict: false };
    (Compute::new(settings), memories)
}

fn full(memory: &Memory, kind: ErrorKind) {
    *memory.failure.lock().unwrap() = Some(Error::new(kind, "full"));
}

fn named(id: &str) -> CreateRequest {
    CreateRequest { sandbox_id: Some(id.to_owned()), ..CreateRequest::default() }
}

fn made(memories: &[Arc<Memory>; 2]) -> [usize; 2] {
    memories.each_ref().map(|memory| memory.made.lock().unwrap().len())
}

#[tokio::test]
async fn the_next_is_tried_when_one_cannot_create() {
    let (compute, memories) = working(Strategy::Priority);
    for kind in
        [ErrorKind::Unavailable, ErrorKind::QuotaExceeded, ErrorKind::Unsupported, ErrorKind::Internal]
    {
        full(&memories[0], kind);
        let sandbox = compute.create(&CreateRequest::default()).await.unwrap();
        assert_eq!(sandbox.provider().name(), "b");
    }
    let sandbox = compute.create(&CreateRequest::default()).await.unwrap();
    assert_eq!(sandbox.provider().name(), "a", "it is asked first again");
}

#[tokio::test]
async fn nothing_is_tried_elsewhere_after_an_abort_or_with_a_named_provider() {
    let (compute, memories) = working(Strategy::Priority);
    full(&memories[0], ErrorKind::Aborted);
    assert_eq!(refusal(&compute).await.kind(), ErrorKind::Aborted);
    full(&memories[0], ErrorKind::Unavailable);
    let first = compute.named("a").unwrap();
    let error = compute.create_with(&first, &CreateRequest::default()).await.unwrap_err();
    assert_eq!((error.kind(), error.provider()), (ErrorKind::Unavailable, Some("a")));
    assert_eq!(made(&memories), [0, 0]);
}

#[tokio::test]
async fn round_robin_goes_on_where_one_cannot() {
    let (compute, memories) = working(Strategy::RoundRobin);
    full(&memories[1], ErrorKind::Unavailable);
    let mut names = Vec::new();
    for number in 0..4 {
        let sandbox = compute.create(&named(&number.to_string())).await.unwrap();
        names.push(sandbox.provider().name().to_owned());
    }
    assert_eq!(names, ["a", "a", "a", "b"]);
}

#[tokio::test]
async fn a_sandbox_is_ended_where_it_lives_and_nowhere_else() {
    let (compute, memories) = working(Strategy::RoundRobin);
    // The same id at both: whoever was made last is known.
    compute.create(&named("same")).await.unwrap();
    compute.create(&named("same")).await.unwrap();
    assert_eq!(made(&memories), [1, 1]);
    assert_eq!(compute.get("same").await.unwrap().unwrap().provider().name(), "b");
    compute.destroy("same").await.unwrap();
    assert_eq!(made(&memories), [1, 0]);
    compute.destroy("same").await.unwrap();
    assert_eq!(made(&memories), [0, 0]);
}

#[tokio::test]
async fn a_sandbox_that_others_have_made_is_found_by_asking() {
    let (compute, memories) = working(Strategy::Priority);
    let second = compute.named("b").unwrap();
    create_at(&second, &named("theirs"), false).await.unwrap();
    assert_eq!(compute.get("theirs").await.unwrap().unwrap().provider().name(), "b");
    compute.destroy("theirs").await.unwrap();
    assert_eq!(made(&memories), [0, 0]);
}

#[tokio::test]
async fn all_that_several_have_is_listed() {
    let (compute, _memories) = working(Strategy::RoundRobin);
    for id in ["1", "2", "3"] {
        compute.create(&named(id)).await.unwrap();
    }
    let listed = compute.list(&Filter::default()).await.unwrap();
    let names: Vec<_> = listed.sandboxes.iter().map(|one| (one.provider().name(), one.id())).collect();
    assert_eq!(names, [("a", "1"), ("a", "3"), ("b", "2")]);
    assert!(listed.failures.is_empty());
}

#[tokio::test]
async fn an_option_of_a_provider_s_own_is_refused_by_those_that_have_none() {
    let (compute, memories) = working(Strategy::Priority);
    let request = CreateRequest { own: Some(serde_json::Map::new()), ..CreateRequest::default() };
    let error = compute.create(&request).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    assert!(error.message().contains("providerOptions"), "{error}");
    assert_eq!(made(&memories), [0, 0]);
}
