//! Regular expressions that clients write for Go's `regexp` (RE2 with Perl's extensions): they are read here as Go's
//! parser reads them, refused in its words, and rewritten for Rust's engine, which does all the matching.
//! <https://github.com/google/re2/wiki/Syntax>

mod class;
mod escape;
mod group;
mod repeat;
#[cfg(test)]
mod tests;

use regex::{Regex, RegexBuilder};
use std::fmt;

/// How deep groups may nest: Go's limit.
const DEPTH: usize = 1000;
/// How deep groups, alternatives and repetitions may nest for Rust's engine: it compiles by recursion, and this takes up to
/// two thirds of a MiB of the stack without optimisation, where a thread has two.
const NESTED: u32 = 150;

/// What is wrong with a pattern.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Error {
    what: &'static str,
    /// The part of the pattern that is wrong.
    part: String,
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "error parsing regexp: {}: `{}`", self.what, self.part)
    }
}

impl std::error::Error for Error {}

fn wrong<T>(what: &'static str, part: impl Into<String>) -> Result<T, Error> {
    Err(Error { what, part: part.into() })
}

/// Compiles a pattern as Go reads it.
///
/// # Errors
/// What is wrong with it in Go's words, or that it is larger than so many bytes when compiled, or nests deeper than the
/// engine may: 150 levels, where Go takes 1,000 groups.
pub fn compile(pattern: &str, limit: usize) -> Result<Regex, Error> {
    let translated = translate(pattern)?;
    let built = RegexBuilder::new(&translated).size_limit(limit).nest_limit(NESTED).build();
    built.or_else(|error| match error {
        regex::Error::CompiledTooBig(_) => wrong("expression too large", pattern),
        _ => wrong("expression nests too deeply", pattern),
    })
}

/// The pattern for Rust's engine.
fn translate(pattern: &str) -> Result<String, Error> {
    let mut parser = Parser { pattern, rest: pattern, out: String::new(), groups: vec![Group::default()] };
    let mut repeated = None;
    while let Some(c) = parser.rest.chars().next() {
        repeated = parser.step(c, repeated.take())?;
    }
    match parser.groups.len() {
        1 => Ok(parser.out),
        _ => wrong("missing closing )", pattern),
    }
}

/// What is known of an open group, or of the whole.
#[derive(Default)]
struct Group {
    /// How often the last thing in it is repeated by counts; nothing where there is nothing to repeat.
    last: Option<u32>,
    /// The most that anything in it is.
    most: u32,
}

struct Parser<'p> {
    pattern: &'p str,
    rest: &'p str,
    out: String,
    groups: Vec<Group>,
}

impl<'p> Parser<'p> {
    /// Reads one thing. What comes back is where a repetition began, which nothing may repeat at once.
    fn step(&mut self, c: char, repeated: Option<&'p str>) -> Result<Option<&'p str>, Error> {
        match c {
            '(' => self.open()?,
            ')' => self.close()?,
            '|' => {
                self.copy('|');
                self.group().last = None;
            }
            '*' | '+' | '?' => return self.operator(c, repeated).map(Some),
            '{' => {
                if let Some(count) = repeat::count(self.rest) {
                    return self.counted(count, repeated).map(Some);
                }
                self.literal('{');
                self.rest = &self.rest[1..];
            }
            '[' => self.class()?,
            '\\' => self.escaped()?,
            '^' | '$' | '.' => {
                self.copy(c);
                self.atom(1);
            }
            c => {
                self.literal(c);
                self.rest = &self.rest[c.len_utf8()..];
            }
        }
        Ok(None)
    }

    fn group(&mut self) -> &mut Group {
        self.groups.last_mut().expect("INVARIANT: the whole is never closed")
    }

    /// Notes that there is something to repeat.
    fn atom(&mut self, weight: u32) {
        let group = self.group();
        group.last = Some(weight);
        group.most = group.most.max(weight);
    }

    fn literal(&mut self, c: char) {
        push_literal(&mut self.out, c);
        self.atom(1);
    }

    /// Takes over an ASCII sign that means the same.
    fn copy(&mut self, c: char) {
        self.out.push(c);
        self.rest = &self.rest[1..];
    }

    fn close(&mut self) -> Result<(), Error> {
        if self.groups.len() == 1 {
            return wrong("unexpected )", self.pattern);
        }
        let closed = self.groups.pop();
        self.copy(')');
        self.atom(closed.map_or(1, |g| g.most.max(1)));
        Ok(())
    }
}

/// A character that stands for itself, inside of brackets too.
fn push_literal(out: &mut String, c: char) {
    if c.is_ascii_punctuation() || c.is_ascii_whitespace() {
        out.push_str(&format!("\\x{{{:x}}}", u32::from(c)));
    } else {
        out.push(c);
    }
}
