//! What begins with a backslash.

use super::{Error, Parser, push_literal, wrong};
use regex::Regex;

impl Parser<'_> {
    pub(super) fn escaped(&mut self) -> Result<(), Error> {
        let text = self.rest;
        if let Some(quoted) = text.strip_prefix("\\Q") {
            let (quoted, rest) = quoted.split_once("\\E").unwrap_or((quoted, ""));
            quoted.chars().for_each(|c| self.literal(c));
            self.rest = rest;
            return Ok(());
        }
        let plain = match text.as_bytes().get(1) {
            Some(b'A') => Some("\\A"),
            Some(b'z') => Some("\\z"),
            // A word is one of ASCII; that there is no border is the same wherever there are only such words.
            Some(b'b') => Some("(?-u:\\b)"),
            Some(b'B') => Some("\\B"),
            Some(b'C') => return wrong("invalid escape sequence", &text[..2]),
            _ => None,
        };
        if let Some(plain) = plain {
            self.out.push_str(plain);
            self.rest = &text[2..];
        } else if let Some((class, rest)) = class(text)? {
            self.out.push_str(&class);
            self.rest = rest;
        } else {
            let (c, rest) = character(text)?;
            push_literal(&mut self.out, c);
            self.rest = rest;
        }
        self.atom(1);
        Ok(())
    }
}

/// A class of characters, for use alone and in brackets, and what follows.
pub(super) fn class(text: &str) -> Result<Option<(String, &str)>, Error> {
    let perl = match text.as_bytes().get(1) {
        Some(b'd') => "[0-9]",
        Some(b'D') => "[^0-9]",
        Some(b's') => "[\\t\\n\\x0c\\r\\x20]",
        Some(b'S') => "[^\\t\\n\\x0c\\r\\x20]",
        Some(b'w') => "[0-9A-Za-z_]",
        Some(b'W') => "[^0-9A-Za-z_]",
        Some(b'p' | b'P') => return unicode(text).map(Some),
        _ => return Ok(None),
    };
    Ok(Some((perl.to_owned(), &text[2..])))
}

/// A class of Unicode: `\pL`, `\P{Greek}`, `\p{^Lu}`.
fn unicode(text: &str) -> Result<(String, &str), Error> {
    let mut negative = text.as_bytes()[1] == b'P';
    let inner = &text[2..];
    let (name, end) = match (inner.strip_prefix('{'), inner.chars().next()) {
        (Some(braced), _) => match braced.find('}') {
            Some(length) => (&braced[..length], length + 4),
            None => return wrong("invalid character class range", text),
        },
        (None, Some(c)) => (&inner[..c.len_utf8()], 2 + c.len_utf8()),
        (None, None) => return wrong("invalid character class range", text),
    };
    let name = match name.strip_prefix('^') {
        Some(name) => {
            negative = !negative;
            name
        }
        None => name,
    };
    let class = match (name, negative) {
        ("Any", false) => "[\\x{0}-\\x{10ffff}]".to_owned(),
        (name, false) => format!("\\p{{{name}}}"),
        (name, true) => format!("\\P{{{name}}}"),
    };
    let known = name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_') && name.starts_with(char::is_uppercase);
    if !known || Regex::new(&class).is_err() {
        return wrong("invalid character class range", &text[..end]);
    }
    Ok((class, &text[end..]))
}

/// One character, and what follows.
pub(super) fn character(text: &str) -> Result<(char, &str), Error> {
    let mut rest = text[1..].chars();
    let Some(first) = rest.next() else { return wrong("trailing backslash at end of expression", "") };
    let found = match first {
        c if c.is_ascii() && !c.is_ascii_alphanumeric() => Some(c),
        '1'..='7' if !rest.as_str().starts_with(|c: char| c.is_digit(8)) => None,
        '0'..='7' => {
            let mut code = first.to_digit(8).unwrap_or(0);
            for _ in 0..2 {
                let Some(digit) = rest.as_str().chars().next().and_then(|c| c.to_digit(8)) else { break };
                code = code * 8 + digit;
                rest.next();
            }
            char::from_u32(code)
        }
        'x' => hexadecimal(&mut rest),
        'a' => Some('\x07'),
        'f' => Some('\x0c'),
        'n' => Some('\n'),
        'r' => Some('\r'),
        't' => Some('\t'),
        'v' => Some('\x0b'),
        _ => None,
    };
    match found {
        Some(c) => Ok((c, rest.as_str())),
        None => wrong("invalid escape sequence", &text[..text.len() - rest.as_str().len()]),
    }
}

/// `41` or `{1F600}`. Where it is not that, as much is read as shows it.
fn hexadecimal(rest: &mut std::str::Chars<'_>) -> Option<char> {
    let first = rest.next()?;
    if first != '{' {
        let high = first.to_digit(16);
        let low = rest.next()?.to_digit(16);
        return char::from_u32(high? * 16 + low?);
    }
    let mut code = 0u32;
    let mut digits = 0;
    loop {
        match rest.next()? {
            '}' if digits > 0 => return char::from_u32(code),
            c => code = code * 16 + c.to_digit(16)?,
        }
        digits += 1;
        if code > u32::from(char::MAX) {
            return None;
        }
    }
}
