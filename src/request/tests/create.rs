//! What a client may set of its sandboxes.

use super::*;

#[tokio::test]
async fn a_client_sets_what_it_may_and_no_more() {
    let bench = Bench::new();
    for (options, status, message) in [
        (json!({ "sandboxId": "mine" }), 403, "`options.sandboxId` is not allowed"),
        (json!({ "templateId": "big" }), 400, "`options.templateId` is not allowed"),
        (json!({ "envs": { "A": "b" } }), 400, "`options.envs` is not allowed"),
        (json!({ "network": "full" }), 400, "`options.network` is not allowed"),
        (json!({ "mounts": [] }), 400, "`options.mounts` is not allowed"),
        (json!({ "provider": "e2b" }), 400, "`options.provider` is not allowed"),
        (json!({ "options": { "envs": {} } }), 400, "`options.options` is not allowed"),
        (json!({ "colour": 1 }), 400, "Unknown field: options.colour"),
        (json!({ "runtime": "cobol" }), 400, "`options.runtime` names no language: `cobol`"),
        (json!({ "timeout": "1" }), 400, "`options.timeout` must be a number, got a string"),
        (json!({ "metadata": [] }), 400, "`options.metadata` must be an object, got an array"),
        (
            json!({ "metadata": { OWNER: "alice" } }),
            400,
            "`options.metadata` cannot have the key `computesdk.owner`",
        ),
        (
            json!({ "timeout": 0 }),
            400,
            "`options.timeout` must be a whole number from 1 to 9007199254740991, got 0",
        ),
        (
            json!({ "metadata": { "a": "b".repeat(4096) } }),
            400,
            "`options.metadata` is too large: 4104 bytes of JSON, 4096 at most",
        ),
    ] {
        let answer = bench.ask(json!({ "action": CREATE, "options": options })).await;
        let (found, _, error) = refusal(&answer);
        assert_eq!((found, error), (status, message));
    }
    assert!(bench.memory.made.lock().unwrap().is_empty());
}

#[tokio::test]
async fn a_life_is_bounded_whoever_sets_it() {
    let minutes = |minutes: u64| Duration::from_secs(60 * minutes);
    for (client, default, provider, most, expected) in [
        (None, None, None, 15, minutes(5)),
        (None, None, None, 1, minutes(1)),
        (Some(60_000), None, None, 15, minutes(1)),
        (Some(86_400_000), None, None, 15, minutes(15)),
        (None, Some(minutes(7)), Some(minutes(3)), 15, minutes(7)),
        (None, Some(Duration::ZERO), None, 15, minutes(15)),
        (None, None, Some(minutes(3)), 15, minutes(3)),
        (None, None, Some(minutes(60)), 15, minutes(15)),
        (None, None, Some(Duration::ZERO), 15, minutes(15)),
    ] {
        let bench = Bench::with(Memory { life: provider, ..Memory::default() }, |policy| {
            policy.limits.life = minutes(most);
            policy.create_defaults.timeout = default;
        });
        let options = client.map_or(json!({}), |client| json!({ "timeout": client }));
        bench.ask(json!({ "action": CREATE, "options": options })).await;
        assert_eq!(bench.last_asked().timeout, Some(expected), "{client:?} {default:?} {provider:?}");
    }
}

#[tokio::test]
async fn what_is_opened_lies_over_the_defaults() {
    let defaults = || {
        let Value::Object(metadata) = json!({ "app": "shop", "tier": "free" }) else { unreachable!() };
        CreateRequest {
            runtime: Some("python".to_owned()),
            envs: [("A".to_owned(), "server".to_owned())].into(),
            metadata: Some(metadata),
            ..CreateRequest::default()
        }
    };
    let closed = Bench::with(Memory::default(), |policy| policy.create_with(defaults()).unwrap());
    closed.ask(json!({ "action": CREATE, "options": { "metadata": { "tier": "paid" } } })).await;
    let asked = closed.last_asked();
    assert_eq!(Value::Object(asked.metadata.unwrap()), json!({ "app": "shop", "tier": "paid" }));
    assert_eq!((asked.runtime.as_deref(), asked.envs["A"].as_str()), (Some("python"), "server"));

    let open = Bench::with(Memory::default(), |policy| {
        policy.create_with(defaults()).unwrap();
        policy.allow_create_options(&CLIENT_OPTIONS.map(str::to_owned)).unwrap();
    });
    let options = json!({
        "sandboxId": "mine", "templateId": "t", "domain": "d", "envs": { "B": "client" }, "ports": [80],
        "resources": { "memory": 1024, "cpus": 0.5, "enforce": true }, "network": { "allow": ["example.org"] },
    });
    assert_eq!(open.ask(json!({ "action": CREATE, "options": options })).await["sandboxId"], "mine");
    let asked = open.last_asked();
    assert_eq!(asked.envs.values().collect::<Vec<_>>(), ["server", "client"]);
    assert_eq!(
        (asked.template_id.as_deref(), asked.domain.as_deref(), &*asked.ports),
        (Some("t"), Some("d"), &[80][..])
    );
    assert_eq!((asked.resources.memory, asked.resources.cpus), (Some(1024), Some(0.5)));
    assert_eq!(asked.network, Some(Network::Allow(vec!["example.org".to_owned()])));
    for (options, message) in [
        (json!({ "ports": [0] }), "`options.ports[0]` must be a whole number"),
        (json!({ "ports": ["80"] }), "`options.ports[0]` must be a whole number"),
        (json!({ "network": "some" }), "`options.network` must be"),
        (json!({ "network": {} }), "`options.network.allow` is missing"),
        (json!({ "resources": { "gpu": 1 } }), "Unknown field: options.resources.gpu"),
        (json!({ "envs": { "": "x" } }), "`env` has an impossible name"),
    ] {
        let answer = open.ask(json!({ "action": CREATE, "options": options })).await;
        assert!(refusal(&answer).2.starts_with(message), "{answer}");
    }
}

#[tokio::test]
async fn why_nothing_was_made_is_told_if_it_is_the_clients_doing() {
    let failing = |error: Error| Memory { failure: Mutex::new(Some(error)), ..Memory::default() };
    let body = json!({ "action": CREATE, "options": { "runtime": "python3.9" } });
    for (error, expected) in [
        (
            Error::unsupported("`runtime`: there is no python"),
            (400, "UNSUPPORTED", "`runtime`: there is no python"),
        ),
        (
            Error::invalid("`python` is no program of this machine: `/opt/x`"),
            (500, "INTERNAL", "Internal error"),
        ),
        (Error::unsupported("this machine cannot isolate: /proc/sys/…"), (500, "INTERNAL", "Internal error")),
        (Error::new(ErrorKind::Unauthenticated, "key e2b_1234"), (500, "INTERNAL", "Internal error")),
        (Error::new(ErrorKind::AlreadyExists, "taken"), (500, "INTERNAL", "Internal error")),
        (Error::new(ErrorKind::RateLimited, "team x"), (429, "RATE_LIMITED", "Too many requests")),
        (Error::new(ErrorKind::QuotaExceeded, "team x"), (429, "QUOTA_EXCEEDED", "The quota is used up")),
    ] {
        let bench = Bench::with(failing(error), |_| {});
        let answer = bench.ask(body.clone()).await;
        assert_eq!(refusal(&answer), expected);
    }
    let limited = Error::new(ErrorKind::RateLimited, "wait").with_retry_after(Duration::from_millis(1500));
    let bench = Bench::with(failing(limited), |_| {});
    let request = Request { body: Body::Whole(body.to_string().into()), ..Request::default() };
    let answer = bench.handler.answer(request, Arc::new(Open)).await;
    assert!(answer.headers.contains(&("retry-after", "2".to_owned())), "{:?}", answer.headers);
}
