//! The order of merged lists: what the patch names comes in the patch's order, what only the server has keeps its own.

use crate::value::Value;
use std::collections::HashMap;

/// What a list's items are told apart by.
#[derive(Clone, Copy)]
pub(super) enum Identity<'a> {
    /// The field of this name.
    Field(&'a str),
    /// The item itself.
    Whole,
}

impl Identity<'_> {
    pub(super) fn of(self, item: &Value) -> String {
        let part = match self {
            Identity::Field(key) => item.get(key).unwrap_or(&Value::Null),
            Identity::Whole => item,
        };
        String::from_utf8_lossy(&crate::codec::json::encode(part)).into_owned()
    }

    /// The first position of each identity.
    pub(super) fn positions(self, items: &[Value]) -> HashMap<String, usize> {
        let mut out = HashMap::new();
        for (i, item) in items.iter().enumerate() {
            out.entry(self.of(item)).or_insert(i);
        }
        out
    }
}

/// An item with its identity.
type Told = (String, Value);

/// Orders the merged items: those named in `wanted` as there, the others as they were on the server, and the two
/// interleaved so that items the server knew keep their places among each other.
pub(super) fn arrange(merged: Vec<Value>, wanted: &[Value], server: &[Value], by: Identity<'_>) -> Vec<Value> {
    let (wanted, server) = (by.positions(wanted), by.positions(server));
    let (mut named, mut others): (Vec<Told>, Vec<Told>) =
        merged.into_iter().map(|v| (by.of(&v), v)).partition(|(id, _)| wanted.contains_key(id));
    named.sort_by_key(|(id, _)| wanted.get(id).copied());
    others.sort_by_key(|(id, _)| server.get(id).copied().unwrap_or(usize::MAX));
    let (mut named, mut others) = (named.into_iter().peekable(), others.into_iter().peekable());
    let mut out = Vec::new();
    loop {
        let take_other = match (others.peek(), named.peek()) {
            (None, None) => return out,
            (Some(_), None) => true,
            (None, Some(_)) => false,
            (Some((l, _)), Some((r, _))) => matches!((server.get(l), server.get(r)), (Some(l), Some(r)) if l < r),
        };
        let next = if take_other { others.next() } else { named.next() };
        out.extend(next.map(|(_, v)| v));
    }
}
