//! The paths of an OpenAPI document, made from what kinds say of themselves: each verb of a resource and of its
//! subresources is an operation.

use super::operations::{self, ALL, ANY, Content, Operation, PLAIN, STREAMED};
use super::{Gvk, custom, names, parameters};
use crate::registry::deletion;
use api::kind::{Scope, Subresource};
use api::{Kind, Map, Value};

const META: &str = "io.k8s.apimachinery.pkg.apis.meta.v1";
const CREATED: &[&str] = &["200", "201", "202"];
const WRITTEN: &[&str] = &["200", "201"];
const OK: &[&str] = &["200"];

/// What a patch of an object can be; custom kinds know no strategic merge.
const PATCHES: &[&str] = &[
    "application/apply-patch+yaml",
    "application/json-patch+json",
    "application/merge-patch+json",
    "application/strategic-merge-patch+json",
];

/// Adds the paths of a kind.
pub(super) fn add(kind: &Kind, paths: &mut Map) {
    let resource = Resource::new(kind);
    let place = |operations, path: String| (path, operations);
    let within = resource.within("");
    let object = format!("{within}/{{name}}");
    let mut places = vec![
        place(resource.each(&["list", "create", "deletecollection"], ""), within),
        place(resource.each(&["get", "update", "delete", "patch"], ""), object.clone()),
    ];
    if resource.namespaced() {
        places.push(place(resource.each(&["list"], ALL_NAMESPACES), resource.everywhere("")));
    }
    // Of custom kinds these paths are served and, as upstream, not told of: a parameter replaces them.
    if kind.custom.is_none() && resource.has("watch") {
        let within = resource.within("watch/");
        let object = format!("{within}/{{name}}");
        places.push(place(vec![resource.watch("List", "watchlist")], within));
        places.push(place(vec![resource.watch("", "watch")], object));
        if resource.namespaced() {
            let all = resource.watch(&format!("List{ALL_NAMESPACES}"), "watchlist");
            places.push(place(vec![all], resource.everywhere("watch/")));
        }
    }
    for (path, operations) in places {
        operations::add(paths, path, &kind.names.kind, operations);
    }
    for sub in kind.subresources.iter() {
        resource.add_subresource(sub, &object, paths);
    }
}

/// How an operation over all namespaces is called.
const ALL_NAMESPACES: &str = "ForAllNamespaces";

struct Resource<'a> {
    kind: &'a Kind,
    root: String,
    type_name: String,
    media: &'static [&'static str],
}

impl<'a> Resource<'a> {
    fn new(kind: &'a Kind) -> Resource<'a> {
        let root = format!("/{}", super::path_of(&kind.names.group, &kind.names.version));
        let (type_name, media) = match kind.custom {
            Some(_) => (custom::name(kind, &kind.names.kind), PLAIN),
            None => (kind.type_name.to_string(), ALL),
        };
        Resource { kind, root, type_name, media }
    }

    fn namespaced(&self) -> bool {
        self.kind.scope == Scope::Namespaced
    }

    fn has(&self, verb: &str) -> bool {
        self.kind.verbs.iter().any(|v| v == verb)
    }

    fn everywhere(&self, below: &str) -> String {
        format!("{}/{below}{}", self.root, self.kind.names.plural)
    }

    fn within(&self, below: &str) -> String {
        match self.kind.scope {
            Scope::Namespaced => format!("{}/{below}namespaces/{{namespace}}/{}", self.root, self.kind.names.plural),
            Scope::Cluster => self.everywhere(below),
        }
    }

    fn gvk(&self) -> Gvk {
        Gvk::of(&self.kind.names)
    }

    /// `readCoreV1NamespacedPod`: a verb, where, of what, and what of it.
    fn id(&self, verb: &str, middle: &str, suffix: &str) -> String {
        let namespaced = if self.namespaced() && suffix != ALL_NAMESPACES && !suffix.ends_with("ListForAllNamespaces") {
            "Namespaced"
        } else {
            ""
        };
        let (title, kind) = (names::title(&self.kind.names.group, &self.kind.names.version), &self.kind.names.kind);
        format!("{verb}{title}{middle}{namespaced}{kind}{suffix}")
    }

    /// An operation without a body that answers with an object of the kind.
    fn plain(&self, method: &'static str, id: String, text: String, action: &'static str) -> Operation {
        Operation {
            method,
            id,
            text,
            tag: names::tag(&self.kind.names.group, &self.kind.names.version),
            about: Some((action, self.gvk())),
            query: vec![parameters::pretty()],
            body: None,
            answer: Content::of(&self.type_name, self.media),
            codes: OK,
        }
    }

    fn each(&self, verbs: &[&'static str], suffix: &str) -> Vec<Operation> {
        verbs.iter().filter(|verb| self.has(verb)).map(|verb| self.operation(verb, suffix)).collect()
    }

    fn operation(&self, verb: &'static str, suffix: &str) -> Operation {
        let kind = &*self.kind.names.kind;
        match verb {
            "list" => self.list(suffix),
            "create" => {
                let text = format!("create {}", names::with_article(kind));
                self.written("post", self.id("create", "", ""), text, &self.type_name)
            }
            "update" => {
                let text = format!("replace the specified {kind}");
                self.written("put", self.id("replace", "", ""), text, &self.type_name)
            }
            "patch" => {
                let text = format!("partially update the specified {kind}");
                self.written("patch", self.id("patch", "", ""), text, &self.type_name)
            }
            "delete" => self.delete(),
            "deletecollection" => self.delete_collection(),
            _ => self.read(self.id("read", "", ""), format!("read the specified {kind}")),
        }
    }

    fn read(&self, id: String, text: String) -> Operation {
        let mut out = self.plain("get", id, text, "get");
        if self.kind.custom.is_some() {
            out.query.extend(parameters::options(parameters::GET, &[]));
        }
        out
    }

    fn list(&self, suffix: &str) -> Operation {
        let what = if self.has("watch") { "list or watch" } else { "list" };
        let text = format!("{what} objects of kind {}", self.kind.names.kind);
        let mut out = self.plain("get", self.id("list", "", suffix), text, "list");
        out.query.extend(parameters::options(parameters::LIST, &[]));
        out.answer = match self.kind.custom {
            Some(_) => Content::of(&custom::name(self.kind, &self.kind.list_kind()), PLAIN),
            None => Content::of(&format!("{}List", self.type_name), STREAMED),
        };
        out
    }

    /// The form of a watch before the parameter.
    fn watch(&self, suffix: &str, action: &'static str) -> Operation {
        let kind = &self.kind.names.kind;
        let text = match action {
            "watch" => format!(
                "watch changes to an object of kind {kind}. deprecated: use the 'watch' parameter with a list \
                 operation instead, filtered to a single item with the 'fieldSelector' parameter."
            ),
            _ => format!(
                "watch individual changes to a list of {kind}. deprecated: use the 'watch' parameter with a list \
                 operation instead."
            ),
        };
        let mut out = self.plain("get", self.id("watch", "", suffix), text, action);
        out.query.extend(parameters::options(parameters::LIST, &[]));
        out.answer = Content::of(&format!("{META}.WatchEvent"), STREAMED);
        out
    }

    /// An operation that writes an object of a type, by POST, PUT or PATCH.
    fn written(&self, method: &'static str, id: String, text: String, type_name: &str) -> Operation {
        let mut out = self.plain(method, id, text, method);
        let custom = self.kind.custom.is_some();
        let (options, codes) = match method {
            "post" => (parameters::CREATE, CREATED),
            "put" => (parameters::UPDATE, WRITTEN),
            _ => (parameters::PATCH, WRITTEN),
        };
        let body = match (method, custom) {
            ("patch", true) => Content::of(&format!("{META}.Patch"), &PATCHES[..3]),
            ("patch", false) => Content::of(&format!("{META}.Patch"), PATCHES),
            (_, true) => Content::of(type_name, PLAIN),
            (_, false) => Content::of(type_name, ANY),
        };
        out.query.extend(parameters::options(options, &[]));
        out.body = Some((body, true));
        out.answer = Content::of(type_name, self.media);
        out.codes = codes;
        out
    }

    fn delete_options(&self) -> Option<(Content, bool)> {
        let media = if self.kind.custom.is_some() { PLAIN } else { ANY };
        Some((Content::of(parameters::DELETE, media), false))
    }

    fn delete(&self) -> Operation {
        let text = format!("delete {}", names::with_article(&self.kind.names.kind));
        let mut out = self.plain("delete", self.id("delete", "", ""), text, "delete");
        out.query.extend(parameters::options(parameters::DELETE, &[]));
        out.body = self.delete_options();
        if !deletion::shows_object(self.kind) {
            out.answer = Content::of(&format!("{META}.Status"), self.media);
        }
        out.codes = &["200", "202"];
        out
    }

    fn delete_collection(&self) -> Operation {
        let text = format!("delete collection of {}", self.kind.names.kind);
        let mut out = self.plain("delete", self.id("delete", "Collection", ""), text, "deletecollection");
        out.query.extend(parameters::options(parameters::DELETE, &[]));
        out.query.extend(parameters::options(parameters::LIST, &["allowWatchBookmarks", "watch"]));
        out.body = self.delete_options();
        out.answer = Content::of(&format!("{META}.Status"), self.media);
        out
    }

    fn add_subresource(&self, sub: &Subresource, object: &str, paths: &mut Map) {
        let path = format!("{object}/{}", sub.name);
        // What takes such options leads to another server.
        if sub.kind.ends_with("Options") {
            let below = format!("{path}/{{path}}");
            operations::add(paths, path, &sub.kind, self.connections(sub, ""));
            if sub.name == "proxy" {
                operations::add(paths, below, &sub.kind, self.connections(sub, "WithPath"));
            }
            return;
        }
        let operations = sub.verbs.iter().filter_map(|verb| self.of_subresource(sub, verb)).collect();
        let named = if self.kind.custom.is_some() { &self.kind.names.kind } else { &sub.kind };
        operations::add(paths, path, named, operations);
    }

    fn of_subresource(&self, sub: &Subresource, verb: &str) -> Option<Operation> {
        let (kind, name) = (&*self.kind.names.kind, &*sub.name);
        let suffix = names::capital(name);
        let of_its_own = sub.kind == self.kind.names.kind;
        let type_name = if of_its_own { self.type_name.clone() } else { names::type_name(&self.gvk_of(sub)) };
        let mut out = match verb {
            "get" => self.read(self.id("read", "", &suffix), format!("read {name} of the specified {kind}")),
            "update" => {
                let text = format!("replace {name} of the specified {kind}");
                self.written("put", self.id("replace", "", &suffix), text, &type_name)
            }
            "patch" => {
                let text = format!("partially update {name} of the specified {kind}");
                self.written("patch", self.id("patch", "", &suffix), text, &type_name)
            }
            "create" => {
                let text = format!("create {name} of {}", names::with_article(kind));
                self.written("post", self.id("create", "", &suffix), text, &type_name)
            }
            _ => return None,
        };
        out.answer = Content::of(&type_name, self.media);
        if self.kind.custom.is_none() && !of_its_own {
            out.about = out.about.map(|(action, _)| (action, self.gvk_of(sub)));
        }
        if name == "log" {
            out.query.extend(parameters::options(parameters::LOG, &[]));
            out.answer = Content::text(LOG);
        }
        Some(out)
    }

    fn gvk_of(&self, sub: &Subresource) -> Gvk {
        match sub.version.is_empty() {
            true => Gvk { kind: sub.kind.to_string(), ..self.gvk() },
            false => Gvk { group: sub.group.to_string(), version: sub.version.to_string(), kind: sub.kind.to_string() },
        }
    }

    /// A request that is handed on, by each method that may be used.
    fn connections(&self, sub: &Subresource, suffix: &str) -> Vec<Operation> {
        let methods: &[&'static str] = match &*sub.name {
            "proxy" => &["get", "put", "post", "delete", "options", "head", "patch"],
            _ => &["get", "post"],
        };
        let gvk = self.gvk_of(sub);
        let of_method = |method: &&'static str| {
            let id = self.id("connect", &names::capital(method), &format!("{}{suffix}", names::capital(&sub.name)));
            let method_name = method.to_uppercase();
            let text = format!("connect {method_name} requests to {} of {}", sub.name, self.kind.names.kind);
            let mut out = self.plain(method, id, text, "connect");
            out.about = Some(("connect", gvk.clone()));
            out.query = parameters::options(&names::type_name(&gvk), &[]);
            out.answer = Content::text(ANY);
            out
        };
        methods.iter().map(of_method).collect()
    }
}

const LOG: &[&str] = &["application/json", "application/vnd.kubernetes.protobuf", "application/yaml", "text/plain"];

/// Everything that operations refer to.
pub(super) fn references(of: &Value, add: &mut dyn FnMut(&str)) {
    match of {
        Value::Map(map) => {
            let to = map.get("$ref").and_then(Value::as_str);
            to.and_then(|to| to.strip_prefix(operations::REFERENCE)).into_iter().for_each(&mut *add);
            map.iter().for_each(|(_, below)| references(below, add));
        }
        Value::List(items) => items.iter().for_each(|item| references(item, add)),
        _ => {}
    }
}
