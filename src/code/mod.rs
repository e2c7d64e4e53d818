//! What a piece of code is written in, and whether its interpreter refused it.
//!
//! There is no parser here. One lexical pass tells code from the contents of strings,
//! comments, templates and regular expressions; [`detect`] and [`is_module`] look for short phrases in
//! what remains. Both are linear in the length of the code and take any text: the code is a
//! stranger's, and may be hostile.

mod lexer;

use std::{fmt, iter};

use self::lexer::{LINE_END, Lexer, is_name, is_string};
use crate::error::{Error, Result};
use Language::{Node, Python};

/// A language that a sandbox runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Language {
    /// Python 3.
    Python,
    /// JavaScript, run by Node.js.
    Node,
}

impl Language {
    /// The name by which users know the language: `python` or `node`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Python => "python",
            Node => "node",
        }
    }

    /// The language of a runtime's name, which may end with a version.
    ///
    /// ```
    /// use computesdk::code::Language;
    ///
    /// assert_eq!(Language::from_runtime("python3.9"), Some(Language::Python));
    /// assert_eq!(Language::from_runtime("nodejs16"), Some(Language::Node));
    /// assert_eq!(Language::from_runtime("pythonista"), None);
    /// ```
    pub fn from_runtime(name: &str) -> Option<Self> {
        split_runtime(name).map(|(language, _)| language)
    }

    /// Likewise of an option; one that names no language is refused.
    pub(crate) fn named(option: &str, name: &str) -> Result<Self> {
        Self::from_runtime(name).ok_or_else(|| no_language(option, name))
    }
}

/// The error of an option that names no language.
pub(crate) fn no_language(option: &str, name: &str) -> Error {
    Error::invalid(format!("`{option}` names no language: `{name}`"))
        .with_hint("'python' or 'node', with or without a version")
}

impl fmt::Display for Language {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The version that a runtime's name asks for, if any.
///
/// ```
/// use computesdk::code::version;
///
/// assert_eq!(version("python3.9"), Some("3.9"));
/// assert_eq!(version("node"), None);
/// ```
pub fn version(name: &str) -> Option<&str> {
    split_runtime(name).map(|(_, version)| version).filter(|version| !version.is_empty())
}

fn split_runtime(name: &str) -> Option<(Language, &str)> {
    const FAMILIES: [(&str, Language); 5] =
        [("python", Python), ("nodejs", Node), ("node", Node), ("javascript", Node), ("js", Node)];

    FAMILIES.into_iter().find_map(|(family, language)| {
        let version = name.strip_prefix(family)?;
        // Elsewhere the same runtimes are called `nodejs16.x`.
        let version = version.strip_suffix(".x").unwrap_or(version);
        let is_number = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
        let is_version = version.is_empty() || version.split('.').all(is_number);
        is_version.then_some((language, version))
    })
}

/// Guesses the language of `code`: Python if something in it is Python's alone, else Node.js.
///
/// * Python's are `print(`, `import x`, `from x import`, `def name(`, `f"…"`, `__name__` and its like,
///   `raise`, and a line such as `while True:` that opens a block.
/// * What JavaScript alone has, such as `=>` or `const x`, overrules them: `print` may be its own.
/// * Strings, templates, comments and regular expressions are not looked into.
/// * A `#!` line that names an interpreter decides.
///
/// ```
/// use computesdk::code::{Language, detect};
///
/// assert_eq!(detect("import os"), Language::Python);
/// assert_eq!(detect("import os from 'node:os'"), Language::Node);
/// assert_eq!(detect("console.log('print(1)')"), Language::Node);
/// ```
pub fn detect(code: &str) -> Language {
    if let Some(language) = named_by_hashbang(code) {
        return language;
    }
    let as_javascript = Reading::of(code, Node);
    let is_python = if as_javascript.is_clean {
        as_javascript.looks_python()
    } else {
        let as_python = Reading::of(code, Python);
        // Where neither reading is clean, either may take the inside of a string for code.
        as_python.looks_python() && (as_python.is_clean || as_javascript.looks_python())
    };
    if is_python { Python } else { Node }
}

fn named_by_hashbang(code: &str) -> Option<Language> {
    let program = code.trim_start().strip_prefix("#!")?.lines().next()?;
    [Python, Node].into_iter().find(|language| program.contains(language.as_str()))
}

/// What the code shows if it is taken for one of the languages.
#[derive(Default)]
struct Reading {
    /// Every literal and bracket is closed, and no comment is of the other language.
    is_clean: bool,
    has_python: bool,
    has_javascript: bool,
}

impl Reading {
    fn of(code: &str, language: Language) -> Self {
        let mut reading = Self::default();
        let mut lexer = Lexer::new(code, language);
        let mut recent = [LINE_END.text; 3];
        let mut before = LINE_END.text;
        let mut statement = Statement::Other;
        for token in lexer.by_ref().chain(iter::once(LINE_END)) {
            recent = [recent[1], recent[2], token.text];
            if token.depth == 0 {
                statement = statement.after(before, token.text);
                before = token.text;
            }
            reading.has_python |= statement == Statement::Python || is_python(recent);
            reading.has_javascript |= statement == Statement::JavaScript || is_javascript(recent);
        }
        reading.is_clean = lexer.is_clean();
        reading
    }

    fn looks_python(&self) -> bool {
        self.has_python && !self.has_javascript
    }
}

/// What a statement has turned out to be, or still may.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Statement {
    Import,
    From,
    BlockHeader,
    Python,
    JavaScript,
    Other,
}

impl Statement {
    /// Goes on to `token`, which follows `before` outside of any brackets.
    fn after(self, before: &str, token: &str) -> Self {
        match (self, token) {
            _ if matches!(before, "\n" | ";" | ":") => match token {
                "import" => Self::Import,
                "from" => Self::From,
                _ if BLOCKS.contains(&token) || BARE_BLOCKS.contains(&token) => Self::BlockHeader,
                _ => Self::Other,
            },
            (Self::Import, "from") => Self::JavaScript,
            (Self::Import, "\n" | ";" | "as") if before != "import" => Self::Python,
            (Self::Import, "." | ",") if before != "import" => Self::Import,
            (Self::Import, _) if matches!(before, "import" | "." | ",") && is_name(token) => self,
            (Self::From, "import") => Self::Python,
            (Self::From, _) if token == "." || is_name(token) => self,
            (Self::BlockHeader, ":") if !BLOCKS.contains(&before) => Self::Python,
            // A conditional expression of JavaScript has a `:` too.
            (Self::BlockHeader, _) if !matches!(token, "\n" | ";" | "?" | ":") => self,
            _ => Self::Other,
        }
    }
}

const BLOCKS: [&str; 6] = ["if", "elif", "for", "while", "with", "class"];
/// Their colon may follow at once; `match` is here for `if match:`.
const BARE_BLOCKS: [&str; 5] = ["else", "try", "except", "finally", "match"];

/// Whether three tokens end with something that only Python has.
fn is_python(recent: [&str; 3]) -> bool {
    match recent {
        [before, "print", "("] => !matches!(before, "." | "?."),
        ["def", name, "("] => is_name(name),
        ["=", "lambda", ":"] | [_, _, ":="] => true,
        [_, "lambda" | "raise", name] => is_name(name) && !OPERATOR_WORDS.contains(&name),
        ["for", name, "in" | ","] => is_name(name),
        [_, prefix, string] if is_string(string) => {
            prefix.len() <= 2 && prefix.bytes().all(|byte| b"fbrutFBRUT".contains(&byte))
        }
        ["this" | "window" | "global" | "globalThis", ".", _] => false,
        [_, _, name] => {
            // Only of small letters: `__defineGetter__` and `__NEXT_DATA__` are JavaScript's.
            let inner = name.strip_prefix("__").and_then(|name| name.strip_suffix("__"));
            inner.is_some_and(|inner| {
                !matches!(inner, "" | "proto") && inner.bytes().all(|b| b.is_ascii_lowercase())
            })
        }
    }
}

/// Whether three tokens end with something that Python has no use for.
fn is_javascript(recent: [&str; 3]) -> bool {
    match recent {
        [_, _, "=>" | "===" | "!==" | "&&" | "||" | "?" | "?."] => true,
        [_, ")" | "const" | "let" | "var" | "import" | "export", "{"] => true,
        [_, "const" | "let" | "var" | "function" | "new", name] => {
            is_name(name) && !OPERATOR_WORDS.contains(&name)
        }
        [_, _, token] => token.starts_with('`'),
    }
}

/// Words of either language that may stand right behind a variable.
const OPERATOR_WORDS: [&str; 12] =
    ["and", "as", "async", "else", "for", "if", "import", "in", "is", "not", "of", "or"];

/// Tells whether Node.js has to run `code` as an ES module rather than as CommonJS.
///
/// A module has an `import` or `export` declaration, an `import.meta`, or an `await` outside of any
/// function.
///
/// ```
/// use computesdk::code::is_module;
///
/// assert!(is_module("if (ready) { await start() }"));
/// assert!(!is_module("(async () => await import('fs'))()"));
/// ```
pub fn is_module(code: &str) -> bool {
    let mut recent = [LINE_END; 4];
    Lexer::new(code, Node).filter(|token| token.text != LINE_END.text).any(|token| {
        recent = [recent[1], recent[2], recent[3], token];
        let word = recent[2];
        match recent.map(|token| token.text) {
            [before, "import", ".", "meta"] => before != ".",
            [_, "." | "?.", ..] => false,
            [_, _, "import", next] => word.depth == 0 && !matches!(next, "(" | "."),
            [_, _, "export", _] => word.depth == 0,
            // In CommonJS it may be the name of a variable or a property.
            [_, _, "await", next] => !word.in_function && !AFTER_NAME.contains(&next),
            _ => false,
        }
    })
}

const AFTER_NAME: [&str; 11] = ["=", "=>", ".", "?.", "?", ":", ";", ",", ")", "]", "}"];

/// Tells whether the interpreter refused the source itself, rather than raised a `SyntaxError` later.
///
/// The output is that of `python3` or `node`, given the code by `-c`, by `-e` or on stdin. For a
/// source that does not parse they print nothing but warnings and one report; what `eval`,
/// `JSON.parse`, `require` and the linking of modules raise has another form.
///
/// ```
/// use computesdk::code::{Language, is_syntax_error};
///
/// let report = "  File \"<string>\", line 1\n    (\n    ^\nSyntaxError: '(' was never closed\n";
/// assert!(is_syntax_error(Language::Python, 1, "", report));
/// assert!(!is_syntax_error(Language::Python, 1, "it ran", report));
/// ```
pub fn is_syntax_error(language: Language, exit_code: i32, stdout: &str, stderr: &str) -> bool {
    exit_code == 1
        && stdout.is_empty()
        && match language {
            Python => python_refused(&without_colors(stderr)),
            Node => node_refused(&without_colors(stderr)).unwrap_or(false),
        }
}

/// Removes the colours that `FORCE_COLOR` brings into a report.
fn without_colors(text: &str) -> String {
    let mut pieces = text.split("\x1b[");
    let first = pieces.next();
    let others = pieces.map(|piece| piece.split_once('m').map_or(piece, |(_, rest)| rest));
    first.into_iter().chain(others).collect()
}

fn python_refused(stderr: &str) -> bool {
    const ERRORS: [&str; 3] = ["SyntaxError:", "IndentationError:", "TabError:"];
    const SOURCES: [&str; 3] = ["<string>", "<stdin>", "<fstring>"];

    let names_source = |line: &str| {
        let file = line.strip_prefix("  File \"").and_then(|line| line.split_once("\", line "));
        file.is_some_and(|(file, _)| SOURCES.contains(&file))
    };
    let last = stderr.lines().next_back().unwrap_or_default();
    ERRORS.iter().any(|error| last.starts_with(error))
        && stderr.lines().any(names_source)
        && !stderr.lines().any(|line| line == "Traceback (most recent call last):")
}

fn node_refused(stderr: &str) -> Option<bool> {
    let (report, _) = stderr.trim_end().rsplit_once("\n\nNode.js v")?;
    let (excerpt, error) = report.rsplit_once("\nSyntaxError")?;
    let names_source = excerpt.lines().any(|line| {
        line.starts_with("[eval]:")
            || line.starts_with("[stdin]:")
            || (line.starts_with("file:") && line.contains("/[eval1]:"))
    });
    let mut frames = error.lines().skip(1);
    // Other lines below it: the report is a child's, quoted by an error of ours.
    let is_ours = frames.clone().all(|frame| frame.starts_with("    at "));
    // The source of a module that cannot be linked has been parsed.
    let is_compiler = |frame: &str| frame.contains("(node:") && !frame.contains("/module_job:");
    Some(names_source && is_ours && frames.next().is_some_and(is_compiler))
}

#[cfg(test)]
mod tests;
