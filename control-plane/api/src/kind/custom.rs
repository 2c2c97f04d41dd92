//! Kinds that are defined at run time: a CustomResourceDefinition becomes one [`Kind`] per served version.

use super::{Column, Context, Kind, Names, Scope, Subresource, Text};
use crate::codec::json;
use crate::kinds;
use crate::object::Object;
use crate::patch::{go_text, go_type};
use crate::schema::Checked;
use crate::status::{FieldError, FieldReason, go_float, shown};
use crate::structural::path::JsonPath;
use crate::structural::{self, Structural};
use crate::table::age;
use crate::value::{Map, Value};
use std::borrow::Cow;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

/// What such a kind has instead of functions.
#[derive(Debug)]
pub struct Custom {
    /// Of a version without a schema: nothing is known, everything is kept.
    pub schema: Structural,
    /// `openAPIV3Schema` as it is written, for OpenAPI.
    pub source: Value,
    pub list_kind: String,
    /// The paths of the columns behind the name.
    columns: Vec<Option<JsonPath>>,
    /// The fields that selectors may name, without the leading dot.
    pub selectable: Vec<(String, JsonPath)>,
    pub scale: Option<Scale>,
    /// What clients are told at every use of a version that is deprecated.
    pub deprecation: Option<String>,
    /// The definition is being deleted: nothing new is taken.
    pub terminating: bool,
    /// Whether stored objects are to be shown exactly as they are stored: they were stored in this version, and the
    /// definition has never changed.
    pub stored_as_shown: bool,
    pub stored: Arc<Stored>,
    /// Differs whenever clients see the definition differ, but for its end.
    pub fingerprint: u64,
}

/// How objects of a definition are stored: in the version that is written now, or in one that was before.
#[derive(Debug)]
pub struct Stored {
    /// The version that objects are written in.
    pub version: String,
    /// The version of objects that say no other.
    pub oldest: String,
    versions: Vec<Version>,
}

/// A version of a definition, served or not.
#[derive(Debug)]
struct Version {
    name: String,
    schema: Structural,
    scale: Option<Scale>,
}

impl Stored {
    fn of(definition: &Object, versions: &[Value]) -> Result<Stored, structural::ParseError> {
        let name = |version: &Value| version.get("name").and_then(Value::as_str).unwrap_or("").to_owned();
        let storage = versions.iter().find(|v| v.get("storage").and_then(Value::as_bool) == Some(true));
        let version = storage.map(name).unwrap_or_default();
        let before = definition.at(&["status", "storedVersions"]).and_then(Value::as_list).unwrap_or(&[]);
        let all = versions.iter().map(|v| {
            let source = v.at(&["schema", "openAPIV3Schema"]).unwrap_or(&Value::Null);
            Ok(Version { name: name(v), schema: schema(source)?, scale: Scale::of(v) })
        });
        Ok(Stored {
            oldest: before.first().and_then(Value::as_str).unwrap_or(&version).to_owned(),
            version,
            versions: all.collect::<Result<_, _>>()?,
        })
    }

    /// Fills in what the version has that an object is stored in. A version that is defined no more has nothing.
    pub fn default(&self, version: &str, object: &mut Object) {
        if let Some(schema) = self.schema(version) {
            structural::drop_nulls(schema, &mut object.0);
            structural::fill_object(schema, object);
        }
    }

    /// Drops what the version does not know that objects are written in.
    pub fn prune(&self, object: &mut Map) {
        if let Some(schema) = self.schema(&self.version) {
            structural::prune(schema, object);
        }
    }

    fn version(&self, name: &str) -> Option<&Version> {
        self.versions.iter().find(|v| v.name == name)
    }

    pub(crate) fn schema(&self, version: &str) -> Option<&Structural> {
        self.version(version).map(|v| &v.schema)
    }

    /// Where a version keeps the replicas, if it has a Scale.
    pub(crate) fn scale(&self, version: &str) -> Option<&Option<Scale>> {
        self.version(version).map(|v| &v.scale)
    }
}

/// Where the replicas of an object are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scale {
    pub spec: Vec<String>,
    pub status: Vec<String>,
    pub selector: Option<Vec<String>>,
}

/// Why a definition makes no kinds.
#[derive(Debug, thiserror::Error)]
#[error("version {version} of {definition}: {source}")]
pub struct DefinitionError {
    definition: String,
    version: String,
    source: structural::ParseError,
}

impl Custom {
    pub(super) fn check(&self, object: &mut Object) -> Checked {
        let mut unknown = Vec::new();
        if let Err(error) = structural::coerce(&self.schema, &mut object.0, &mut unknown) {
            return Checked { unknown, error: Some(error) };
        }
        unknown.extend(structural::prune(&self.schema, &mut object.0));
        Checked { unknown, error: None }
    }

    pub(super) fn default(&self, object: &mut Object) {
        structural::fill_object(&self.schema, object);
    }

    pub(super) fn validate(&self, object: &Object, old: Option<&Object>, out: &mut Vec<FieldError>) {
        kinds::custom_metadata(object, old, out);
        let whole = Value::Map(object.0.clone());
        let before = old.map(|o| Value::Map(o.0.clone()));
        out.extend(structural::check(&self.schema, &whole, before.as_ref(), ""));
        if let Some(scale) = &self.scale {
            scale.validate(object, out);
        }
        structural::embedded(&self.schema, &object.0, out);
        let mut twice = Vec::new();
        if let Some(old) = old {
            structural::duplicates(&self.schema, &old.0, &mut twice);
        }
        // What was wrong before may stay wrong.
        if twice.is_empty() {
            structural::duplicates(&self.schema, &object.0, out);
        }
    }

    pub(super) fn selectable(&self, object: &Object) -> Vec<(Text, String)> {
        let text = |value: &Value| match value {
            Value::Str(text) => text.to_string(),
            Value::Bool(_) | Value::Int(_) => shown(value),
            _ => String::new(),
        };
        let one = |(name, path): &(String, JsonPath)| {
            (Cow::Owned(name.clone()), path.first(&object.0).map(text).unwrap_or_default())
        };
        self.selectable.iter().map(one).collect()
    }

    pub(super) fn cells(&self, columns: &[Column], object: &Object, now: i64) -> Vec<Value> {
        let rest = columns.iter().skip(1).zip(&self.columns);
        let rest = rest.map(|(column, path)| {
            let value = path.as_ref().and_then(|p| p.first(&object.0));
            value.map_or(Value::Null, |v| cell(&column.kind, v, now))
        });
        std::iter::once(Value::from(object.name())).chain(rest).collect()
    }
}

#[expect(clippy::cast_possible_truncation, clippy::cast_precision_loss, reason = "a cell shows what fits its type")]
fn cell(kind: &str, value: &Value, now: i64) -> Value {
    match (kind, value) {
        ("string", value) => Value::from(text_of(value)),
        (_, Value::Null) => Value::Null,
        ("integer", Value::Int(_)) | ("number", Value::Float(_)) | ("boolean", Value::Bool(_)) => value.clone(),
        // What does not fit is the least number, as the processors do it that upstream runs on.
        ("integer", Value::Float(f)) if !(-TWO_TO_63..TWO_TO_63).contains(f) => Value::Int(i64::MIN),
        ("integer", Value::Float(f)) => Value::Int(*f as i64),
        ("number", Value::Int(i)) => Value::Float(*i as f64),
        ("date", Value::Str(text)) if text.is_empty() => Value::from("<unknown>"),
        ("date", Value::Str(text)) if crate::table::seconds(text).is_none() => Value::from("<invalid>"),
        ("date", Value::Str(text)) => age(text, now),
        _ => Value::Null,
    }
}

/// One more than the largest number of 64 bits.
const TWO_TO_63: f64 = 9_223_372_036_854_775_808.0;

/// A value as a column of texts shows it.
fn text_of(value: &Value) -> String {
    match value {
        Value::Null => "<no value>".to_owned(),
        Value::Str(text) => text.to_string(),
        Value::Float(number) => go_float(*number),
        Value::List(_) | Value::Map(_) => {
            let json = String::from_utf8_lossy(&json::encode(value)).into_owned();
            json.replace('<', "\\u003c").replace('>', "\\u003e").replace('&', "\\u0026")
        }
        Value::Bool(_) | Value::Int(_) => shown(value),
    }
}

/// A write of the status changes no metadata but the owners of fields.
pub(super) fn keep_metadata(new: &mut Object, old: &Object, context: Context<'_>) {
    if context.subresource != "status" {
        return;
    }
    let owners = new.meta().and_then(|m| m.get("managedFields")).cloned();
    *new.meta_mut() = old.meta().cloned().unwrap_or_default();
    match owners {
        Some(owners) => drop(new.meta_mut().insert("managedFields", owners)),
        None => drop(new.meta_mut().remove("managedFields")),
    }
}

impl Scale {
    fn of(version: &Value) -> Option<Scale> {
        version.at(&["subresources", "scale"]).filter(|s| !s.is_null()).map(Scale::parse)
    }

    fn parse(scale: &Value) -> Scale {
        let path = |key: &str| {
            let text = scale.get(key).and_then(Value::as_str).unwrap_or("");
            text.trim_start_matches('.').split('.').map(str::to_owned).collect::<Vec<_>>()
        };
        let selector = scale.get("labelSelectorPath").and_then(Value::as_str).filter(|p| !p.is_empty());
        Scale {
            spec: path("specReplicasPath"),
            status: path("statusReplicasPath"),
            selector: selector.map(|_| path("labelSelectorPath")),
        }
    }

    /// The value at one of the paths.
    pub fn at<'o>(object: &'o Object, path: &[String]) -> Option<&'o Value> {
        object.at(&path.iter().map(String::as_str).collect::<Vec<_>>())
    }

    fn validate(&self, object: &Object, out: &mut Vec<FieldError>) {
        let mut invalid = |path: &[String], value: &str, why: &str| {
            let at = format!(".{}", path.join("."));
            out.push(FieldError::new(FieldReason::Invalid, at, format!("Invalid value: {value}: {why}")));
        };
        for path in [&self.spec, &self.status] {
            match Scale::at(object, path) {
                None => {}
                Some(Value::Int(i)) if *i < 0 => invalid(path, &i.to_string(), "should be a non-negative integer"),
                Some(Value::Int(i)) if *i > i64::from(i32::MAX) => {
                    invalid(path, &i.to_string(), &format!("should be less than or equal to {}", i32::MAX));
                }
                Some(Value::Int(_)) => {}
                Some(other) => {
                    let at = path.join(".");
                    let ty = go_type(other, "<nil>");
                    let value = go_text(other);
                    invalid(path, "0", &format!(".{at} accessor error: {value} is of the type {ty}, expected int64"));
                }
            }
        }
    }
}

/// The kinds that a definition serves: none before its names are accepted and it is established.
///
/// # Errors
/// A schema that cannot be used, which the rules of definitions refuse before it is stored.
pub fn kinds(definition: &Object) -> Result<Vec<Kind>, DefinitionError> {
    if !condition(definition, "Established") {
        return Ok(Vec::new());
    }
    let versions = definition.at(&["spec", "versions"]).and_then(Value::as_list).unwrap_or(&[]);
    let served = versions.iter().filter(|v| v.get("served").and_then(Value::as_bool) == Some(true));
    let fail = |source| DefinitionError { definition: definition.name().to_owned(), version: String::new(), source };
    let stored = Arc::new(Stored::of(definition, versions).map_err(fail)?);
    served.map(|version| kind(definition, version, versions, &stored)).collect()
}

/// Whether a condition of a definition is true.
pub fn condition(definition: &Object, name: &str) -> bool {
    let list = definition.at(&["status", "conditions"]).and_then(Value::as_list).unwrap_or(&[]);
    let is = |v: &Value, key: &str, text: &str| v.get(key).and_then(Value::as_str) == Some(text);
    list.iter().any(|c| is(c, "type", name) && is(c, "status", "True"))
}

fn kind(definition: &Object, version: &Value, all: &[Value], stored: &Arc<Stored>) -> Result<Kind, DefinitionError> {
    let text = |key: &str| version.get(key).and_then(Value::as_str).unwrap_or("");
    let fail =
        |source| DefinitionError { definition: definition.name().to_owned(), version: text("name").to_owned(), source };
    let names = names(definition, text("name"));
    let list_kind = definition.str_at(&["status", "acceptedNames", "listKind"]).to_owned();
    let has_status = version.at(&["subresources", "status"]).is_some_and(|s| !s.is_null());
    let scale = Scale::of(version);
    let (columns, paths) = columns(version);
    let source = version.at(&["schema", "openAPIV3Schema"]).cloned().unwrap_or(Value::Null);
    let deprecated = version.get("deprecated").and_then(Value::as_bool) == Some(true);
    let warning = match text("deprecationWarning") {
        "" => format!("{}/{} {} is deprecated", names.group, names.version, names.kind),
        own => own.to_owned(),
    };
    let settled = definition.generation() == 1 && all.iter().all(|v| v.get("schema") == version.get("schema"));
    let terminating = condition(definition, "Terminating");
    Ok(Kind {
        verbs: Cow::Borrowed(if terminating { ENDING_VERBS } else { VERBS }),
        scope: match definition.str_at(&["spec", "scope"]) {
            "Cluster" => Scope::Cluster,
            _ => Scope::Namespaced,
        },
        subresources: subresources(&names, has_status, scale.is_some()).into(),
        columns: columns.into(),
        has_status,
        has_generation: true,
        unconditional_update: false,
        custom: Some(Arc::new(Custom {
            schema: schema(&source).map_err(fail)?,
            source,
            list_kind,
            columns: paths,
            selectable: selectable(version),
            scale,
            deprecation: deprecated.then_some(warning),
            terminating,
            stored: stored.clone(),
            stored_as_shown: settled && version.get("storage").and_then(Value::as_bool) == Some(true),
            fingerprint: fingerprint(definition),
        })),
        names,
        ..Kind::PLAIN
    })
}

/// The schema of a whole object; the root of every one is a resource.
pub fn schema(source: &Value) -> Result<Structural, structural::ParseError> {
    let parsed = match source {
        Value::Null => Structural { preserve: true, ..Structural::default() },
        source => Structural::parse(source)?,
    };
    Ok(Structural { embedded: true, ..parsed })
}

/// A number for all that a client can see of the definition.
fn fingerprint(definition: &Object) -> u64 {
    let mut hasher = std::hash::DefaultHasher::new();
    definition.uid().hash(&mut hasher);
    for path in [["spec"].as_slice(), &["status", "acceptedNames"]] {
        json::encode(definition.at(path).unwrap_or(&Value::Null)).hash(&mut hasher);
    }
    hasher.finish()
}

fn names(definition: &Object, version: &str) -> Names {
    let accepted = |key: &str| Cow::Owned(definition.str_at(&["status", "acceptedNames", key]).to_owned());
    let texts = |key: &str| {
        let list = definition.at(&["status", "acceptedNames", key]).and_then(Value::as_list).unwrap_or(&[]);
        Cow::Owned(list.iter().filter_map(Value::as_str).map(|t| Cow::Owned(t.to_owned())).collect())
    };
    Names {
        group: Cow::Owned(definition.str_at(&["spec", "group"]).to_owned()),
        version: Cow::Owned(version.to_owned()),
        kind: accepted("kind"),
        plural: accepted("plural"),
        singular: accepted("singular"),
        short: texts("shortNames"),
        categories: texts("categories"),
    }
}

/// In the order in which upstream's discovery lists them.
const VERBS: &[Text] = &[
    Cow::Borrowed("delete"),
    Cow::Borrowed("deletecollection"),
    Cow::Borrowed("get"),
    Cow::Borrowed("list"),
    Cow::Borrowed("patch"),
    Cow::Borrowed("create"),
    Cow::Borrowed("update"),
    Cow::Borrowed("watch"),
];
/// What is left when the definition is being deleted. Updates are, so that finalizers can go, but are not listed.
const ENDING_VERBS: &[Text] = &[
    Cow::Borrowed("delete"),
    Cow::Borrowed("deletecollection"),
    Cow::Borrowed("get"),
    Cow::Borrowed("list"),
    Cow::Borrowed("watch"),
];
const PART_VERBS: &[Text] = &[Cow::Borrowed("get"), Cow::Borrowed("patch"), Cow::Borrowed("update")];

fn subresources(names: &Names, has_status: bool, has_scale: bool) -> Vec<Subresource> {
    let one = |name: &'static str, group: &'static str, version: &'static str, kind: Text| Subresource {
        name: Cow::Borrowed(name),
        group: Cow::Borrowed(group),
        version: Cow::Borrowed(version),
        kind,
        verbs: Cow::Borrowed(PART_VERBS),
    };
    let status = has_status.then(|| one("status", "", "", names.kind.clone()));
    let scale = has_scale.then(|| one("scale", "autoscaling", "v1", Cow::Borrowed("Scale")));
    status.into_iter().chain(scale).collect()
}

fn column(name: &str, kind: &str, format: &str, priority: i64, description: String) -> Column {
    let own = |text: &str| Cow::Owned(text.to_owned());
    Column { name: own(name), kind: own(kind), format: own(format), priority, description: Cow::Owned(description) }
}

/// The columns, the name's first, and the paths of all others.
fn columns(version: &Value) -> (Vec<Column>, Vec<Option<JsonPath>>) {
    let mut columns = vec![column("Name", "string", "name", 0, String::new())];
    let listed = version.get("additionalPrinterColumns").and_then(Value::as_list).unwrap_or(&[]);
    if listed.is_empty() {
        columns.push(column("Age", "date", "", 0, String::new()));
        return (columns, vec![JsonPath::parse(".metadata.creationTimestamp")]);
    }
    let mut paths = Vec::new();
    for one in listed {
        let text = |key: &str| one.get(key).and_then(Value::as_str).unwrap_or("");
        let priority = one.get("priority").and_then(Value::as_i64).unwrap_or(0);
        let description = match text("description") {
            "" => format!("Custom resource definition column (in JSONPath format): {}", text("jsonPath")),
            own => own.to_owned(),
        };
        // Upstream shows no column behind one that it can't read.
        let Some(path) = JsonPath::parse(text("jsonPath")) else { break };
        columns.push(column(text("name"), text("type"), text("format"), priority, description));
        paths.push(Some(path));
    }
    (columns, paths)
}

fn selectable(version: &Value) -> Vec<(String, JsonPath)> {
    let listed = version.get("selectableFields").and_then(Value::as_list).unwrap_or(&[]);
    let paths = listed.iter().filter_map(|f| f.get("jsonPath").and_then(Value::as_str));
    paths.filter_map(|p| Some((p.trim_start_matches('.').to_owned(), JsonPath::parse(p)?))).collect()
}
