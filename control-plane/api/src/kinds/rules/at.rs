//! A place in an object: the value that stands there, its path, and the list that complaints about it go to.

use crate::object::Object;
use crate::schema;
use crate::status::{FieldError, FieldReason, shown};
use crate::value::{Map, Value};
use std::cell::RefCell;
use std::fmt::Display;

/// The complaints about one object, in the order in which they were found.
#[derive(Debug, Default)]
pub(in crate::kinds) struct Errors(RefCell<Vec<FieldError>>);

impl Errors {
    pub(super) fn into_list(self) -> Vec<FieldError> {
        self.0.into_inner()
    }

    pub(super) fn count(&self) -> usize {
        self.0.borrow().len()
    }
}

/// A place that may hold a value; an explicit null counts as none.
#[derive(Debug, Clone)]
pub(super) struct At<'a> {
    pub(super) value: Option<&'a Value>,
    map: Option<&'a Map>,
    pub(super) path: String,
    errors: &'a Errors,
}

impl<'a> At<'a> {
    pub(super) fn root(object: &'a Object, errors: &'a Errors) -> At<'a> {
        At { value: None, map: Some(&object.0), path: String::new(), errors }
    }

    fn with(&self, value: Option<&'a Value>, path: String) -> At<'a> {
        let value = value.filter(|v| !v.is_null());
        At { value, map: value.and_then(Value::as_map), path, errors: self.errors }
    }

    /// A value of another object at this path.
    pub(super) fn other(&self, value: Option<&'a Value>) -> At<'a> {
        self.with(value, self.path.clone())
    }

    pub(super) fn field(&self, key: &str) -> At<'a> {
        let path = if self.path.is_empty() { key.to_owned() } else { format!("{}.{key}", self.path) };
        self.with(self.map.and_then(|m| m.get(key)), path)
    }

    pub(super) fn fields(&self, keys: &[&str]) -> At<'a> {
        keys.iter().fold(self.clone(), |at, key| at.field(key))
    }

    /// The same value under another path.
    pub(super) fn named(&self, path: impl Into<String>) -> At<'a> {
        At { path: path.into(), ..self.clone() }
    }

    /// The same place, whose complaints go to another list.
    pub(super) fn telling<'b>(&self, errors: &'b Errors) -> At<'b>
    where
        'a: 'b,
    {
        At { value: self.value, map: self.map, path: self.path.clone(), errors }
    }

    /// The list that complaints go to.
    pub(super) fn errors(&self) -> &'a Errors {
        self.errors
    }

    /// How many complaints there are in all.
    pub(super) fn errors_count(&self) -> usize {
        self.errors.count()
    }

    /// Adds complaints that were found elsewhere.
    pub(super) fn report(&self, found: Vec<FieldError>) {
        self.errors.0.borrow_mut().extend(found);
    }

    pub(super) fn is_map(&self) -> bool {
        self.map.is_some()
    }

    /// The same value with `[key]` behind the path.
    pub(super) fn key(&self, key: impl Display) -> At<'a> {
        self.named(format!("{}[{key}]", self.path))
    }

    /// The elements of a list.
    pub(super) fn items(&self) -> impl Iterator<Item = At<'a>> + use<'a, '_> {
        self.list().iter().enumerate().map(|(i, v)| self.with(Some(v), format!("{}[{i}]", self.path)))
    }

    /// The entries of a map, each with `[key]` behind the path.
    pub(super) fn pairs(&self) -> impl Iterator<Item = (&'a str, At<'a>)> + use<'a, '_> {
        let entries = self.map.into_iter().flat_map(|m| m.iter());
        entries.map(|(k, v)| (k.as_str(), self.with(Some(v), format!("{}[{k}]", self.path))))
    }

    pub(super) fn list(&self) -> &'a [Value] {
        self.value.and_then(Value::as_list).unwrap_or(&[])
    }

    pub(super) fn len(&self) -> usize {
        self.map.map_or_else(|| self.list().len(), Map::len)
    }

    /// How many elements or entries; texts count as empty without a letter.
    pub(super) fn is_empty(&self) -> bool {
        match self.value {
            Some(Value::Str(s)) => s.is_empty(),
            _ => self.len() == 0,
        }
    }

    pub(super) fn is(&self) -> bool {
        self.value.is_some() || self.map.is_some()
    }

    pub(super) fn has(&self, key: &str) -> bool {
        self.map.and_then(|m| m.get(key)).is_some_and(|v| !v.is_null())
    }

    pub(super) fn text(&self) -> &'a str {
        self.value.and_then(Value::as_str).unwrap_or("")
    }

    pub(super) fn get(&self, key: &str) -> &'a str {
        self.map.and_then(|m| m.get(key)).and_then(Value::as_str).unwrap_or("")
    }

    pub(super) fn int(&self) -> Option<i64> {
        self.value.and_then(Value::as_i64)
    }

    pub(super) fn truth(&self) -> bool {
        self.value.and_then(Value::as_bool).unwrap_or(false)
    }

    pub(super) fn say(&self, reason: FieldReason, message: impl Into<String>) {
        self.errors.0.borrow_mut().push(FieldError::new(reason, self.path.as_str(), message));
    }

    pub(super) fn required(&self, why: &str) {
        self.say(FieldReason::Required, with_detail("Required value".into(), why));
    }

    pub(super) fn forbidden(&self, why: &str) {
        self.say(FieldReason::Forbidden, with_detail("Forbidden".into(), why));
    }

    /// The value is wrong, shown as it is.
    pub(super) fn invalid(&self, why: &str) {
        let shown = self.value.map_or_else(|| "null".into(), shown);
        self.invalid_as(&shown, why);
    }

    /// The value is wrong; `shown` is how the message shows it.
    pub(super) fn invalid_as(&self, shown: &str, why: &str) {
        self.say(FieldReason::Invalid, with_detail(format!("Invalid value: {shown}"), why));
    }

    /// A wrong text, which need not be this place's value.
    pub(super) fn invalid_text(&self, text: &str, why: &str) {
        self.invalid_as(&format!("{text:?}"), why);
    }

    /// A wrong value, shown as its published type is: in the order of the type's fields, without what is empty.
    pub(super) fn invalid_typed(&self, type_name: &str, why: &str) {
        let mut value = self.value.cloned();
        if let Some(value) = &mut value {
            schema::normalize(type_name, value);
        }
        self.invalid_as(&schema::ordered(value.as_ref(), schema::find(type_name)), why);
    }

    /// A wrong value, shown as the server's inner type has it.
    pub(super) fn invalid_inner(&self, type_name: &str, why: &str) {
        self.invalid_as(&super::inner::inner(self.value, schema::find(type_name)), why);
    }

    pub(super) fn unsupported(&self, supported: &[&str]) {
        let shown = self.value.map_or_else(|| "\"\"".into(), shown);
        self.unsupported_as(&shown, supported);
    }

    pub(super) fn unsupported_as(&self, shown: &str, supported: &[&str]) {
        let list: Vec<String> = supported.iter().map(|s| format!("{s:?}")).collect();
        let message = format!("Unsupported value: {shown}: supported values: {}", list.join(", "));
        self.say(FieldReason::NotSupported, message);
    }

    pub(super) fn duplicate(&self) {
        self.duplicate_as(&self.value.map_or_else(|| "null".into(), shown), "");
    }

    pub(super) fn duplicate_as(&self, shown: &str, why: &str) {
        self.say(FieldReason::Duplicate, with_detail(format!("Duplicate value: {shown}"), why));
    }

    pub(super) fn not_found(&self, shown: &str, why: &str) {
        self.say(FieldReason::NotFound, with_detail(format!("Not found: {shown:?}"), why));
    }

    pub(super) fn too_long(&self, limit: usize) {
        self.say(FieldReason::TooLong, format!("Too long: may not be more than {limit} bytes"));
    }

    pub(super) fn too_many(&self, limit: usize) {
        let text = format!("Too many: {}: must have at most {limit} items", self.len());
        self.say(FieldReason::TooMany, text);
    }

    /// Complains of what a check of texts finds.
    pub(super) fn matches(&self, check: fn(&str) -> Vec<String>) {
        let text = self.text();
        check(text).iter().for_each(|why| self.invalid_text(text, why));
    }

    /// The same for a text that must be there.
    pub(super) fn required_matches(&self, check: fn(&str) -> Vec<String>) {
        if self.text().is_empty() { self.required("") } else { self.matches(check) }
    }

    /// Complains of a text that is none of these.
    pub(super) fn one_of(&self, supported: &[&str]) {
        if !supported.contains(&self.text()) {
            self.unsupported(supported);
        }
    }

    /// The same where the field is set.
    pub(super) fn maybe_one_of(&self, supported: &[&str]) {
        if self.is() {
            self.one_of(supported);
        }
    }

    pub(super) fn not_negative(&self) {
        if self.int().is_some_and(|i| i < 0) {
            self.invalid("must be greater than or equal to 0");
        }
    }

    /// Complains unless the number is in a range; an absent one is zero.
    pub(super) fn between(&self, low: i64, high: i64) {
        let number = self.int().unwrap_or(0);
        if !(low..=high).contains(&number) {
            self.invalid_as(&number.to_string(), &format!("must be between {low} and {high}, inclusive"));
        }
    }

    pub(super) fn not_empty(&self) {
        if self.is_empty() {
            self.required("");
        }
    }
}

fn with_detail(head: String, why: &str) -> String {
    if why.is_empty() { head } else { format!("{head}: {why}") }
}
