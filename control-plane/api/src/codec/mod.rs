//! The encodings of objects on the wire.

pub mod json;
pub mod protobuf;
mod typed;
pub mod yaml;

pub use typed::TypedError;

use crate::value::Value;

/// How deep lists and maps may nest. Objects of Kubernetes stay below 40; the limit keeps recursion over a value
/// (parsing, pruning, dropping) far inside the 2 MiB stack of a worker thread.
pub const MAX_DEPTH: usize = 256;

/// How many duplicate keys are reported: as many as upstream's strict decoder collects before it stops counting.
pub const MAX_DUPLICATES: usize = 100;

/// A decoded document.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Decoded {
    pub value: Value,
    /// The keys that were given more than once, in document order; the last one counts. Of JSON the paths
    /// (`metadata.labels.a`), of YAML where (`line 8: key "a" already set in map`).
    pub duplicates: Vec<String>,
}

/// Why a document could not be decoded, in the words of upstream's decoder.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct DecodeError {
    pub message: String,
    /// Where in the input.
    pub offset: usize,
}

impl DecodeError {
    pub(crate) fn new(offset: usize, message: impl Into<String>) -> DecodeError {
        DecodeError { message: message.into(), offset }
    }
}

/// One step of the path to a value being read.
pub(crate) enum Step {
    Key(crate::value::Key),
    Index(usize),
}

/// `spec.containers[0].name`.
pub(crate) fn path_text(steps: &[Step]) -> String {
    let mut out = String::new();
    for step in steps {
        match step {
            Step::Key(key) => {
                if !out.is_empty() {
                    out.push('.');
                }
                out.push_str(key);
            }
            Step::Index(i) => {
                out.push('[');
                out.push_str(&i.to_string());
                out.push(']');
            }
        }
    }
    out
}
