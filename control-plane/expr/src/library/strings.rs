//! Strings: CEL's own methods and the extended library. Places count characters.

use super::Cost::{Contains, Copy, Join, One, Prefix, Quote, Replace, Seek, Split};
use super::{Def, args};
use crate::value::{Fail, Out, Text, Val};

pub(super) const DEFS: &[Def] = &[
    Def(
        "string::contains(string) bool",
        Contains,
        |_, a| args!(a, [Val::String(s), Val::String(x)] => Ok(Val::Bool(s.contains(&**x)))),
    ),
    Def(
        "string::startsWith(string) bool",
        Prefix,
        |_, a| args!(a, [Val::String(s), Val::String(x)] => Ok(Val::Bool(s.starts_with(&**x)))),
    ),
    Def(
        "string::endsWith(string) bool",
        Prefix,
        |_, a| args!(a, [Val::String(s), Val::String(x)] => Ok(Val::Bool(s.ends_with(&**x)))),
    ),
    Def("string::charAt(int) string", One, |_, a| {
        args!(a, [Val::String(s), Val::Int(at)] => {
            let chars: Vec<char> = s.chars().collect();
            match usize::try_from(*at) {
                Ok(i) if i == chars.len() => Ok(Val::text("")),
                Ok(i) if i < chars.len() => Ok(Val::text(chars[i].to_string())),
                _ => Err(out_of_range(*at)),
            }
        })
    }),
    Def(
        "string::indexOf(string) int",
        Seek,
        |_, a| args!(a, [Val::String(s), Val::String(x)] => Ok(Val::Int(find(s, x, 0)))),
    ),
    Def("string::indexOf(string, int) int", Seek, |_, a| {
        args!(a, [Val::String(s), Val::String(x), Val::Int(from)] => {
            match usize::try_from(*from) {
                Err(_) => Err(out_of_range(*from)),
                Ok(_) if x.is_empty() => Ok(Val::Int(*from)),
                Ok(from) => Ok(Val::Int(find(s, x, from))),
            }
        })
    }),
    Def(
        "string::lastIndexOf(string) int",
        Seek,
        |_, a| args!(a, [Val::String(s), Val::String(x)] => Ok(Val::Int(find_last(s, x, usize::MAX)))),
    ),
    Def("string::lastIndexOf(string, int) int", Seek, |_, a| {
        args!(a, [Val::String(s), Val::String(x), Val::Int(upto)] => {
            match usize::try_from(*upto) {
                Err(_) => Err(out_of_range(*upto)),
                Ok(_) if x.is_empty() => Ok(Val::Int(*upto)),
                Ok(upto) if upto >= s.chars().count() => Ok(Val::Int(-1)),
                Ok(upto) => Ok(Val::Int(find_last(s, x, upto))),
            }
        })
    }),
    Def(
        "string::lowerAscii() string",
        Copy,
        |_, a| args!(a, [Val::String(s)] => Ok(Val::text(s.to_ascii_lowercase()))),
    ),
    Def(
        "string::upperAscii() string",
        Copy,
        |_, a| args!(a, [Val::String(s)] => Ok(Val::text(s.to_ascii_uppercase()))),
    ),
    Def("string::trim() string", Copy, |_, a| args!(a, [Val::String(s)] => Ok(Val::text(s.trim())))),
    Def(
        "string::replace(string, string) string",
        Replace,
        |_, a| args!(a, [Val::String(s), Val::String(x), Val::String(y)] => Ok(Val::text(s.replace(&**x, y)))),
    ),
    Def("string::replace(string, string, int) string", Replace, |_, a| {
        args!(a, [Val::String(s), Val::String(x), Val::String(y), Val::Int(n)] => {
            let all = usize::try_from(*n).unwrap_or(usize::MAX);
            Ok(Val::text(s.replacen(&**x, y, all)))
        })
    }),
    Def(
        "string::split(string) list(string)",
        Split,
        |_, a| args!(a, [Val::String(s), Val::String(x)] => Ok(split(s, x, usize::MAX))),
    ),
    Def("string::split(string, int) list(string)", Split, |_, a| {
        args!(a, [Val::String(s), Val::String(x), Val::Int(n)] => {
            Ok(split(s, x, usize::try_from(*n).unwrap_or(usize::MAX)))
        })
    }),
    Def("string::substring(int) string", Copy, |_, a| {
        args!(a, [Val::String(s), Val::Int(from)] => {
            let chars: Vec<char> = s.chars().collect();
            match usize::try_from(*from) {
                Ok(i) if i <= chars.len() => Ok(Val::text(chars[i..].iter().collect::<String>())),
                _ => Err(out_of_range(*from)),
            }
        })
    }),
    Def(
        "string::substring(int, int) string",
        Copy,
        |_, a| args!(a, [Val::String(s), Val::Int(from), Val::Int(to)] => substring(s, *from, *to)),
    ),
    Def("list(string)::join() string", Join, |_, a| args!(a, [list] => join(list, ""))),
    Def("list(string)::join(string) string", Join, |_, a| args!(a, [list, Val::String(by)] => join(list, by))),
    Def("strings.quote(string) string", Quote, |_, a| args!(a, [Val::String(s)] => Ok(Val::text(quote(s))))),
];

fn out_of_range(at: i64) -> Fail {
    Fail::new(format!("index out of range: {at}"))
}

fn find(s: &str, x: &str, from: usize) -> i64 {
    let Some((start, _)) = s.char_indices().chain([(s.len(), ' ')]).nth(from) else { return -1 };
    match s[start..].find(x) {
        Some(i) => (from + s[start..start + i].chars().count()) as i64,
        None => -1,
    }
}

/// The last place, not after `upto`, where the text begins.
fn find_last(s: &str, x: &str, upto: usize) -> i64 {
    let end = s.char_indices().map(|(i, _)| i).chain([s.len()]).nth(upto).unwrap_or(s.len());
    let within = (end + x.len()).min(s.len());
    let within = (within..=s.len()).find(|i| s.is_char_boundary(*i)).unwrap_or(s.len());
    match s[..within].rfind(x) {
        Some(i) if i <= end => s[..i].chars().count() as i64,
        _ => -1,
    }
}

fn split<'a>(s: &str, x: &str, limit: usize) -> Val<'a> {
    if limit == 0 {
        return Val::list(Vec::new());
    }
    let parts: Vec<Val<'a>> = match x {
        "" => {
            // Each character; the last part holds the rest.
            let mut starts: Vec<usize> = s.char_indices().map(|(i, _)| i).take(limit).collect();
            starts.push(s.len());
            starts.windows(2).map(|w| Val::text(&s[w[0]..w[1]])).collect()
        }
        x => s.splitn(limit, x).map(Val::text).collect(),
    };
    Val::list(parts)
}

fn substring<'a>(s: &str, from: i64, to: i64) -> Out<'a> {
    let chars: Vec<char> = s.chars().collect();
    if from > to {
        return Err(Fail::new(format!("invalid substring range. start: {from}, end: {to}")));
    }
    let start = usize::try_from(from).ok().filter(|i| *i <= chars.len()).ok_or_else(|| out_of_range(from))?;
    let end = usize::try_from(to).ok().filter(|i| *i <= chars.len()).ok_or_else(|| out_of_range(to))?;
    Ok(Val::text(chars[start..end].iter().collect::<String>()))
}

fn join<'a>(list: &Val<'a>, by: &str) -> Out<'a> {
    let mut out = String::new();
    for (i, item) in list.items().ok_or_else(Fail::no_overload)?.iter().enumerate() {
        match item? {
            Val::String(s) => {
                if i > 0 {
                    out.push_str(by);
                }
                out.push_str(&s);
            }
            other => return Err(Fail::new(format!("join: invalid input: {}", super::convert::plain(&other)))),
        }
    }
    Ok(Val::String(Text::Owned(out.into())))
}

pub(super) fn quote(s: &str) -> String {
    let mut out = String::from("\"");
    for c in s.chars() {
        match c {
            '\u{7}' => out.push_str("\\a"),
            '\u{8}' => out.push_str("\\b"),
            '\u{c}' => out.push_str("\\f"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\u{b}' => out.push_str("\\v"),
            '\\' => out.push_str("\\\\"),
            '"' => out.push_str("\\\""),
            c => out.push(c),
        }
    }
    out.push('"');
    out
}
