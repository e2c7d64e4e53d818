//! What `computesdk mcp` was given. The server is JavaScript, in `door/mcp`: it is made of the same tools as the adapters.

use std::time::Duration;

use serde_json::{Map, Value, json};

use super::arguments::{Flag, Shared, millis, unknown};
use crate::config;
use crate::error::{Error, Result};
use crate::provider::{CreateRequest, Network};
use crate::providers;

const HELP: &str = "\
Serves the tools of an agent by the Model Context Protocol, over standard input and output: runCommand, runCode,
readFile and writeFile. All work in one sandbox, made when the first of them is called, ended with the connection.

  computesdk mcp [options]

  --provider NAME       local, docker or e2b; COMPUTESDK_PROVIDER, or local, by default
  --timeout MS          how long a command may take; 120000 by default
  --life MS             how long the sandbox may live; on local without an end, elsewhere an hour by default
  --memory SIZE         bytes of memory, or 512m, 2g; on local 2g by default
  --disk SIZE           bytes of files; on local 1g by default, and half of the memory at most
  --cpus NUMBER         processors, such as 0.5
  --processes NUMBER    processes and threads at once; on local 256 by default
  --enforce             refuse to serve where these cannot be enforced for the sandbox as a whole
  --network WHAT        none (the default), full, or the hosts that it may reach: a.example,*.b.example
  --env NAME=VALUE      the sandbox' environment; as often as needed
  --cwd PATH            where commands start; /home/user by default
";

/// How long a sandbox may live that has to have an end.
const LIFE: Duration = Duration::from_secs(3600);

/// What was typed after `mcp`, as the server takes it: `{ help }`, or `{ provider, timeout?, cwd?, create }` with the
/// options of `create` in JavaScript.
pub fn settings(words: Vec<String>) -> Result<Value> {
    let (mut shared, mut provider, mut life) = (Shared::default(), None, None);
    let mut words = words.into_iter();
    while let Some(word) = words.next() {
        let mut flag = Flag::of(&word, &mut words);
        if flag.asks_for_help() {
            return Ok(json!({ "help": HELP }));
        }
        match flag.name.as_str() {
            "--provider" => provider = Some(named(flag.value()?)?),
            "--life" => life = Some(millis("--life", &flag.value()?)?),
            _ => {
                if !shared.take(&mut flag)? {
                    return Err(unknown(&word, "mcp"));
                }
            }
        }
    }
    let provider = match provider {
        Some(provider) => provider,
        None => named(config::default_provider().unwrap_or_else(|| "local".to_owned()))?,
    };
    let life = life.unwrap_or(if provider == "local" { Duration::ZERO } else { LIFE });
    // Said in any case: providers have defaults of their own, and that of E2B is everything.
    let network = shared.request.network.or(Some(Network::None));
    let create = create(&CreateRequest { timeout: Some(life), network, ..shared.request });
    Ok(given([
        ("provider", Some(provider.into())),
        ("timeout", shared.timeout.map(|timeout| json!(timeout.as_millis()))),
        ("cwd", shared.cwd.map(Value::from)),
        ("create", Some(create)),
    ]))
}

fn named(provider: String) -> Result<String> {
    let known = providers::names();
    if known.contains(&provider.as_str()) {
        return Ok(provider);
    }
    Err(Error::invalid(format!("there is no provider `{provider}`"))
        .with_hint(format!("there is: {}", known.join(", "))))
}

/// The options of `create`, those that were given.
fn create(request: &CreateRequest) -> Value {
    let resources = request.resources;
    let network = request.network.as_ref().map(|network| match network {
        Network::None => json!("none"),
        Network::Full => json!("full"),
        Network::Allow(hosts) => json!({ "allow": hosts }),
    });
    let resources = given([
        ("memory", resources.memory.map(Value::from)),
        ("disk", resources.disk.map(Value::from)),
        ("cpus", resources.cpus.map(Value::from)),
        ("processes", resources.processes.map(Value::from)),
        ("enforce", resources.enforce.map(Value::from)),
    ]);
    given([
        ("timeout", request.timeout.map(|timeout| json!(timeout.as_millis()))),
        ("envs", (!request.envs.is_empty()).then(|| json!(request.envs))),
        ("network", network),
        ("resources", resources.as_object().is_some_and(|some| !some.is_empty()).then_some(resources)),
    ])
}

fn given<const N: usize>(fields: [(&str, Option<Value>); N]) -> Value {
    let some = fields.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?)));
    Value::Object(some.collect::<Map<_, _>>())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings_of(line: &str) -> Result<Value> {
        settings(line.split_whitespace().map(str::to_owned).collect())
    }

    #[test]
    fn what_is_typed_is_what_create_takes() {
        let line =
            "--provider local --timeout=500 --memory 1k --enforce --network a.b,*.c --env A=b --cwd /tmp";
        assert_eq!(
            settings_of(line).unwrap(),
            json!({
                "provider": "local",
                "timeout": 500,
                "cwd": "/tmp",
                "create": {
                    "timeout": 0,
                    "envs": { "A": "b" },
                    "network": { "allow": ["a.b", "*.c"] },
                    "resources": { "memory": 1024, "enforce": true },
                },
            })
        );
    }

    #[test]
    fn elsewhere_a_sandbox_has_an_end() {
        for (line, life) in [("--provider e2b", 3_600_000), ("--provider docker --life 5", 5)] {
            assert_eq!(settings_of(line).unwrap()["create"]["timeout"], life);
        }
    }

    #[test]
    fn nothing_is_reached_wherever_it_is_unless_that_is_said() {
        for provider in ["local", "docker", "e2b"] {
            let settings = settings_of(&format!("--provider {provider}")).unwrap();
            assert_eq!(settings["create"]["network"], "none");
        }
        assert_eq!(settings_of("--network full").unwrap()["create"]["network"], "full");
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (line, said) in [
            ("--provider cloud", "there is no provider `cloud`"),
            ("--life 0", "`--life` must be more than 0"),
            ("--porvider e2b", "`mcp` knows no `--porvider`"),
            ("file.py", "`mcp` knows no `file.py`"),
            ("--timeout", "`--timeout` needs a value"),
        ] {
            assert_eq!(settings_of(line).expect_err(line).message(), said);
        }
    }
}
