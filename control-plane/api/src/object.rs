//! A whole object: a map with `apiVersion`, `kind` and `metadata`.

use crate::value::{Map, Value};

/// An API object in some version. The accessors of absent or ill-typed metadata answer as if it were empty:
/// the schema pass, not this type, reports wrong types.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Object(pub Map);

impl Object {
    fn text(&self, key: &str) -> &str {
        self.0.get(key).and_then(Value::as_str).unwrap_or("")
    }

    pub fn api_version(&self) -> &str {
        self.text("apiVersion")
    }

    pub fn kind(&self) -> &str {
        self.text("kind")
    }

    pub fn set_type(&mut self, api_version: &str, kind: &str) {
        self.0.insert("apiVersion", api_version);
        self.0.insert("kind", kind);
    }

    pub fn meta(&self) -> Option<&Map> {
        self.0.get("metadata").and_then(Value::as_map)
    }

    pub fn meta_mut(&mut self) -> &mut Map {
        self.0.entry("metadata").make_map()
    }

    /// A text field of the metadata, empty where absent.
    pub fn meta_text(&self, key: &str) -> &str {
        self.meta().and_then(|m| m.get(key)).and_then(Value::as_str).unwrap_or("")
    }

    pub fn name(&self) -> &str {
        self.meta_text("name")
    }

    pub fn namespace(&self) -> &str {
        self.meta_text("namespace")
    }

    pub fn uid(&self) -> &str {
        self.meta_text("uid")
    }

    pub fn resource_version(&self) -> &str {
        self.meta_text("resourceVersion")
    }

    pub fn generation(&self) -> i64 {
        self.meta().and_then(|m| m.get("generation")).and_then(Value::as_i64).unwrap_or(0)
    }

    pub fn deletion_timestamp(&self) -> Option<&str> {
        Some(self.meta_text("deletionTimestamp")).filter(|t| !t.is_empty())
    }

    pub fn deletion_grace_period_seconds(&self) -> Option<i64> {
        self.meta()?.get("deletionGracePeriodSeconds")?.as_i64()
    }

    pub fn finalizers(&self) -> impl Iterator<Item = &str> {
        self.meta()
            .and_then(|m| m.get("finalizers"))
            .and_then(Value::as_list)
            .unwrap_or(&[])
            .iter()
            .filter_map(Value::as_str)
    }

    /// The string pairs of a metadata map (`labels`, `annotations`).
    pub fn meta_pairs(&self, key: &str) -> impl Iterator<Item = (&str, &str)> {
        self.meta()
            .and_then(|m| m.get(key))
            .and_then(Value::as_map)
            .into_iter()
            .flat_map(|m| m.iter().filter_map(|(k, v)| Some((k.as_str(), v.as_str()?))))
    }

    pub fn label(&self, key: &str) -> Option<&str> {
        self.meta()?.get("labels")?.get(key)?.as_str()
    }

    pub fn annotation(&self, key: &str) -> Option<&str> {
        self.meta()?.get("annotations")?.get(key)?.as_str()
    }

    /// The value at a path below the object's root: `&["spec", "replicas"]`.
    pub fn at(&self, path: &[&str]) -> Option<&Value> {
        let (first, rest) = path.split_first()?;
        self.0.get(first)?.at(rest)
    }

    pub fn at_mut(&mut self, path: &[&str]) -> Option<&mut Value> {
        let (first, rest) = path.split_first()?;
        self.0.get_mut(first)?.at_mut(rest)
    }

    pub fn str_at(&self, path: &[&str]) -> &str {
        self.at(path).and_then(Value::as_str).unwrap_or("")
    }

    pub fn i64_at(&self, path: &[&str]) -> Option<i64> {
        self.at(path)?.as_i64()
    }

    pub fn bool_at(&self, path: &[&str]) -> Option<bool> {
        self.at(path)?.as_bool()
    }

    /// Sets a value, making the maps on the way.
    pub fn set(&mut self, path: &[&str], value: impl Into<Value>) {
        let Some((last, parents)) = path.split_last() else { return };
        let map = parents.iter().fold(&mut self.0, |m, step| m.entry(step).make_map());
        map.insert(*last, value);
    }

    /// Removes a value and returns it.
    pub fn unset(&mut self, path: &[&str]) -> Option<Value> {
        let (last, parents) = path.split_last()?;
        match parents.is_empty() {
            true => self.0.remove(last),
            false => self.at_mut(parents)?.as_map_mut()?.remove(last),
        }
    }
}
