//! Whether a value is what its schema says: the checks of OpenAPI v3, in the order and the words of upstream's validator.

use super::number::Multiple;
use super::{Additional, List, Structural, Ty, child, format, number};
use crate::status::{FieldError, FieldReason, quoted, shown};
use crate::value::{Map, Value};
use std::cmp::Ordering;

/// What does not fit, and how much was looked at: of several alternatives the one that went furthest is reported.
#[derive(Debug, Default)]
struct Failed {
    errors: Vec<FieldError>,
    looked: usize,
}

impl Failed {
    fn merge(&mut self, other: Failed) {
        self.errors.extend(other.errors);
        self.looked += other.looked;
    }

    /// What one look found: it counts more where nothing was wrong.
    fn took(&mut self, error: Option<FieldError>) {
        self.looked += usize::from(error.is_none());
        self.errors.extend(error);
    }

    fn fits(&self) -> bool {
        self.errors.is_empty()
    }
}

/// Checks a value. With `old`, the value before, what has not changed is not held against it. Paths stand below `base`.
pub fn check(schema: &Structural, value: &Value, old: Option<&Value>, base: &str) -> Vec<FieldError> {
    Walk { base }.field(schema, value, old, "").errors
}

struct Walk<'a> {
    base: &'a str,
}

impl Walk<'_> {
    fn path(&self, name: &str) -> String {
        let name = name.trim_start_matches('.');
        match (name.is_empty(), self.base.is_empty()) {
            (true, true) => "<nil>".into(),
            (true, false) => self.base.to_owned(),
            (false, _) => child(self.base, name),
        }
    }

    fn error(&self, reason: FieldReason, name: &str, message: String) -> FieldError {
        FieldError::new(reason, self.path(name), message)
    }

    fn invalid(&self, name: &str, value: &Value, why: &str) -> FieldError {
        self.error(FieldReason::Invalid, name, format!("Invalid value: {}: {name} in body {why}", shown(value)))
    }

    /// A complaint that names its place only in its text.
    fn placeless(&self, why: String) -> FieldError {
        self.error(FieldReason::Invalid, "", format!("Invalid value: \"\": {why}"))
    }

    fn wrong_type(&self, name: &str, wanted: &str, given: &str) -> FieldError {
        let given = quoted(given);
        let why = format!("Invalid value: {given}: {name} in body must be of type {wanted}: {given}");
        self.error(FieldReason::TypeInvalid, name, why)
    }

    /// A value that can be told from what it was before: unless it has changed, nothing is wrong with it.
    fn field(&self, schema: &Structural, value: &Value, old: Option<&Value>, name: &str) -> Failed {
        let mut found = self.value(schema, value, old, name);
        if !found.fits() && old == Some(value) {
            found.errors.clear();
        }
        found
    }

    fn value(&self, schema: &Structural, value: &Value, old: Option<&Value>, name: &str) -> Failed {
        let mut found = Failed::default();
        if value.is_null() {
            found.took(self.ty(schema, value, name));
            found.errors.extend(self.listed(schema, value, name));
            return found;
        }
        let c = &schema.checks;
        if schema.ty.is_some() || schema.int_or_string || !c.format.is_empty() {
            found.took(self.ty(schema, value, name));
            found.looked += 1;
        }
        found.merge(self.logic(schema, value, old, name));
        // The logic itself, that there was any, and that all was looked at.
        found.looked += 3;
        match value {
            Value::Str(text) => {
                found.errors.extend(self.text(schema, value, text, name));
                found.looked += 1;
                if format::is_known(&c.format) {
                    if !format::fits(&c.format, text) {
                        found.errors.push(self.wrong_type(name, &c.format, text));
                    }
                    found.looked += 1;
                }
            }
            Value::Int(_) | Value::Float(_) => {
                found.errors.extend(self.number(schema, value, name));
                found.looked += 2;
            }
            Value::List(items) => {
                found.merge(self.list(schema, items, old, name));
                found.looked += 2;
            }
            Value::Null | Value::Bool(_) | Value::Map(_) => {}
        }
        found.errors.extend(self.listed(schema, value, name));
        found.looked += 1;
        if let Value::Map(map) = value {
            found.merge(self.map(schema, map, old, name));
            found.looked += 1;
        }
        found
    }

    fn ty(&self, schema: &Structural, value: &Value, name: &str) -> Option<FieldError> {
        let types: &[&str] = match (schema.int_or_string, schema.ty) {
            (true, _) => &["integer", "string"],
            (false, None) => &[],
            (false, Some(Ty::Object)) => &["object"],
            (false, Some(Ty::Array)) => &["array"],
            (false, Some(Ty::String)) => &["string"],
            (false, Some(Ty::Integer)) => &["integer"],
            (false, Some(Ty::Number)) => &["number"],
            (false, Some(Ty::Boolean)) => &["boolean"],
        };
        let format = &schema.checks.format;
        let (given, given_format) = match value {
            Value::Null => {
                let wrong = !types.is_empty() && !schema.nullable;
                return wrong.then(|| self.wrong_type(name, &types.join(","), "null"));
            }
            Value::Bool(_) => ("boolean", ""),
            Value::Int(_) => ("integer", "int64"),
            Value::Float(_) => ("number", "float64"),
            Value::Str(_) => ("string", ""),
            Value::List(_) => ("array", ""),
            Value::Map(_) => ("object", ""),
        };
        let whole = matches!(value, Value::Float(f) if number::is_whole(*f)) && types.contains(&"integer");
        let fits = types.contains(&given) || whole || (given == "integer" && types.contains(&"number"));
        let textual = matches!(value, Value::Str(_) | Value::List(_));
        if !textual && !format.is_empty() && !fits && format != given_format {
            return Some(self.wrong_type(name, format, given_format));
        }
        let numeric = types.contains(&"number") || types.contains(&"integer");
        if (!numeric && !format.is_empty() && textual) || fits {
            return None;
        }
        (!types.is_empty()).then(|| self.wrong_type(name, &types.join(","), given))
    }

    fn logic(&self, schema: &Structural, value: &Value, old: Option<&Value>, name: &str) -> Failed {
        let mut found = Failed::default();
        let c = &schema.checks;
        if !c.any_of.is_empty() {
            let (fitting, best) = self.alternatives(&c.any_of, value, old, name);
            if fitting == 0 {
                found.errors.push(self.placeless(format!("{name:?} must validate at least one schema (anyOf)")));
                found.merge(best.unwrap_or_default());
            }
        }
        if !c.one_of.is_empty() {
            let (fitting, best) = self.alternatives(&c.one_of, value, old, name);
            let more = match fitting {
                0 => "Found none valid".to_owned(),
                n => format!("Found {n} valid alternatives"),
            };
            if fitting != 1 {
                let why = format!("{name:?} must validate one and only one schema (oneOf). {more}");
                found.errors.push(self.placeless(why));
            }
            if fitting == 0 {
                found.merge(best.unwrap_or_default());
            }
        }
        if !c.all_of.is_empty() {
            let mut fitting = 0;
            for one in &c.all_of {
                let result = self.value(one, value, old, name);
                fitting += usize::from(result.fits());
                found.merge(result);
            }
            if fitting < c.all_of.len() {
                let more = if fitting == 0 { ". None validated" } else { "" };
                found.errors.push(self.placeless(format!("{name:?} must validate all the schemas (allOf){more}")));
            }
        }
        if let Some(not) = &c.not
            && self.value(not, value, old, name).fits()
        {
            found.errors.push(self.placeless(format!("{name:?} must not validate the schema (not)")));
        }
        found
    }

    /// How many of the schemas fit, and what the best of the others found.
    fn alternatives(
        &self,
        schemas: &[Structural],
        value: &Value,
        old: Option<&Value>,
        name: &str,
    ) -> (usize, Option<Failed>) {
        let (mut fitting, mut best) = (0, None::<Failed>);
        for one in schemas {
            let result = self.value(one, value, old, name);
            if result.fits() {
                fitting += 1;
            } else if best.as_ref().is_none_or(|b| result.looked > b.looked) {
                best = Some(result);
            }
        }
        (fitting, best)
    }

    fn text(&self, schema: &Structural, value: &Value, text: &str, name: &str) -> Option<FieldError> {
        let c = &schema.checks;
        let length = i64::try_from(text.chars().count()).unwrap_or(i64::MAX);
        if let Some(max) = c.max_length.filter(|max| length > *max) {
            let unit = if max == 1 { "byte" } else { "bytes" };
            let why = format!("Too long: may not be more than {max} {unit}");
            return Some(self.error(FieldReason::TooLong, name, why));
        }
        if let Some(min) = c.min_length.filter(|min| length < *min) {
            return Some(self.invalid(name, value, &format!("should be at least {min} chars long")));
        }
        let pattern = c.pattern.as_ref().filter(|p| !p.regex.is_match(text))?;
        Some(self.invalid(name, value, &format!("should match '{}'", pattern.text)))
    }

    fn number(&self, schema: &Structural, value: &Value, name: &str) -> Vec<FieldError> {
        let c = &schema.checks;
        let mut out = Vec::new();
        let in_range = |what: &str, value: &Value, out: &mut Vec<FieldError>| {
            let fits = number::in_range(value, schema.ty, &c.format);
            if !fits {
                let ty = if schema.ty == Some(Ty::Integer) { "integer" } else { "number" };
                let format = match c.format.as_str() {
                    "" => "(default format)".to_owned(),
                    format => format!("with format {format}"),
                };
                out.push(self.placeless(format!("{what} value must be of type {ty} {format} in {name}")));
            }
            fits
        };
        in_range("Checked", value, &mut out);
        if let Some(of) = c.multiple_of {
            let native = in_range("MultipleOf", &Value::Float(of), &mut out);
            match number::multiple(value, of, native) {
                None => {}
                Some(Multiple::Not(of)) => {
                    out.push(self.invalid(name, value, &format!("should be a multiple of {of}")));
                }
                Some(Multiple::Of(of)) => {
                    let why =
                        format!("Invalid value: {of}: factor MultipleOf declared for {name} must be positive: {of}");
                    out.push(self.error(FieldReason::Invalid, name, why));
                }
            }
        }
        let limits = [
            ("Minimum boundary", c.minimum, c.exclusive_minimum, "greater", Ordering::Less),
            ("Maximum boundary", c.maximum, c.exclusive_maximum, "less", Ordering::Greater),
        ];
        for (what, limit, exclusive, words, wrong) in limits {
            let Some(limit) = limit else { continue };
            let native = in_range(what, &Value::Float(limit), &mut out);
            let Some((order, shown)) = number::against(value, limit, native) else { continue };
            if order == wrong || (exclusive && order == Ordering::Equal) {
                let or_equal = if exclusive { "" } else { " or equal to" };
                out.push(self.invalid(name, value, &format!("should be {words} than{or_equal} {shown}")));
            }
        }
        out
    }

    fn list(&self, schema: &Structural, items: &[Value], old: Option<&Value>, name: &str) -> Failed {
        let mut found = Failed::default();
        let c = &schema.checks;
        if let Some(of) = &schema.items {
            for (i, item) in items.iter().enumerate() {
                let before = correlated(&schema.list, item, old);
                found.merge(self.field(of, item, before, &format!("{name}[{i}]")));
            }
        }
        let count = Value::Int(i64::try_from(items.len()).unwrap_or(i64::MAX));
        let size = count.as_i64().unwrap_or(i64::MAX);
        if let Some(min) = c.min_items.filter(|min| size < *min) {
            found.errors.push(self.invalid(name, &count, &format!("should have at least {min} items")));
        }
        if let Some(max) = c.max_items.filter(|max| size > *max) {
            found.errors.push(self.too_many(name, size, max));
        }
        let twice = || items.iter().enumerate().any(|(i, a)| items[..i].iter().any(|b| number::same(a, b)));
        if c.unique_items && twice() {
            found.errors.push(self.invalid(name, &Value::from(""), "shouldn't contain duplicates"));
        }
        found
    }

    fn too_many(&self, name: &str, size: i64, max: i64) -> FieldError {
        let items = if max == 1 { "item" } else { "items" };
        self.error(FieldReason::TooMany, name, format!("Too many: {size}: must have at most {max} {items}"))
    }

    fn listed(&self, schema: &Structural, value: &Value, name: &str) -> Option<FieldError> {
        let values = &schema.checks.values;
        if values.is_empty() || values.iter().any(|v| number::same(v, value)) {
            return None;
        }
        let quoted = values.iter().map(|v| match v {
            Value::Str(text) => quoted(text),
            other => quoted(&shown(other)),
        });
        let why =
            format!("Unsupported value: {}: supported values: {}", shown(value), quoted.collect::<Vec<_>>().join(", "));
        Some(self.error(FieldReason::NotSupported, name, why))
    }

    fn map(&self, schema: &Structural, map: &Map, old: Option<&Value>, name: &str) -> Failed {
        let mut found = Failed::default();
        let c = &schema.checks;
        let size = i64::try_from(map.len()).unwrap_or(i64::MAX);
        if let Some(min) = c.min_properties.filter(|min| size < *min) {
            let why = format!("should have at least {min} properties");
            found.errors.push(self.invalid(name, &Value::Int(size), &why));
        }
        if let Some(max) = c.max_properties.filter(|max| size > *max) {
            found.errors.push(self.too_many(name, size, max));
        }
        let before = |key: &str| old.and_then(|o| o.get(key));
        let named = |key: &str| if name.is_empty() { key.to_owned() } else { format!("{name}.{key}") };
        for (key, value) in map.iter().filter(|(key, _)| !schema.properties.contains_key(*key)) {
            if let Additional::Schema(of) = &schema.additional {
                found.merge(self.field(of, value, before(key), &named(key)));
            }
        }
        for (key, of) in &schema.properties {
            if let Some(value) = map.get(key) {
                found.merge(self.field(of, value, before(key), &named(key)));
            }
        }
        for key in c.required.iter().filter(|key| !map.contains_key(key)) {
            let missing = self.error(FieldReason::Required, &format!("{name}.{key}"), "Required value".into());
            found.errors.push(missing);
        }
        found
    }
}

/// The same item of the list before: only lists that are maps tell.
fn correlated<'v>(list: &List, item: &Value, old: Option<&'v Value>) -> Option<&'v Value> {
    let List::Map(keys) = list else { return None };
    let is = |other: &&Value| keys.iter().all(|k| item.get(k) == other.get(k));
    let mut same = old?.as_list()?.iter().filter(is);
    let first = same.next()?;
    // Two of them: which one it was can't be told.
    same.next().is_none().then_some(first)
}
