//! The stored form of an object, and the wire forms that are spliced from it without decoding.
//!
//! INVARIANT: a stored value begins with `{"metadata":{"`, and holds neither `apiVersion` and `kind` (the key says
//! them) nor `metadata.resourceVersion` (the store's revision says it). So every wire form is a prefix and a copy.
//! Objects of custom kinds whose definition has changed its storage version are never shown as they are stored: they
//! end with `apiVersion`, the version that they are stored in.

use crate::request::api_version;
use api::codec::{Decoded, json};
use api::{Kind, Map, Object, Status, Value, versions};
use bytes::Bytes;
use std::borrow::Cow;

const HEAD: &[u8] = b"{\"metadata\":{";

/// The bytes to store.
pub(crate) fn encode(kind: &Kind, object: &Object) -> Bytes {
    let bytes = match versions::is_view(kind) {
        false => encode_map(object.meta(), &object.0),
        true => {
            let mut map = object.0.clone();
            versions::from_view(kind, &mut map);
            if let Some(custom) = &kind.custom
                && custom.stored.version != kind.names.version
            {
                custom.stored.prune(&mut map);
            }
            let mut out = encode_map(map.get("metadata").and_then(Value::as_map), &map);
            if let Some(custom) = &kind.custom
                && custom.stored.version != custom.stored.oldest
            {
                out.truncate(out.len() - 1);
                out.extend_from_slice(b",\"apiVersion\":");
                json::encode_into(&Value::from(custom.stored.version.as_str()), &mut out);
                out.push(b'}');
            }
            out
        }
    };
    bytes.into()
}

/// A stored value in the version of its kind: the value itself but for kinds that are stored in another one.
pub(crate) fn viewed<'a>(kind: &Kind, value: &'a [u8]) -> Cow<'a, [u8]> {
    if !versions::is_view(kind) {
        return Cow::Borrowed(value);
    }
    let Ok(Decoded { value: Value::Map(mut map), .. }) = json::decode(value) else { return Cow::Borrowed(value) };
    versions::to_view(kind, &mut map);
    let version = map.remove("apiVersion");
    let mut object = Object(map);
    if let Some(custom) = &kind.custom {
        let version = version.as_ref().and_then(Value::as_str).unwrap_or(&custom.stored.oldest);
        custom.stored.default(version, &mut object);
    }
    kind.check(&mut object);
    Cow::Owned(encode_map(object.meta(), &object.0))
}

fn encode_map(meta: Option<&Map>, object: &Map) -> Vec<u8> {
    let mut out = Vec::with_capacity(1024);
    out.extend_from_slice(b"{\"metadata\":");
    let mut meta = meta.cloned().unwrap_or_default();
    meta.remove("resourceVersion");
    json::encode_map_into(&meta, &mut out);
    let mut rest = object.clone();
    rest.retain(|key, _| !matches!(key.as_str(), "metadata" | "apiVersion" | "kind"));
    if !rest.is_empty() {
        out.push(b',');
        let at = out.len();
        json::encode_map_into(&rest, &mut out);
        out.remove(at);
        return out;
    }
    out.push(b'}');
    out
}

/// The object of a stored value, with its type and resourceVersion.
pub(crate) fn decode(kind: &Kind, value: &[u8], revision: u64) -> Result<Object, Status> {
    let decoded = json::decode(&viewed(kind, value))
        .map_err(|e| Status::internal(format!("a stored {} cannot be read: {e}", kind.names.kind)))?;
    let Value::Map(map) = decoded.value else {
        return Err(Status::internal(format!("a stored {} is not an object", kind.names.kind)));
    };
    let mut object = Object(map);
    object.set_type(&api_version(&kind.names.group, &kind.names.version), &kind.names.kind);
    if revision > 0 {
        object.meta_mut().insert("resourceVersion", revision.to_string());
    }
    Ok(object)
}

/// Decodes what [`metadata`] found, with its resourceVersion.
pub(crate) fn decode_metadata(metadata: &[u8], revision: u64) -> Result<Map, Status> {
    let mut part = metadata.to_vec();
    part.push(b'}');
    let decoded = json::decode(&part).map_err(|e| Status::internal(format!("stored metadata cannot be read: {e}")))?;
    let mut meta = decoded.value.get("metadata").and_then(Value::as_map).cloned().unwrap_or_default();
    if revision > 0 {
        meta.insert("resourceVersion", revision.to_string());
    }
    Ok(meta)
}

/// A whole object of a value in its kind's version: `{"kind":…,"apiVersion":…,"metadata":{"resourceVersion":…,…}…}`.
pub(crate) fn write_object(kind: &Kind, value: &[u8], revision: u64, out: &mut Vec<u8>) {
    write_type(&kind.names.kind, &api_version(&kind.names.group, &kind.names.version), out);
    write_tail(value, revision, out);
}

/// An item of a typed list, which has no type of its own.
pub(crate) fn write_item(kind: &Kind, value: &[u8], revision: u64, out: &mut Vec<u8>) {
    if kind.custom.is_some() {
        // Upstream knows no type of custom lists, so that each item says its own.
        return write_object(kind, value, revision, out);
    }
    out.push(b'{');
    write_tail(value, revision, out);
}

/// `PartialObjectMetadata` of what [`metadata`] found.
pub(crate) fn write_partial(version: &str, metadata: &[u8], revision: u64, out: &mut Vec<u8>) {
    write_type("PartialObjectMetadata", &api_version("meta.k8s.io", version), out);
    write_tail(metadata, revision, out);
    out.push(b'}');
}

fn write_type(kind: &str, api_version: &str, out: &mut Vec<u8>) {
    out.extend_from_slice(b"{\"kind\":\"");
    out.extend_from_slice(kind.as_bytes());
    out.extend_from_slice(b"\",\"apiVersion\":\"");
    out.extend_from_slice(api_version.as_bytes());
    out.extend_from_slice(b"\",");
}

fn write_tail(value: &[u8], revision: u64, out: &mut Vec<u8>) {
    out.extend_from_slice(&HEAD[1..]);
    if revision > 0 {
        out.extend_from_slice(format!("\"resourceVersion\":\"{revision}\",").as_bytes());
    }
    out.extend_from_slice(value.get(HEAD.len()..).unwrap_or(b"}}"));
}

/// `{"metadata":{…}` of a stored value: up to the brace that closes the metadata.
pub(crate) fn metadata(value: &[u8]) -> &[u8] {
    let (mut depth, mut quoted, mut escaped) = (0usize, false, false);
    for (i, byte) in value.iter().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            b'{' if !quoted => depth += 1,
            b'}' if !quoted => {
                depth -= 1;
                if depth == 1 {
                    return &value[..=i];
                }
            }
            _ => {}
        }
    }
    value
}

/// Metadata as [`metadata`] would have found it.
pub(crate) fn metadata_of(meta: &Map) -> Vec<u8> {
    let mut out = encode_map(Some(meta), &Map::new());
    out.pop();
    out
}

/// Metadata alone, for rows of tables.
pub(crate) fn partial_value(meta: Map, version: &str) -> Value {
    let mut map = Map::new();
    map.insert("kind", "PartialObjectMetadata");
    map.insert("apiVersion", api_version("meta.k8s.io", version));
    map.insert("metadata", meta);
    Value::Map(map)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config_map() -> &'static Kind {
        api::kinds::find("", "v1", "configmaps").expect("a built-in kind")
    }

    fn object(text: &str) -> Object {
        match json::decode(text.as_bytes()).expect("JSON").value {
            Value::Map(map) => Object(map),
            _ => panic!("not an object"),
        }
    }

    #[test]
    fn what_only_one_version_says_in_annotations_is_not_stored_there() {
        let kind = api::kinds::find("autoscaling", "v1", "horizontalpodautoscalers").expect("a built-in kind");
        let text = r#"{"metadata":{"name":"a","annotations":{"autoscaling.alpha.kubernetes.io/conditions":"[]","b":"c"}},"spec":{"maxReplicas":1},"status":{}}"#;
        let stored = encode(kind, &object(text));
        let meta = decode_metadata(metadata(&stored), 0).expect("metadata");
        let annotations = meta.get("annotations").and_then(Value::as_map).expect("annotations");
        assert_eq!(annotations.keys().map(|k| k.as_str()).collect::<Vec<_>>(), ["b"]);
    }

    #[test]
    fn stored_objects_come_back_with_type_and_version() {
        let text = r#"{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"a","annotations":{"x":"}\"{"},"resourceVersion":"3"},"data":{"k":"v"}}"#;
        let stored = encode(config_map(), &object(text));
        assert!(stored.starts_with(b"{\"metadata\":{\""));
        let mut out = Vec::new();
        write_object(config_map(), &stored, 7, &mut out);
        let mut expected = object(text);
        expected.meta_mut().insert("resourceVersion", "7");
        assert_eq!(object(std::str::from_utf8(&out).expect("UTF-8")), expected);
        assert_eq!(decode(config_map(), &stored, 7).expect("decodes"), expected);
    }

    #[test]
    fn metadata_alone_keeps_braces_in_strings() {
        for text in
            [r#"{"metadata":{"name":"a","annotations":{"x":"}\"{"}},"data":{"k":"v"}}"#, r#"{"metadata":{"name":"a"}}"#]
        {
            let mut out = Vec::new();
            write_partial("v1", metadata(&encode(config_map(), &object(text))), 7, &mut out);
            let mut expected = object(text);
            expected.0.remove("data");
            expected.set_type("meta.k8s.io/v1", "PartialObjectMetadata");
            expected.meta_mut().insert("resourceVersion", "7");
            assert_eq!(object(std::str::from_utf8(&out).expect("UTF-8")), expected);
        }
    }
}
