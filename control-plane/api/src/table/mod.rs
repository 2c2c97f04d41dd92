//! The rows of `kubectl get`: one function a kind, ages from `now`.

mod age;

pub use age::{age, human_duration};

use crate::kind::Kind;
use crate::object::Object;
use crate::value::Value;

/// The cells of a kind whose columns say nothing beyond its metadata: name and age; other columns are empty.
pub fn plain_cells(kind: &Kind, object: &Object, now: i64) -> Vec<Value> {
    let cell = |name: &str| match name {
        "Name" => Value::from(object.name()),
        "Age" => age(object.meta_text("creationTimestamp"), now),
        "Created At" => Value::from(object.meta_text("creationTimestamp")),
        _ => Value::from(""),
    };
    kind.columns.iter().map(|c| cell(&c.name)).collect()
}
