//! Schemas as declarations of what expressions see.

use api::structural::{Additional, List, Structural, Ty};
use api::value::Value;
use expr::{Decl, Identity};
use std::sync::Arc;

/// The longest name of an object, and of what a name is generated from.
const NAME: u64 = 253;
const GENERATE_NAME: u64 = NAME - 1;

/// What expressions see of values of a schema; nothing where the schema does not say of which type they are.
pub(super) fn declare(schema: &Structural, resource: bool) -> Option<Arc<Decl>> {
    let length = bound(schema.checks.max_length);
    if schema.int_or_string {
        return Some(Decl::int_or_string(length));
    }
    match schema.ty? {
        Ty::Array => {
            let items = schema.items.as_deref()?;
            let items = declare(items, items.embedded)?;
            let identity = match &schema.list {
                List::Atomic => Identity::Place,
                List::Set => Identity::Value,
                List::Map(keys) => Identity::Keys(keys.iter().map(ToString::to_string).collect()),
            };
            Some(Decl::list(items, bound(schema.checks.max_items), identity))
        }
        Ty::Object => match &schema.additional {
            Additional::Schema(values) => {
                Some(Decl::map(declare(values, values.embedded)?, bound(schema.checks.max_properties)))
            }
            Additional::Unset | Additional::Any(_) => Some(object(schema, resource)),
        },
        Ty::String => Some(match schema.checks.format.as_str() {
            "byte" => Decl::bytes(length),
            "duration" => Decl::duration(),
            "date" => Decl::date(),
            "date-time" => Decl::date_time(),
            _ => {
                let values = schema.checks.values.iter().filter_map(Value::as_str);
                Decl::string(length, values.map(|v| v.len() as u64).max())
            }
        }),
        Ty::Boolean => Some(Decl::bool()),
        Ty::Number => Some(Decl::double()),
        Ty::Integer => Some(Decl::int()),
    }
}

fn bound(limit: Option<i64>) -> Option<u64> {
    limit.map(|n| u64::try_from(n).unwrap_or(0))
}

fn object(schema: &Structural, resource: bool) -> Arc<Decl> {
    let own = schema.properties.iter().filter(|(name, _)| !(resource && is_meta(name)));
    let own = own.filter_map(|(name, property)| {
        let must = schema.checks.required.contains(name) && property.default.is_none();
        Some((name.to_string(), declare(property, property.embedded)?, must))
    });
    if !resource {
        return Decl::object("object", own);
    }
    let metadata = schema.properties.get("metadata");
    let text = |key: &str, most: u64| {
        let length = metadata.and_then(|m| bound(m.properties.get(key)?.checks.max_length));
        (key.to_owned(), Decl::string(Some(length.map_or(most, |l| l.min(most))), None), false)
    };
    let names = Decl::object("object", [text("name", NAME), text("generateName", GENERATE_NAME)]);
    let must = |key: &str| schema.checks.required.iter().any(|r| r == key);
    let meta = [
        ("apiVersion".to_owned(), Decl::string(None, None), must("apiVersion")),
        ("kind".to_owned(), Decl::string(None, None), must("kind")),
        ("metadata".to_owned(), names, must("metadata")),
    ];
    Decl::object("object", own.chain(meta))
}

/// What a resource has whatever its schema says.
fn is_meta(name: &str) -> bool {
    matches!(name, "apiVersion" | "kind" | "metadata")
}

/// The declaration of a property, as the object that holds it has it.
pub(super) fn property(of: &Decl, name: &str) -> Option<Arc<Decl>> {
    match &of.shape {
        expr::Shape::Object(object) => Some(object.fields.get(&expr::escape(name)?)?.decl.clone()),
        _ => None,
    }
}

/// The declaration of what a list or map holds.
pub(super) fn element(of: &Decl) -> Option<Arc<Decl>> {
    match &of.shape {
        expr::Shape::List { items, .. } => Some(items.clone()),
        expr::Shape::Map { values } => Some(values.clone()),
        _ => None,
    }
}
