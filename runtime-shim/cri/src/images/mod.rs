//! Images on this node: a store of blobs by digest with names, unpacked layers shared between images, and what fills it
//! (building, importing, pulling). Works on its directory alone, with or without a running shim.

mod build;
mod layout;
mod manifest;
mod name;
mod pull;
pub mod registry;
mod store;
mod unpack;

pub use build::{build_oci, build_wasm};
pub use layout::import;
pub use name::normalize;
pub use pull::{Auth, Mirrors, pull, push};
pub use store::{Store, Stored, signal};

/// What is happening to an image, for people who wait.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Progress {
    /// Bytes of a blob that have come, of how many.
    Blob { digest: String, done: u64, total: u64 },
    /// A step in words.
    Step(String),
}

/// Where progress goes. Called often; it must not block.
pub type Report<'a> = &'a (dyn Fn(Progress) + Send + Sync);

/// A failure that has to do with an image.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("{doing}: {source}")]
    Io {
        doing: String,
        #[source]
        source: std::io::Error,
    },
    /// The image does not exist; the message says where it was looked for.
    #[error("{0}")]
    NotFound(String),
    #[error("{0}")]
    Invalid(String),
    #[error("{doing}: {reason}")]
    Registry { doing: String, reason: String },
}

pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    fn io(doing: impl Into<String>) -> impl FnOnce(std::io::Error) -> Error {
        move |source| Error::Io { doing: doing.into(), source }
    }
}
