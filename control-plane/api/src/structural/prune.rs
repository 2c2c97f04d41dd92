//! Fields that a schema does not name go.

use super::{Additional, Structural};
use crate::codec::{Step, path_text};
use crate::value::{Map, Value};

/// How many are reported, as many as upstream's strict decoder.
const MAX_UNKNOWN: usize = 100;
/// What every whole object has, whatever its schema names.
const META: [&str; 3] = ["apiVersion", "kind", "metadata"];

/// Removes unknown fields from an object and returns their paths (`spec.a[0].b`).
pub fn prune(schema: &Structural, object: &mut Map) -> Vec<String> {
    let mut pass = Pass { path: Vec::new(), unknown: Vec::new() };
    pass.map(schema, object);
    pass.unknown
}

struct Pass {
    path: Vec<Step>,
    unknown: Vec<String>,
}

impl Pass {
    fn value(&mut self, schema: &Structural, value: &mut Value) {
        match value {
            Value::Map(map) => self.map(schema, map),
            Value::List(items) => {
                for (i, item) in items.iter_mut().enumerate() {
                    self.path.push(Step::Index(i));
                    match &schema.items {
                        Some(of) => self.value(of, item),
                        None if schema.preserve => {}
                        None => self.empty(item),
                    }
                    self.path.pop();
                }
            }
            Value::Null | Value::Bool(_) | Value::Int(_) | Value::Float(_) | Value::Str(_) => {}
        }
    }

    fn map(&mut self, schema: &Structural, map: &mut Map) {
        map.retain(|key, value| {
            if schema.embedded && META.contains(&key.as_str()) {
                return true;
            }
            self.path.push(Step::Key(key.clone()));
            let stays = match (schema.below(key), &schema.additional) {
                (Some(below), _) => {
                    self.value(below, value);
                    true
                }
                // `additionalProperties: true` names no schema for what is below: that goes.
                (None, Additional::Any(_)) if !schema.preserve => {
                    self.empty(value);
                    true
                }
                (None, _) => schema.preserve,
            };
            if !stays {
                self.report();
            }
            self.path.pop();
            stays
        });
    }

    /// A value of which nothing is known: maps lose all fields.
    fn empty(&mut self, value: &mut Value) {
        match value {
            Value::Map(map) => {
                for key in map.keys() {
                    self.path.push(Step::Key(key.clone()));
                    self.report();
                    self.path.pop();
                }
                *map = Map::new();
            }
            Value::List(items) => items.iter_mut().for_each(|item| self.empty(item)),
            Value::Null | Value::Bool(_) | Value::Int(_) | Value::Float(_) | Value::Str(_) => {}
        }
    }

    fn report(&mut self) {
        if self.unknown.len() < MAX_UNKNOWN {
            self.unknown.push(path_text(&self.path));
        }
    }
}
