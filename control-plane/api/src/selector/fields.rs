//! Selectors of fields: equality only, and only of the fields that a kind offers.

use super::{MAX_REQUIREMENTS, SelectorError};
use crate::kind::Kind;
use crate::object::Object;
use crate::status::Status;

/// One condition on one field.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FieldRequirement {
    pub field: String,
    pub value: String,
    /// Whether the field must differ from the value.
    pub not: bool,
}

/// Conditions that all must hold. Without any, everything matches.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct FieldSelector {
    requirements: Vec<FieldRequirement>,
}

impl FieldSelector {
    /// Reads a selector from a query: `metadata.name=x,status.phase!=Running`.
    ///
    /// # Errors
    /// Upstream's message.
    pub fn parse(text: &str) -> Result<FieldSelector, SelectorError> {
        let mut requirements = Vec::new();
        for term in split_terms(text).into_iter().filter(|t| !t.is_empty()) {
            let not_understood = || SelectorError(format!("invalid selector: '{text}'; can't understand '{term}'"));
            let (field, not, value) = split_term(term).ok_or_else(not_understood)?;
            requirements.push(FieldRequirement { field: field.to_owned(), value: unescape(value)?, not });
            if requirements.len() > MAX_REQUIREMENTS {
                return Err(SelectorError(format!("a selector may have at most {MAX_REQUIREMENTS} requirements")));
            }
        }
        Ok(FieldSelector { requirements })
    }

    pub fn requirements(&self) -> &[FieldRequirement] {
        &self.requirements
    }

    pub fn is_everything(&self) -> bool {
        self.requirements.is_empty()
    }

    /// The value that a field must have, if the selector says.
    pub fn exactly(&self, field: &str) -> Option<&str> {
        self.requirements.iter().find(|r| !r.not && r.field == field).map(|r| r.value.as_str())
    }

    /// Whether the kind offers all the fields.
    ///
    /// # Errors
    /// Upstream's answer to a field that is not offered.
    #[expect(
        clippy::result_large_err,
        reason = "a refusal is answered once per request, and Status is its type everywhere"
    )]
    pub fn check(&self, kind: &Kind) -> Result<(), Status> {
        let known =
            |f: &str| matches!(f, "metadata.name" | "metadata.namespace") || kind.selectable_fields().contains(&f);
        match self.requirements.iter().find(|r| !known(&r.field)) {
            None => Ok(()),
            Some(r) => Err(Status::bad_request(unknown(kind, &r.field))),
        }
    }

    /// Whether an object of a kind matches. A field that the kind does not offer is taken as empty: [`Self::check`] first.
    pub fn matches_object(&self, kind: &Kind, object: &Object) -> bool {
        if self.requirements.is_empty() {
            return true;
        }
        let offered = match self.requirements.iter().all(|r| r.field.starts_with("metadata.")) {
            true => Vec::new(),
            false => kind.selectable(object),
        };
        self.requirements.iter().all(|r| {
            let value = match r.field.as_str() {
                "metadata.name" => object.name(),
                "metadata.namespace" => object.namespace(),
                field => offered.iter().find(|(name, _)| *name == field).map_or("", |(_, v)| v.as_str()),
            };
            (value == r.value) != r.not
        })
    }
}

fn unknown(kind: &Kind, field: &str) -> String {
    if kind.custom.is_some() {
        return format!("field label not supported: {field}");
    }
    match (kind.selectable_fields.is_empty(), kind.names.kind.as_ref()) {
        (true, _) => {
            format!("{field:?} is not a known field selector: only \"metadata.name\", \"metadata.namespace\"")
        }
        (false, "Job") => format!("field label {field:?} not supported for Job"),
        (false, "ResourceSlice") => {
            format!(
                "field label not supported for {}/{}, Kind=ResourceSlice: {field}",
                kind.names.group, kind.names.version
            )
        }
        (false, _) => format!("field label not supported: {field}"),
    }
}

/// At commas without a backslash before them.
fn split_terms(text: &str) -> Vec<&str> {
    let (mut out, mut start, mut escaped) = (Vec::new(), 0, false);
    for (i, c) in text.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            ',' => {
                out.push(&text[start..i]);
                start = i + 1;
            }
            _ => {}
        }
    }
    out.push(&text[start..]);
    out
}

fn split_term(term: &str) -> Option<(&str, bool, &str)> {
    for (i, _) in term.char_indices() {
        for (operator, not) in [("!=", true), ("==", false), ("=", false)] {
            if let Some(value) = term[i..].strip_prefix(operator) {
                return Some((&term[..i], not, value));
            }
        }
    }
    None
}

fn unescape(value: &str) -> Result<String, SelectorError> {
    if !value.contains(['\\', ',', '=']) {
        return Ok(value.to_owned());
    }
    let mut out = String::with_capacity(value.len());
    let mut chars = value.chars();
    while let Some(c) = chars.next() {
        match (c, c == '\\') {
            (_, true) => match chars.next() {
                Some(e @ ('\\' | ',' | '=')) => out.push(e),
                other => {
                    let sequence: String = std::iter::once('\\').chain(other).collect();
                    return Err(SelectorError(format!("invalid field selector: invalid escape sequence: {sequence}")));
                }
            },
            (',' | '=', _) => {
                let code = u32::from(c);
                return Err(SelectorError(format!("invalid field selector: unescaped character in value: {code}")));
            }
            _ => out.push(c),
        }
    }
    Ok(out)
}
