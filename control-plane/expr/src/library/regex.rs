//! Regular expressions, as Go reads them.

use super::Cost::{Find, Matches};
use super::{Def, Tools, args};
use crate::limits::REGEX_BYTES;
use crate::value::{Fail, Out, Val};
use regex::Regex;
use std::borrow::Cow;

pub(super) const DEFS: &[Def] = &[
    Def(
        "matches(string, string) bool",
        Matches,
        |t, a| args!(a, [Val::String(s), Val::String(p)] => Ok(Val::Bool(known(t, p)?.is_match(s)))),
    ),
    Def(
        "string::matches(string) bool",
        Matches,
        |t, a| args!(a, [Val::String(s), Val::String(p)] => Ok(Val::Bool(known(t, p)?.is_match(s)))),
    ),
    Def("string::find(string) string", Find, |t, a| {
        args!(a, [Val::String(s), Val::String(p)] => {
            Ok(Val::text(known(t, p)?.find(s).map_or("", |m| m.as_str())))
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
    let found = known(tools, p)?;
    Ok(Val::list(found.find_iter(s).take(limit).map(|m| Val::text(m.as_str())).collect()))
}

fn known<'p>(tools: &Tools<'p>, text: &str) -> Result<Cow<'p, Regex>, Fail> {
    match tools.regexes.get(text) {
        Some(done) => Ok(Cow::Borrowed(done)),
        None => compile(text).map(Cow::Owned).map_err(Fail::new),
    }
}

/// Compiles a pattern as Go reads it. The error says what is wrong with it.
pub(crate) fn compile(text: &str) -> Result<Regex, String> {
    pattern::compile(text, REGEX_BYTES).map_err(|e| e.to_string())
}
