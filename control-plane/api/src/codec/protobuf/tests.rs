use super::*;
use crate::codec::json;
use crate::{Object, Value};

const MISSING: &str = "SKIPPED: the golden objects are not on this machine";

/// One of upstream's objects with every field set.
struct Golden {
    stem: String,
    /// The name of its type.
    name: String,
    json: Vec<u8>,
    protobuf: Vec<u8>,
}

fn golden() -> Option<Vec<Golden>> {
    let dir = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data/golden");
    let mut out = Vec::new();
    for file in std::fs::read_dir(&dir).ok()? {
        let path = file.expect("an entry").path();
        if path.extension().is_none_or(|e| e != "pb") {
            continue;
        }
        let stem = path.file_stem().expect("a name").to_string_lossy().into_owned();
        let (group, kind) = stem.split_once(".v1.").expect("group, version, kind");
        let kind = kind.split('.').next().expect("a kind");
        let package = match group {
            "core" => "core",
            other => other.split('.').next().expect("a group"),
        };
        let names = [format!("io.k8s.api.{package}.v1.{kind}"), format!("io.k8s.apimachinery.pkg.apis.meta.v1.{kind}")];
        let name = names.iter().find(|n| crate::schema::find(n).is_some());
        let name = name.unwrap_or_else(|| panic!("{stem} has no table")).clone();
        let json = std::fs::read(path.with_extension("json")).expect("its JSON");
        out.push(Golden { stem, name, json, protobuf: std::fs::read(&path).expect("its bytes") });
    }
    Some(out)
}

fn map(text: &[u8]) -> Map {
    match json::decode(text).expect("JSON").value {
        Value::Map(map) => map,
        other => panic!("not an object: {other:?}"),
    }
}

#[test]
fn golden_objects_are_written_byte_for_byte() {
    let Some(golden) = golden() else { return eprintln!("{MISSING}") };
    let mut wrong = Vec::new();
    for Golden { stem, name, json: text, protobuf: bytes } in &golden {
        let object = Object(map(text));
        let written = encode(name, &object.0).unwrap_or_else(|e| panic!("{stem}: {e}"));
        let written = wrap(object.api_version(), object.kind(), &written);
        if written != *bytes {
            let same = written.iter().zip(bytes).take_while(|(a, b)| a == b).count();
            let around = |b: &[u8]| b[same.saturating_sub(40)..b.len().min(same + 40)].escape_ascii().to_string();
            wrong.push(format!("{stem} at {same}:\n  {}\n  {}", around(&written), around(bytes)));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(golden.len() > 40, "only {} were compared", golden.len());
}

#[test]
fn golden_objects_are_read_back() {
    let Some(golden) = golden() else { return eprintln!("{MISSING}") };
    for Golden { stem, name, json: text, protobuf: bytes } in &golden {
        let normal = |map: Map| {
            let mut object = Object(map);
            crate::schema::check(name, &mut object);
            String::from_utf8(json::encode(&Value::Map(object.0))).expect("UTF-8")
        };
        let Value::Map(read) = decode(name, bytes).expect(stem) else { panic!("{stem} is no object") };
        let (from_proto, from_json) = (normal(read), normal(map(text)));
        let same = from_proto.bytes().zip(from_json.bytes()).take_while(|(a, b)| a == b).count();
        let around = |t: &str| t.chars().skip(same.saturating_sub(80)).take(240).collect::<String>();
        assert!(from_proto == from_json, "{stem}:\n{}\n{}", around(&from_proto), around(&from_json));
    }
}

#[test]
fn broken_bytes_are_an_error() {
    for bytes in [
        &b"k8s\0\x12\x05ab"[..],
        b"k8s\0\x0a\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01",
        b"{}",
        b"k8s\0\x12\x02\x0a\x09",
    ] {
        assert!(decode("io.k8s.api.core.v1.ConfigMap", bytes).is_err(), "{bytes:?}");
    }
}
