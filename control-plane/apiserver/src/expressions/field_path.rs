//! The `fieldPath` of a rule: `.name` and `['name']` steps through properties and maps of the schema.

use api::structural::{Additional, Structural};

/// The path as errors show it, or nothing where it is not one of the schema.
pub(super) fn normalize(path: &str, schema: &Structural) -> Option<String> {
    let mut out = String::new();
    let mut at = schema;
    let mut rest = path;
    while !rest.is_empty() {
        let name;
        if let Some(after) = rest.strip_prefix('.') {
            let end = after.find(['.', '[', ']']).unwrap_or(after.len());
            name = after[..end].to_owned();
            rest = &after[end..];
            if name.is_empty() {
                return None;
            }
        } else {
            let after = rest.strip_prefix("['")?;
            let end = closing(after)?;
            name = unescape(&after[..end])?;
            rest = after[end + 1..].strip_prefix(']')?;
        }
        at = match &at.additional {
            _ if !at.properties.is_empty() => {
                if !out.is_empty() {
                    out.push('.');
                }
                out.push_str(&name);
                at.properties.get(name.as_str())?
            }
            Additional::Schema(values) => {
                out.push_str(&format!("[{name}]"));
                values
            }
            Additional::Unset | Additional::Any(_) => return None,
        };
    }
    Some(out)
}

/// The place of the quote that ends a name.
fn closing(text: &str) -> Option<usize> {
    let mut escaped = false;
    for (i, c) in text.char_indices() {
        match c {
            '\'' if !escaped => return Some(i),
            '\\' => escaped = !escaped,
            _ => escaped = false,
        }
    }
    None
}

fn unescape(text: &str) -> Option<String> {
    let mut out = String::new();
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        out.push(match c {
            '\\' => match chars.next()? {
                'a' => '\u{7}',
                'b' => '\u{8}',
                'f' => '\u{c}',
                'n' => '\n',
                'r' => '\r',
                't' => '\t',
                'v' => '\u{b}',
                c @ ('\'' | '\\') => c,
                _ => return None,
            },
            c => c,
        });
    }
    Some(out)
}
