//! Frames of a watch: a line of JSON, or protobuf behind its length.

use super::{Shown, to_protobuf, type_of};
use crate::cache::{Change, Entry, Form, What};
use crate::negotiate::{Encoding, Shape};
use crate::request::api_version;
use api::codec::{json, protobuf};
use api::{Map, Status, Value};
use bytes::Bytes;

/// What the object of a bookmark is marked with when the initial events are all sent.
const INITIAL_EVENTS_END: &str = "k8s.io/initial-events-end";

impl Shown {
    /// The event of a change. Watchers of the same form share it; rows of Tables, which show ages, are made for each.
    pub(crate) fn change(
        &self,
        name: &'static str,
        change: &Change,
        entry: &Entry,
        columns: bool,
    ) -> Result<Bytes, Status> {
        let (partial, of) = match &self.accept.shape {
            Shape::Whole => (false, type_of(&self.kind)),
            Shape::Partial { version, .. } => (true, version.clone().into()),
            Shape::Table { .. } => return self.event(name, entry, change.revision, columns).map(Bytes::from),
        };
        let protobuf = self.accept.encoding == Encoding::Protobuf;
        let form = Form { what: What::Event { name, protobuf, partial }, of };
        self.caches.form(&change.frames, form, || self.event(name, entry, change.revision, columns))
    }

    /// An event with an object as it is at a revision: that of its deletion is not its own.
    pub(crate) fn event(&self, name: &str, entry: &Entry, revision: u64, columns: bool) -> Result<Vec<u8>, Status> {
        let deleted;
        let entry = match entry.revision == revision {
            true => entry,
            false => {
                deleted = Entry::new(entry.name.clone(), entry.value.clone(), revision);
                &deleted
            }
        };
        if self.accept.encoding == Encoding::Protobuf {
            let mut object = Vec::new();
            self.one(entry, columns, &mut object)?;
            return Ok(protobuf::watch_frame(name, &object));
        }
        let mut out = Vec::with_capacity(entry.value.len() + 160);
        open(name, &mut out);
        self.one(entry, columns, &mut out)?;
        out.extend_from_slice(b"}\n");
        Ok(out)
    }

    /// An event that tells how far the watch is.
    pub(crate) fn bookmark(&self, revision: u64, end_of_initial: bool) -> Bytes {
        let (name, version) = match &self.accept.shape {
            Shape::Whole => (&*self.kind.names.kind, self.kind.api_version()),
            Shape::Partial { version, .. } => ("PartialObjectMetadata", api_version("meta.k8s.io", version)),
            Shape::Table { version, .. } => ("Table", api_version("meta.k8s.io", version)),
        };
        let mut meta = Map::new();
        meta.insert("resourceVersion", revision.to_string());
        if end_of_initial {
            meta.insert("annotations", [(INITIAL_EVENTS_END, "true")].into_iter().collect::<Map>());
        }
        let mut object = match &self.accept.shape {
            // An object of the type with nothing set.
            Shape::Whole => api::schema::empty(&self.kind.type_name),
            Shape::Partial { .. } => Map::new(),
            Shape::Table { .. } => {
                [("columnDefinitions", Value::Null), ("rows", Value::List(Vec::new()))].into_iter().collect()
            }
        };
        object.insert("metadata", meta.clone());
        let encoded = match (&self.accept.shape, self.accept.encoding) {
            (Shape::Whole, Encoding::Protobuf) => to_protobuf(&self.kind, &object),
            (_, Encoding::Protobuf) => protobuf::partial(&meta).map_err(Status::internal),
            (_, Encoding::Json | Encoding::Yaml) => {
                object.insert("kind", name);
                object.insert("apiVersion", version.as_str());
                return line("BOOKMARK", &object);
            }
        };
        match encoded {
            Ok(object) => protobuf::watch_frame("BOOKMARK", &protobuf::wrap(&version, name, &object)).into(),
            Err(status) => self.failure(&status),
        }
    }

    /// The event that ends a watch which cannot go on.
    pub(crate) fn failure(&self, status: &Status) -> Bytes {
        match self.accept.encoding {
            Encoding::Protobuf => protobuf::watch_frame("ERROR", &crate::respond::status_protobuf(status)).into(),
            Encoding::Json | Encoding::Yaml => match status.to_value() {
                Value::Map(map) => line("ERROR", &map),
                _ => Bytes::new(),
            },
        }
    }
}

fn open(name: &str, out: &mut Vec<u8>) {
    out.extend_from_slice(b"{\"type\":\"");
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b"\",\"object\":");
}

fn line(name: &str, object: &Map) -> Bytes {
    let mut out = Vec::with_capacity(256);
    open(name, &mut out);
    json::encode_map_into(object, &mut out);
    out.extend_from_slice(b"}\n");
    out.into()
}
