//! What was typed, as plain data. Everything that is wrong is an error that names it.

use std::path::PathBuf;
use std::time::Duration;

use super::HELP;
use crate::error::{Error, Result};
use crate::provider::{CreateRequest, Network};

const RUN_HELP: &str = "\
Runs one thing in a fresh sandbox, which ends with it.

  computesdk run [options] file.py|file.js [arguments]
  computesdk run [options] -- program [arguments]

A file is copied to /home/user in the sandbox. Standard input is passed through; standard output and error are the
program's own, as they come.

  --timeout MS          kill it after this many milliseconds
  --memory SIZE         bytes of memory, or 512m, 2g; 2g by default
  --disk SIZE           bytes of files; 1g by default, and half of the memory at most
  --cpus NUMBER         processors, such as 0.5
  --processes NUMBER    processes and threads at once; 256 by default
  --enforce             refuse to run where these cannot be enforced for the sandbox as a whole
  --network WHAT        none (the default), full, or the hosts that it may reach: a.example,*.b.example
  --env NAME=VALUE      its environment; as often as needed
  --cwd PATH            where it starts; /home/user by default

The exit code is the program's, 128 + n after signal n. 124: its time was over. 125: computesdk itself failed, and says
why on standard error. 126, 127: there is no such program, or it cannot be run.
";

const DOCTOR_HELP: &str = "\
Tells what isolation this machine gives, layer by layer, what is missing, why, and what to do about it. Makes a sandbox
to find out.

  computesdk doctor [--json]

The exit code is 0 if sandboxes can be made on this machine, else 1.
";

/// What is to be done.
#[derive(Debug)]
pub enum Command {
    /// Say this.
    Help(&'static str),
    /// Say which version this is.
    Version,
    /// Look at the machine.
    Doctor {
        /// For programs to read.
        json: bool,
    },
    /// Run something.
    Run(Box<Run>),
}

/// What is to be run.
#[derive(Debug)]
pub struct Run {
    /// The program, or the file.
    pub what: What,
    /// What comes after it.
    pub arguments: Vec<String>,
    /// How long it may take.
    pub timeout: Option<Duration>,
    /// Where it starts.
    pub cwd: Option<String>,
    /// The sandbox.
    pub request: CreateRequest,
}

/// What is to be run.
#[derive(Debug, PartialEq, Eq)]
pub enum What {
    /// A file of this machine.
    File(PathBuf),
    /// A program of the sandbox.
    Program(String),
}

/// Reads the words after the program's own name.
pub fn parse(words: Vec<String>) -> Result<Command> {
    let mut words = words.into_iter();
    match words.next().as_deref() {
        None | Some("--help" | "-h" | "help") => Ok(Command::Help(HELP)),
        Some("--version" | "-V") => Ok(Command::Version),
        Some("doctor") => doctor(words),
        Some("run") => run(words),
        Some(other) => Err(Error::invalid(format!("there is no command `{other}`"))
            .with_hint("there are run, mcp and doctor: `computesdk --help`")),
    }
}

fn doctor(words: impl Iterator<Item = String>) -> Result<Command> {
    let mut json = false;
    for word in words {
        match word.as_str() {
            "--json" => json = true,
            "--help" | "-h" => return Ok(Command::Help(DOCTOR_HELP)),
            _ => return Err(unknown(&word, "doctor")),
        }
    }
    Ok(Command::Doctor { json })
}

fn run(mut words: impl Iterator<Item = String>) -> Result<Command> {
    let mut shared = Shared::default();
    let what = loop {
        let Some(word) = words.next() else {
            return Err(Error::invalid("nothing to run")
                .with_hint("name a file, or a program after `--`: `computesdk run --help`"));
        };
        if word == "--" {
            let program = words.next().filter(|program| !program.is_empty());
            break What::Program(program.ok_or_else(|| Error::invalid("there is no program after `--`"))?);
        }
        if !word.starts_with('-') {
            break What::File(PathBuf::from(word));
        }
        let mut flag = Flag::of(&word, &mut words);
        if flag.asks_for_help() {
            return Ok(Command::Help(RUN_HELP));
        }
        if !shared.take(&mut flag)? {
            return Err(unknown(&word, "run"));
        }
    };
    let Shared { timeout, cwd, request } = shared;
    Ok(Command::Run(Box::new(Run { what, arguments: words.collect(), timeout, cwd, request })))
}

/// A word that begins with `-`; its value is behind a `=`, or the next word.
pub(super) struct Flag<'w> {
    /// What it is called, without a value.
    pub(super) name: String,
    given: Option<String>,
    words: &'w mut dyn Iterator<Item = String>,
}

impl<'w> Flag<'w> {
    pub(super) fn of(word: &str, words: &'w mut dyn Iterator<Item = String>) -> Self {
        let (name, given) = match word.split_once('=') {
            Some((name, value)) => (name, Some(value.to_owned())),
            None => (word, None),
        };
        Self { name: name.to_owned(), given, words }
    }

    pub(super) fn asks_for_help(&self) -> bool {
        matches!(self.name.as_str(), "--help" | "-h")
    }

    pub(super) fn value(&mut self) -> Result<String> {
        let value = self.given.take().or_else(|| self.words.next());
        value.ok_or_else(|| Error::invalid(format!("`{}` needs a value", self.name)))
    }
}

/// What a sandbox is to be, and what holds for what runs in it: the options that commands share.
#[derive(Debug, Default)]
pub(super) struct Shared {
    pub(super) timeout: Option<Duration>,
    pub(super) cwd: Option<String>,
    pub(super) request: CreateRequest,
}

impl Shared {
    /// Takes an option, if it is one of these.
    pub(super) fn take(&mut self, flag: &mut Flag<'_>) -> Result<bool> {
        let name = flag.name.clone();
        let resources = &mut self.request.resources;
        match name.as_str() {
            "--timeout" => self.timeout = Some(millis(&name, &flag.value()?)?),
            "--memory" => resources.memory = Some(size(&name, &flag.value()?)?),
            "--disk" => resources.disk = Some(size(&name, &flag.value()?)?),
            "--cpus" => {
                resources.cpus = Some(number(&name, &flag.value()?, "a number of processors, such as 0.5")?);
            }
            "--processes" => resources.processes = Some(number(&name, &flag.value()?, "a whole number")?),
            "--enforce" if flag.given.is_none() => resources.enforce = Some(true),
            "--network" => self.request.network = Some(network(&flag.value()?)?),
            "--env" => {
                let (name, value) = variable(&flag.value()?)?;
                self.request.envs.insert(name, value);
            }
            "--cwd" => self.cwd = Some(flag.value()?),
            _ => return Ok(false),
        }
        Ok(true)
    }
}

pub(super) fn unknown(word: &str, command: &str) -> Error {
    Error::invalid(format!("`{command}` knows no `{word}`"))
        .with_hint(format!("`computesdk {command} --help` has what it knows"))
}

fn number<T: std::str::FromStr>(name: &str, value: &str, wanted: &str) -> Result<T> {
    value.parse().map_err(|_| Error::invalid(format!("`{name}` must be {wanted}, got `{value}`")))
}

pub(super) fn millis(name: &str, value: &str) -> Result<Duration> {
    match number(name, value, "a number of milliseconds")? {
        0 => Err(Error::invalid(format!("`{name}` must be more than 0"))
            .with_hint("without it, there is no limit")),
        millis => Ok(Duration::from_millis(millis)),
    }
}

/// Bytes, or with a letter thousands of them: of 1024.
fn size(name: &str, value: &str) -> Result<u64> {
    let wanted = "a number of bytes, or such as 512m and 2g";
    let (digits, shift) = match value.as_bytes().last().map(u8::to_ascii_lowercase) {
        Some(b'k') => (&value[..value.len() - 1], 10),
        Some(b'm') => (&value[..value.len() - 1], 20),
        Some(b'g') => (&value[..value.len() - 1], 30),
        _ => (value, 0),
    };
    let count: u64 = number(name, digits, wanted)
        .map_err(|_| Error::invalid(format!("`{name}` must be {wanted}, got `{value}`")))?;
    count.checked_mul(1 << shift).ok_or_else(|| Error::invalid(format!("`{name}` is too large: `{value}`")))
}

fn network(value: &str) -> Result<Network> {
    match value {
        "none" => Ok(Network::None),
        "full" => Ok(Network::Full),
        hosts => {
            let hosts: Vec<String> = hosts.split(',').map(|host| host.trim().to_owned()).collect();
            if hosts.iter().any(String::is_empty) {
                return Err(Error::invalid(format!("`--network` has an empty host: `{value}`"))
                    .with_hint("none, full, or hosts with commas between them"));
            }
            Ok(Network::Allow(hosts))
        }
    }
}

fn variable(value: &str) -> Result<(String, String)> {
    let parts = value.split_once('=').filter(|(name, _)| !name.is_empty());
    let (name, value) =
        parts.ok_or_else(|| Error::invalid(format!("`--env` must be NAME=VALUE, got `{value}`")))?;
    Ok((name.to_owned(), value.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(line: &str) -> Result<Command> {
        parse(line.split_whitespace().map(str::to_owned).collect())
    }

    fn run_of(line: &str) -> Run {
        match parsed(line) {
            Ok(Command::Run(run)) => *run,
            other => panic!("{line}: {other:?}"),
        }
    }

    #[test]
    fn options_end_where_the_program_begins() {
        let run = run_of("run --timeout 500 --memory=512m --env A=b=c --network a.b,*.c -- sh --memory 1");
        assert_eq!(run.what, What::Program("sh".to_owned()));
        assert_eq!(run.arguments, ["--memory", "1"]);
        assert_eq!(run.timeout, Some(Duration::from_millis(500)));
        assert_eq!(run.request.resources.memory, Some(512 << 20));
        assert_eq!(run.request.envs["A"], "b=c");
        assert_eq!(run.request.network, Some(Network::Allow(vec!["a.b".to_owned(), "*.c".to_owned()])));

        let run = run_of("run --cpus 0.5 --enforce a/b.py --help -- x");
        assert_eq!(run.what, What::File("a/b.py".into()));
        assert_eq!(run.arguments, ["--help", "--", "x"]);
        assert_eq!((run.request.resources.cpus, run.request.resources.enforce), (Some(0.5), Some(true)));
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (line, said) in [
            ("walk", "there is no command `walk`"),
            ("run", "nothing to run"),
            ("run --", "there is no program after `--`"),
            ("run --tiemout 5 a.py", "`run` knows no `--tiemout`"),
            ("run --timeout", "`--timeout` needs a value"),
            ("run --timeout 5s a.py", "`--timeout` must be a number of milliseconds, got `5s`"),
            ("run --timeout 0 a.py", "`--timeout` must be more than 0"),
            (
                "run --memory lots a.py",
                "`--memory` must be a number of bytes, or such as 512m and 2g, got `lots`",
            ),
            ("run --memory 99999999999g a.py", "`--memory` is too large: `99999999999g`"),
            ("run --processes -1 a.py", "`--processes` must be a whole number, got `-1`"),
            ("run --env A a.py", "`--env` must be NAME=VALUE, got `A`"),
            ("run --network a,,b a.py", "`--network` has an empty host: `a,,b`"),
            ("run --enforce=yes a.py", "`run` knows no `--enforce=yes`"),
            ("doctor --yaml", "`doctor` knows no `--yaml`"),
        ] {
            assert_eq!(parsed(line).expect_err(line).message(), said);
        }
    }
}
