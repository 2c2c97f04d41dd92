//! The schema of a kind that is defined at run time: what `openAPIV3Schema` of a CustomResourceDefinition says, read
//! once and then used for pruning, defaults, checks, ownership and OpenAPI.
//!
//! Refuses to know what schemas are allowed: that is the rules of CustomResourceDefinitions. Expressions
//! (`x-kubernetes-validations`) are kept as text: who evaluates them hangs a [`crate::kind::Rules`] on the kind.

mod check;
mod default;
mod format;
mod number;
mod parse;
pub mod path;
mod prune;
mod resource;
mod sets;

pub use check::check;
pub use default::{drop_nulls, fill, fill_object};
pub(crate) use format::is_recognized;
pub use parse::ParseError;
pub(crate) use parse::ty;
pub use prune::prune;
pub use resource::{coerce, embedded};
pub use sets::duplicates;

use crate::value::{Key, Value};
use std::collections::BTreeMap;

/// The type of a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ty {
    Object,
    Array,
    String,
    Integer,
    Number,
    Boolean,
}

/// What a map may hold besides its properties.
#[derive(Debug, Clone, Default)]
pub enum Additional {
    /// Nothing is said.
    #[default]
    Unset,
    /// `true` or `false`.
    Any(bool),
    Schema(Box<Structural>),
}

/// `x-kubernetes-list-type`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum List {
    #[default]
    Atomic,
    Set,
    Map(Vec<Key>),
}

/// One node of a schema, in the structure or under `allOf`, `anyOf`, `oneOf` and `not`.
#[derive(Debug, Clone, Default)]
pub struct Structural {
    pub ty: Option<Ty>,
    pub nullable: bool,
    pub properties: BTreeMap<Key, Structural>,
    pub additional: Additional,
    pub items: Option<Box<Structural>>,
    pub default: Option<Value>,
    /// `x-kubernetes-preserve-unknown-fields`.
    pub preserve: bool,
    /// `x-kubernetes-embedded-resource`; so is the root of every kind.
    pub embedded: bool,
    pub int_or_string: bool,
    pub list: List,
    /// `x-kubernetes-map-type: atomic`.
    pub atomic_map: bool,
    pub checks: Checks,
    /// `x-kubernetes-validations`.
    pub rules: Vec<Rule>,
    /// Whether a default stands here or anywhere below.
    pub has_defaults: bool,
}

/// What values must be.
#[derive(Debug, Clone, Default)]
pub struct Checks {
    pub format: String,
    pub values: Vec<Value>,
    pub maximum: Option<f64>,
    pub minimum: Option<f64>,
    pub exclusive_maximum: bool,
    pub exclusive_minimum: bool,
    pub multiple_of: Option<f64>,
    pub max_length: Option<i64>,
    pub min_length: Option<i64>,
    pub pattern: Option<Pattern>,
    pub max_items: Option<i64>,
    pub min_items: Option<i64>,
    pub unique_items: bool,
    pub max_properties: Option<i64>,
    pub min_properties: Option<i64>,
    pub required: Vec<Key>,
    pub all_of: Vec<Structural>,
    pub any_of: Vec<Structural>,
    pub one_of: Vec<Structural>,
    pub not: Option<Box<Structural>>,
}

/// A regular expression with its text.
#[derive(Debug, Clone)]
pub struct Pattern {
    pub text: String,
    pub regex: regex::Regex,
}

/// One rule of `x-kubernetes-validations`, as it is written.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Rule {
    pub rule: String,
    pub message: String,
    pub message_expression: String,
    pub reason: String,
    pub field_path: String,
    pub optional_old_self: Option<bool>,
}

impl Structural {
    /// The schema of a map's value: of a property, or of what is additional.
    pub fn below(&self, key: &str) -> Option<&Structural> {
        self.properties.get(key).or(match &self.additional {
            Additional::Schema(schema) => Some(schema),
            Additional::Unset | Additional::Any(_) => None,
        })
    }

    /// Whether a rule stands here or anywhere below.
    pub fn has_rules(&self) -> bool {
        let additional = match &self.additional {
            Additional::Schema(schema) => schema.has_rules(),
            Additional::Unset | Additional::Any(_) => false,
        };
        !self.rules.is_empty()
            || additional
            || self.items.as_ref().is_some_and(|i| i.has_rules())
            || self.properties.values().any(Structural::has_rules)
    }
}

/// `base.key`, or `key` at the root.
pub(crate) fn child(base: &str, key: &str) -> String {
    if base.is_empty() { key.to_owned() } else { format!("{base}.{key}") }
}
