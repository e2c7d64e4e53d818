//! Source code, run by the interpreter of its language.

use std::sync::{Arc, PoisonError};

use super::Sandbox;
use super::check::{MAX_ARGUMENT, MAX_SCRIPT, check, check_cwd, check_env, too_long};
use crate::cell::{self, Results};
use crate::code::{self, Language};
use crate::command::{self, Output, RunOptions};
use crate::error::{Error, ErrorKind, Result};
use crate::process::Process;
use crate::provider::{Cell, Command, Program};

/// What came of a piece of code.
#[derive(Clone, Debug)]
pub struct CodeOutput {
    /// What came of its interpreter.
    pub output: Output,
    /// The language that it was run as.
    pub language: Language,
    /// What it gave, by its kinds, in the interpreter's own words: of code in a context.
    pub results: Option<Vec<serde_json::Map<String, serde_json::Value>>>,
}

impl Sandbox {
    /// Runs source code in its language's interpreter: `language` if given, else the sandbox's runtime, else
    /// what the code looks like. Source that does not parse is `CodeSyntax`; anything that goes wrong while
    /// it runs is a result.
    pub async fn run_code(
        &self,
        source: &str,
        language: Option<Language>,
        command: Command,
        options: RunOptions,
    ) -> Result<CodeOutput> {
        self.operation("runCode", async {
            let (language, command, options) = self.interpreter(source, language, command, options)?;
            let command = Command { limit: options.timeout, ..command };
            let output = command::run(&*self.instance, &command, options).await?;
            refuse_broken_source(language, output)
        })
        .await
    }

    /// Runs source code after all that ran in the same context before, and with its variables. An exception that
    /// nothing catches is a result.
    pub async fn run_code_in(
        &self,
        context: &str,
        source: &str,
        language: Option<Language>,
        command: Command,
        options: RunOptions,
    ) -> Result<CodeOutput> {
        self.operation("runCode", async {
            let Some(kernels) = self.instance.kernels() else {
                let name = self.provider.name();
                return Err(Error::unsupported(format!(
                    "`context`: `{name}` keeps no state between two pieces of code"
                ))
                .with_hint("leave it out, or keep what is needed in a file"));
            };
            check_context(context, &command, &options)?;
            let language = self.language_of(source, language)?;
            let cell = Cell {
                source: source.to_owned(),
                language: language.to_string(),
                context: context.to_owned(),
                cwd: command.cwd,
                env: command.env,
            };
            let results = Results::default();
            let output = command::follow(cell::execute(kernels, &cell, &results), options).await?;
            let results = std::mem::take(&mut *results.lock().unwrap_or_else(PoisonError::into_inner));
            Ok(CodeOutput { output, language, results: Some(results) })
        })
        .await
    }

    /// What source code is run as, if it is not too long for that: `language` if given, else the sandbox's runtime, else
    /// what it looks like.
    fn language_of(&self, source: &str, language: Option<Language>) -> Result<Language> {
        if source.len() > MAX_SCRIPT {
            return Err(too_long("code", source.len(), MAX_SCRIPT));
        }
        Ok(language
            .or_else(|| self.instance.runtime().and_then(Language::from_runtime))
            .unwrap_or_else(|| code::detect(source)))
    }

    /// Starts source code and lets it go on.
    pub async fn spawn_code(
        &self,
        source: &str,
        language: Option<Language>,
        command: Command,
        options: RunOptions,
    ) -> Result<(Language, Arc<Process>)> {
        self.operation("runCode", async {
            let (language, command, options) = self.interpreter(source, language, command, options)?;
            Ok((language, self.spawn(command, options).await?))
        })
        .await
    }

    /// The command that runs source code, and its language.
    fn interpreter(
        &self,
        source: &str,
        language: Option<Language>,
        command: Command,
        options: RunOptions,
    ) -> Result<(Language, Command, RunOptions)> {
        let language = self.language_of(source, language)?;
        let (command, options) = interpreter(source, language, command, options)?;
        check(&command)?;
        Ok((language, command, options))
    }

    /// Lets source code go on with nobody following it: its language, and its number if the provider tells it.
    pub async fn detach_code(
        &self,
        source: &str,
        language: Option<Language>,
        command: Command,
    ) -> Result<(Language, Option<u32>)> {
        self.operation("runCode", async {
            let (language, command, _) =
                self.interpreter(source, language, command, RunOptions::default())?;
            Ok((language, self.detach(&command).await?))
        })
        .await
    }
}

/// How source code reaches its interpreter: as an argument, where it looks like a program that was typed,
/// or on standard input if it is longer than an argument may be.
fn interpreter(
    source: &str,
    language: Language,
    command: Command,
    mut options: RunOptions,
) -> Result<(Command, RunOptions)> {
    let module = language == Language::Node && code::is_module(source);
    let mut argv = match language {
        Language::Python => vec!["python3".to_owned()],
        Language::Node if module => vec!["node".to_owned(), "--input-type=module".to_owned()],
        Language::Node => vec!["node".to_owned()],
    };
    let mut stdin = command.stdin || options.stdin.is_some();
    let mut code = None;
    if source.len() < MAX_ARGUMENT {
        argv.push(if language == Language::Python { "-c" } else { "-e" }.to_owned());
        argv.push(source.to_owned());
        code = Some(language);
    } else if stdin {
        return Err(Error::invalid(format!(
            "`stdin` cannot be combined with code of {MAX_ARGUMENT} bytes or more"
        ))
        .with_hint("write the code to a file and run that with runCommand"));
    } else {
        argv.push("-".to_owned());
        let bytes = bytes::Bytes::copy_from_slice(source.as_bytes());
        options.stdin = Some(Box::pin(futures_util::stream::iter([Ok(bytes)])));
        stdin = true;
    }
    if source.contains('\0') {
        return Err(Error::invalid("`code` contains a NUL character"));
    }
    Ok((Command { program: Program::Args(argv), code, stdin, ..command }, options))
}

fn refuse_broken_source(language: Language, output: Output) -> Result<CodeOutput> {
    let missing = output.exit_code == 127 && output.stderr.starts_with("computesdk:");
    if missing {
        return Err(Error::unsupported(format!("this sandbox has no interpreter for {language}"))
            .with_hint("install it on the host, or name it: local({ python: '/path/to/python3' })"));
    }
    if code::is_syntax_error(language, output.exit_code, &output.stdout, &output.stderr) {
        let reason = output.stderr.lines().rev().find(|line| line.contains("Error:")).unwrap_or("").trim();
        return Err(Error::new(ErrorKind::CodeSyntax, format!("Syntax error in {language} code: {reason}"))
            .with_output(output));
    }
    Ok(CodeOutput { output, language, results: None })
}

/// Refuses what an interpreter that keeps its state cannot do for one piece of code.
fn check_context(context: &str, command: &Command, options: &RunOptions) -> Result<()> {
    if context.is_empty() || context.contains('\0') {
        return Err(Error::invalid("`context` must be a name"));
    }
    let refused = [("stdin", command.stdin || options.stdin.is_some()), ("user", command.user.is_some())];
    if let Some((name, _)) = refused.into_iter().find(|(_, given)| *given) {
        return Err(Error::unsupported(format!("`{name}` cannot be combined with `context`")));
    }
    check_cwd(command)?;
    check_env(&command.env)
}
