//! One operation: what is asked with a method at a path, and what is answered.

use super::{Gvk, parameters};
use api::{Map, Value};

pub(super) const ALL: &[&str] = &["application/json", "application/vnd.kubernetes.protobuf", "application/yaml"];
pub(super) const STREAMED: &[&str] = &[
    "application/json",
    "application/json;stream=watch",
    "application/vnd.kubernetes.protobuf",
    "application/vnd.kubernetes.protobuf;stream=watch",
    "application/yaml",
];
/// What objects of custom kinds come in.
pub(super) const PLAIN: &[&str] = &["application/json", "application/yaml"];
pub(super) const JSON: &[&str] = &["application/json"];
pub(super) const ANY: &[&str] = &["*/*"];

/// What a body or an answer holds, and in which encodings.
#[derive(Clone)]
pub(super) struct Content {
    /// `None` is text.
    pub type_name: Option<String>,
    pub media: &'static [&'static str],
}

impl Content {
    pub(super) fn of(type_name: &str, media: &'static [&'static str]) -> Content {
        Content { type_name: Some(type_name.to_owned()), media }
    }

    pub(super) fn text(media: &'static [&'static str]) -> Content {
        Content { type_name: None, media }
    }

    fn value(&self) -> Map {
        let mut schema = Map::new();
        match &self.type_name {
            Some(name) => schema.insert("$ref", format!("{REFERENCE}{name}")),
            None => schema.insert("type", "string"),
        };
        let mut media = Map::new();
        media.insert("schema", schema);
        self.media.iter().map(|name| (*name, Value::Map(media.clone()))).collect()
    }
}

pub(super) const REFERENCE: &str = "#/components/schemas/";

pub(super) struct Operation {
    pub method: &'static str,
    pub id: String,
    pub text: String,
    pub tag: String,
    /// What is done, to which kind; paths that are no resources have none.
    pub about: Option<(&'static str, Gvk)>,
    pub query: Vec<Value>,
    /// What is sent, and whether it has to be.
    pub body: Option<(Content, bool)>,
    pub answer: Content,
    /// The codes of success.
    pub codes: &'static [&'static str],
}

impl Operation {
    fn value(self, parameters: Vec<Value>) -> Map {
        let mut out = Map::new();
        out.insert("tags", vec![self.tag]);
        out.insert("description", self.text);
        out.insert("operationId", self.id);
        if !parameters.is_empty() {
            out.insert("parameters", parameters);
        }
        if let Some((content, required)) = self.body {
            let mut body = Map::new();
            body.insert("content", content.value());
            if required {
                body.insert("required", true);
            }
            out.insert("requestBody", body);
        }
        let mut responses: Map = self.codes.iter().map(|code| (*code, response(code, Some(&self.answer)))).collect();
        responses.insert("401", response("401", None));
        out.insert("responses", responses);
        if let Some((action, gvk)) = self.about {
            out.insert("x-kubernetes-action", action);
            out.insert("x-kubernetes-group-version-kind", gvk.value());
        }
        out
    }
}

fn response(code: &str, content: Option<&Content>) -> Value {
    let mut out = Map::new();
    let text = match code {
        "200" => "OK",
        "201" => "Created",
        "202" => "Accepted",
        _ => "Unauthorized",
    };
    out.insert("description", text);
    if let Some(content) = content {
        out.insert("content", content.value());
    }
    Value::Map(out)
}

/// Adds the operations of a path; parameters that all of them have are the path's. `named` is the kind that `{name}`
/// in the path names one of.
pub(super) fn add(paths: &mut Map, path: String, named: &str, operations: Vec<Operation>) {
    if operations.is_empty() {
        return;
    }
    let of_path = parameters::of_path(&path, named);
    let all: Vec<Vec<Value>> = operations.iter().map(|o| [&*of_path, &*o.query].concat()).collect();
    let shared = |p: &Value| all.iter().all(|others| others.contains(p));
    let common: Vec<Value> = all[0].iter().filter(|p| shared(p)).cloned().collect();
    let mut item = Map::new();
    for (operation, parameters) in operations.into_iter().zip(&all) {
        let own = parameters.iter().filter(|p| !common.contains(p)).cloned().collect();
        item.insert(operation.method, operation.value(sorted(own)));
    }
    if !common.is_empty() {
        item.insert("parameters", sorted(common));
    }
    paths.insert(path, item);
}

fn sorted(mut parameters: Vec<Value>) -> Vec<Value> {
    let key = |of: &Value| ["name", "in"].map(|k| of.get(k).and_then(Value::as_str).unwrap_or_default().to_owned());
    parameters.sort_by_cached_key(key);
    parameters
}
