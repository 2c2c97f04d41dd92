//! The rows of `kubectl get`: one function a kind, ages from `now`.
//!
//! A function names the cells that differ from a plain row's; the kind's columns say which cells there are.

mod age;
mod autoscalers;
mod cluster;
mod network;
mod pods;
mod text;
mod workloads;

pub use age::{age, human_duration, seconds};
pub(crate) use autoscalers::{autoscalers, autoscalers_v1};
pub(crate) use cluster::*;
pub(crate) use network::*;
pub(crate) use pods::{pod_templates, pods};
pub(crate) use workloads::*;

use crate::kind::Kind;
use crate::object::Object;
use crate::value::Value;

/// The cells of a kind whose columns say nothing beyond its metadata: name and age; other columns are empty.
pub fn plain_cells(kind: &Kind, object: &Object, now: i64) -> Vec<Value> {
    row(kind, object, now, |_| None)
}

/// What a row says of its object besides the cells: whether it has run to its end.
pub fn conditions(kind: &Kind, object: &Object) -> Vec<Value> {
    match (&*kind.names.group, &*kind.names.plural) {
        ("", "pods") => pods::conditions(object),
        _ => Vec::new(),
    }
}

/// The name of a class, marked where it is the default.
fn default_name(object: &Object, annotations: &[&str]) -> Value {
    Value::from(match annotations.iter().any(|a| object.annotation(a) == Some("true")) {
        true => format!("{} (default)", object.name()),
        false => object.name().to_owned(),
    })
}

/// A row; `cell` gives those that are no name, age or creation time.
fn row(kind: &Kind, object: &Object, now: i64, cell: impl Fn(&str) -> Option<Value>) -> Vec<Value> {
    let plain = |name: &str| match name {
        "Name" => Value::from(object.name()),
        "Age" => age(object.meta_text("creationTimestamp"), now),
        "Created At" => Value::from(object.meta_text("creationTimestamp")),
        _ => Value::from(""),
    };
    kind.columns.iter().map(|c| cell(&c.name).unwrap_or_else(|| plain(&c.name))).collect()
}
