//! From a pod's manifest to CRI messages: pure functions, one file for each concern.

pub mod container;
pub mod dns;
pub mod env;
pub mod fields;
pub mod resources;
pub mod sandbox;
pub mod security;

/// A manifest that cannot be carried out as written; the user reads the text.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Invalid(pub String);
