//! Repetitions: `*`, `+`, `?`, `{2,5}`.

use super::{Error, Parser, wrong};

/// The largest count that Go takes, nested ones multiplied.
const MOST: u32 = 1000;

/// A count in braces: how often at least and at most, and what follows.
pub(super) struct Count<'p> {
    min: u32,
    /// Nothing where there is no limit.
    max: Option<u32>,
    after: &'p str,
}

/// Reads a count. What is not quite one is text.
pub(super) fn count(text: &str) -> Option<Count<'_>> {
    let (min, rest) = number(text.strip_prefix('{')?)?;
    let (max, rest) = match rest.strip_prefix(',') {
        None => (Some(min), rest),
        Some(rest) if rest.starts_with('}') => (None, rest),
        Some(rest) => number(rest).map(|(max, rest)| (Some(max), rest))?,
    };
    Some(Count { min, max, after: rest.strip_prefix('}')? })
}

fn number(text: &str) -> Option<(u32, &str)> {
    let (digits, rest) = text.split_at(text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len()));
    if digits.is_empty() || digits.len() > 1 && digits.starts_with('0') {
        return None;
    }
    Some((digits.parse().unwrap_or(u32::MAX), rest))
}

impl<'p> Parser<'p> {
    pub(super) fn operator(&mut self, sign: char, repeated: Option<&'p str>) -> Result<&'p str, Error> {
        let before = self.rest;
        let after = self.end(before, &before[1..], repeated)?;
        self.out.push(sign);
        self.finish(before, &before[1..], after)
    }

    pub(super) fn counted(&mut self, count: Count<'p>, repeated: Option<&'p str>) -> Result<&'p str, Error> {
        let before = self.rest;
        let Count { min, max, after } = count;
        if min > MOST || max.is_some_and(|max| max > MOST || min > max) {
            return wrong("invalid repeat count", cut(before, after));
        }
        let end = self.end(before, after, repeated)?;
        let weight = self.group().last.unwrap_or(1).saturating_mul(max.unwrap_or(min).max(1));
        if weight > MOST {
            return wrong("invalid repeat count", cut(before, end));
        }
        self.atom(weight);
        let upper = match max {
            Some(max) => max.to_string(),
            None => String::new(),
        };
        self.out.push_str(&format!("{{{min},{upper}}}"));
        self.finish(before, after, end)
    }

    /// Where a repetition ends: behind the `?` that makes it lazy.
    fn end(&mut self, before: &'p str, after: &'p str, repeated: Option<&'p str>) -> Result<&'p str, Error> {
        let after = after.strip_prefix('?').unwrap_or(after);
        if let Some(first) = repeated {
            return wrong("invalid nested repetition operator", cut(first, after));
        }
        match self.group().last {
            Some(_) => Ok(after),
            None => wrong("missing argument to repetition operator", cut(before, after)),
        }
    }

    fn finish(&mut self, before: &'p str, after: &str, end: &'p str) -> Result<&'p str, Error> {
        if after.len() > end.len() {
            self.out.push('?');
        }
        self.rest = end;
        Ok(before)
    }
}

/// The part of a text that lies before its end.
fn cut<'p>(text: &'p str, end: &str) -> &'p str {
    &text[..text.len() - end.len()]
}
