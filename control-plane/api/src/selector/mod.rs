//! Selectors of objects by labels and by fields, as queries and as objects say them.

mod fields;
mod labels;
mod lexer;

pub use fields::{FieldRequirement, FieldSelector};
pub use labels::{LabelSelector, Operator, Requirement};

/// A selector that cannot be understood, in upstream's words.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct SelectorError(pub String);

/// How many requirements a selector may have: each is tried on every object listed.
pub const MAX_REQUIREMENTS: usize = 1000;
