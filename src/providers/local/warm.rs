//! Interpreters that are up before there is code for them: which, and when code may have one.

use std::collections::BTreeMap;

use computesdk_agent::protocol::{Interpreter, Request};

use super::config::Warm;
use super::plan::environment;
use crate::code::Language;
use crate::error::{Error, Result};
use crate::provider::Command;

/// How many modules one may import in advance.
const MODULES: usize = 64;

/// The interpreter that a configuration asks for; `variables` are those that this machine's Python needs.
pub(super) fn interpreter(
    warm: &Warm,
    python: bool,
    variables: &BTreeMap<String, String>,
) -> Result<Option<Interpreter>> {
    let (preload, stays) = match warm {
        Warm::Never => return Ok(None),
        Warm::Later => (Vec::new(), false),
        Warm::Always { preload } => (preload.clone(), true),
    };
    check(&preload)?;
    if !python {
        return match stays {
            true => Err(Error::unsupported("`warm.python`: this machine has no interpreter for python")
                .with_hint("install one, or name it: local({ python: '/path/to/it' })")),
            false => Ok(None),
        };
    }
    // Which shell there is makes no difference to it.
    let mut env = environment("sh");
    env.extend(variables.clone());
    env.retain(|name, _| is_read_at_start(name));
    Ok(Some(Interpreter { program: "python3".to_owned(), env, preload, stays }))
}

fn check(preload: &[String]) -> Result<()> {
    let possible = |name: &str| {
        let part = |part: &str| {
            let mut letters = part.chars();
            letters.next().is_some_and(|first| first == '_' || first.is_alphabetic())
                && letters.all(|letter| letter == '_' || letter.is_alphanumeric())
        };
        name.len() <= 256 && name.split('.').all(part)
    };
    if let Some(name) = preload.iter().find(|name| !possible(name)) {
        return Err(Error::invalid(format!("`warm.python.preload`: no name of a module: `{name}`"))
            .with_hint("names as `import` takes them: 'numpy', 'os.path'"));
    }
    if preload.len() > MODULES {
        return Err(Error::invalid(format!(
            "`warm.python.preload` has {} modules, {MODULES} at most",
            preload.len()
        )));
    }
    Ok(())
}

/// The request that starts a command: with `warm`, if it is code that such an interpreter would take as one that is
/// started for it does.
pub(super) fn request(
    id: u32,
    command: computesdk_agent::protocol::Command,
    asked: &Command,
    warm: Option<&Interpreter>,
) -> Request {
    match warm {
        Some(interpreter)
            if asked.code == Some(Language::Python)
                && command.terminal.is_none()
                && starts_alike(&command.env, interpreter) =>
        {
            Request::Run { id, command, interpreter: interpreter.clone() }
        }
        _ => Request::Spawn { id, command },
    }
}

/// Whether an interpreter would start in this environment as it did in its own.
fn starts_alike(env: &BTreeMap<String, String>, interpreter: &Interpreter) -> bool {
    // How many threads they have is what libraries of numbers ask when they are imported.
    let is_read = |name: &str| {
        is_read_at_start(name) || (!interpreter.preload.is_empty() && name.ends_with("_NUM_THREADS"))
    };
    env.iter().filter(|(name, _)| is_read(name)).eq(interpreter.env.iter())
}

/// Variables that make a difference before the first line of code runs, and none afterwards.
fn is_read_at_start(name: &str) -> bool {
    const NAMES: [&str; 5] = ["HOME", "LANG", "LANGUAGE", "PATH", "TZ"];
    const FAMILIES: [&str; 5] = ["PYTHON", "LD_", "LC_", "MALLOC_", "GLIBC_"];
    NAMES.contains(&name) || FAMILIES.iter().any(|family| name.starts_with(family))
}
