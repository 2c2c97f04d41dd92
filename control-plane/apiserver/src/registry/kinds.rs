//! The table of all kinds that are served: those that are built in, then those of CustomResourceDefinitions.

use super::prefix;
use crate::expressions;
use api::Kind;
use indexmap::IndexMap;
use std::collections::BTreeSet;
use std::sync::Arc;

type Place = (String, String, String);

/// By group, version and plural, in discovery's order. It never changes: another one takes its place.
pub(crate) struct Kinds(IndexMap<Place, Arc<Kind>>);

fn place(kind: &Kind) -> Place {
    let names = &kind.names;
    (names.group.to_string(), names.version.to_string(), names.plural.to_string())
}

impl Kinds {
    pub(super) fn built_in() -> Kinds {
        let all = api::kinds::all().iter().map(|kind| expressions::with_checks((*kind).clone()));
        Kinds(all.map(|kind| (place(&kind), Arc::new(kind))).collect())
    }

    /// The built-in kinds with these. What is built in stays what it is.
    pub(super) fn with_custom(&self, custom: Vec<Arc<Kind>>) -> Kinds {
        let own = self.iter().filter(|k| k.custom.is_none());
        let mut all: IndexMap<Place, Arc<Kind>> = own.map(|k| (place(k), k.clone())).collect();
        for kind in custom {
            all.entry(place(&kind)).or_insert(kind);
        }
        Kinds(all)
    }

    pub(crate) fn get(&self, group: &str, version: &str, plural: &str) -> Option<&Arc<Kind>> {
        self.0.get(&(group.to_owned(), version.to_owned(), plural.to_owned()))
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Arc<Kind>> {
        self.0.values()
    }

    /// The prefixes of the keys of custom kinds that are gone or look other in a later table.
    pub(super) fn changed(&self, later: &Kinds) -> BTreeSet<String> {
        let print = |kinds: &Kinds, at: &Place| Some(kinds.0.get(at)?.custom.as_ref()?.fingerprint);
        let custom = self.0.iter().filter(|(_, kind)| kind.custom.is_some());
        custom.filter(|(at, _)| print(self, at) != print(later, at)).map(|(_, kind)| prefix(kind)).collect()
    }
}
