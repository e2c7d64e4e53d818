//! What no provider can run, refused before one is asked.

use std::collections::BTreeMap;

use crate::error::{Error, Result};
use crate::provider::{Command, Program};

/// One argument of a program, with its end, may have this many bytes on Linux (`execve(2)`).
pub(super) const MAX_ARGUMENT: usize = 128 << 10;
/// All arguments and the environment together.
const MAX_ARGUMENTS: usize = 2 << 20;
/// Source code and shell lines.
pub(super) const MAX_SCRIPT: usize = 16 << 20;

/// Refuses what no provider can run.
pub(crate) fn check(command: &Command) -> Result<()> {
    let nul = |what: String| Error::invalid(format!("{what} contains a NUL character"));
    let mut total = 0;
    match &command.program {
        Program::Shell(line) => {
            if line.contains('\0') {
                return Err(nul("`command`".to_owned()));
            }
            if line.len() > MAX_SCRIPT {
                return Err(too_long("command", line.len(), MAX_SCRIPT));
            }
        }
        Program::Login => {}
        Program::Args(argv) => {
            if argv.first().is_none_or(String::is_empty) {
                return Err(Error::invalid("`command` is empty"));
            }
            for (number, argument) in argv.iter().enumerate() {
                let name =
                    if number == 0 { "`command`".to_owned() } else { format!("`args[{}]`", number - 1) };
                if argument.contains('\0') {
                    return Err(nul(name));
                }
                if argument.len() >= MAX_ARGUMENT {
                    return Err(Error::invalid(format!(
                        "{name} is too long: {} bytes, {} at most",
                        argument.len(),
                        MAX_ARGUMENT - 1
                    ))
                    .with_hint("write it to a file, or give it as `stdin`"));
                }
                total += argument.len() + 1;
            }
        }
    }
    check_env(&command.env)?;
    total += command.env.iter().map(|(name, value)| name.len() + value.len() + 2).sum::<usize>();
    if total > MAX_ARGUMENTS {
        return Err(Error::invalid(format!(
            "arguments and environment are too long together: {total} bytes, {MAX_ARGUMENTS} at most"
        ))
        .with_hint("write them to a file, or give them as `stdin`"));
    }
    check_cwd(command)
}

pub(super) fn check_cwd(command: &Command) -> Result<()> {
    let Some(cwd) = &command.cwd else { return Ok(()) };
    if !cwd.starts_with('/') {
        return Err(Error::invalid(format!("`cwd` must be absolute, got `{cwd}`")));
    }
    if cwd.contains('\0') {
        return Err(Error::invalid("`cwd` contains a NUL character"));
    }
    Ok(())
}

/// Refuses names and values that an environment cannot hold.
pub(crate) fn check_env(env: &BTreeMap<String, String>) -> Result<()> {
    for (name, value) in env {
        if name.is_empty() || name.contains(['=', '\0']) {
            return Err(Error::invalid(format!(
                "`env` has an impossible name: `{}`",
                name.replace('\0', "\\0")
            )));
        }
        if value.contains('\0') {
            return Err(Error::invalid(format!("`env.{name}` contains a NUL character")));
        }
        if name.len() + value.len() + 2 > MAX_ARGUMENT {
            return Err(Error::invalid(format!("`env.{name}` is too long: {MAX_ARGUMENT} bytes at most")));
        }
    }
    Ok(())
}

/// Refuses the port that is none.
pub(crate) fn check_port(name: &str, port: u16) -> Result<()> {
    if port == 0 {
        return Err(Error::invalid(format!("`{name}` must be from 1 to {}, got 0", u16::MAX)));
    }
    Ok(())
}

pub(super) fn too_long(what: &str, length: usize, most: usize) -> Error {
    Error::invalid(format!("`{what}` is too long: {length} bytes, {most} at most"))
        .with_hint("write it to a file with filesystem.writeFile and run that")
}
