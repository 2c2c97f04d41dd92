//! What may follow `?` in a path, made from the types of options, and what stands in braces in it.

use api::schema::{self, Field, Type};
use api::{Map, Value};

pub(super) const LIST: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.ListOptions";
pub(super) const GET: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.GetOptions";
pub(super) const CREATE: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.CreateOptions";
pub(super) const UPDATE: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.UpdateOptions";
pub(super) const PATCH: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.PatchOptions";
pub(super) const DELETE: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.DeleteOptions";
pub(super) const LOG: &str = "io.k8s.api.core.v1.PodLogOptions";

/// What each of them means, in short.
const TEXTS: &[(&str, &str)] = &[
    ("allowWatchBookmarks", "Whether a watch may send events of type BOOKMARK, which tell how far it has come."),
    ("command", "The command to run, not in a shell: each use adds an argument."),
    ("container", "The container; not needed where a pod has one alone."),
    (
        "continue",
        "Where to go on, as metadata.continue of the page before says. A token that is too old is answered with 410.",
    ),
    ("dryRun", "With All, every stage of the request runs and nothing is stored."),
    (
        "fieldManager",
        "Who makes the change, for the ownership of fields: at most 128 printable characters. An apply needs it.",
    ),
    ("fieldSelector", "Restricts the objects by their fields."),
    (
        "fieldValidation",
        "What becomes of unknown and duplicate fields: Ignore, Warn (a Warning header; the default) or Strict (the request is refused).",
    ),
    ("follow", "Whether to go on with what is written from now on."),
    ("force", "Whether an apply takes over fields that others own."),
    (
        "gracePeriodSeconds",
        "How long the object may take to end; zero means at once. The kind's own default where it is left out.",
    ),
    ("ignoreStoreReadErrorWithClusterBreakingPotential", "Whether to delete an object that can no longer be read."),
    ("insecureSkipTLSVerifyBackend", "Whether to trust the node that has the log without checking its certificate."),
    ("labelSelector", "Restricts the objects by their labels."),
    ("limit", "At most so many objects; metadata.continue leads to the rest, of the same moment."),
    ("limitBytes", "At most so many bytes."),
    ("orphanDependents", "Whether what the object owns is left behind; propagationPolicy says more."),
    ("path", "The path of the request to the server behind it."),
    ("ports", "The ports to forward."),
    ("pretty", "With true, the answer is laid out to be read."),
    ("previous", "Whether to show the container as it ran before its last restart."),
    ("propagationPolicy", "What becomes of what the object owns: Orphan, Background or Foreground."),
    (
        "resourceVersion",
        "How new the answer has to be; see https://kubernetes.io/docs/reference/using-api/api-concepts/#resource-versions.",
    ),
    ("resourceVersionMatch", "How resourceVersion is meant: Exact or NotOlderThan."),
    (
        "sendInitialEvents",
        "Whether a watch begins with an event for each object that is there, and a bookmark behind the last.",
    ),
    ("shardSelector", "A part of the objects by their hash: alpha in Kubernetes, and not offered."),
    ("sinceSeconds", "Shows what is not older than so many seconds."),
    ("stderr", "Whether to connect the standard error."),
    ("stdin", "Whether to connect the standard input."),
    ("stdout", "Whether to connect the standard output."),
    ("stream", "Which of the streams to show: All, Stdout or Stderr."),
    ("tailLines", "At most so many of the last lines."),
    ("timeoutSeconds", "When a list or a watch ends at the latest."),
    ("timestamps", "Whether each line begins with its time."),
    ("tty", "Whether the process has a terminal."),
    ("watch", "Whether to go on with what changes, as a stream of events."),
];

/// The options of a type, but for `without`.
pub(super) fn options(type_name: &str, without: &[&str]) -> Vec<Value> {
    let fields = schema::find(type_name).map(|schema| &*schema.fields).unwrap_or_default();
    let shown = |f: &&Field| !f.hidden && !["apiVersion", "kind"].contains(&f.name) && !without.contains(&f.name);
    fields.iter().filter(shown).filter_map(|f| Some(query(f.name, simple(&f.ty)?))).collect()
}

/// The type of a value in a query; structures have none.
fn simple(ty: &Type) -> Option<&'static str> {
    match ty {
        Type::String => Some("string"),
        Type::Bool => Some("boolean"),
        Type::Int32 | Type::Int64 => Some("integer"),
        Type::List(item) => simple(item),
        _ => None,
    }
}

pub(super) fn pretty() -> Value {
    query("pretty", "string")
}

fn query(name: &str, ty: &str) -> Value {
    let text = TEXTS.binary_search_by_key(&name, |(n, _)| n).map(|i| TEXTS[i].1).unwrap_or_default();
    Value::Map(parameter(name, ty, text, "query"))
}

/// What a path has in braces; `named` is the kind of which it names one.
pub(super) fn of_path(path: &str, named: &str) -> Vec<Value> {
    let mut out = Vec::new();
    let mut add = |name: &str, text: &str| {
        if path.contains(&format!("{{{name}}}")) {
            let mut of = parameter(name, "string", text, "path");
            of.insert("required", true);
            out.push(Value::Map(of));
        }
    };
    add("name", &format!("name of the {named}"));
    add("namespace", "object name and auth scope, such as for teams and projects");
    add("path", "path to the resource");
    out
}

fn parameter(name: &str, ty: &str, text: &str, place: &str) -> Map {
    let mut schema = Map::new();
    schema.insert("type", ty);
    schema.insert("uniqueItems", true);
    let mut out = Map::new();
    out.insert("name", name);
    out.insert("in", place);
    out.insert("description", text);
    out.insert("schema", schema);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_option_has_a_text_and_is_found() {
        assert!(TEXTS.windows(2).all(|w| w[0].0 < w[1].0), "in order, so that they are found");
        let pods = ["Exec", "Attach", "PortForward", "Proxy"].map(|n| format!("io.k8s.api.core.v1.Pod{n}Options"));
        for name in [LIST, GET, CREATE, UPDATE, PATCH, DELETE, LOG].into_iter().chain(pods.iter().map(String::as_str)) {
            let options = options(name, &[]);
            assert!(!options.is_empty(), "{name}");
            for option in options {
                assert_ne!(option.get("description"), Some(&"".into()), "{option:?}");
            }
        }
    }
}
