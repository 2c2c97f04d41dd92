//! Conditions of the common kind: a type, a status, when and why.

use super::at::At;
use crate::names;

/// As upstream's.
const MAX_REASON: usize = 1024;
const MAX_MESSAGE: usize = 32 * 1024;

/// A list of conditions, one of each type.
pub(super) fn conditions(list: &At<'_>) {
    let mut seen: Vec<&str> = Vec::new();
    for one in list.items() {
        let kind = one.field("type");
        if seen.contains(&kind.text()) {
            kind.duplicate_as(&format!("{:?}", kind.text()), "");
        }
        seen.push(kind.text());
        condition(&one);
    }
}

fn condition(at: &At<'_>) {
    at.field("type").matches(names::qualified_name);
    at.field("status").one_of(&["False", "True", "Unknown"]);
    let generation = at.field("observedGeneration");
    if generation.int().is_some_and(|g| g < 0) {
        generation.invalid("must be greater than or equal to zero");
    }
    if !at.has("lastTransitionTime") {
        at.field("lastTransitionTime").required("");
    }
    let (why, message) = (at.field("reason"), at.field("message"));
    why.required_matches(reason);
    if why.text().len() > MAX_REASON {
        why.too_long(MAX_REASON);
    }
    if message.text().len() > MAX_MESSAGE {
        message.too_long(MAX_MESSAGE);
    }
}

fn reason(text: &str) -> Vec<String> {
    let bytes = text.as_bytes();
    let inner = |b: &u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b',' | b':');
    let last = |b: &u8| b.is_ascii_alphanumeric() || *b == b'_';
    let good =
        bytes.first().is_some_and(u8::is_ascii_alphabetic) && bytes.iter().all(inner) && bytes.last().is_some_and(last);
    if good {
        return Vec::new();
    }
    vec!["a condition reason must start with alphabetic character, optionally followed by a string of alphanumeric characters or '_,:', and must end with an alphanumeric character or '_' (e.g. 'my_name',  or 'MY_NAME',  or 'MyName',  or 'ReasonA,ReasonB',  or 'ReasonA:ReasonB', regex used for validation is '[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?')".into()]
}
