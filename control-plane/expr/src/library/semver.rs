//! Semantic versions.

use super::Cost::{One, Parse};
use super::{Def, args, special};
use crate::value::{Fail, Out, Special, Val};
use semver::Version;
use std::cmp::Ordering;

pub(super) const DEFS: &[Def] = &[
    Def("semver(string) semver", Parse, |_, a| args!(a, [Val::String(s)] => made(s, false))),
    Def("semver(string, bool) semver", Parse, |_, a| args!(a, [Val::String(s), Val::Bool(n)] => made(s, *n))),
    Def("isSemver(string) bool", Parse, |_, a| args!(a, [Val::String(s)] => Ok(Val::Bool(parse(s, false).is_ok())))),
    Def(
        "isSemver(string, bool) bool",
        Parse,
        |_, a| args!(a, [Val::String(s), Val::Bool(n)] => Ok(Val::Bool(parse(s, *n).is_ok()))),
    ),
    Def("semver::major() int", One, |_, a| args!(a, [x] => Ok(Val::Int(get(x)?.major as i64)))),
    Def("semver::minor() int", One, |_, a| args!(a, [x] => Ok(Val::Int(get(x)?.minor as i64)))),
    Def("semver::patch() int", One, |_, a| args!(a, [x] => Ok(Val::Int(get(x)?.patch as i64)))),
    Def(
        "semver::isGreaterThan(semver) bool",
        One,
        |_, a| args!(a, [x, y] => Ok(Val::Bool(cmp(get(x)?, get(y)?).is_gt()))),
    ),
    Def(
        "semver::isLessThan(semver) bool",
        One,
        |_, a| args!(a, [x, y] => Ok(Val::Bool(cmp(get(x)?, get(y)?).is_lt()))),
    ),
    Def("semver::compareTo(semver) int", One, |_, a| args!(a, [x, y] => Ok(Val::Int(cmp(get(x)?, get(y)?) as i64)))),
];

/// Precedence: what was built when does not count.
pub(super) fn cmp(x: &Version, y: &Version) -> Ordering {
    x.cmp_precedence(y)
}

fn get<'v>(x: &'v Val<'_>) -> Result<&'v Version, Fail> {
    match special(x) {
        Some(Special::Semver(v)) => Ok(v),
        _ => Err(Fail::no_overload()),
    }
}

fn made<'a>(text: &str, normalize: bool) -> Out<'a> {
    parse(text, normalize).map(|v| Val::special(Special::Semver(v))).map_err(Fail::new)
}

fn parse(text: &str, normalize: bool) -> Result<Version, String> {
    let normal = if normalize { normalized(text)? } else { text.to_owned() };
    Version::parse(&normal).map_err(|e| unreadable(&normal).unwrap_or_else(|| e.to_string()))
}

/// Why a text is no version, in upstream's words.
fn unreadable(text: &str) -> Option<String> {
    if text.is_empty() {
        return Some("Version string empty".to_owned());
    }
    let parts: Vec<&str> = text.splitn(3, '.').collect();
    let [major, minor, rest] = parts[..] else { return Some("No Major.Minor.Patch elements found".to_owned()) };
    let (rest, build) = rest.split_once('+').map_or((rest, None), |(rest, build)| (rest, Some(build)));
    let (patch, pre) = rest.split_once('-').map_or((rest, None), |(patch, pre)| (patch, Some(pre)));
    let digits = |text: &str| text.bytes().all(|b| b.is_ascii_digit());
    let padded = |text: &str| text.len() > 1 && text.starts_with('0');
    for (name, called, number) in [("major", "Major", major), ("minor", "Minor", minor), ("patch", "Patch", patch)] {
        if !digits(number) {
            return Some(format!("Invalid character(s) found in {name} number {number:?}"));
        }
        if padded(number) {
            return Some(format!("{called} number must not contain leading zeroes {number:?}"));
        }
    }
    let odd = |part: &str| !part.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
    for part in pre.iter().flat_map(|p| p.split('.')) {
        match part {
            "" => return Some("Prerelease is empty".to_owned()),
            part if digits(part) && padded(part) => {
                return Some(format!("Numeric PreRelease version must not contain leading zeroes {part:?}"));
            }
            part if odd(part) => return Some(format!("Invalid character(s) found in prerelease {part:?}")),
            _ => {}
        }
    }
    build.iter().flat_map(|b| b.split('.')).find_map(|part| match part {
        "" => Some("Build meta data is empty".to_owned()),
        part if odd(part) => Some(format!("Invalid character(s) found in build meta data {part:?}")),
        _ => None,
    })
}

/// Without a leading `v` and leading zeros, with minor and patch.
fn normalized(text: &str) -> Result<String, String> {
    let text = text.strip_prefix('v').unwrap_or(text);
    let mut parts: Vec<String> = text.splitn(3, '.').map(without_zeros).collect();
    if parts.len() < 3 && parts.last().is_some_and(|p| p.contains(['+', '-'])) {
        return Err("short version cannot contain PreRelease/Build meta data".to_owned());
    }
    parts.resize(3, "0".to_owned());
    Ok(parts.join("."))
}

fn without_zeros(part: &str) -> String {
    if part.len() < 2 {
        return part.to_owned();
    }
    match part.trim_start_matches('0') {
        rest if rest.starts_with(|c: char| c.is_ascii_digit()) => rest.to_owned(),
        rest => format!("0{rest}"),
    }
}
