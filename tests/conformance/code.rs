//! Running source code.

use std::time::Duration;

use bytes::Bytes;
use computesdk::code::Language::{self, Node, Python};
use computesdk::command::RunOptions;
use computesdk::error::{Error, ErrorKind};
use computesdk::provider::{Command, CreateRequest};
use computesdk::sandbox::{CodeOutput, Sandbox};
use futures_util::stream;

use crate::harness::{At, Case, cases, pace};

pub(super) const CASES: &[Case] = cases![
    code_runs_in_its_language,
    the_argument_wins_over_the_sandboxes_runtime,
    a_version_that_is_not_here_falls_back_to_the_family,
    source_that_does_not_parse_is_an_error_with_its_output,
    what_goes_wrong_while_it_runs_is_a_result,
    a_module_may_import_and_await,
    code_is_text_and_never_the_shells,
    code_of_any_length_runs,
    code_reads_the_input_that_is_given,
    code_is_under_the_options_of_commands,
    impossible_code_is_refused,
    a_context_keeps_its_variables_or_is_refused_by_name,
];

async fn code(sandbox: &Sandbox, source: &str, language: Option<Language>) -> Result<CodeOutput, Error> {
    sandbox.run_code(source, language, Command::default(), RunOptions::default()).await
}

async fn stdout(sandbox: &Sandbox, source: &str, language: Option<Language>) -> String {
    let run = code(sandbox, source, language).await.unwrap();
    assert_eq!(run.output.exit_code, 0, "{}", run.output.stderr);
    run.output.stdout
}

fn with_runtime(runtime: &str) -> CreateRequest {
    CreateRequest { runtime: Some(runtime.to_owned()), ..CreateRequest::default() }
}

async fn code_runs_in_its_language(at: At) {
    let sandbox = at.sandbox().await;
    for (source, language) in [
        ("print(6 * 7)", Python),
        ("import sys\nsys.stdout.write('42\\n')", Python),
        ("console.log(6 * 7)", Node),
        ("const a = [6, 7]; console.log(a.reduce((x, y) => x * y))", Node),
    ] {
        let run = code(&sandbox, source, None).await.unwrap();
        assert_eq!(
            (run.output.stdout.as_str(), run.language),
            ("42\n", language),
            "{source}: {}",
            run.output.stderr
        );
    }
    assert_eq!(stdout(&sandbox, "", Some(Python)).await, "");
    assert_eq!(stdout(&sandbox, "", Some(Node)).await, "");
}

async fn the_argument_wins_over_the_sandboxes_runtime(at: At) {
    let sandbox = at.create(with_runtime("node")).await;
    // Both languages', and each says which one it was.
    let source = "x = 7 // 2; '''\n'''";
    assert_eq!(code(&sandbox, "print(1)", None).await.unwrap().language, Node);
    assert_eq!(code(&sandbox, source, Some(Python)).await.unwrap().language, Python);
}

async fn a_version_that_is_not_here_falls_back_to_the_family(at: At) {
    let sandbox = at.create(with_runtime("python3.1")).await;
    assert_eq!(stdout(&sandbox, "import sys; print(sys.version_info.major)", None).await, "3\n");
    let runtime = sandbox.info().await.unwrap().runtime.unwrap();
    assert!(runtime.starts_with("python"), "{runtime}");
}

async fn source_that_does_not_parse_is_an_error_with_its_output(at: At) {
    let sandbox = at.sandbox().await;
    for (source, language) in
        [("def f(:\n  pass", Python), ("const = ;", Node), ("invalid code", Node), ("  x = 1\n y", Python)]
    {
        let error = code(&sandbox, source, Some(language)).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::CodeSyntax, "{source}: {error}");
        assert!(error.message().starts_with("Syntax error"), "{error}");
        let output = error.output().unwrap();
        assert_eq!(output.exit_code, 1);
        assert!(!output.stderr.is_empty());
    }
}

async fn what_goes_wrong_while_it_runs_is_a_result(at: At) {
    let sandbox = at.sandbox().await;
    for (source, language, told) in [
        ("print('before')\nraise ValueError('no')", Python, "ValueError"),
        ("print('before')\neval('1 +')", Python, "SyntaxError"),
        ("console.log('before'); throw new TypeError('no')", Node, "TypeError"),
        ("console.log('before'); JSON.parse('{')", Node, "SyntaxError"),
        ("console.log('before'); eval('1 +')", Node, "SyntaxError"),
    ] {
        let output = code(&sandbox, source, Some(language)).await.unwrap().output;
        assert_eq!((output.exit_code, output.stdout.as_str()), (1, "before\n"), "{source}");
        assert!(output.stderr.contains(told), "{}", output.stderr);
    }
    assert_eq!(code(&sandbox, "import sys; sys.exit(42)", None).await.unwrap().output.exit_code, 42);
    assert_eq!(code(&sandbox, "process.exit(43)", None).await.unwrap().output.exit_code, 43);
}

async fn a_module_may_import_and_await(at: At) {
    let sandbox = at.sandbox().await;
    let import = "import { basename } from 'node:path'; console.log(basename('/a/b'))";
    assert_eq!(stdout(&sandbox, import, None).await, "b\n");
    assert_eq!(stdout(&sandbox, "console.log(await Promise.resolve(1))", None).await, "1\n");
    assert_eq!(stdout(&sandbox, "console.log(require('path').basename('/a/b'))", None).await, "b\n");
}

async fn code_is_text_and_never_the_shells(at: At) {
    let sandbox = at.sandbox().await;
    let odd = "$(touch /tmp/x) `id` \\ ' \" é☕😀 -c %s";
    let literal = serde_json::to_string(odd).unwrap();
    assert_eq!(stdout(&sandbox, &format!("print({literal})"), Some(Python)).await, format!("{odd}\n"));
    assert_eq!(
        stdout(&sandbox, &format!("console.log('%s', {literal})"), Some(Node)).await,
        format!("{odd}\n")
    );
    assert!(!sandbox.filesystem().exists("/tmp/x").await);
}

async fn code_of_any_length_runs(at: At) {
    let sandbox = at.sandbox().await;
    for length in [131_071, 131_072, 3_000_000] {
        let python = format!("print(len('{}'))", "x".repeat(length - 14));
        assert_eq!(stdout(&sandbox, &python, Some(Python)).await, format!("{}\n", length - 14));
        let node = format!("console.log('{}'.length)", "x".repeat(length - 24));
        assert_eq!(stdout(&sandbox, &node, Some(Node)).await, format!("{}\n", length - 24));
    }
    let module = format!("import 'node:path'; console.log(await 5) // {}", "x".repeat(200_000));
    assert_eq!(stdout(&sandbox, &module, Some(Node)).await, "5\n");
    let broken = format!("def f(: # {}", "x".repeat(200_000));
    assert_eq!(code(&sandbox, &broken, Some(Python)).await.unwrap_err().kind(), ErrorKind::CodeSyntax);
}

async fn code_reads_the_input_that_is_given(at: At) {
    let sandbox = at.sandbox().await;
    let fed = || RunOptions {
        stdin: Some(Box::pin(stream::iter([Ok(Bytes::from_static(b"in"))]))),
        ..RunOptions::default()
    };
    let run = sandbox.run_code("print(input())", Some(Python), Command::default(), fed()).await.unwrap();
    assert_eq!(run.output.stdout, "in\n", "{}", run.output.stderr);
    let long = format!("print(input()) # {}", "x".repeat(200_000));
    let error = sandbox.run_code(&long, Some(Python), Command::default(), fed()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidArgument);
    assert!(error.message().contains("`stdin`"), "{error}");
}

async fn code_is_under_the_options_of_commands(at: At) {
    let sandbox = at.sandbox().await;
    let options = RunOptions { timeout: Some(Duration::from_millis(500) * pace()), ..RunOptions::default() };
    let run = sandbox.run_code("while True: pass", Some(Python), Command::default(), options).await.unwrap();
    assert_eq!((run.output.exit_code, run.output.timed_out), (124, true));
    let command = Command {
        cwd: Some("/tmp".to_owned()),
        env: [("WHO".to_owned(), "me".to_owned())].into(),
        ..Command::default()
    };
    let source = "import os; print(os.getcwd(), os.environ['WHO'])";
    let run = sandbox.run_code(source, None, command, RunOptions::default()).await.unwrap();
    assert_eq!(run.output.stdout, "/tmp me\n");
}

async fn impossible_code_is_refused(at: At) {
    let sandbox = at.sandbox().await;
    for source in ["print('\0')".to_owned(), "#".repeat((16 << 20) + 1)] {
        assert_eq!(
            code(&sandbox, &source, Some(Python)).await.unwrap_err().kind(),
            ErrorKind::InvalidArgument
        );
    }
}

async fn a_context_keeps_its_variables_or_is_refused_by_name(at: At) {
    let sandbox = at.sandbox().await;
    let run_in = async |context: &str, source: &str, timeout: Option<Duration>| {
        let options = RunOptions { timeout, ..RunOptions::default() };
        sandbox.run_code_in(context, source, Some(Python), Command::default(), options).await
    };
    let first = run_in("one", "x = 40\nprint('set')", None).await;
    if sandbox.instance().kernels().is_none() {
        let error = first.unwrap_err();
        assert_eq!((error.kind(), error.operation()), (ErrorKind::Unsupported, Some("runCode")));
        assert!(error.message().contains("`context`"), "{error}");
        return;
    }
    let first = first.unwrap();
    assert_eq!((first.output.stdout.as_str(), first.output.exit_code), ("set\n", 0));
    assert_eq!(first.results, Some(Vec::new()));
    let given = run_in("one", "x + 2", None).await.unwrap().results.unwrap();
    assert_eq!(
        (given.len(), given[0]["text"].as_str(), given[0]["is_main_result"].as_bool()),
        (1, Some("42"), Some(true))
    );
    // Another one has variables of its own, and what nothing catches is a result.
    let other = run_in("two", "import sys; print('before'); print(x)", None).await.unwrap().output;
    assert_eq!((other.stdout.as_str(), other.exit_code), ("before\n", 1));
    assert!(other.stderr.contains("NameError") && !other.stderr.contains('\u{1b}'), "{}", other.stderr);
    // What takes too long is interrupted; its context is still there.
    let endless = "import time\nprint('begun', flush=True)\nwhile True: time.sleep(0.01)";
    let late = run_in("one", endless, Some(Duration::from_secs(2))).await.unwrap().output;
    assert_eq!((late.exit_code, late.timed_out, late.stdout.as_str()), (124, true, "begun\n"));
    let given = run_in("one", "x", None).await.unwrap().results.unwrap();
    assert_eq!(given[0]["text"].as_str(), Some("40"));
    for (command, named) in [
        (Command { user: Some("root".to_owned()), ..Command::default() }, "`user`"),
        (Command { stdin: true, ..Command::default() }, "`stdin`"),
    ] {
        let refused = sandbox.run_code_in("one", "1", Some(Python), command, RunOptions::default()).await;
        let error = refused.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unsupported, "{error}");
        assert!(error.message().contains(named), "{error}");
    }
}
