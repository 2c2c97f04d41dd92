//! Named formats: what Kubernetes calls a label, a subdomain, a qualified name.

use super::Cost::{One, Validate};
use super::{Def, args, special};
use crate::value::{Fail, Out, Special, Val};

/// A named format.
#[derive(Debug)]
pub struct Format {
    pub name: &'static str,
    /// The name of its function, and the one by which it is looked up.
    key: &'static str,
    /// What its check weighs, in the length of a regular expression.
    pub(crate) weight: u64,
    /// Everything that is wrong with a text.
    check: fn(&str) -> Vec<String>,
}

impl PartialEq for Format {
    fn eq(&self, other: &Format) -> bool {
        self.name == other.name
    }
}

/// A format and the function that gives it.
macro_rules! formats {
    ($($key:literal, $name:literal, $weight:literal, $check:expr;)*) => {
        const FORMATS: &[Format] = &[$(Format { name: $name, key: $key, weight: $weight, check: $check }),*];
        pub(super) const DEFS: &[Def] = &[
            $(Def(concat!("format.", $key, "() format"), One, |_, _| named($key).ok_or_else(Fail::no_overload)),)*
            Def("format.named(string) optional(format)", One, |_, a| {
                args!(a, [Val::String(s)] => Ok(named(s).map_or(Val::Optional(None), Val::some)))
            }),
            Def("format::validate(string) optional(list(string))", Validate, |_, a| {
                args!(a, [format, Val::String(s)] => validate(format, s))
            }),
        ];
    };
}

formats! {
    "dns1123Label", "DNS1123Label", 30, |s| label(s);
    "dns1123Subdomain", "DNS1123Subdomain", 60, |s| subdomain(s);
    "dns1035Label", "DNS1035Label", 30, |s| label_1035(s);
    "qualifiedName", "QualifiedName", 60, qualified_name;
    "dns1123LabelPrefix", "DNS1123LabelPrefix", 30, |s| label(&unfinished(s));
    "dns1123SubdomainPrefix", "DNS1123SubdomainPrefix", 60, |s| subdomain(&unfinished(s));
    "dns1035LabelPrefix", "DNS1035LabelPrefix", 30, |s| label_1035(&unfinished(s));
    "labelValue", "LabelValue", 40, label_value;
    "uri", "URI", 1280, |s| super::url::parse(s).err().map(|e| format!("parse {s:?}: {e}")).into_iter().collect();
    "uuid", "uuid", 97, |s| unless(uuid(s), "does not match the UUID format");
    "byte", "byte", 86, |s| unless(base64(s), "invalid base64");
    "date", "date", 180, |s| unless(super::time::date(s).is_ok() && s.len() == 10, "invalid date");
    "datetime", "datetime", 180, |s| unless(super::time::timestamp(s).is_ok(), "invalid datetime");
}

fn named<'a>(key: &str) -> Option<Val<'a>> {
    FORMATS.iter().find(|f| f.key == key).map(|f| Val::special(Special::Format(f)))
}

fn validate<'a>(format: &Val<'a>, text: &str) -> Out<'a> {
    let Some(Special::Format(format)) = special(format) else { return Err(Fail::no_overload()) };
    let wrong = (format.check)(text);
    if wrong.is_empty() {
        return Ok(Val::Optional(None));
    }
    Ok(Val::some(Val::list(wrong.into_iter().map(Val::text).collect())))
}

fn unless(fine: bool, message: &str) -> Vec<String> {
    if fine { Vec::new() } else { vec![message.to_owned()] }
}

/// A prefix may end in a dash: what follows it will not.
fn unfinished(s: &str) -> String {
    match s.strip_suffix('-') {
        Some(rest) => format!("{rest}a"),
        None => s.to_owned(),
    }
}

fn too_long(s: &str, max: usize) -> Option<String> {
    (s.len() > max).then(|| format!("must be no more than {max} bytes"))
}

const LOWER: &str = "abcdefghijklmnopqrstuvwxyz0123456789";

fn is_label(s: &str) -> bool {
    let ends = |c: Option<char>| c.is_some_and(|c| LOWER.contains(c));
    ends(s.chars().next()) && ends(s.chars().last()) && s.chars().all(|c| c == '-' || LOWER.contains(c))
}

fn label(s: &str) -> Vec<String> {
    let form = "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and \
                end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is \
                '[a-z0-9]([-a-z0-9]*[a-z0-9])?')";
    let mut out: Vec<String> = too_long(s, 63).into_iter().collect();
    if !is_label(s) {
        out.push(if s.split('.').all(is_label) { "must not contain dots".to_owned() } else { form.to_owned() });
    }
    out
}

fn subdomain(s: &str) -> Vec<String> {
    let form = "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must \
                start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is \
                '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')";
    let mut out: Vec<String> = too_long(s, 253).into_iter().collect();
    if !s.split('.').all(is_label) {
        out.push(form.to_owned());
    }
    out
}

fn label_1035(s: &str) -> Vec<String> {
    let form = "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an alphabetic \
                character, and end with an alphanumeric character (e.g. 'my-name',  or 'abc-123', regex used for \
                validation is '[a-z]([-a-z0-9]*[a-z0-9])?')";
    let mut out: Vec<String> = too_long(s, 63).into_iter().collect();
    if !is_label(s) || s.starts_with(|c: char| c.is_ascii_digit()) {
        out.push(form.to_owned());
    }
    out
}

fn is_name(s: &str) -> bool {
    let ends = |c: Option<char>| c.is_some_and(|c| c.is_ascii_alphanumeric());
    let inner = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    ends(s.chars().next()) && ends(s.chars().last()) && s.chars().all(inner)
}

fn qualified_name(s: &str) -> Vec<String> {
    let form = "must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric \
                character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is \
                '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')";
    let mut out = Vec::new();
    let parts: Vec<&str> = s.split('/').collect();
    let name = match parts[..] {
        [name] => name,
        ["", name] => {
            out.push("prefix part must be non-empty".to_owned());
            name
        }
        [prefix, name] => {
            out.extend(subdomain(prefix).into_iter().map(|e| format!("prefix part {e}")));
            name
        }
        _ => {
            return vec![format!(
                "a valid label key {form} with an optional DNS subdomain prefix and '/' (e.g. 'example.com/MyName')"
            )];
        }
    };
    if name.is_empty() {
        out.push("name part must be non-empty".to_owned());
    } else if let Some(long) = too_long(name, 63) {
        out.push(format!("name part {long}"));
    }
    if !is_name(name) {
        out.push(format!("name part {form}"));
    }
    out
}

fn label_value(s: &str) -> Vec<String> {
    let form = "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must \
                start and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used \
                for validation is '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')";
    let mut out: Vec<String> = too_long(s, 63).into_iter().collect();
    if !(s.is_empty() || is_name(s)) {
        out.push(form.to_owned());
    }
    out
}

fn uuid(s: &str) -> bool {
    let digits = s.bytes().filter(|b| *b != b'-').count();
    let dashes = s.bytes().enumerate().filter(|(_, b)| *b == b'-').map(|(i, _)| i);
    let places: Vec<usize> = dashes.collect();
    digits == 32
        && s.bytes().all(|b| b == b'-' || b.is_ascii_hexdigit())
        && (places == [8, 13, 18, 23] || places.is_empty())
}

fn base64(s: &str) -> bool {
    !s.is_empty() && s.len().is_multiple_of(4) && !s.contains(['-', '_']) && super::convert::base64(s).is_ok()
}
