//! The built-in types' tables: text in the binary, parsed a package at a time on first use.
//!
//! A package is a file `tables/<package>.txt` (made by `tables/generate.py`); in it `:Name` starts a type, and every
//! other line is a field: name, type, presence, list, protobuf number, protobuf type, tab-separated.
//! - Type: `s`tring, `b`ool, `i`nt32, `l`ong (int64), `d`ouble, b`y`tes, `t`ime, `m`icrotime, `q`uantity, int-or-string
//!   `x`, `o`bject, `r`aw object, `a`ny, `[`list of, `{`map to, `.Name` of this package, `.full.Name` of another.
//! - Presence: `p`ointer, `P`ointer that shows as null, `v`alue omitted when zero, `V`alue always shown, sli`z`e or map
//!   omitted when empty, sli`Z`e or map always shown; `!` marks a required field.
//! - List: `a`tomic, `s`et, `m`ap with its keys, `g`ranular; after a space the patch strategy: `m`erge, `r`etainKeys,
//!   `x` for replace, with `:key`.
//! - Protobuf type: only where it does not follow from the type. `~name` is a field of protobuf alone.

use super::{Field, ListType, Patch, Presence, Schema, StructRef, Type};
use std::collections::HashMap;
use std::sync::OnceLock;

type Package = HashMap<&'static str, &'static Schema>;

macro_rules! packages {
    ($($name:literal)*) => {
        const PACKAGES: &[(&str, &str)] = &[$(($name, include_str!(concat!("../../tables/", $name, ".txt")))),*];
        static PARSED: [OnceLock<Package>; PACKAGES.len()] = [const { OnceLock::new() }; PACKAGES.len()];
    };
}

packages! {
    "io.k8s.api.admissionregistration.v1"
    "io.k8s.api.apidiscovery.v2"
    "io.k8s.api.apps.v1"
    "io.k8s.api.authentication.v1"
    "io.k8s.api.authorization.v1"
    "io.k8s.api.autoscaling.v1"
    "io.k8s.api.autoscaling.v2"
    "io.k8s.api.batch.v1"
    "io.k8s.api.certificates.v1"
    "io.k8s.api.coordination.v1"
    "io.k8s.api.core.v1"
    "io.k8s.api.discovery.v1"
    "io.k8s.api.events.v1"
    "io.k8s.api.flowcontrol.v1"
    "io.k8s.api.networking.v1"
    "io.k8s.api.node.v1"
    "io.k8s.api.policy.v1"
    "io.k8s.api.rbac.v1"
    "io.k8s.api.resource.v1"
    "io.k8s.api.scheduling.v1"
    "io.k8s.api.storage.v1"
    "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1"
    "io.k8s.apimachinery.pkg.apis.meta.v1"
    "io.k8s.apimachinery.pkg.version"
    "io.k8s.kube-aggregator.pkg.apis.apiregistration.v1"
}

/// The schema of a type by its full name (`io.k8s.api.core.v1.Pod`).
pub(super) fn find(type_name: &str) -> Option<&'static Schema> {
    let (package, name) = type_name.rsplit_once('.')?;
    let i = PACKAGES.iter().position(|(p, _)| *p == package)?;
    PARSED[i].get_or_init(|| parse(PACKAGES[i].0, PACKAGES[i].1)).get(name).copied()
}

const ENUMS: &str = include_str!("../../tables/enums.txt");

/// The values of an enumerated string type.
pub(super) fn enum_values(type_name: &str) -> Option<Vec<&'static str>> {
    let line = ENUMS.lines().find_map(|l| l.split_once('\t').filter(|(name, _)| *name == type_name))?;
    Some(line.1.split(',').collect())
}

/// The names of all types of a package, for tests and for OpenAPI.
pub(super) fn names() -> Vec<String> {
    let lines = PACKAGES.iter().flat_map(|(p, text)| text.lines().map(move |l| (p, l)));
    lines.filter_map(|(p, l)| Some(format!("{p}.{}", l.strip_prefix(':')?))).collect()
}

/// Fields of alpha that nothing here honours, by type: upstream's gates for them are off.
const GATED: &[(&str, &str)] = &[
    ("CSIDriverSpec", "preventPodSchedulingIfMissing"),
    ("Device", "nodeAllocatableResourceMappings"),
    ("DeviceAttribute", "bools"),
    ("DeviceAttribute", "ints"),
    ("DeviceAttribute", "strings"),
    ("DeviceAttribute", "versions"),
    ("PodSpec", "schedulingGroup"),
];

/// INVARIANT: the tables are generated and every one of them is parsed by a test, so a malformed line is a bug of the
/// build, not of any input; it reads as "any" rather than panicking.
fn parse(package: &'static str, text: &'static str) -> Package {
    let mut types: Vec<(&'static str, Vec<Field>)> = Vec::new();
    for line in text.lines() {
        match line.strip_prefix(':') {
            Some(name) => types.push((name, Vec::new())),
            None => {
                if let Some((name, fields)) = types.last_mut() {
                    let field = field(package, line);
                    let gated = GATED.contains(&(*name, field.name));
                    fields.push(Field { gated, ..field });
                }
            }
        }
    }
    types.into_iter().map(|(name, fields)| (name, &*Box::leak(Box::new(Schema::new(package, name, fields))))).collect()
}

fn field(package: &'static str, line: &'static str) -> Field {
    let mut parts = line.split('\t');
    let mut next = || parts.next().unwrap_or("");
    let (name, code, flags, lists, number, proto) = (next(), next(), next(), next(), next(), next());
    let (lists, patch) = lists.split_once(' ').unwrap_or((lists, ""));
    let (strategy, merge_key) = patch.split_once(':').unwrap_or((patch, ""));
    Field {
        name: name.strip_prefix('~').unwrap_or(name),
        hidden: name.starts_with('~'),
        gated: false,
        ty: ty(package, code),
        required: flags.ends_with('!'),
        presence: presence(flags),
        list: list_type(lists),
        patch: Patch {
            merge: strategy.contains('m'),
            replace: strategy.contains('x'),
            retain_keys: strategy.contains('r'),
            merge_key: Some(merge_key).filter(|k| !k.is_empty()),
        },
        proto_number: number.parse().unwrap_or(0),
        proto_type: proto,
    }
}

fn presence(flags: &str) -> Presence {
    match flags.as_bytes().first() {
        Some(b'p') => Presence::Pointer,
        Some(b'P') => Presence::PointerAlways,
        Some(b'V') => Presence::ValueAlways,
        Some(b'z') => Presence::Collection,
        Some(b'Z') => Presence::CollectionAlways,
        _ => Presence::Value,
    }
}

fn list_type(code: &'static str) -> ListType {
    match code.split_at_checked(1) {
        Some(("a", _)) => ListType::Atomic,
        Some(("s", _)) => ListType::Set,
        Some(("m", keys)) => ListType::Map(keys.split(',').filter(|k| !k.is_empty()).collect()),
        Some(("g", _)) => ListType::Granular,
        _ => ListType::Unset,
    }
}

fn ty(package: &'static str, code: &'static str) -> Type {
    match code.split_at_checked(1) {
        Some(("[", inner)) => Type::List(Box::new(ty(package, inner))),
        Some(("{", inner)) => Type::Map(Box::new(ty(package, inner))),
        Some((".", name)) => Type::Struct(StructRef::new(package, name)),
        Some(("s", _)) => Type::String,
        Some(("b", _)) => Type::Bool,
        Some(("i", _)) => Type::Int32,
        Some(("l", _)) => Type::Int64,
        Some(("d", _)) => Type::Double,
        Some(("y", _)) => Type::Bytes,
        Some(("t", _)) => Type::Time,
        Some(("m", _)) => Type::MicroTime,
        Some(("q", _)) => Type::Quantity,
        Some(("x", _)) => Type::IntOrString,
        Some(("o", _)) => Type::Object,
        Some(("r", _)) => Type::Raw,
        _ => Type::Any,
    }
}
