//! The vocabulary of both sides of the wire: values, objects, kinds, validation, patches, selectors, codecs.
//!
//! This crate does no IO, starts no task and reads no clock: whoever needs the time passes it in.

pub mod codec;
pub mod cron;
pub mod kind;
pub mod kinds;
pub mod managed;
pub mod names;
mod object;
pub mod patch;
pub mod quantity;
pub mod quota;
pub mod schema;
pub mod selector;
pub mod status;
pub mod structural;
pub mod table;
pub mod value;
pub mod versions;

pub use kind::Kind;
pub use object::Object;
pub use quantity::Quantity;
pub use status::{Cause, FieldError, Status};
pub use value::{Key, Map, Value};
