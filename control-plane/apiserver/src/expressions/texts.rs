//! What clients read of rules, in upstream's words.

use api::structural::Rule;
use expr::{Fail, limits};

pub(super) const OUT_OF_BUDGET: &str =
    "validation failed due to running out of cost budget, no further validation rules will be run";

/// A rule as messages name it.
pub(super) fn rule_name(rule: &Rule) -> &str {
    if rule.message.is_empty() { rule.rule.trim() } else { rule.message.trim() }
}

pub(super) fn default_message(rule: &Rule) -> String {
    match rule.message.trim() {
        "" => format!("failed rule: {}", rule.rule.trim()),
        message => message.to_owned(),
    }
}

/// A rule that could not be evaluated.
pub(super) fn failed(fail: &Fail, rule: &str) -> String {
    let text = fail.to_string();
    if text.starts_with("no such overload") {
        return format!(
            "'{text}': call arguments did not match a supported operator, function or macro signature for rule: {rule}"
        );
    }
    format!("{text} evaluating rule: {rule}")
}

/// What came of a message expression.
pub(super) enum Message {
    Text(String),
    /// The rule's own message takes its place.
    Unusable,
    /// No further rule is evaluated, and why.
    Stop(String),
}

/// Judges what a message expression gave.
pub(super) fn message(result: Result<Option<String>, Fail>, cost: u64, budget: u64, source: &str) -> Message {
    if cost > budget {
        return Message::Stop(
            "messageExpression evaluation failed due to running out of cost budget, no further validation rules will \
             be run"
                .to_owned(),
        );
    }
    match result {
        Err(Fail::CostLimit) => Message::Stop(format!(
            "no further validation rules will be run due to call cost exceeds limit for messageExpression: {source:?}"
        )),
        Err(Fail::Error(_)) | Ok(None) => Message::Unusable,
        Ok(Some(text)) => match text.trim() {
            "" => Message::Unusable,
            text if text.len() > limits::MESSAGE_BYTES || text.contains('\n') => Message::Unusable,
            text => Message::Text(text.to_owned()),
        },
    }
}

/// A rule as an invalid value shows it.
pub(super) fn shown(rule: &Rule) -> String {
    let text = |value: &str| escaped(value);
    let reason = if rule.reason.is_empty() { "null".to_owned() } else { text(&rule.reason) };
    let optional = rule.optional_old_self.map_or("null".to_owned(), |b| b.to_string());
    format!(
        "{{\"Rule\":{},\"Message\":{},\"MessageExpression\":{},\"Reason\":{reason},\"FieldPath\":{},\"OptionalOldSelf\":{optional}}}",
        text(&rule.rule),
        text(&rule.message),
        text(&rule.message_expression),
        text(&rule.field_path),
    )
}

/// JSON as Go writes it: what could be markup is escaped.
fn escaped(text: &str) -> String {
    let json = api::codec::json::encode(&api::value::Value::from(text));
    let json = String::from_utf8_lossy(&json).into_owned();
    json.replace('<', "\\u003c").replace('>', "\\u003e").replace('&', "\\u0026")
}
