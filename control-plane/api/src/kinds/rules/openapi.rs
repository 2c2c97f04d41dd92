//! What the schema of a definition may say at all, node by node.

use super::at::At;
use crate::structural::{Structural, path};
use crate::value::Value;

const TYPES: &[&str] = &["array", "boolean", "integer", "number", "object", "string"];
const REASONS: &[&str] = &["FieldValueDuplicate", "FieldValueForbidden", "FieldValueInvalid", "FieldValueRequired"];

/// What stands around a node.
#[derive(Clone, Copy, Default)]
struct Around<'a> {
    /// Within the metadata of a whole object.
    meta: bool,
    /// Why nothing here may have a default.
    no_default: Option<&'a str>,
}

/// Complains of what a schema says and may not.
pub(super) fn schema(root: &At<'_>) {
    node(root, Around::default(), true);
}

fn node(at: &At<'_>, around: Around<'_>, root: bool) {
    standard(at, around);
    if at.field("uniqueItems").truth() {
        at.field("uniqueItems")
            .forbidden("uniqueItems cannot be set to true since the runtime complexity becomes quadratic");
    }
    below(at, around, root);
    let preserve = at.field("x-kubernetes-preserve-unknown-fields");
    if preserve.value == Some(&Value::Bool(false)) {
        preserve.invalid("must be true or undefined");
    }
    map_type(at);
    list_type(at);
    list_items(at);
    at.field("x-kubernetes-validations").items().for_each(|rule| expression(at, &rule));
}

fn standard(at: &At<'_>, around: Around<'_>) {
    let ty = at.field("type");
    if !ty.is_empty() && !TYPES.contains(&ty.text()) {
        ty.unsupported(TYPES);
    }
    if let Some(reason) = around.no_default.filter(|_| at.has("default")) {
        at.field("default").forbidden(&format!("must not be set {reason}"));
    }
    for key in ["id", "additionalItems", "patternProperties", "definitions", "dependencies", "$ref"] {
        let said = match key {
            "id" | "patternProperties" | "definitions" => !at.field(key).is_empty(),
            _ => at.has(key),
        };
        if said {
            at.field(key).forbidden(&format!("{key} is not supported"));
        }
    }
    if ty.text() == "null" {
        ty.forbidden("type cannot be set to null, use nullable as an alternative");
    }
    if matches!(at.field("items").value, Some(Value::List(_))) {
        at.field("items").forbidden("items must be a schema object and not an array");
    }
    let embedded = at.field("x-kubernetes-embedded-resource");
    if around.meta && embedded.truth() {
        embedded.forbidden("must not be used inside of resource meta");
    }
}

fn below(at: &At<'_>, around: Around<'_>, root: bool) {
    let (properties, additional) = (at.field("properties"), at.field("additionalProperties"));
    if additional.is() {
        if !properties.is_empty() && additional.value != Some(&Value::Bool(true)) {
            additional.forbidden("additionalProperties and properties are mutual exclusive");
        }
        if additional.is_map() {
            let reason = around.meta.then_some("inside additionalProperties applying to object metadata");
            node(&additional, Around { no_default: reason.or(around.no_default), ..around }, false);
        }
    }
    let whole = root || at.field("x-kubernetes-embedded-resource").truth();
    for (key, property) in properties.pairs() {
        let meta = whole && matches!(key, "metadata" | "kind" | "apiVersion");
        let reason = format!("in top-level {key}");
        let no_default = (meta && root).then_some(reason.as_str()).or(around.no_default);
        node(&property, Around { meta: meta || around.meta, no_default }, false);
    }
    let not = at.field("not");
    if not.is_map() {
        node(&not, around, false);
    }
    for key in ["allOf", "oneOf", "anyOf"] {
        at.field(key).items().for_each(|one| node(&one, around, false));
    }
    for key in ["definitions", "dependencies"] {
        at.field(key).pairs().filter(|(_, one)| one.is_map()).for_each(|(_, one)| node(&one, around, false));
    }
    let items = at.field("items");
    if items.is_map() {
        node(&items, around, false);
    }
    items.items().for_each(|one| node(&one, around, false));
}

fn needs_type(at: &At<'_>, wanted: &str, because: &str) -> bool {
    let ty = at.field("type");
    let good = ty.text() == wanted;
    if !good {
        let why = format!("must be {wanted} if {because} is specified");
        if ty.is_empty() { ty.required(&why) } else { ty.invalid(&why) }
    }
    good
}

fn map_type(at: &At<'_>) {
    let map = at.field("x-kubernetes-map-type");
    if map.is() {
        needs_type(at, "object", "x-kubernetes-map-type");
        map.one_of(&["atomic", "granular"]);
    }
}

fn list_type(at: &At<'_>) {
    let (list, keys, items) =
        (at.field("x-kubernetes-list-type"), at.field("x-kubernetes-list-map-keys"), at.field("items"));
    if list.is() && needs_type(at, "array", "x-kubernetes-list-type") && list.text() == "set" && items.is() {
        let why = "must be atomic as item of a list with x-kubernetes-list-type=set";
        let (inner_list, inner_map) = (items.get("x-kubernetes-list-type"), items.get("x-kubernetes-map-type"));
        match items.get("type") {
            "array" if !matches!(inner_list, "" | "atomic") => items.field("x-kubernetes-list-type").invalid(why),
            // Upstream shows the type of a list here, which there is none.
            "object" if inner_map != "atomic" => items.field("x-kubernetes-map-type").invalid_as("null", why),
            _ => {}
        }
    }
    if list.is() {
        list.one_of(&["atomic", "set", "map"]);
    }
    if !keys.is_empty() && list.text() != "map" {
        let why = "must be map if x-kubernetes-list-map-keys is non-empty";
        if list.is() { list.invalid(why) } else { list.required(why) }
    }
    if list.text() != "map" {
        return;
    }
    if keys.is_empty() {
        keys.required("must not be empty if x-kubernetes-list-type is map");
    }
    match (items.is(), items.get("type")) {
        (false, _) => items.required("must have a schema if x-kubernetes-list-type is map"),
        (true, "object") => list_keys(&keys, &items),
        (true, ty) => {
            let why = "must be object if parent array's x-kubernetes-list-type is map";
            items.field("type").invalid_text(ty, why);
        }
    }
}

fn list_keys(keys: &At<'_>, items: &At<'_>) {
    let mut seen: Vec<&str> = Vec::new();
    for key in keys.list().iter().filter_map(Value::as_str) {
        match items.field("properties").pairs().find(|(k, _)| *k == key) {
            Some((_, property)) if matches!(property.get("type"), "array" | "object") => {
                let why = "must be a scalar type if parent array's x-kubernetes-list-type is map";
                property.field("type").invalid_text(items.get("type"), why);
            }
            Some(_) => {}
            None => keys.invalid("entries must all be names of item properties"),
        }
        if seen.contains(&key) {
            keys.invalid("must not contain duplicate entries");
        }
        seen.push(key);
    }
}

/// Items of sets and maps are told apart by what is always there.
fn list_items(at: &At<'_>) {
    let (list, items) = (at.get("x-kubernetes-list-type"), at.field("items"));
    if !items.is_map() || !matches!(list, "set" | "map") {
        return;
    }
    if items.field("nullable").truth() {
        let why = format!("cannot be nullable when x-kubernetes-list-type is {list}");
        items.field("nullable").forbidden(&why);
    }
    if list != "map" {
        return;
    }
    let required = items.field("required");
    let is_required = |key: &str| required.list().iter().any(|r| r.as_str() == Some(key));
    for key in at.field("x-kubernetes-list-map-keys").list().iter().filter_map(Value::as_str) {
        let Some((_, property)) = items.field("properties").pairs().find(|(k, _)| *k == key) else { continue };
        if !is_required(key) && !property.has("default") {
            property.field("default").required(
                "this property is in x-kubernetes-list-map-keys, so it must have a default or be a required property",
            );
        }
        if property.field("nullable").truth() {
            let why = "this property is in x-kubernetes-list-map-keys, so it cannot be nullable";
            property.field("nullable").forbidden(why);
        }
    }
}

/// The parts of a rule around its expression. The expressions themselves are for who can read them.
fn expression(schema: &At<'_>, rule: &At<'_>) {
    let (text, message) = (rule.field("rule"), rule.field("message"));
    let lines = |at: &At<'_>| at.text().trim().contains(['\n', '\r']);
    if text.text().trim().is_empty() {
        text.required("rule is not specified");
    } else if !message.is_empty() && message.text().trim().is_empty() {
        message.invalid("must be non-empty if specified");
    } else if lines(&message) {
        message.invalid("must not contain line breaks");
    } else if lines(&text) && message.is_empty() {
        message.required("message must be specified if rule contains line breaks");
    }
    let expression = rule.field("messageExpression");
    if !expression.is_empty() && expression.text().trim().is_empty() {
        expression.required("messageExpression must be non-empty if specified");
    }
    rule.field("reason").maybe_one_of(REASONS);
    let field = rule.field("fieldPath");
    if field.is_empty() {
        return;
    }
    if field.text().trim().is_empty() {
        field.invalid("must be non-empty if specified");
    }
    if field.text().contains(['\n', '\r']) {
        field.invalid("must not contain line breaks");
    }
    if let Some(Ok(of)) = schema.value.map(Structural::parse)
        && path::field(&of, field.text(), true).is_err()
    {
        field.invalid("must be a valid path");
    }
}
