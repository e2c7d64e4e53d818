//! Commands as lines for a shell: all that a plug-in's `runCommand` surely takes. Directory and environment are part
//! of the line, because many a provider drops them, or sets them for the first word only.

use crate::error::{Error, Result};
use crate::provider::{Command, Program};

/// What is written, by the line, where its directory is not there.
const NO_DIRECTORY: &str = "computesdk: no such directory";

/// A command that is waited for.
pub(super) fn line(command: &Command) -> Result<String> {
    if command.stdin {
        return Err(Error::unsupported("`stdin` cannot be passed to a plug-in provider"));
    }
    if command.user.is_some() {
        return Err(Error::unsupported("`user` cannot be passed to a plug-in provider"));
    }
    let mut steps = Vec::new();
    if let Some(cwd) = &command.cwd {
        let cwd = quoted(cwd);
        steps.push(format!("{{ [ -d {cwd} ] || {{ echo '{NO_DIRECTORY}'; exit 1; }}; }} && cd {cwd}"));
    }
    for (name, value) in &command.env {
        if !is_identifier(name) {
            return Err(Error::invalid(format!("`env.{name}`: a shell has no variable of this name")));
        }
        steps.push(format!("export {name}={}", quoted(value)));
    }
    steps.push(match &command.program {
        Program::Login => return Err(Error::unsupported("a plug-in provider has no terminals")),
        Program::Args(argv) => argv.iter().map(|word| quoted(word)).collect::<Vec<_>>().join(" "),
        Program::Shell(line) if steps.is_empty() => return Ok(line.clone()),
        // In the same shell, whichever that is.
        Program::Shell(line) => format!("eval {}", quoted(line)),
    });
    Ok(steps.join(" && "))
}

/// A command that goes on: one program, so that whatever is put before or after it is about all of it.
pub(super) fn detached(command: &Command) -> Result<String> {
    Ok(format!("\"${{BASH:-sh}}\" -c {}", quoted(&line(command)?)))
}

/// Whether a line has written nothing but that its directory is not there.
pub(super) fn lacks_directory(command: &Command, stdout: &[u8]) -> bool {
    command.cwd.is_some() && stdout.trim_ascii() == NO_DIRECTORY.as_bytes()
}

/// A script with its arguments, `$1` and so on.
pub(super) fn script(script: &str, arguments: &[&str]) -> String {
    let arguments: String = arguments.iter().map(|argument| format!(" {}", quoted(argument))).collect();
    format!("sh -c {} computesdk{arguments}", quoted(script))
}

/// A word that a POSIX shell takes as it is.
fn quoted(word: &str) -> String {
    format!("'{}'", word.replace('\'', r"'\''"))
}

fn is_identifier(name: &str) -> bool {
    let legal = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    name.bytes().all(legal) && !name.is_empty() && !name.as_bytes()[0].is_ascii_digit()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(line: &str) -> Command {
        Command { program: Program::Shell(line.to_owned()), ..Command::default() }
    }

    #[test]
    fn a_line_without_options_stays_as_it_is() {
        assert_eq!(line(&shell("a; b")).unwrap(), "a; b");
    }

    #[test]
    fn the_environment_is_that_of_the_whole_line() {
        let env = [("A".to_owned(), "it's".to_owned())].into();
        let command = Command { cwd: Some("/a b".to_owned()), env, ..shell("echo $A; pwd") };
        let line = line(&command).unwrap();
        assert!(line.ends_with(r"&& cd '/a b' && export A='it'\''s' && eval 'echo $A; pwd'"), "{line}");
    }

    #[test]
    fn words_are_words() {
        let argv = ["echo", "$(id)", "it's", ""].map(str::to_owned).to_vec();
        let command = Command { program: Program::Args(argv), ..Command::default() };
        assert_eq!(line(&command).unwrap(), r"'echo' '$(id)' 'it'\''s' ''");
    }

    #[test]
    fn a_name_that_no_shell_has_is_refused() {
        for name in ["a-b", "1a", "a b", "$(id)", "é"] {
            let env = [(name.to_owned(), String::new())].into();
            let error = line(&Command { env, ..shell("true") }).unwrap_err();
            assert!(error.message().contains(name), "{error}");
        }
    }

    #[test]
    fn what_goes_on_is_one_program() {
        assert_eq!(detached(&shell("a && b")).unwrap(), r#""${BASH:-sh}" -c 'a && b'"#);
    }
}
