//! URLs: absolute ones, and absolute paths, as Go's `url.ParseRequestURI` takes them.

use super::Cost::{CopyArgument, One};
use super::{Def, args, special};
use crate::value::{Dict, Fail, Out, Special, Val};
use std::rc::Rc;

/// A URL in its parts.
#[derive(Clone, Debug, PartialEq)]
pub struct Url {
    text: String,
    scheme: String,
    /// With its port.
    host: String,
    path: String,
    query: String,
}

impl std::fmt::Display for Url {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.text)
    }
}

pub(super) const DEFS: &[Def] = &[
    Def("url(string) url", CopyArgument, |_, a| {
        args!(a, [Val::String(s)] => match parse(s) {
            Ok(url) => Ok(Val::special(Special::Url(url))),
            Err(why) => {
                Err(Fail::new(format!("URL parse error during conversion from string: parse {:?}: {why}", &**s)))
            }
        })
    }),
    Def("isURL(string) bool", One, |_, a| args!(a, [Val::String(s)] => Ok(Val::Bool(parse(s).is_ok())))),
    Def("url::getScheme() string", One, |_, a| part(a, |u| Val::text(u.scheme.as_str()))),
    Def("url::getHost() string", One, |_, a| part(a, |u| Val::text(u.host.as_str()))),
    Def("url::getHostname() string", One, |_, a| part(a, |u| Val::text(split_port(&u.host).0))),
    Def("url::getPort() string", One, |_, a| part(a, |u| Val::text(split_port(&u.host).1))),
    Def("url::getEscapedPath() string", One, |_, a| part(a, |u| Val::text(u.path.as_str()))),
    Def("url::getQuery() map(string, list(string))", One, |_, a| part(a, |u| query(&u.query))),
];

fn part<'a>(args: &[Val<'a>], of: impl FnOnce(&Url) -> Val<'a>) -> Out<'a> {
    match args.first().and_then(special) {
        Some(Special::Url(url)) => Ok(of(url)),
        _ => Err(Fail::no_overload()),
    }
}

fn split_port(host: &str) -> (&str, &str) {
    let (name, port) = match host.rfind(':') {
        Some(i) if !host[i..].contains(']') => (&host[..i], &host[i + 1..]),
        _ => (host, ""),
    };
    (name.strip_prefix('[').and_then(|n| n.strip_suffix(']')).unwrap_or(name), port)
}

/// Parses a URL; the error says what is wrong with it.
pub(crate) fn parse(text: &str) -> Result<Url, String> {
    if text.is_empty() {
        return Err("empty url".to_owned());
    }
    if text.bytes().any(|b| b < 0x20 || b == 0x7f) {
        return Err("net/url: invalid control character in URL".to_owned());
    }
    let (scheme, rest) = scheme(text)?;
    let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
    if scheme.is_empty() && !rest.starts_with('/') || !scheme.is_empty() && !rest.starts_with('/') {
        return Err("invalid URI for request".to_owned());
    }
    let (host, path) = match rest.strip_prefix("//") {
        // A path may begin with two slashes only where there is a scheme.
        Some(rest) if !scheme.is_empty() => rest.split_at(rest.find('/').unwrap_or(rest.len())),
        _ => ("", rest),
    };
    let host = host.rsplit_once('@').map_or(host, |(_, host)| host);
    check_host(host)?;
    unescape(path)?;
    Ok(Url {
        text: text.to_owned(),
        scheme: scheme.to_ascii_lowercase(),
        host: unescape(host)?,
        path: escape_path(path),
        query: query.to_owned(),
    })
}

fn scheme(text: &str) -> Result<(&str, &str), String> {
    for (i, c) in text.char_indices() {
        match c {
            'a'..='z' | 'A'..='Z' => {}
            '0'..='9' | '+' | '-' | '.' if i > 0 => {}
            '0'..='9' | '+' | '-' | '.' => return Ok(("", text)),
            ':' if i == 0 => return Err("missing protocol scheme".to_owned()),
            ':' => return Ok((&text[..i], &text[i + 1..])),
            _ => return Ok(("", text)),
        }
    }
    Ok(("", text))
}

fn check_host(host: &str) -> Result<(), String> {
    let port = match host.strip_prefix('[') {
        Some(inner) => inner.split_once(']').ok_or_else(|| "missing ']' in host".to_owned())?.1,
        None => host.find(':').map_or("", |i| &host[i..]),
    };
    let digits = port.strip_prefix(':').unwrap_or(port);
    if !(port.is_empty() || port.starts_with(':')) || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return Err(format!("invalid port {port:?} after host"));
    }
    match host.chars().find(|c| matches!(c, ' ' | '<' | '>' | '"' | '\\' | '^' | '`' | '{' | '|' | '}')) {
        Some(c) => Err(format!("invalid character {:?} in host name", c.to_string())),
        None => Ok(()),
    }
}

/// Resolves `%` and two digits.
fn unescape(text: &str) -> Result<String, String> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        if *first != b'%' {
            out.push(*first);
            rest = after;
            continue;
        }
        let value =
            after.get(..2).and_then(|d| std::str::from_utf8(d).ok()).and_then(|d| u8::from_str_radix(d, 16).ok());
        match value {
            Some(b) => out.push(b),
            None => {
                let shown = String::from_utf8_lossy(&rest[..rest.len().min(3)]);
                return Err(format!("invalid URL escape {shown:?}"));
            }
        }
        rest = &after[2..];
    }
    Ok(String::from_utf8_lossy(&out).into_owned())
}

fn escape_path(path: &str) -> String {
    let mut out = String::with_capacity(path.len());
    for b in path.bytes() {
        match b {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' => out.push(b as char),
            b if b.is_ascii() && "-_.~$&+,/:;=@!'()*[]%".contains(b as char) => out.push(b as char),
            b => out.push_str(&format!("%{b:02X}")),
        }
    }
    out
}

fn query<'a>(text: &str) -> Val<'a> {
    let mut names: Vec<(String, Vec<Val<'a>>)> = Vec::new();
    for pair in text.split('&').filter(|p| !p.is_empty() && !p.contains(';')) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let read = |t: &str| unescape(&t.replace('+', " "));
        let (Ok(name), Ok(value)) = (read(name), read(value)) else { continue };
        match names.iter_mut().find(|(n, _)| *n == name) {
            Some((_, values)) => values.push(Val::text(value)),
            None => names.push((name, vec![Val::text(value)])),
        }
    }
    let mut dict = Dict::default();
    for (name, values) in names {
        // Names were made unique above.
        let _ = dict.insert(Val::text(name), Val::list(values));
    }
    Val::Map(Rc::new(dict))
}
