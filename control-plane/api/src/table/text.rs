//! What cells have in common: how lists, labels and absent values are written.

use crate::object::Object;
use crate::selector::LabelSelector;
use crate::value::Value;

pub(super) const NONE: &str = "<none>";
pub(super) const UNSET: &str = "<unset>";

pub(super) fn or(text: &str, absent: &str) -> Value {
    Value::from(if text.is_empty() { absent } else { text })
}

pub(super) fn items<'a>(object: &'a Object, path: &[&str]) -> &'a [Value] {
    object.at(path).and_then(Value::as_list).unwrap_or(&[])
}

pub(super) fn texts<'a>(object: &'a Object, path: &[&str]) -> Vec<&'a str> {
    items(object, path).iter().filter_map(Value::as_str).collect()
}

/// A text field of a part of an object.
pub(super) fn part<'a>(value: &'a Value, path: &[&str]) -> &'a str {
    value.at(path).and_then(Value::as_str).unwrap_or("")
}

pub(super) fn int(object: &Object, path: &[&str]) -> Value {
    Value::from(object.i64_at(path).unwrap_or(0))
}

pub(super) fn flag(object: &Object, path: &[&str]) -> Value {
    Value::from(object.bool_at(path).unwrap_or(false))
}

/// `a=b,c=d`.
pub(super) fn labels(value: Option<&Value>) -> Value {
    let pairs = value.and_then(Value::as_map).into_iter().flat_map(|m| m.iter());
    let pairs: Vec<String> = pairs.map(|(k, v)| format!("{k}={}", v.as_str().unwrap_or(""))).collect();
    or(&pairs.join(","), NONE)
}

/// A `meta/v1.LabelSelector` as the query that it is.
pub(super) fn selector(value: Option<&Value>) -> Value {
    match value.map(LabelSelector::from_value) {
        None => Value::from(NONE),
        Some(Err(_)) => Value::from("<error>"),
        Some(Ok(selector)) => or(&selector.to_string(), NONE),
    }
}

/// The names or images of the containers of a pod spec.
pub(super) fn containers(object: &Object, spec: &[&str], field: &str) -> Value {
    let path: Vec<&str> = spec.iter().copied().chain(["containers"]).collect();
    Value::from(items(object, &path).iter().map(|c| part(c, &[field])).collect::<Vec<_>>().join(","))
}

/// How many of a list are shown.
pub(super) const FEW: usize = 3;

/// The first three, and how many more.
pub(super) fn few(list: &[String]) -> String {
    and_more(&list[..list.len().min(FEW)], list.len().saturating_sub(FEW))
}

pub(super) fn and_more(shown: &[String], more: usize) -> String {
    let shown = shown.join(",");
    match more {
        0 => shown,
        _ => format!("{shown} + {more} more..."),
    }
}

/// A `meta/v1.LabelSelector` as Go prints it.
pub(super) fn go_selector(selector: &Value) -> String {
    let labels = selector.get("matchLabels").and_then(Value::as_map).into_iter().flat_map(|m| m.iter());
    let labels: String = labels.map(|(k, v)| format!("{k}: {},", v.as_str().unwrap_or(""))).collect();
    let expressions = selector.get("matchExpressions").and_then(Value::as_list).unwrap_or(&[]);
    let one = |e: &Value| {
        let values = e.get("values").and_then(Value::as_list).unwrap_or(&[]);
        let values: Vec<&str> = values.iter().filter_map(Value::as_str).collect();
        let (key, operator) = (part(e, &["key"]), part(e, &["operator"]));
        format!("LabelSelectorRequirement{{Key:{key},Operator:{operator},Values:[{}],}},", values.join(" "))
    };
    let expressions: String = expressions.iter().map(one).collect();
    format!(
        "&LabelSelector{{MatchLabels:map[string]string{{{labels}}},MatchExpressions:[]LabelSelectorRequirement{{{expressions}}},}}"
    )
}

/// An int or a string, as text.
pub(super) fn int_or_text(value: Option<&Value>, absent: &str) -> Value {
    match value {
        Some(Value::Int(i)) => Value::from(i.to_string()),
        Some(Value::Str(text)) => Value::from(text.as_str()),
        _ => Value::from(absent),
    }
}

/// The status of a condition, empty for none.
pub(super) fn condition<'a>(object: &'a Object, kind: &str) -> &'a str {
    let all = items(object, &["status", "conditions"]);
    all.iter().find(|c| part(c, &["type"]) == kind).map_or("", |c| part(c, &["status"]))
}
