//! Regular expressions. Patterns are written for RE2 as Go has it; the few signs that mean something else to our engine
//! are rewritten.

use super::Cost::{Find, Matches};
use super::{Def, Tools, args};
use crate::limits::REGEX_BYTES;
use crate::value::{Fail, Out, Val};
use regex::{Regex, RegexBuilder};
use std::borrow::Cow;

pub(super) const DEFS: &[Def] = &[
    Def(
        "matches(string, string) bool",
        Matches,
        |t, a| args!(a, [Val::String(s), Val::String(p)] => Ok(Val::Bool(pattern(t, p, "error parsing regexp")?.is_match(s)))),
    ),
    Def(
        "string::matches(string) bool",
        Matches,
        |t, a| args!(a, [Val::String(s), Val::String(p)] => Ok(Val::Bool(pattern(t, p, "error parsing regexp")?.is_match(s)))),
    ),
    Def("string::find(string) string", Find, |t, a| {
        args!(a, [Val::String(s), Val::String(p)] => {
            Ok(Val::text(pattern(t, p, "Illegal regex")?.find(s).map_or("", |m| m.as_str())))
        })
    }),
    Def(
        "string::findAll(string) list(string)",
        Find,
        |t, a| args!(a, [Val::String(s), Val::String(p)] => find_all(t, s, p, usize::MAX)),
    ),
    Def("string::findAll(string, int) list(string)", Find, |t, a| {
        args!(a, [Val::String(s), Val::String(p), Val::Int(n)] => {
            find_all(t, s, p, usize::try_from(*n).unwrap_or(usize::MAX))
        })
    }),
];

fn find_all<'a>(tools: &Tools<'_>, s: &str, p: &str, limit: usize) -> Out<'a> {
    let found = pattern(tools, p, "Illegal regex")?;
    Ok(Val::list(found.find_iter(s).take(limit).map(|m| Val::text(m.as_str())).collect()))
}

fn pattern<'p>(tools: &Tools<'p>, text: &str, what: &str) -> Result<Cow<'p, Regex>, Fail> {
    match tools.regexes.get(text) {
        Some(done) => Ok(Cow::Borrowed(done)),
        None => compile(text).map(Cow::Owned).map_err(|e| Fail::new(format!("{what}: {e}"))),
    }
}

/// Compiles a pattern as Go reads it. The error says what is wrong with it.
pub(crate) fn compile(text: &str) -> Result<Regex, String> {
    let pattern = translate(text);
    RegexBuilder::new(&pattern).size_limit(REGEX_BYTES).build().map_err(|e| match e {
        regex::Error::CompiledTooBig(_) => "expression nests too deeply".to_owned(),
        other => other.to_string().lines().last().unwrap_or_default().trim_start_matches("error: ").to_owned(),
    })
}

/// Classes like `\d` are ASCII in RE2, and inside brackets there are no operations on sets.
fn translate(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 16);
    let mut chars = text.chars().peekable();
    let mut in_class = false;
    let mut class_start = false;
    while let Some(c) = chars.next() {
        let starts = std::mem::take(&mut class_start);
        match c {
            '\\' => {
                let Some(next) = chars.next() else {
                    out.push('\\');
                    break;
                };
                escape(&mut out, next, in_class, &mut chars);
            }
            '[' if in_class => match chars.peek() {
                // A named class stays as it is.
                Some(':') => {
                    out.push('[');
                    for c in chars.by_ref() {
                        out.push(c);
                        if c == ']' {
                            break;
                        }
                    }
                }
                _ => out.push_str("\\["),
            },
            '[' => {
                in_class = true;
                out.push('[');
                if chars.next_if_eq(&'^').is_some() {
                    out.push('^');
                }
                class_start = true;
            }
            ']' if in_class && starts => out.push_str("\\]"),
            ']' if in_class => {
                in_class = false;
                out.push(']');
            }
            '&' | '~' if in_class => {
                out.push('\\');
                out.push(c);
            }
            '-' if in_class && chars.peek() == Some(&'-') => out.push_str("\\-"),
            c => out.push(c),
        }
    }
    out
}

fn escape(out: &mut String, next: char, in_class: bool, chars: &mut std::iter::Peekable<std::str::Chars<'_>>) {
    let class = match next {
        'd' | 'D' => Some("0-9"),
        's' | 'S' => Some("\\t\\n\\f\\r "),
        'w' | 'W' => Some("0-9A-Za-z_"),
        _ => None,
    };
    match (class, next.is_ascii_uppercase(), in_class) {
        (Some(class), true, _) => out.push_str(&format!("[^{class}]")),
        (Some(class), false, true) => out.push_str(class),
        (Some(class), false, false) => out.push_str(&format!("[{class}]")),
        (None, ..) if next == 'b' && !in_class => out.push_str("(?-u:\\b)"),
        (None, ..) if next == 'Q' => {
            // Everything up to \E is text.
            let mut quoted = String::new();
            for c in chars.by_ref() {
                quoted.push(c);
                if quoted.ends_with("\\E") {
                    quoted.truncate(quoted.len() - 2);
                    break;
                }
            }
            out.push_str(&regex::escape(&quoted));
        }
        (None, ..) => {
            out.push('\\');
            out.push(next);
        }
    }
}
