//! CustomResourceDefinitions: names, versions, and what their versions are made of.

use super::admission::client;
use super::at::At;
use super::workloads::{checked, immutable, updated};
use super::{openapi, structure};
use crate::kind::{Context, custom};
use crate::names;
use crate::object::Object;
use crate::status::{FieldError, FieldReason};
use crate::structural::{Ty, path, ty as structural_ty};
use crate::value::Value;

/// Groups whose kinds the Kubernetes project approves of.
const PROTECTED: &[&str] = &["k8s.io", "kubernetes.io"];
const APPROVAL: &str = "api-approved.kubernetes.io";

pub(in crate::kinds) fn definition(object: &Object, out: &mut Vec<FieldError>) {
    checked(object, names::dns1123_subdomain, out, |root, _| {
        let spec = root.field("spec");
        let name = root.fields(&["metadata", "name"]);
        let wanted = format!("{}.{}", spec.fields(&["names", "plural"]).text(), spec.get("group"));
        for name in [root.fields(&["metadata", "generateName"]), name] {
            if !name.text().is_empty() && name.text() != wanted {
                name.invalid(NOT_ITS_NAME);
            }
        }
        group(&spec.field("group"));
        match spec.get("scope") {
            "" => spec.field("scope").required(""),
            _ => spec.field("scope").one_of(&["Cluster", "Namespaced"]),
        }
        versions(&spec);
        spec_names(&spec.field("names"));
        shared_parts(&spec);
        conversion(&spec.field("conversion"));
        stored(root);
        if spec.field("preserveUnknownFields").truth() {
            let why = "cannot set to true, set x-kubernetes-preserve-unknown-fields to true in spec.versions[*].schema instead";
            spec.field("preserveUnknownFields").invalid(why);
        }
        approval(root, spec.get("group"));
    });
}

const NOT_ITS_NAME: &str = "must be spec.names.plural+\".\"+spec.group";

fn group(at: &At<'_>) {
    match at.text() {
        "" => at.required(""),
        text if !names::dns1123_subdomain(text).is_empty() => together(at, names::dns1123_subdomain(text)),
        text if !text.contains('.') => at.invalid("should be a domain with at least one dot"),
        _ => {}
    }
}

/// All complaints about a text as one.
fn together(at: &At<'_>, found: Vec<String>) {
    if !found.is_empty() {
        at.invalid_text(at.text(), &found.join(","));
    }
}

fn versions(spec: &At<'_>) {
    let list = spec.field("versions");
    let mut unique: Vec<&str> = Vec::new();
    let mut twice = false;
    for version in list.items() {
        let name = version.field("name");
        together(&name, names::dns1035_label(name.text()));
        twice |= unique.contains(&name.text());
        unique.push(name.text());
        deprecation(&version);
        parts(&version, &version, |key| !is_shared(&list, key));
    }
    let shown = || {
        let shown: Vec<String> = list.items().map(|v| version_shown(&v)).collect();
        if !list.is() { "null".to_owned() } else { format!("[{}]", shown.join(",")) }
    };
    if twice {
        list.invalid_as(&shown(), "must contain unique version names");
    }
    if list.items().filter(|v| v.field("storage").truth()).count() != 1 {
        list.invalid_as(&shown(), "must have exactly one version marked as storage version");
    }
    if let Some(first) = list.items().next() {
        // The version of definitions that had but one.
        let name = first.field("name").named(format!("{}.version", spec.path));
        if !name.is_empty() {
            together(&name, names::dns1035_label(name.text()));
        }
    }
}

/// Whether all versions say the same, so that upstream has it in the spec itself.
fn is_shared(versions: &At<'_>, key: &str) -> bool {
    let mut all = versions.list().iter().map(|v| v.get(key).filter(|v| !v.is_null()));
    let first = all.next().flatten();
    all.all(|v| v == first)
}

/// The parts that all versions share.
fn shared_parts(spec: &At<'_>) {
    let list = spec.field("versions");
    if let Some(first) = list.items().next() {
        parts(&first, spec, |key| is_shared(&list, key));
    }
}

/// The parts of a version that are asked for, under the paths of `place`.
fn parts(version: &At<'_>, place: &At<'_>, asked: impl Fn(&str) -> bool) {
    let at = |key: &str| version.field(key).named(format!("{}.{key}", place.path));
    let shared = place.path == "spec";
    if asked("schema") {
        let holder = if shared { at("schema").named("spec.validation") } else { at("schema") };
        let schema = holder.field("openAPIV3Schema");
        match schema.is() {
            true => schema_rules(&schema, version),
            false => version.field("schema").field("openAPIV3Schema").required(""),
        }
    }
    if asked("subresources") {
        subresources(&at("subresources"));
    }
    if asked("additionalPrinterColumns") {
        columns(&at("additionalPrinterColumns"));
    }
    if asked("selectableFields") {
        selectable(&at("selectableFields"), &version.fields(&["schema", "openAPIV3Schema"]));
    }
}

/// What a schema may say at its root where the status has a subresource, in upstream's names.
const AT_ROOT: &str = "[Description Type Format Title Maximum ExclusiveMaximum Minimum ExclusiveMinimum MaxLength MinLength Pattern MaxItems MinItems UniqueItems MultipleOf Required Items Properties ExternalDocs Example XPreserveUnknownFields XValidations]";
const NOT_AT_ROOT: &[&str] = &[
    "additionalProperties",
    "allOf",
    "anyOf",
    "default",
    "enum",
    "maxProperties",
    "minProperties",
    "not",
    "nullable",
    "oneOf",
    "x-kubernetes-embedded-resource",
    "x-kubernetes-int-or-string",
    "x-kubernetes-list-map-keys",
    "x-kubernetes-list-type",
    "x-kubernetes-map-type",
];

fn schema_rules(schema: &At<'_>, version: &At<'_>) {
    let before = schema.errors_count();
    if version.fields(&["subresources", "status"]).is() {
        if !schema.get("type").is_empty() && schema.get("type") != "object" {
            let why =
                "only \"object\" is allowed as the type at the root of the schema if the status subresource is enabled";
            schema.field("type").invalid(why);
        } else if NOT_AT_ROOT.iter().any(|key| schema.has(key)) {
            let why = format!(
                "only {AT_ROOT} fields are allowed at the root of the schema if the status subresource is enabled"
            );
            schema.invalid(&why);
        }
    }
    if schema.field("nullable").truth() {
        schema.field("nullable").forbidden("nullable cannot be true at the root");
    }
    let unreadable = structure::unreadable(schema);
    if unreadable.is_none() && structure::structural(schema) {
        structure::defaults(schema);
    }
    openapi::schema(schema);
    if let Some(why) = unreadable {
        if schema.errors_count() == before {
            schema.invalid_text("", &why);
        }
        return;
    }
    if schema.errors_count() == before
        && let Some(Err(error)) = schema.value.map(custom::schema)
    {
        schema.invalid_text("", &error.to_string());
    }
}

fn deprecation(version: &At<'_>) {
    let warning = version.field("deprecationWarning");
    if !warning.is() {
        return;
    }
    if !version.field("deprecated").truth() {
        return warning.invalid("can only be set for deprecated versions");
    }
    let text = warning.text();
    if text.len() > 256 {
        warning.invalid("must be <= 256 characters long");
    }
    if text.is_empty() {
        warning.invalid("must not be an empty string");
    }
    if let Some((i, _)) = text.char_indices().find(|(_, c)| c.is_control()) {
        let why = format!("must only contain printable UTF-8 characters; non-printable character found at index {i}");
        warning.invalid(&why);
    }
}

/// As many fields as selectors may name.
const MAX_SELECTABLE: usize = 8;

fn selectable(fields: &At<'_>, schema: &At<'_>) {
    if fields.is_empty() {
        return;
    }
    let Some(schema) = schema.value.map(custom::schema) else {
        return fields.invalid_as("\"\"", "may only be set when validations.schema is included");
    };
    let Ok(schema) = schema else { return };
    let mut seen: Vec<&str> = Vec::new();
    for field in fields.items() {
        let path = field.field("jsonPath");
        match (path.text(), path::field(&schema, path.text(), false)) {
            ("", _) => path.required(""),
            (_, Err(why)) => path.invalid(&format!("is an invalid path: {why}")),
            (text, Ok(found)) => {
                if text.starts_with(".metadata") {
                    path.invalid("must not point to fields in metadata");
                }
                if !matches!(found.ty, Some(Ty::String | Ty::Boolean | Ty::Integer)) {
                    let why = "must point to a field of type string, boolean or integer. Enum string fields and strings with formats are allowed.";
                    path.invalid(why);
                }
                match seen.contains(&text) {
                    true => path.duplicate(),
                    false => seen.push(text),
                }
            }
        }
    }
    if seen.len() > MAX_SELECTABLE {
        let why = format!("Too many: {}: must have at most {MAX_SELECTABLE} items", seen.len());
        fields.say(FieldReason::TooMany, why);
    }
}

/// What stands in the status of which versions objects are stored in: all of them must still be there.
fn stored(root: &At<'_>) {
    let list = root.fields(&["status", "storedVersions"]);
    if list.is_empty() {
        return list.invalid_as("null", "must have at least one stored version");
    }
    let versions = root.fields(&["spec", "versions"]);
    let is_stored = |name: &str| list.list().iter().any(|v| v.as_str() == Some(name));
    for version in versions.items().filter(|v| v.field("storage").truth() && !is_stored(v.get("name"))) {
        list.invalid(&format!("must have the storage version {}", version.get("name")));
    }
    for one in list.items().filter(|one| !versions.items().any(|v| v.get("name") == one.text())) {
        let name = one.text();
        one.invalid(&format!(
            "missing from spec.versions; {name} was previously a storage version, and must remain in spec.versions until \
             a storage migration ensures no data remains persisted in {name} and removes {name} from status.storedVersions"
        ));
    }
}

/// A version as the message shows it, without what one version alone keeps elsewhere.
fn version_shown(at: &At<'_>) -> String {
    format!(
        "{{\"Name\":{:?},\"Served\":{},\"Storage\":{},\"Deprecated\":{},\"DeprecationWarning\":null,\"Schema\":null,\"Subresources\":null,\"AdditionalPrinterColumns\":null,\"SelectableFields\":null}}",
        at.get("name"),
        at.field("served").truth(),
        at.field("storage").truth(),
        at.field("deprecated").truth()
    )
}

fn subresources(at: &At<'_>) {
    let scale = at.field("scale");
    if !scale.is() {
        return;
    }
    for (key, under) in [("specReplicasPath", ".spec"), ("statusReplicasPath", ".status")] {
        let path = scale.field(key);
        match path.text() {
            "" => path.required(""),
            text if !text.starts_with('.') => path.invalid("must be a simple json path starting with ."),
            text if !text.starts_with(&format!("{under}.")) => {
                path.invalid(&format!("should be a json path under {under}"));
            }
            _ => {}
        }
    }
    let selector = scale.field("labelSelectorPath");
    match selector.text() {
        "" => {}
        text if !text.starts_with('.') => selector.invalid("must be a simple json path starting with ."),
        text if !text.starts_with(".spec.") && !text.starts_with(".status.") => {
            selector.invalid("should be a json path under either .spec or .status");
        }
        _ => {}
    }
}

const COLUMN_FORMATS: &[&str] = &["byte", "date", "date-time", "double", "float", "int32", "int64", "password"];
const COLUMN_TYPES: &[&str] = &["boolean", "date", "integer", "number", "string"];

fn columns(list: &At<'_>) {
    for column in list.items() {
        column.field("name").not_empty();
        let kind = column.field("type");
        match kind.text() {
            "" => kind.required(&format!("must be one of {}", COLUMN_TYPES.join(","))),
            text if !COLUMN_TYPES.contains(&text) => {
                kind.invalid(&format!("must be one of {}", COLUMN_TYPES.join(",")));
            }
            _ => {}
        }
        let format = column.field("format");
        if !format.is_empty() && !COLUMN_FORMATS.contains(&format.text()) {
            format.invalid(&format!("must be one of {}", COLUMN_FORMATS.join(",")));
        }
        let path = column.field("jsonPath").named(format!("{}.JSONPath", column.path));
        match path.text() {
            "" => path.required(""),
            text if !text.starts_with('.') => path.invalid("must be a simple json path starting with ."),
            _ => {}
        }
    }
}

fn spec_names(at: &At<'_>) {
    ["plural", "singular", "kind", "listKind"].iter().for_each(|key| at.field(key).not_empty());
    known_names(at);
}

/// The names that are given.
fn known_names(at: &At<'_>) {
    let given = |key: &str| Some(at.field(key)).filter(|name| !name.is_empty());
    for name in ["plural", "singular"].into_iter().filter_map(given) {
        together(&name, names::dns1035_label(name.text()));
    }
    for name in ["kind", "listKind"].into_iter().filter_map(given) {
        let found = names::dns1035_label(&name.text().to_lowercase());
        if !found.is_empty() {
            name.invalid(&format!("may have mixed case, but should otherwise match: {}", found.join(",")));
        }
    }
    let labels = |key: &str| at.field(key).items().for_each(|n| together(&n, names::dns1035_label(n.text())));
    labels("shortNames");
    if !at.get("kind").is_empty() && at.get("kind") == at.get("listKind") {
        at.field("listKind").invalid("kind and listKind may not be the same");
    }
    labels("categories");
}

fn conversion(at: &At<'_>) {
    if !at.is() {
        return;
    }
    let hook = at.field("webhook");
    let (config, known) = (hook.field("clientConfig"), hook.field("conversionReviewVersions"));
    let config = config.named(format!("{}.webhookClientConfig", at.path));
    let known = known.named(format!("{}.conversionReviewVersions", at.path));
    let strategy = at.field("strategy");
    match strategy.is_empty() {
        true => strategy.required(""),
        false => strategy.one_of(&["None", "Webhook"]),
    }
    if strategy.text() != "Webhook" {
        let given = [(config.is(), config), (!known.is_empty(), known)];
        for (_, part) in given.iter().filter(|(given, _)| *given) {
            part.forbidden("should not be set when strategy is not set to Webhook");
        }
        return;
    }
    match config.is() {
        true => client(&config),
        false => config.required("required when strategy is set to Webhook"),
    }
    review_versions(&known);
}

/// The versions of reviews that a webhook understands.
fn review_versions(list: &At<'_>) {
    const KNOWN: &[&str] = &["v1", "v1beta1"];
    if list.is_empty() {
        return list.required("");
    }
    let mut seen: Vec<&str> = Vec::new();
    for version in list.items() {
        if seen.contains(&version.text()) {
            version.invalid("duplicate version");
            continue;
        }
        seen.push(version.text());
        version.matches(names::dns1035_label);
    }
    if !seen.iter().any(|v| KNOWN.contains(v)) {
        list.invalid("must include at least one of v1, v1beta1");
    }
}

fn approval(root: &At<'_>, group: &str) {
    let protected = |suffix: &&str| group == *suffix || group.ends_with(&format!(".{suffix}"));
    if !PROTECTED.iter().any(protected) {
        return;
    }
    let path = format!("metadata.annotations[{APPROVAL}]");
    let annotation = root.fields(&["metadata", "annotations", APPROVAL]).named(path);
    let why = format!("protected groups must have approval annotation {APPROVAL:?}");
    let see = "see https://github.com/kubernetes/enhancements/pull/1111";
    match Approval::of(annotation.text()) {
        Approval::Missing => annotation.required(&format!("{why}, {see}")),
        Approval::Invalid => {
            let how = "with either a URL or a reason starting with \"unapproved\"";
            annotation.invalid(&format!("{why} {how}, {see}"));
        }
        Approval::Given | Approval::Bypassed => {}
    }
}

/// What the annotation about the approval of a protected group says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Approval {
    Missing,
    Invalid,
    Given,
    Bypassed,
}

impl Approval {
    fn of(text: &str) -> Approval {
        let is_url = |text: &str| {
            let scheme = |s: &str| s.starts_with(|c: char| c.is_ascii_alphabetic());
            text.split_once("://").is_some_and(|(s, rest)| scheme(s) && !rest.is_empty() && !rest.starts_with('/'))
        };
        match text {
            "" => Approval::Missing,
            text if text.starts_with("unapproved") => Approval::Bypassed,
            text if is_url(text) => Approval::Given,
            _ => Approval::Invalid,
        }
    }
}

pub(in crate::kinds) fn definition_update(new: &Object, old: &Object, c: Context<'_>, out: &mut Vec<FieldError>) {
    // Names were looked at when it was made; what they are made of stays.
    out.retain(|e| !e.message.ends_with(NOT_ITS_NAME));
    let approval = |o: &Object| Approval::of(o.str_at(&["metadata", "annotations", APPROVAL]));
    if approval(new) == approval(old) {
        out.retain(|e| e.path != format!("metadata.annotations[{APPROVAL}]"));
    }
    let rules = |root: &At<'_>| {
        let spec = root.field("spec");
        let established = old.at(&["status", "conditions"]).and_then(Value::as_list).is_some_and(|list| {
            let is = |v: &Value, key: &str, text: &str| v.get(key).and_then(Value::as_str) == Some(text);
            list.iter().any(|v| is(v, "type", "Established") && is(v, "status", "True"))
        });
        if established {
            immutable(&spec.field("scope"), old.at(&["spec", "scope"]));
            immutable(&spec.fields(&["names", "kind"]), old.at(&["spec", "names", "kind"]));
        }
        immutable(&spec.field("group"), old.at(&["spec", "group"]));
        immutable(&spec.fields(&["names", "plural"]), old.at(&["spec", "names", "plural"]));
    };
    updated(new, old, c, out, rules, |status| known_names(&status.field("acceptedNames")));
}

/// Formats that mean nothing to this server, as upstream warns of them.
pub(in crate::kinds) fn definition_warnings(definition: &Object) -> Vec<String> {
    let mut formats = std::collections::BTreeSet::new();
    let versions = definition.at(&["spec", "versions"]).and_then(Value::as_list).unwrap_or(&[]);
    for schema in versions.iter().filter_map(|v| v.at(&["schema", "openAPIV3Schema"])) {
        collect_formats(schema, &mut formats);
    }
    formats.into_iter().map(|format| format!("unrecognized format {format:?}")).collect()
}

fn collect_formats(schema: &Value, out: &mut std::collections::BTreeSet<String>) {
    if let Some(format) = schema.get("format").and_then(Value::as_str)
        && !crate::structural::is_recognized(schema.get("type").and_then(Value::as_str).and_then(structural_ty), format)
    {
        out.insert(format.to_owned());
    }
    for key in ["items", "additionalProperties", "not"] {
        schema.get(key).into_iter().for_each(|below| collect_formats(below, out));
    }
    for key in ["allOf", "anyOf", "oneOf"] {
        schema.get(key).and_then(Value::as_list).unwrap_or(&[]).iter().for_each(|below| collect_formats(below, out));
    }
    let properties = schema.get("properties").and_then(Value::as_map);
    properties.into_iter().flat_map(crate::value::Map::iter).for_each(|(_, below)| collect_formats(below, out));
}
