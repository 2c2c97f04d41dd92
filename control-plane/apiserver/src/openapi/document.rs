//! A document of version 3: paths, and the types that they lead to.

use super::pages::{self, Page};
use super::texts::Texts;
use super::{Gvk, custom, names, parameters, paths, schemas};
use api::schema::{self, Schema};
use api::{Kind, Map, Value};
use std::collections::BTreeSet;
use std::sync::Arc;

/// What a document will say.
pub(super) struct Plan<'a> {
    kinds: &'a [Arc<Kind>],
    paths: Map,
    /// The full names of its types.
    types: BTreeSet<String>,
}

impl<'a> Plan<'a> {
    pub(super) fn of(page: &'a Page) -> Plan<'a> {
        let mut paths = Map::new();
        match page {
            Page::Lone(lone) => {
                lone.add(&mut paths);
                Plan::leading_to(&[], paths)
            }
            Page::Kinds(kinds) => {
                pages::leading(kinds).for_each(|lone| lone.add(&mut paths));
                Plan::leading_to(kinds, paths)
            }
        }
    }

    /// Everything in one.
    pub(super) fn whole(kinds: &'a [Arc<Kind>]) -> Plan<'a> {
        let mut paths = Map::new();
        pages::leading(kinds).chain(pages::lonely(kinds)).for_each(|lone| lone.add(&mut paths));
        Plan::leading_to(kinds, paths)
    }

    fn leading_to(kinds: &'a [Arc<Kind>], mut paths: Map) -> Plan<'a> {
        kinds.iter().for_each(|kind| paths::add(kind, &mut paths));
        let mut types = BTreeSet::new();
        paths.iter().for_each(|(_, item)| paths::references(item, &mut |name| schemas::reach(name, &mut types)));
        if kinds.iter().any(|k| k.custom.is_some()) {
            [custom::OBJECT_META, custom::LIST_META].iter().for_each(|name| schemas::reach(name, &mut types));
        }
        Plan { kinds, paths, types }
    }

    /// What is said about its types and their fields.
    pub(super) fn texts(&self) -> Texts {
        Texts::of(&self.types)
    }

    pub(super) fn describe(self, texts: &Texts) -> Map {
        let mut schemas: Map = self.types.iter().filter_map(|n| Some((n.as_str(), self.schema(n, texts)?))).collect();
        self.kinds.iter().for_each(|kind| custom::add(kind, &mut schemas));
        let mut components = Map::new();
        if !schemas.is_empty() {
            components.insert("schemas", schemas);
        }
        let mut document = Map::new();
        document.insert("openapi", "3.0.0");
        let built_in = self.kinds.is_empty() || self.kinds.iter().any(|k| k.custom.is_none());
        let (title, version) = if built_in { ("Kubernetes", "v1.36.0") } else { ("Kubernetes CRD Swagger", "v0.1.0") };
        let mut info = Map::new();
        info.insert("title", title);
        info.insert("version", version);
        document.insert("info", info);
        if built_in {
            let mut schemes = Map::new();
            schemes.insert("BearerToken", bearer());
            components.insert("securitySchemes", schemes);
        }
        document.insert("paths", self.paths);
        document.insert("components", components);
        document
    }

    fn schema(&self, name: &str, texts: &Texts) -> Option<Value> {
        if let Some(mut special) = schemas::special(name) {
            if let Some(text) = texts.get(name, "") {
                special.insert("description", text);
            }
            return Some(Value::Map(special));
        }
        let schema = schema::find(name)?;
        let own: Vec<Gvk> = self.gvks(schema);
        let text = |field: &str| texts.get(name, field).map(str::to_owned).or_else(|| list_text(schema, field));
        Some(Value::Map(schemas::of_type(schema, &own, &text)))
    }

    /// The kinds of whose objects a type is.
    fn gvks(&self, schema: &Schema) -> Vec<Gvk> {
        let full = schema.full_name();
        if full == parameters::DELETE || full.ends_with("meta.v1.WatchEvent") {
            let mut out = BTreeSet::from([Gvk::new("", "v1", schema.name)]);
            out.extend(self.kinds.iter().map(|k| Gvk::new(&k.names.group, &k.names.version, schema.name)));
            return out.into_iter().collect();
        }
        if schema.package.ends_with("meta.v1") {
            let answers = ANSWERS.contains(&schema.name);
            return answers.then(|| Gvk::new("", "v1", schema.name)).into_iter().collect();
        }
        for kind in api::kinds::all() {
            if kind.type_name == full {
                return vec![Gvk::of(&kind.names)];
            }
            if full.strip_suffix("List") == Some(&*kind.type_name) {
                return vec![Gvk { kind: kind.list_kind().into_owned(), ..Gvk::of(&kind.names) }];
            }
        }
        let subs = api::kinds::all().iter().flat_map(|k| k.subresources.iter());
        let subs =
            subs.map(|s| Gvk::new(&s.group, &s.version, &s.kind)).chain([Gvk::new("autoscaling", "v1", "Scale")]);
        subs.filter(|gvk| names::type_name(gvk) == full).take(1).collect()
    }
}

/// What is no resource and has a kind all the same.
const ANSWERS: &[&str] = &["APIGroup", "APIGroupList", "APIResourceList", "APIVersions", "Status"];

/// What is said of a list, whose type has no text of its own.
fn list_text(schema: &Schema, field: &str) -> Option<String> {
    let item = schema.name.strip_suffix("List")?;
    Some(match field {
        "" => format!("{} is a list of objects of kind {item}.", schema.name),
        "apiVersion" => custom::API_VERSION.to_owned(),
        "kind" => custom::KIND.to_owned(),
        "metadata" => custom::LIST_META_TEXT.to_owned(),
        "items" => format!("The objects of kind {item}."),
        _ => return None,
    })
}

fn bearer() -> Map {
    let mut out = Map::new();
    out.insert("type", "apiKey");
    out.insert("description", "Bearer Token authentication");
    out.insert("name", "authorization");
    out.insert("in", "header");
    out
}
