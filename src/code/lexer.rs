//! The lexical pass: code in, tokens out, for either language.

use super::Language;

/// A word, a number, an operator, a bracket, a whole literal, or the end of a line.
#[derive(Clone, Copy)]
pub(super) struct Token<'a> {
    pub(super) text: &'a str,
    /// How many brackets are open, with the one that this token opens.
    pub(super) depth: usize,
    pub(super) in_function: bool,
}

/// Comes only outside of brackets: within them, the end of a line separates nothing in Python.
pub(super) const LINE_END: Token<'_> = Token { text: "\n", depth: 0, in_function: false };

/// What is open around a token.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Frame {
    Parens,
    /// The parentheses of `if (…)`: no function's body may follow, but a regular expression.
    Head,
    Brackets,
    Braces,
    FunctionBody,
    /// The body of an arrow function without braces.
    ArrowBody,
    /// The code in a template's `${…}`.
    Template,
}

/// Splits code as one of the languages would, and leaves comments and blanks out.
#[derive(Default)]
pub(super) struct Lexer<'a> {
    code: &'a str,
    is_node: bool,
    at: usize,
    open: Vec<Frame>,
    functions: usize,
    is_broken: bool,
    /// The token before, line ends aside.
    last: &'a str,
    /// An operand ends with it, so that a `/` divides.
    last_is_operand: bool,
    /// The last `)` closed a [`Frame::Head`].
    last_is_head: bool,
    on_new_line: bool,
}

impl<'a> Lexer<'a> {
    pub(super) fn new(code: &'a str, language: Language) -> Self {
        let code = code.strip_prefix('\u{feff}').unwrap_or(code);
        Self { code, is_node: language == Language::Node, ..Self::default() }
    }

    pub(super) fn is_clean(&self) -> bool {
        !self.is_broken && self.open.iter().all(|&frame| frame == Frame::ArrowBody)
    }

    fn rest(&self) -> &'a [u8] {
        &self.code.as_bytes()[self.at..]
    }

    fn skip_while(&mut self, wanted: fn(u8) -> bool) {
        self.at += self.rest().iter().take_while(|&&byte| wanted(byte)).count();
    }

    fn skip_blanks(&mut self) {
        loop {
            match self.rest() {
                [b' ' | b'\t' | b'\x0b' | b'\x0c', ..] => self.at += 1,
                [b'\n' | b'\r', ..] if !self.open.is_empty() => {
                    self.at += 1;
                    self.on_new_line = true;
                }
                [b'\\', b'\n', ..] => self.at += 2,
                [b'\\', b'\r', b'\n', ..] => self.at += 3,
                [b'/', b'/', ..] if self.is_node => self.skip_while(is_within_line),
                [b'/', b'*', ..] if self.is_node => {
                    let length = self.code[self.at + 2..].find("*/");
                    self.is_broken |= length.is_none();
                    self.at = length.map_or(self.code.len(), |length| self.at + length + 4);
                }
                [b'#', next, ..] if self.is_private_name(*next) => return,
                [b'#', next @ ..] => {
                    self.is_broken |= self.is_node && (self.at > 0 || !next.starts_with(b"!"));
                    self.skip_while(is_within_line);
                }
                _ => return,
            }
        }
    }

    fn is_private_name(&self, next: u8) -> bool {
        let is_member = matches!(self.last, "." | "?.") || !self.open.is_empty();
        self.is_node && is_member && is_word_byte(next)
    }

    /// Passes one token and tells whether an operand ends with it.
    fn scan(&mut self, first: u8) -> bool {
        let start = self.at;
        match first {
            b'"' | b'\'' => self.scan_string(first),
            b'`' if self.is_node => return self.scan_template(),
            b'}' if self.open.last() == Some(&Frame::Template) => {
                self.open.pop();
                return self.scan_template();
            }
            b'/' if self.is_node && (!self.last_is_operand || self.last == "}") => self.scan_regex(),
            _ if first == b'#' || is_word_byte(first) => {
                self.at += 1;
                self.skip_while(is_word_byte);
                let word = &self.code[start..self.at];
                return self.last == "." || !BEFORE_OPERAND.contains(&word);
            }
            _ => {
                let operator = OPERATORS.iter().find(|long| self.rest().starts_with(long.as_bytes()));
                self.at += operator.map_or(1, |long| long.len());
                return matches!(&self.code[start..self.at], "]" | "}" | "++" | "--");
            }
        }
        true
    }

    fn scan_string(&mut self, quote: u8) {
        let is_triple = !self.is_node && self.rest().starts_with(&[quote; 3]);
        let quotes = &[quote; 3][..if is_triple { 3 } else { 1 }];
        // Two in a row are Python's: a triple quote, or parts of one string.
        self.is_broken |= self.is_node && !self.on_new_line && is_string(self.last);
        self.at += quotes.len();
        self.scan_literal(!is_triple, |rest| if rest.starts_with(quotes) { quotes.len() } else { 0 });
    }

    /// Passes a template up to its end or its next `${`.
    fn scan_template(&mut self) -> bool {
        let start = self.at;
        self.at += 1;
        self.scan_literal(false, |rest| match rest {
            [b'`', ..] => 1,
            [b'$', b'{', ..] => 2,
            _ => 0,
        });
        let is_interrupted = self.code[start..self.at].ends_with("${");
        if is_interrupted {
            self.open.push(Frame::Template);
        }
        !is_interrupted
    }

    fn scan_regex(&mut self) {
        let mut in_class = false;
        self.at += 1;
        self.scan_literal(true, |rest| {
            let is_end = !in_class && rest.starts_with(b"/");
            in_class = (in_class || rest.starts_with(b"[")) && !rest.starts_with(b"]");
            usize::from(is_end)
        });
        self.skip_while(is_word_byte);
    }

    /// Passes the rest of a literal; `end` tells the length of its end, and 0 elsewhere.
    fn scan_literal(&mut self, in_one_line: bool, mut end: impl FnMut(&[u8]) -> usize) {
        loop {
            match self.rest() {
                [b'\\', b'\r', b'\n', ..] => self.at += 3,
                [b'\\', _, ..] => self.at += 2,
                [] => break,
                [b'\n' | b'\r', ..] if in_one_line => break,
                rest => match end(rest) {
                    0 => self.at += 1,
                    length => return self.at += length,
                },
            }
        }
        self.is_broken = true;
    }

    /// Leaves the arrow functions that end before a token which begins with `first`.
    fn end_arrow_bodies(&mut self, first: u8) {
        let begins_statement = is_word_byte(first) || b"\"'{@#".contains(&first);
        let ends =
            b",;)]}".contains(&first) || (self.on_new_line && self.last_is_operand && begins_statement);
        while ends && self.open.last() == Some(&Frame::ArrowBody) {
            self.close_frame();
        }
    }

    fn track_brackets(&mut self, token: &str) {
        let after_function_head = match self.last {
            "=>" | "static" => true,
            ")" => !self.last_is_head,
            _ => false,
        };
        match (token, self.open.last()) {
            ("(", _) if BEFORE_HEAD.contains(&self.last) => self.open_frame(Frame::Head),
            ("(", _) => self.open_frame(Frame::Parens),
            ("[", _) => self.open_frame(Frame::Brackets),
            ("{", _) if after_function_head => self.open_frame(Frame::FunctionBody),
            ("{", _) => self.open_frame(Frame::Braces),
            (")", Some(Frame::Parens | Frame::Head)) => self.close_frame(),
            ("]", Some(Frame::Brackets)) => self.close_frame(),
            ("}", Some(Frame::Braces | Frame::FunctionBody)) => self.close_frame(),
            (")" | "]" | "}", _) => self.is_broken = true,
            _ => {}
        }
    }

    fn open_frame(&mut self, frame: Frame) {
        self.functions += usize::from(frame.is_function());
        self.open.push(frame);
    }

    fn close_frame(&mut self) {
        if let Some(frame) = self.open.pop() {
            self.functions -= usize::from(frame.is_function());
            self.last_is_head = frame == Frame::Head;
        }
    }
}

impl<'a> Iterator for Lexer<'a> {
    type Item = Token<'a>;

    fn next(&mut self) -> Option<Token<'a>> {
        self.skip_blanks();
        let start = self.at;
        let first = *self.rest().first()?;
        if !is_within_line(first) {
            self.at += 1;
            self.on_new_line = true;
            return Some(LINE_END);
        }
        self.end_arrow_bodies(first);
        if self.last == "=>" && first != b'{' {
            self.open_frame(Frame::ArrowBody);
        }
        let is_operand = self.scan(first);
        let text = &self.code[start..self.at];
        self.track_brackets(text);
        self.last = text;
        self.last_is_operand = is_operand || (text == ")" && !self.last_is_head);
        self.on_new_line = false;
        Some(Token { text, depth: self.open.len(), in_function: self.functions > 0 })
    }
}

impl Frame {
    fn is_function(self) -> bool {
        matches!(self, Self::FunctionBody | Self::ArrowBody)
    }
}

/// The operators of several characters that mean something here.
const OPERATORS: [&str; 9] = ["===", "!==", "=>", "&&", "||", "?.", ":=", "++", "--"];
/// `await` is that of `for await (…)`.
const BEFORE_HEAD: [&str; 7] = ["if", "for", "await", "while", "with", "switch", "catch"];
const BEFORE_OPERAND: [&str; 13] = [
    "await", "case", "delete", "do", "else", "in", "new", "of", "return", "throw", "typeof", "void", "yield",
];

fn is_within_line(byte: u8) -> bool {
    !matches!(byte, b'\n' | b'\r')
}

/// Whether a byte belongs to a word or a number; all of a character beyond ASCII do.
fn is_word_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'$') || !byte.is_ascii()
}

pub(super) fn is_name(token: &str) -> bool {
    token.bytes().next().is_some_and(|first| is_word_byte(first) && !first.is_ascii_digit())
}

pub(super) fn is_string(token: &str) -> bool {
    token.starts_with(['"', '\''])
}
