//! Whether a schema is structural: every field that is spoken of has a type, outside of `allOf`, `anyOf`, `oneOf` and
//! `not`; and whether its defaults are values of it.

use super::at::{At, Errors};
use crate::kind::custom;
use crate::status::FieldError;
use crate::structural::{self, Pattern, Structural};
use crate::value::{Map, Value};

#[derive(Clone, Copy, PartialEq, Eq)]
enum Level {
    Root,
    Item,
    Field,
}

/// Complains of what is not structural; whether there was nothing.
pub(super) fn structural(schema: &At<'_>) -> bool {
    let errors = Errors::default();
    let at = schema.telling(&errors);
    node(&at, Level::Root);
    complete(&at, &at);
    let mut found = errors.into_list();
    found.sort_by_key(FieldError::to_string);
    let good = found.is_empty();
    schema.report(found);
    good
}

/// What a schema says that no structure can be made of, as upstream says it.
pub(super) fn unreadable(at: &At<'_>) -> Option<String> {
    let unsupported = |key: &&str| match *key {
        "$ref" => !at.get(key).is_empty(),
        "additionalItems" => at.has(key),
        _ => !at.field(key).is_empty(),
    };
    let keys = ["id", "$schema", "$ref", "patternProperties", "dependencies", "additionalItems", "definitions"];
    if let Some(key) = keys.into_iter().find(unsupported) {
        let name = if key == "$schema" { "schema" } else { key };
        return Some(format!("OpenAPIV3Schema '{name}' is not supported"));
    }
    let within = |place: &At<'_>| if place.is_map() { unreadable(place) } else { None };
    let among = |key: &str| at.field(key).items().find_map(|one| unreadable(&one));
    let checks = within(&at.field("not")).or_else(|| ["allOf", "anyOf", "oneOf"].into_iter().find_map(among));
    if checks.is_some() {
        return checks;
    }
    if at.field("x-kubernetes-preserve-unknown-fields").value == Some(&Value::Bool(false)) {
        return Some("internal error: 'x-kubernetes-preserve-unknown-fields' must be true or undefined".into());
    }
    let items = at.field("items");
    if !items.list().is_empty() {
        return Some("OpenAPIV3Schema 'items' must be a schema, but is an array".into());
    }
    within(&items)
        .or_else(|| at.field("properties").pairs().find_map(|(_, property)| unreadable(&property)))
        .or_else(|| within(&at.field("additionalProperties")))
}

fn node(at: &At<'_>, level: Level) {
    let ty = at.field("type");
    let (items, properties, additional) = (at.field("items"), at.field("properties"), at.field("additionalProperties"));
    if ty.text() == "array" && !items.is() {
        items.required("must be specified");
    }
    if items.is() {
        node(&items, Level::Item);
    }
    properties.pairs().for_each(|(_, property)| node(&property, Level::Field));
    if additional.is() {
        if level == Level::Root {
            additional.forbidden("must not be used at the root");
        }
        if additional.is_map() {
            node(&additional, Level::Field);
        }
    }
    let flag = |key: &str| at.field(key).truth();
    let (either, embedded) = (flag("x-kubernetes-int-or-string"), flag("x-kubernetes-embedded-resource"));
    let preserve = flag("x-kubernetes-preserve-unknown-fields");
    for key in ["x-kubernetes-preserve-unknown-fields", "x-kubernetes-embedded-resource"] {
        if either && flag(key) {
            at.field(key).invalid("must be false if x-kubernetes-int-or-string is true");
        }
    }
    let skip_any = is_int_or_string(&at.field("anyOf"));
    let skip_first = at.field("allOf").items().next().is_some_and(|first| is_int_or_string(&first.field("anyOf")));
    values(at, skip_any, skip_first);
    if embedded && ty.text() != "object" {
        let why = "must be object if x-kubernetes-embedded-resource is true";
        if ty.is_empty() { ty.required(why) } else { ty.invalid(why) }
    } else if ty.is_empty() && !either && !preserve {
        ty.required(match level {
            Level::Root => "must not be empty at the root",
            Level::Item => "must not be empty for specified array items",
            Level::Field => "must not be empty for specified object fields",
        });
    }
    if embedded && additional.is() {
        additional.forbidden("must not be used if x-kubernetes-embedded-resource is set");
    }
    if level == Level::Root && !ty.is_empty() && ty.text() != "object" {
        ty.invalid("must be object at the root");
    }
    meta(&properties, level, embedded);
    if embedded && !preserve && properties.is_empty() {
        let why =
            "must not be empty if x-kubernetes-embedded-resource is true without x-kubernetes-preserve-unknown-fields";
        properties.required(why);
    }
}

/// What every whole object has anyway.
fn meta(properties: &At<'_>, level: Level, embedded: bool) {
    let whole = level == Level::Root || embedded;
    for key in ["kind", "apiVersion"] {
        let ty = properties.pairs().find(|(k, _)| *k == key).map(|(_, p)| p.field("type"));
        if let Some(ty) = ty.filter(|ty| whole && ty.text() != "string") {
            ty.invalid_text(ty.text(), "must be string");
        }
    }
    let Some((_, metadata)) = properties.pairs().find(|(k, _)| *k == "metadata") else { return };
    let ty = metadata.field("type");
    if whole && ty.text() != "object" {
        ty.invalid_text(ty.text(), "must be object");
    }
    if level == Level::Root && restricts(&metadata) {
        let why = "must not specify anything other than name and generateName, but metadata is implicitly specified";
        metadata.forbidden(why);
    }
}

/// Whether the schema of metadata says more than a name's or a generated name's.
fn restricts(metadata: &At<'_>) -> bool {
    let others = metadata.field("properties").pairs().any(|(k, _)| k != "name" && k != "generateName");
    let said = metadata.value.and_then(Value::as_map).into_iter().flat_map(Map::keys);
    others || said.into_iter().any(|k| !matches!(k.as_str(), "type" | "properties" | "default"))
}

/// `[{type: integer}, {type: string}]`.
fn is_int_or_string(any: &At<'_>) -> bool {
    let types: Vec<&str> = any.items().map(|one| one.get("type")).collect();
    types == ["integer", "string"] && any.items().all(|one| one.len() == 1)
}

/// The checks of a value, which may not say what the structure says.
fn values(at: &At<'_>, skip_any: bool, skip_first: bool) {
    if !skip_any {
        at.field("anyOf").items().for_each(|one| nested(&one, false));
    }
    at.field("allOf").items().enumerate().for_each(|(i, one)| nested(&one, skip_first && i == 0));
    at.field("oneOf").items().for_each(|one| nested(&one, false));
    let not = at.field("not");
    if not.is() {
        nested(&not, false);
    }
    let pattern = at.field("pattern");
    if let Err(why) = Pattern::new(pattern.text()) {
        pattern.invalid(&format!("must be a valid regular expression, but isn't: {why}"));
    }
}

/// What only the structure may say, and in what words it is refused elsewhere.
const STRUCTURE_ONLY: &[(&str, &str)] = &[
    ("type", "must be empty to be structural"),
    ("additionalProperties", "must be undefined to be structural"),
    ("default", "must be undefined to be structural"),
    ("title", "must be empty to be structural"),
    ("description", "must be empty to be structural"),
    ("nullable", "must be false to be structural"),
    ("x-kubernetes-preserve-unknown-fields", "must be false to be structural"),
    ("x-kubernetes-embedded-resource", "must be false to be structural"),
    ("x-kubernetes-int-or-string", "must be false to be structural"),
    ("x-kubernetes-list-map-keys", "must be empty to be structural"),
    ("x-kubernetes-list-type", "must be undefined to be structural"),
    ("x-kubernetes-map-type", "must be undefined to be structural"),
    ("x-kubernetes-validations", "must be empty to be structural"),
];

fn nested(at: &At<'_>, skip_any: bool) {
    values(at, skip_any, false);
    let items = at.field("items");
    if items.is() {
        nested(&items, false);
    }
    at.field("properties").pairs().for_each(|(_, property)| nested(&property, false));
    for (key, why) in STRUCTURE_ONLY {
        let field = at.field(key);
        let unset = match (*key, field.value) {
            (_, None) => true,
            ("additionalProperties", Some(_)) => false,
            (_, Some(Value::Bool(false))) => true,
            (_, Some(Value::Str(_) | Value::List(_))) => field.is_empty(),
            _ => false,
        };
        if !unset {
            field.forbidden(why);
        }
    }
    if let Some((_, metadata)) = at.field("properties").pairs().find(|(k, _)| *k == "metadata") {
        metadata.forbidden("must not be specified in a nested context");
    }
}

/// What is checked within `node` must be in the structure at `place`.
fn complete(node: &At<'_>, place: &At<'_>) {
    let not = node.field("not");
    if not.is() {
        complete_nested(&not, place);
    }
    for key in ["allOf", "anyOf", "oneOf"] {
        node.field(key).items().for_each(|one| complete_nested(&one, place));
    }
}

fn complete_nested(node: &At<'_>, place: &At<'_>) {
    complete(node, place);
    let (items, structure) = (node.field("items"), place.field("items"));
    if items.is() {
        match structure.is() {
            true => complete_nested(&items, &structure),
            false => structure.required(&format!("because it is defined in {}", items.path)),
        }
    }
    let known = place.field("properties");
    for (key, property) in node.field("properties").pairs() {
        match known.pairs().find(|(k, _)| *k == key) {
            Some((_, structure)) => complete_nested(&property, &structure),
            None => known.key(key).required(&format!("because it is defined in {}", property.path)),
        }
    }
}

/// Complains of defaults that are no values of their schema.
pub(super) fn defaults(schema: &At<'_>) {
    if let Some(Ok(root)) = schema.value.map(custom::schema)
        && root.has_defaults
    {
        // The root is a whole object, as what says so is.
        default_of(schema, &Structural { embedded: true, ..root }, false);
    }
}

fn default_of(at: &At<'_>, node: &Structural, in_meta: bool) {
    if !node.has_defaults {
        return;
    }
    if let Some(value) = &node.default {
        let place = at.field("default");
        place.report(wrong_default(&place, node, value, in_meta));
        if node.embedded {
            place.report(wrong_object(&place, node, value));
        }
    }
    if let Some(of) = &node.items {
        default_of(&at.field("items"), of, in_meta);
    }
    for (key, property) in at.field("properties").pairs() {
        if let Some(of) = node.properties.get(key) {
            let meta = node.embedded && matches!(key, "metadata" | "apiVersion" | "kind");
            default_of(&property, of, in_meta || meta);
        }
    }
}

/// What is wrong with a default that is a whole object.
fn wrong_object(place: &At<'_>, node: &Structural, value: &Value) -> Vec<FieldError> {
    let holder = Structural { properties: [("v".into(), node.clone())].into(), ..Structural::default() };
    let (mut found, object) = (Vec::new(), [("v", value.clone())].into_iter().collect());
    structural::embedded(&holder, &object, &mut found);
    for error in &mut found {
        error.path.replace_range(..1, &place.path);
    }
    found
}

fn wrong_default(place: &At<'_>, node: &Structural, value: &Value, in_meta: bool) -> Vec<FieldError> {
    let errors = Errors::default();
    let at = place.telling(&errors);
    let mut pruned = Value::Map([("v", value.clone())].into_iter().collect());
    let holder = Structural {
        properties: [("v".into(), Structural { default: None, ..node.clone() })].into(),
        ..Structural::default()
    };
    let coerced = structural::coerce(&holder, pruned.make_map(), &mut Vec::new());
    if !in_meta && !structural::prune(&holder, pruned.make_map()).is_empty() {
        at.invalid("must not have unknown fields");
    }
    if let Err(why) = coerced {
        at.invalid(&why);
    }
    let mut found = errors.into_list();
    if !found.is_empty() {
        return found;
    }
    // What is an integer or a string is said by alternatives, where it is said.
    if !node.int_or_string {
        found = structural::check(node, value, None, &place.path);
    }
    found
}
