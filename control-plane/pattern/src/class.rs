//! Brackets: `[a-z]`, `[^\d]`, `[[:alpha:]]`.

use super::{Error, Parser, escape, push_literal, wrong};

/// The classes that POSIX names, as Go and Rust both know them.
const NAMED: &[&str] = &[
    "alnum", "alpha", "ascii", "blank", "cntrl", "digit", "graph", "lower", "print", "punct", "space", "upper", "word",
    "xdigit",
];

impl Parser<'_> {
    pub(super) fn class(&mut self) -> Result<(), Error> {
        let whole = self.rest;
        let mut rest = &whole[1..];
        self.out.push('[');
        if let Some(after) = rest.strip_prefix('^') {
            self.out.push('^');
            rest = after;
        }
        let mut first = true;
        while first || !rest.starts_with(']') {
            first = false;
            rest = self.member(rest, whole)?;
        }
        self.out.push(']');
        self.rest = &rest[1..];
        self.atom(1);
        Ok(())
    }

    /// One character, range or class within brackets; what follows it comes back.
    fn member<'t>(&mut self, text: &'t str, whole: &str) -> Result<&'t str, Error> {
        if let Some(inner) = text.strip_prefix("[:")
            && let Some(length) = inner.find(":]")
        {
            let (name, end) = (&inner[..length], length + 4);
            if !NAMED.contains(&name.strip_prefix('^').unwrap_or(name)) {
                return wrong("invalid character class range", &text[..end]);
            }
            self.out.push_str(&text[..end]);
            return Ok(&text[end..]);
        }
        if text.starts_with('\\')
            && let Some((class, rest)) = escape::class(text)?
        {
            self.out.push_str(&class);
            return Ok(rest);
        }
        let (low, rest) = one(text, whole)?;
        push_literal(&mut self.out, low);
        let Some(upper) = rest.strip_prefix('-').filter(|r| !r.is_empty() && !r.starts_with(']')) else {
            return Ok(rest);
        };
        let (high, rest) = one(upper, whole)?;
        if high < low {
            return wrong("invalid character class range", &text[..text.len() - rest.len()]);
        }
        self.out.push('-');
        push_literal(&mut self.out, high);
        Ok(rest)
    }
}

fn one<'t>(text: &'t str, whole: &str) -> Result<(char, &'t str), Error> {
    match text.chars().next() {
        None => wrong("missing closing ]", whole),
        Some('\\') => escape::character(text),
        Some(c) => Ok((c, &text[c.len_utf8()..])),
    }
}
