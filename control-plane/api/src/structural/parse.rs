//! Reads an `openAPIV3Schema`. What the rules of definitions refuse is not looked for again.

use super::format::is_recognized;
use super::{Additional, Checks, List, Pattern, Rule, Structural, Ty};
use crate::value::{Key, Map, Value};

/// How large a compiled regular expression may be: far beyond any that people write, far below what hurts.
const MAX_REGEX: usize = 1 << 20;

/// Why a schema cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ParseError {
    #[error("a schema is an object")]
    NotAnObject,
    #[error("the pattern {0:?} cannot be used: {1}")]
    Pattern(String, String),
}

impl Pattern {
    /// Compiles a regular expression.
    ///
    /// # Errors
    /// What is wrong with it, in the words of Go's parser.
    pub fn new(text: &str) -> Result<Pattern, String> {
        let built = pattern::compile(text, MAX_REGEX);
        built.map(|regex| Pattern { text: text.to_owned(), regex }).map_err(|e| e.to_string())
    }
}

impl Structural {
    /// Reads a schema.
    ///
    /// # Errors
    /// It is no object, or holds a regular expression that cannot be used.
    pub fn parse(schema: &Value) -> Result<Structural, ParseError> {
        let map = schema.as_map().ok_or(ParseError::NotAnObject)?;
        let flag = |key: &str| map.get(key).and_then(Value::as_bool).unwrap_or(false);
        let own_type = map.get("type").and_then(Value::as_str).and_then(ty);
        let mut node = Structural {
            ty: own_type,
            nullable: flag("nullable"),
            properties: properties(map)?,
            additional: additional(map)?,
            items: map.get("items").filter(|v| !v.is_null()).map(Structural::parse).transpose()?.map(Box::new),
            default: map.get("default").filter(|v| !v.is_null()).cloned(),
            preserve: flag("x-kubernetes-preserve-unknown-fields"),
            embedded: flag("x-kubernetes-embedded-resource"),
            int_or_string: flag("x-kubernetes-int-or-string"),
            list: list(map),
            atomic_map: map.get("x-kubernetes-map-type").and_then(Value::as_str) == Some("atomic"),
            checks: checks(map, own_type)?,
            rules: rules(map),
            has_defaults: false,
        };
        node.has_defaults = node.default.is_some()
            || node.properties.values().any(|p| p.has_defaults)
            || node.items.as_ref().is_some_and(|i| i.has_defaults)
            || matches!(&node.additional, Additional::Schema(s) if s.has_defaults);
        Ok(node)
    }
}

/// A type by its name.
pub(crate) fn ty(name: &str) -> Option<Ty> {
    Some(match name {
        "object" => Ty::Object,
        "array" => Ty::Array,
        "string" => Ty::String,
        "integer" => Ty::Integer,
        "number" => Ty::Number,
        "boolean" => Ty::Boolean,
        _ => return None,
    })
}

fn properties(map: &Map) -> Result<std::collections::BTreeMap<Key, Structural>, ParseError> {
    let found = map.get("properties").and_then(Value::as_map).into_iter().flat_map(|m| m.iter());
    found.map(|(k, v)| Ok((k.clone(), Structural::parse(v)?))).collect()
}

fn additional(map: &Map) -> Result<Additional, ParseError> {
    Ok(match map.get("additionalProperties") {
        None | Some(Value::Null) => Additional::Unset,
        Some(Value::Bool(any)) => Additional::Any(*any),
        Some(schema) => Additional::Schema(Box::new(Structural::parse(schema)?)),
    })
}

fn texts(map: &Map, key: &str) -> Vec<Key> {
    let list = map.get(key).and_then(Value::as_list).unwrap_or(&[]);
    list.iter().filter_map(|v| v.as_str().map(Key::from)).collect()
}

fn list(map: &Map) -> List {
    match map.get("x-kubernetes-list-type").and_then(Value::as_str) {
        Some("set") => List::Set,
        Some("map") => List::Map(texts(map, "x-kubernetes-list-map-keys")),
        _ => List::Atomic,
    }
}

fn nodes(map: &Map, key: &str) -> Result<Vec<Structural>, ParseError> {
    map.get(key).and_then(Value::as_list).unwrap_or(&[]).iter().map(Structural::parse).collect()
}

fn checks(map: &Map, ty: Option<Ty>) -> Result<Checks, ParseError> {
    let int = |key: &str| map.get(key).and_then(Value::as_i64);
    let flag = |key: &str| map.get(key).and_then(Value::as_bool).unwrap_or(false);
    let number = |key: &str| map.get(key).and_then(super::number::float);
    let pattern = map.get("pattern").and_then(Value::as_str).filter(|p| !p.is_empty());
    let pattern = pattern.map(|p| Pattern::new(p).map_err(|why| ParseError::Pattern(p.to_owned(), why))).transpose()?;
    Ok(Checks {
        format: map.get("format").and_then(Value::as_str).filter(|f| is_recognized(ty, f)).unwrap_or("").to_owned(),
        values: map.get("enum").and_then(Value::as_list).unwrap_or(&[]).to_vec(),
        maximum: number("maximum"),
        minimum: number("minimum"),
        exclusive_maximum: flag("exclusiveMaximum"),
        exclusive_minimum: flag("exclusiveMinimum"),
        multiple_of: number("multipleOf"),
        max_length: int("maxLength"),
        min_length: int("minLength"),
        pattern,
        max_items: int("maxItems"),
        min_items: int("minItems"),
        unique_items: flag("uniqueItems"),
        max_properties: int("maxProperties"),
        min_properties: int("minProperties"),
        required: texts(map, "required"),
        all_of: nodes(map, "allOf")?,
        any_of: nodes(map, "anyOf")?,
        one_of: nodes(map, "oneOf")?,
        not: map.get("not").filter(|v| !v.is_null()).map(Structural::parse).transpose()?.map(Box::new),
    })
}

fn rules(map: &Map) -> Vec<Rule> {
    let list = map.get("x-kubernetes-validations").and_then(Value::as_list).unwrap_or(&[]);
    let one = |v: &Value| {
        let text = |key: &str| v.get(key).and_then(Value::as_str).unwrap_or("").to_owned();
        Rule {
            rule: text("rule"),
            message: text("message"),
            message_expression: text("messageExpression"),
            reason: text("reason"),
            field_path: text("fieldPath"),
            optional_old_self: v.get("optionalOldSelf").and_then(Value::as_bool),
        }
    };
    list.iter().map(one).collect()
}
