//! Whether a configuration that is to be applied fits a built-in type, in the words of upstream's typed values.

use super::walk::Shape;
use crate::object::Object;
use crate::patch::{go_text, go_type};
use crate::schema::{Schema, Type};
use crate::value::{Map, Value};
use std::collections::BTreeSet;

/// As many mistakes are told at once.
const MAX_ERRORS: usize = 50;

/// What is wrong with a configuration: wrong types, unknown fields, items without their keys or with the same ones.
pub(super) fn mistakes(schema: &'static Schema, configuration: &Object) -> Vec<String> {
    let mut check = Check { path: String::new(), errors: Vec::new() };
    check.map(Shape::Struct(schema), &configuration.0);
    check.errors
}

struct Check {
    path: String,
    errors: Vec<String>,
}

impl Check {
    fn say(&mut self, why: &str) {
        if self.errors.len() < MAX_ERRORS {
            self.errors.push(format!("{}: {why}", self.path));
        }
    }

    fn below(&mut self, step: &str, check: impl FnOnce(&mut Check)) {
        let length = self.path.len();
        self.path.push_str(step);
        check(self);
        self.path.truncate(length);
    }

    fn map(&mut self, shape: Shape<'_>, map: &Map) {
        for (key, value) in map.iter() {
            self.below(&format!(".{key}"), |check| match shape.field_type(key) {
                Some(Some(ty)) => check.value(shape.below(key).0, ty, value),
                Some(None) => {}
                None => check.say("field not declared in schema"),
            });
        }
    }

    fn value(&mut self, shape: Shape<'_>, ty: &Type, value: &Value) {
        match (ty, value) {
            (_, Value::Null) | (Type::Any | Type::Raw | Type::Object, _) => {}
            (Type::Struct(s), Value::Map(map)) => self.map(Shape::Struct(s.get()), map),
            (Type::Map(item), Value::Map(map)) => {
                for (key, value) in map.iter() {
                    self.below(&format!(".{key}"), |check| check.value(shape.below(key).0, item, value));
                }
            }
            (Type::Struct(_) | Type::Map(_), other) => self.say(&format!("expected map, got &{{{}}}", go_text(other))),
            (Type::List(item), Value::List(items)) => self.list(shape, item, items),
            (Type::List(_), other) => self.say(&format!("expected list, got &{{{}}}", go_text(other))),
            (Type::Int32 | Type::Int64 | Type::Double, Value::Int(_) | Value::Float(_)) => {}
            (Type::Int32 | Type::Int64 | Type::Double, other) => {
                self.say(&format!("expected numeric (int or float), got {}", go_type(other, "<nil>")));
            }
            (Type::Bool, Value::Bool(_)) => {}
            (Type::Bool, other) => self.say(&format!("expected boolean, got &{{{}}}", go_text(other))),
            (Type::String | Type::Bytes, Value::Str(_)) => {}
            (Type::String | Type::Bytes, other) => {
                self.say(&format!("expected string, got &value.valueUnstructured{{Value:{}}}", quoted(other)));
            }
            (Type::Quantity | Type::IntOrString | Type::Time | Type::MicroTime, Value::List(_) | Value::Map(_)) => {
                self.say(&format!("expected any scalar, got &{{{}}}", go_text(value)));
            }
            (Type::Quantity | Type::IntOrString | Type::Time | Type::MicroTime, _) => {}
        }
    }

    fn list(&mut self, shape: Shape<'_>, item: &Type, items: &[Value]) {
        let mut seen = BTreeSet::new();
        for (i, value) in items.iter().enumerate() {
            if !shape.is_list() {
                self.below(&format!("[{i}]"), |check| check.value(shape.item(), item, value));
                continue;
            }
            if shape.is_keyed() && value.as_map().is_none() {
                let what = if value.is_null() { "a null element" } else { "non-map elements" };
                self.say(&format!("element {i}: associative list with keys may not have {what}"));
                continue;
            }
            if let Some(keys) = shape.lacks_keys(value) {
                self.say(&format!(
                    "element {i}: associative list with keys has an element that omits all key fields {} \
                     (and doesn't have default values for any key fields)",
                    go_strings(keys)
                ));
                continue;
            }
            let element = shape.element(value);
            if !seen.insert(element.clone()) {
                self.say(&format!("duplicate entries for key {element}"));
            }
            self.below(&element.to_string(), |check| check.value(shape.item(), item, value));
        }
    }
}

/// Strings as Go prints a list of them with `%q`.
pub(super) fn go_strings(items: &[impl AsRef<str>]) -> String {
    format!("[{}]", items.iter().map(|item| format!("{:?}", item.as_ref())).collect::<Vec<_>>().join(" "))
}

/// As Go prints a value with `%#v`.
pub(super) fn quoted(value: &Value) -> String {
    match value {
        Value::Str(text) => format!("{:?}", text.as_str()),
        Value::List(items) => {
            format!("[]interface {{}}{{{}}}", items.iter().map(quoted).collect::<Vec<_>>().join(", "))
        }
        Value::Map(map) => {
            let pairs: Vec<String> = map.iter().map(|(k, v)| format!("{:?}:{}", k.as_str(), quoted(v))).collect();
            format!("map[string]interface {{}}{{{}}}", pairs.join(", "))
        }
        Value::Null | Value::Bool(_) | Value::Int(_) | Value::Float(_) => go_text(value),
    }
}
