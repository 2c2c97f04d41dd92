//! The patches of the wire: JSON patch (RFC 6902), merge patch (RFC 7386), strategic merge patch.

mod dump;
pub mod json;
mod lists;
pub mod merge;
mod order;
pub mod strategic;

pub use dump::{merged, stepped};

use crate::status::Status;
use crate::value::Value;

/// Why a patch could not be applied.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PatchError {
    /// It is no patch of its type.
    #[error("error decoding patch: {0}")]
    Malformed(String),
    /// It does not fit the object. What exactly is told to no client of upstream's.
    #[error("the server rejected our request due to an error in our request")]
    Rejected(String),
    #[error("Request entity too large: {0}")]
    TooLarge(String),
    /// A strategic merge patch that contradicts itself or the object.
    #[error("{0}")]
    Failed(String),
    /// A directive of such a patch that is not of its form.
    #[error("{0}")]
    Format(String),
    /// What no strategic merge patch can do.
    #[error("{0}")]
    Unsupported(String),
}

impl PatchError {
    /// The error as it goes over the wire.
    pub fn status(&self) -> Status {
        let message = self.to_string();
        match self {
            PatchError::Malformed(_) | PatchError::Format(_) => Status::bad_request(message),
            PatchError::Rejected(_) | PatchError::Unsupported(_) => Status::new(422, "Invalid", message),
            PatchError::TooLarge(_) => Status::too_large(message),
            PatchError::Failed(_) => Status::new(500, "", message),
        }
    }
}

/// A patch as messages show it: as Go prints maps.
pub fn shown(patch: &Value) -> String {
    go_text(patch)
}

/// A value as Go's `%v` prints it, for messages.
pub(crate) fn go_text(value: &Value) -> String {
    match value {
        Value::Null => "<nil>".into(),
        Value::Str(text) => text.to_string(),
        Value::List(items) => format!("[{}]", items.iter().map(go_text).collect::<Vec<_>>().join(" ")),
        Value::Map(map) => {
            let pairs: Vec<String> = map.iter().map(|(k, v)| format!("{k}:{}", go_text(v))).collect();
            format!("map[{}]", pairs.join(" "))
        }
        Value::Bool(_) | Value::Int(_) | Value::Float(_) => {
            String::from_utf8_lossy(&crate::codec::json::encode(value)).into_owned()
        }
    }
}

/// A value's type, as Go names it; `null` is the word for none.
pub(crate) fn go_type(value: &Value, null: &'static str) -> &'static str {
    match value {
        Value::Null => null,
        Value::Bool(_) => "bool",
        Value::Int(_) => "int64",
        Value::Float(_) => "float64",
        Value::Str(_) => "string",
        Value::List(_) => "[]interface {}",
        Value::Map(_) => "map[string]interface {}",
    }
}
