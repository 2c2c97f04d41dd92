//! The protobuf of Kubernetes' clients, read and written by the schema tables.
//!
//! A body is a message `Unknown` behind four magic bytes: the object's type, and the object itself as bytes. What is
//! written is byte for byte what Go's generated code writes: fields in the order of their numbers, plain values also
//! when zero, maps sorted. Unknown fields are dropped on the way in, as protobuf wants.

mod decode;
mod encode;
mod layout;
mod wire;

pub use decode::{Envelope, decode, envelope, message};
pub use encode::{EncodeError, encode};
pub(crate) use layout::{Layout, embedded};

use crate::value::Map;
pub use wire::Backward;

/// What every message of a client begins with.
const MAGIC: &[u8] = b"k8s\0";

/// What `Unknown` holds behind the object: no content encoding and no content type.
const TAIL: &[u8] = &[0x1a, 0, 0x22, 0];

const OBJECT_META: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta";
const LIST_META: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.ListMeta";

/// Puts an encoded object into its envelope.
pub fn wrap(api_version: &str, kind: &str, object: &[u8]) -> Vec<u8> {
    let mut out = Backward::with_capacity(object.len() + api_version.len() + kind.len() + 32);
    out.prepend(TAIL);
    out.bytes(2, object);
    open(&mut out, api_version, kind);
    out.finish()
}

fn open(out: &mut Backward, api_version: &str, kind: &str) {
    out.message(1, |out| {
        out.bytes(2, kind.as_bytes());
        out.bytes(1, api_version.as_bytes());
    });
    out.prepend(MAGIC);
}

/// The parts of an enveloped list around its items, which need not lie in one buffer.
#[derive(Debug, PartialEq, Eq)]
pub struct List {
    pub head: Vec<u8>,
    pub tail: &'static [u8],
}

/// Frames a list whose items with their heads ([`item_head`]) have `items` bytes together.
///
/// # Errors
/// The metadata does not fit its type.
pub fn list(api_version: &str, kind: &str, meta: &Map, items: usize) -> Result<List, EncodeError> {
    let meta = encode(LIST_META, meta)?;
    let mut out = Backward::with_capacity(meta.len() + 64);
    out.bytes(1, &meta);
    let object = out.len() + items;
    out.varint(object as u64);
    out.tag(2, wire::LENGTH);
    open(&mut out, api_version, kind);
    Ok(List { head: out.finish(), tail: TAIL })
}

/// What stands before an item of a list.
pub fn item_head(item: usize) -> Vec<u8> {
    let mut out = Backward::with_capacity(8);
    out.varint(item as u64);
    out.tag(2, wire::LENGTH);
    out.finish()
}

/// `PartialObjectMetadata` of an object's metadata, without an envelope.
///
/// # Errors
/// The metadata does not fit its type.
pub fn partial(meta: &Map) -> Result<Vec<u8>, EncodeError> {
    let meta = encode(OBJECT_META, meta)?;
    let mut out = Backward::with_capacity(meta.len() + 8);
    out.bytes(1, &meta);
    Ok(out.finish())
}

/// A frame of a watch: its length in four bytes, then a `WatchEvent` with the enveloped object.
pub fn watch_frame(event: &str, object: &[u8]) -> Vec<u8> {
    let mut out = Backward::with_capacity(object.len() + event.len() + 24);
    out.message(2, |out| out.bytes(1, object));
    out.bytes(1, event.as_bytes());
    // A frame holds one object, and objects are limited to a few megabytes.
    let length = u32::try_from(out.len()).unwrap_or(u32::MAX);
    out.prepend(&length.to_be_bytes());
    out.finish()
}

#[cfg(test)]
mod tests;
