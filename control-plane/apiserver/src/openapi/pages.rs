//! The documents there are: one for each group and version, and small ones for what leads to them and stands beside.

use super::operations::{self, ALL, Content, JSON, Operation};
use super::{names, path_of};
use api::{Kind, Map};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// What a document is about, by its path below `/openapi/v3/`.
pub(super) type Pages = BTreeMap<String, Page>;

pub(super) enum Page {
    /// The kinds of a group and version.
    Kinds(Vec<Arc<Kind>>),
    Lone(Lone),
}

/// A path that is no resource.
pub(super) struct Lone {
    path: String,
    id: String,
    tag: String,
    text: &'static str,
    answer: Content,
}

impl Lone {
    pub(super) fn add(&self, paths: &mut Map) {
        let operation = Operation {
            method: "get",
            id: self.id.clone(),
            text: self.text.to_owned(),
            tag: self.tag.clone(),
            about: None,
            query: Vec::new(),
            body: None,
            answer: self.answer.clone(),
            codes: &["200"],
        };
        operations::add(paths, format!("/{}/", self.path), "", vec![operation]);
    }
}

fn lone(path: &str, id: &str, tag: &str, text: &'static str, answer: Content) -> Lone {
    Lone { path: path.to_owned(), id: id.to_owned(), tag: tag.to_owned(), text, answer }
}

fn meta(kind: &str) -> Content {
    Content::of(&format!("io.k8s.apimachinery.pkg.apis.meta.v1.{kind}"), ALL)
}

/// What stands beside the groups.
fn beside() -> Vec<Lone> {
    let version = Content::of("io.k8s.apimachinery.pkg.version.Info", JSON);
    vec![
        lone(
            ".well-known/openid-configuration",
            "getServiceAccountIssuerOpenIDConfiguration",
            "WellKnown",
            "get service account issuer OpenID configuration, also known as the 'OIDC discovery doc'",
            Content::text(JSON),
        ),
        lone("api", "getCoreAPIVersions", "core", "get available API versions", meta("APIVersions")),
        lone("apis", "getAPIVersions", "apis", "get available API versions", meta("APIGroupList")),
        lone(
            "openid/v1/jwks",
            "getServiceAccountIssuerOpenIDKeyset",
            "openid",
            "get service account issuer OpenID JSON Web Key Set (contains public token verification keys)",
            Content::text(&["application/jwk-set+json"]),
        ),
        lone("version", "getCodeVersion", "version", "get the version information for this server", version),
    ]
}

fn group(name: &str) -> Lone {
    let id = format!("get{}APIGroup", names::group_title(name));
    let tag = names::group_tag(name);
    lone(&format!("apis/{name}"), &id, &tag, "get information of a group", meta("APIGroup"))
}

/// The list of what a group and version has.
fn resources(group: &str, version: &str) -> Lone {
    let id = format!("get{}APIResources", names::title(group, version));
    let tag = names::tag(group, version);
    lone(&path_of(group, version), &id, &tag, "get available resources", meta("APIResourceList"))
}

/// The lone paths that lead to kinds. Groups that are defined at run time have none, as upstream.
pub(super) fn leading(kinds: &[Arc<Kind>]) -> impl Iterator<Item = Lone> {
    let own = kinds.iter().filter(|k| k.custom.is_none());
    let places: BTreeSet<(&str, &str)> = own.map(|k| (&*k.names.group, &*k.names.version)).collect();
    places.into_iter().map(|(group, version)| resources(group, version))
}

/// The lone paths that have documents of their own.
pub(super) fn lonely(kinds: &[Arc<Kind>]) -> impl Iterator<Item = Lone> {
    let own = kinds.iter().filter(|k| k.custom.is_none() && !k.names.group.is_empty());
    let groups: BTreeSet<&str> = own.map(|k| &*k.names.group).collect();
    beside().into_iter().chain(groups.into_iter().map(group))
}

pub(super) fn all(kinds: &[Arc<Kind>]) -> Pages {
    let mut pages: Pages = lonely(kinds).map(|lone| (lone.path.clone(), Page::Lone(lone))).collect();
    for kind in kinds {
        let path = path_of(&kind.names.group, &kind.names.version);
        match pages.entry(path).or_insert_with(|| Page::Kinds(Vec::new())) {
            Page::Kinds(kinds) => kinds.push(kind.clone()),
            Page::Lone(_) => {}
        }
    }
    pages
}
