//! Objects, lists and events in the form a client asked for: whole, metadata only, or rows of a Table; as JSON or as
//! protobuf. What is not a mere splice of stored bytes is made once per revision and kept (see `cache::Form`).

mod event;
mod table;

use crate::cache::{Caches, Entry, Form, What};
use crate::chunks::Chunks;
use crate::negotiate::{Accept, Encoding, Shape};
use crate::registry::{
    decode, decode_metadata, encode, is_view, metadata_of, type_of, viewed, write_item, write_object, write_partial,
};
use crate::request::api_version;
use api::codec::protobuf;
use api::{Kind, Map, Object, Status, Value};
use bytes::Bytes;
use std::borrow::Cow;
use std::sync::Arc;

/// What stands in a list's metadata.
#[derive(Debug, Default)]
pub(crate) struct ListMeta {
    pub revision: u64,
    pub continues: String,
    pub remaining: Option<u64>,
}

/// A kind's objects on their way to one client.
#[derive(Clone)]
pub(crate) struct Shown {
    pub kind: Arc<Kind>,
    pub accept: Accept,
    pub caches: Arc<Caches>,
}

impl Shown {
    /// One object as a whole answer.
    pub(crate) fn object(&self, entry: &Entry) -> Result<Vec<u8>, Status> {
        if matches!(self.accept.shape, Shape::Partial { list: true, .. }) {
            return Err(not_a_list(&self.kind));
        }
        let mut out = Vec::with_capacity(entry.value.len() + 128);
        self.one(entry, true, &mut out)?;
        if self.accept.encoding != Encoding::Protobuf {
            out.push(b'\n');
        }
        Ok(out)
    }

    /// An object that was just written, with its resourceVersion in it.
    pub(crate) fn written(&self, object: &Object) -> Result<Vec<u8>, Status> {
        let plain = self.accept.encoding == Encoding::Protobuf && self.accept.shape == Shape::Whole;
        if plain && !is_view(&self.kind) {
            return Ok(self.enveloped(&to_protobuf(&self.kind, &object.0)?));
        }
        let version = object.resource_version();
        let json = self.accept.encoding != Encoding::Protobuf && self.accept.shape == Shape::Whole;
        if json && !version.is_empty() && version.parse::<u64>().is_err() {
            // A dry run that shows what was asked for: nothing that is stored has such a version.
            let mut out = api::codec::json::encode(&api::Value::Map(object.0.clone()));
            out.push(b'\n');
            return Ok(out);
        }
        let revision = version.parse().unwrap_or(0);
        self.object(&Entry::new(Bytes::new(), encode(&self.kind, object), revision))
    }

    /// Appends one object. `columns` says whether a Table names its columns.
    fn one(&self, entry: &Entry, columns: bool, out: &mut Vec<u8>) -> Result<(), Status> {
        let (kind, revision) = (&self.kind, entry.revision);
        match (&self.accept.shape, self.accept.encoding) {
            (Shape::Whole, Encoding::Protobuf) => out.extend_from_slice(&self.enveloped(&self.protobuf(entry)?)),
            (Shape::Whole, Encoding::Json | Encoding::Yaml) => {
                write_object(kind, &self.stored(entry), revision, out);
            }
            (Shape::Partial { version, .. }, Encoding::Protobuf) => {
                let of = api_version("meta.k8s.io", version);
                out.extend_from_slice(&protobuf::wrap(&of, "PartialObjectMetadata", &self.protobuf(entry)?));
            }
            (Shape::Partial { version, .. }, Encoding::Json | Encoding::Yaml) => {
                write_partial(version, &self.metadata(entry), revision, out);
            }
            (Shape::Table { version, include }, _) => {
                let meta = ListMeta { revision, ..ListMeta::default() };
                table::head(kind, version, &meta, columns, out);
                out.push(b'[');
                table::row(kind, version, *include, entry, out)?;
                out.extend_from_slice(b"]}");
            }
        }
        Ok(())
    }

    /// The metadata where it is shown alone.
    fn metadata<'a>(&self, entry: &'a Entry) -> Cow<'a, [u8]> {
        let meta = if keeps_elsewhere(&self.kind) { decode_metadata(entry.metadata(), 0).ok() } else { None };
        match meta {
            None => Cow::Borrowed(entry.metadata()),
            Some(meta) => Cow::Owned(metadata_of(&alone(&self.kind, meta))),
        }
    }

    /// The stored form in the version that is asked for.
    fn stored(&self, entry: &Entry) -> Bytes {
        if !is_view(&self.kind) {
            return entry.value.clone();
        }
        let form = Form { what: What::View, of: type_of(&self.kind) };
        let made = self.caches.form(&entry.made, form, || Ok(viewed(&self.kind, &entry.value).into_owned()));
        made.unwrap_or_else(|_| entry.value.clone())
    }

    /// An object, or its metadata alone, as protobuf without an envelope: an item of a list.
    fn protobuf(&self, entry: &Entry) -> Result<Bytes, Status> {
        match self.accept.shape {
            Shape::Partial { .. } => {
                let form = Form { what: What::Metadata, of: "".into() };
                self.caches.form(&entry.made, form, || {
                    let meta = alone(&self.kind, decode_metadata(entry.metadata(), entry.revision)?);
                    protobuf::partial(&meta).map_err(Status::internal)
                })
            }
            Shape::Whole | Shape::Table { .. } => {
                let form = Form { what: What::Protobuf, of: self.kind.type_name.clone() };
                self.caches.form(&entry.made, form, || {
                    to_protobuf(&self.kind, &decode(&self.kind, &entry.value, entry.revision)?.0)
                })
            }
        }
    }

    fn enveloped(&self, object: &[u8]) -> Vec<u8> {
        protobuf::wrap(&self.kind.api_version(), &self.kind.names.kind, object)
    }

    /// A whole list.
    pub(crate) fn list(&self, entries: Vec<Arc<Entry>>, meta: &ListMeta) -> Result<Chunks, Status> {
        let (name, version) = match &self.accept.shape {
            Shape::Partial { list: false, .. } => return Err(not_an_object(&self.kind)),
            Shape::Partial { version, .. } => {
                ("PartialObjectMetadataList".to_owned(), api_version("meta.k8s.io", version))
            }
            Shape::Whole => (self.kind.list_kind().into_owned(), self.kind.api_version()),
            Shape::Table { .. } => return self.table(entries, meta),
        };
        match self.accept.encoding {
            Encoding::Protobuf => self.protobuf_list(&name, &version, &entries, meta),
            Encoding::Json | Encoding::Yaml => Ok(self.json_list(&name, &version, entries, meta)),
        }
    }

    fn table(&self, mut entries: Vec<Arc<Entry>>, meta: &ListMeta) -> Result<Chunks, Status> {
        table::order(&self.kind, &mut entries);
        let Shape::Table { version, include } = &self.accept.shape else { return Ok(Chunks::whole(Vec::new())) };
        let mut out = Vec::with_capacity(4096);
        table::head(&self.kind, version, meta, true, &mut out);
        if entries.is_empty() {
            out.extend_from_slice(table::no_rows(&self.kind));
            out.extend_from_slice(b"}\n");
            return Ok(Chunks::whole(out));
        }
        out.push(b'[');
        for (i, entry) in entries.iter().enumerate() {
            if i > 0 {
                out.push(b',');
            }
            table::row(&self.kind, version, *include, entry, &mut out)?;
        }
        out.extend_from_slice(b"]}\n");
        Ok(Chunks::whole(out))
    }

    /// The items as they are stored, each with its resourceVersion, joined when they are sent.
    fn json_list(&self, name: &str, version: &str, entries: Vec<Arc<Entry>>, meta: &ListMeta) -> Chunks {
        /// What is added to a stored item: its resourceVersion, a comma, and for metadata its type.
        const AROUND: usize = 40;
        let mut head = format!("{{\"kind\":{name:?},\"apiVersion\":{version:?},\"metadata\":").into_bytes();
        // Upstream's lists of custom kinds show an empty token as well.
        let untyped = self.kind.custom.is_some() && self.accept.shape == Shape::Whole;
        list_meta(meta, untyped, &mut head);
        let partial = matches!(self.accept.shape, Shape::Partial { .. });
        if partial && entries.is_empty() {
            head.extend_from_slice(b",\"items\":null}\n");
            return Chunks::whole(head);
        }
        head.extend_from_slice(b",\"items\":[");
        let shown = |entry: &Entry| if partial { entry.metadata().len() } else { entry.value.len() };
        let size = entries.iter().map(|e| shown(e) + AROUND).sum::<usize>() + head.len();
        let shown = self.clone();
        let (mut entries, mut head, mut first) = (entries.into_iter(), Some(head), true);
        Chunks::written(size, move |out| {
            if let Some(head) = head.take() {
                out.extend_from_slice(&head);
                return true;
            }
            let Some(entry) = entries.next() else {
                out.extend_from_slice(b"]}\n");
                return false;
            };
            if !std::mem::take(&mut first) {
                out.push(b',');
            }
            shown.json_item(&entry, out);
            true
        })
    }

    fn json_item(&self, entry: &Entry, out: &mut Vec<u8>) {
        match &self.accept.shape {
            Shape::Partial { version, .. } => write_partial(version, &self.metadata(entry), entry.revision, out),
            Shape::Whole | Shape::Table { .. } => write_item(&self.kind, &self.stored(entry), entry.revision, out),
        }
    }

    fn protobuf_list(
        &self,
        name: &str,
        version: &str,
        entries: &[Arc<Entry>],
        meta: &ListMeta,
    ) -> Result<Chunks, Status> {
        let mut pieces = Vec::with_capacity(entries.len() * 2 + 2);
        pieces.push(Bytes::new());
        let mut size = 0;
        for entry in entries {
            let item = self.protobuf(entry)?;
            let head = protobuf::item_head(item.len());
            size += head.len() + item.len();
            pieces.extend([head.into(), item]);
        }
        let list = protobuf::list(version, name, &list_meta_map(meta), size).map_err(Status::internal)?;
        pieces[0] = list.head.into();
        pieces.push(Bytes::from_static(list.tail));
        Ok(Chunks::joined(size + pieces[0].len(), pieces.into_iter()))
    }
}

/// Upstream keeps it in a field of the object: where metadata stands alone, it is not among the annotations.
const GENERATION: &str = "deprecated.daemonset.template.generation";

fn keeps_elsewhere(kind: &Kind) -> bool {
    kind.names.plural == "daemonsets" && kind.names.group == "apps"
}

/// Metadata as it is shown without its object.
fn alone(kind: &Kind, mut meta: Map) -> Map {
    if keeps_elsewhere(kind)
        && let Some(Value::Map(annotations)) = meta.get_mut("annotations")
    {
        annotations.remove(GENERATION);
        if annotations.is_empty() {
            meta.remove("annotations");
        }
    }
    meta
}

/// An object of a built-in kind as protobuf.
fn to_protobuf(kind: &Kind, object: &Map) -> Result<Vec<u8>, Status> {
    protobuf::encode(&kind.type_name, object)
        .map_err(|e| Status::internal(format!("a {} cannot be shown as protobuf: {e}", kind.names.kind)))
}

fn list_meta(meta: &ListMeta, untyped: bool, out: &mut Vec<u8>) {
    let mut map = list_meta_map(meta);
    if untyped {
        map.insert("continue", meta.continues.as_str());
    }
    api::codec::json::encode_map_into(&map, out);
}

fn list_meta_map(meta: &ListMeta) -> Map {
    let mut map = Map::new();
    map.insert("resourceVersion", meta.revision.to_string());
    if !meta.continues.is_empty() {
        map.insert("continue", meta.continues.as_str());
    }
    if let Some(remaining) = meta.remaining {
        map.insert("remainingItemCount", i64::try_from(remaining).unwrap_or(i64::MAX));
    }
    map
}

fn go_name(kind: &Kind) -> String {
    let group = match kind.names.group.split('.').next().unwrap_or("") {
        "" => "core",
        first => first,
    };
    format!("*{group}.{}", kind.names.kind)
}

fn not_an_object(kind: &Kind) -> Status {
    let what = go_name(kind);
    let message = format!("you requested PartialObjectMetadata, but the requested object is a list ({what}List)");
    Status::new(406, "NotAcceptable", message)
}

fn not_a_list(kind: &Kind) -> Status {
    let what = go_name(kind);
    let message = format!("you requested PartialObjectMetadataList, but the requested object is not a list ({what})");
    Status::new(406, "NotAcceptable", message)
}
