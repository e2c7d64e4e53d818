//! Interpreters that are up before there is code for them: which, and when code may have one.

use std::collections::BTreeMap;

use computesdk_agent::protocol::{self, Interpreter, Request};

use super::config::{Warm, When};
use super::plan::environment;
use crate::code::Language;
use crate::error::{Error, Result};
use crate::provider::Command;

/// How many modules one may import in advance.
const MODULES: usize = 64;

/// The interpreters that a configuration asks for, of those that are `here`; `variables` are what this machine's need.
pub(super) fn interpreters(
    warm: &Warm,
    here: &[Language],
    variables: &BTreeMap<String, String>,
) -> Result<Vec<Interpreter>> {
    check(&warm.preload)?;
    // Which shell there is makes no difference to them.
    let mut env = environment("bash");
    env.extend(variables.clone());
    let mut interpreters = Vec::new();
    for (language, when) in [(Language::Python, warm.python), (Language::Node, warm.node)] {
        match (when, here.contains(&language)) {
            (When::Never, _) | (When::Later, false) => {}
            (When::Always, false) => {
                return Err(Error::unsupported(format!(
                    "`warm.{language}`: this machine has no interpreter for {language}"
                ))
                .with_hint(format!("install one, or name it: local({{ {language}: '/path/to/it' }})")));
            }
            (_, true) => {
                let stays = when == When::Always;
                interpreters.push(interpreter(language, env.clone(), warm.preload.clone(), stays));
            }
        }
    }
    Ok(interpreters)
}

fn interpreter(
    language: Language,
    mut env: BTreeMap<String, String>,
    preload: Vec<String>,
    stays: bool,
) -> Interpreter {
    match language {
        Language::Python => {
            env.retain(|name, _| is_read_at_start(language, name));
            let (language, program) = (protocol::Language::Python, "python3".to_owned());
            Interpreter { language, program, env, preload, stays }
        }
        // What most commands have is there already.
        Language::Node => {
            let (language, program) = (protocol::Language::Node, "node".to_owned());
            Interpreter { language, program, env, preload: Vec::new(), stays }
        }
    }
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

/// The request that starts a command: with what is `warm`, if it is code that such an interpreter would take as one that
/// is started for it does.
pub(super) fn request(id: u32, command: protocol::Command, asked: &Command, warm: &[Interpreter]) -> Request {
    // With other arguments it is no script, but a module.
    let is_code = command.terminal.is_none() && command.argv.len() == 3;
    let interpreter = asked.code.filter(|_| is_code).and_then(|language| {
        let program = command.argv.first();
        let interpreter = warm.iter().find(|interpreter| Some(&interpreter.program) == program)?;
        starts_alike(language, &command.env, interpreter).then(|| interpreter.clone())
    });
    match interpreter {
        Some(interpreter) => Request::Run { id, command, interpreter },
        None => Request::Spawn { id, command },
    }
}

/// Whether an interpreter would start in this environment as it did in its own.
fn starts_alike(language: Language, env: &BTreeMap<String, String>, interpreter: &Interpreter) -> bool {
    // How many threads they have is what libraries of numbers ask when they are imported.
    let is_read = |name: &str| {
        is_read_at_start(language, name)
            || (!interpreter.preload.is_empty() && name.ends_with("_NUM_THREADS"))
    };
    let given = env.iter().filter(|(name, _)| is_read(name));
    given.eq(interpreter.env.iter().filter(|(name, _)| is_read(name)))
}

/// Variables that make a difference before the first line of code runs, and none afterwards.
fn is_read_at_start(language: Language, name: &str) -> bool {
    const NAMES: [&str; 3] = ["LANG", "LANGUAGE", "PATH"];
    const FAMILIES: [&str; 5] = ["LD_", "LC_", "TZ", "MALLOC_", "GLIBC_"];
    const OF_NODE: [&str; 5] = ["NODE_", "UV_", "SSL_", "OPENSSL_", "ICU_"];
    let of_language = match language {
        Language::Python => name == "HOME" || name.starts_with("PYTHON"),
        // Only packages read that one.
        Language::Node => name != "NODE_ENV" && OF_NODE.iter().any(|family| name.starts_with(family)),
    };
    of_language || NAMES.contains(&name) || FAMILIES.iter().any(|family| name.starts_with(family))
}
