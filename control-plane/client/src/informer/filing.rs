//! Indexes of an informer: which objects have a term, and what those of a term add up to.
//!
//! An index is made when it is first asked for and follows every change from then on, so that what a change costs does not
//! grow with what else there is. It holds keys and sums, never objects.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use api::quantity::{Format, Quantity};
use api::quota::Usage;

use crate::object::Key;

/// The terms of an object. It may choose among several by how many objects have each of them already.
pub type Terms<K> = fn(&K, &dyn Fn(&str) -> usize) -> Vec<String>;

/// By what objects are found.
pub struct Index<K> {
    /// Its own among the indexes of its kind.
    pub name: &'static str,
    pub terms: Terms<K>,
    /// What an object adds to the sums of its terms.
    pub amounts: fn(&K) -> Usage,
}

impl<K> Index<K> {
    pub const fn of(name: &'static str, terms: Terms<K>) -> Index<K> {
        Index { name, terms, amounts: |_| Usage::new() }
    }
}

/// The objects that have one term.
pub struct Tally<K> {
    pub count: usize,
    pub sum: Usage,
    /// One of them.
    pub any: Arc<K>,
}

/// One index, filled.
pub(super) struct Filing<K> {
    terms: Terms<K>,
    amounts: fn(&K) -> Usage,
    by_term: BTreeMap<String, Term>,
    /// Where each object is, and with what: its terms may be others if they were worked out again.
    places: HashMap<Key, (Vec<String>, Usage)>,
}

#[derive(Default)]
pub(super) struct Term {
    pub keys: BTreeSet<Key>,
    /// In billionths and beyond what a quantity holds: what is capped could not be taken away again.
    sums: BTreeMap<String, (i128, Format)>,
}

impl Term {
    pub(super) fn sum(&self) -> Usage {
        let shown =
            |(name, (nanos, format)): (&String, &(i128, Format))| (name.clone(), Quantity::from_nanos(*nanos, *format));
        self.sums.iter().map(shown).collect()
    }

    fn add(&mut self, amounts: &Usage, sign: i128) {
        for (name, amount) in amounts {
            let (nanos, format) = self.sums.entry(name.clone()).or_insert((0, amount.format()));
            if *nanos == 0 {
                *format = amount.format();
            }
            *nanos += sign * amount.nanos();
        }
    }
}

impl<K> Filing<K> {
    pub(super) fn new(index: &Index<K>) -> Filing<K> {
        Filing { terms: index.terms, amounts: index.amounts, by_term: BTreeMap::new(), places: HashMap::new() }
    }

    pub(super) fn put(&mut self, key: &Key, object: Option<&K>) {
        if let Some((terms, amounts)) = self.places.remove(key) {
            terms.iter().for_each(|term| self.leave(term, key, &amounts));
        }
        let Some(object) = object else { return };
        let mut terms = (self.terms)(object, &|term| self.count(term));
        terms.sort_unstable();
        terms.dedup();
        if terms.is_empty() {
            return;
        }
        let amounts = (self.amounts)(object);
        for term in &terms {
            let term = self.by_term.entry(term.clone()).or_default();
            term.keys.insert(key.clone());
            term.add(&amounts, 1);
        }
        self.places.insert(key.clone(), (terms, amounts));
    }

    fn leave(&mut self, name: &str, key: &Key, amounts: &Usage) {
        let Some(term) = self.by_term.get_mut(name) else { return };
        term.keys.remove(key);
        term.add(amounts, -1);
        if term.keys.is_empty() {
            self.by_term.remove(name);
        }
    }

    pub(super) fn count(&self, term: &str) -> usize {
        self.by_term.get(term).map_or(0, |term| term.keys.len())
    }

    pub(super) fn keys(&self, term: &str) -> impl Iterator<Item = &Key> {
        self.by_term.get(term).into_iter().flat_map(|term| &term.keys)
    }

    /// Every term that begins so.
    pub(super) fn beginning(&self, prefix: &str) -> impl Iterator<Item = &Term> {
        let from = self.by_term.range::<str, _>((std::ops::Bound::Included(prefix), std::ops::Bound::Unbounded));
        from.take_while(move |(term, _)| term.starts_with(prefix)).map(|(_, term)| term)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use k8s_openapi::api::core::v1::ConfigMap;

    fn map(pairs: &[(&str, &str)]) -> ConfigMap {
        let data = pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        ConfigMap { data: Some(data), ..ConfigMap::default() }
    }

    fn rarest(map: &ConfigMap, filed: &dyn Fn(&str) -> usize) -> Vec<String> {
        let terms = map.data.iter().flatten().map(|(name, value)| format!("{name}={value}"));
        terms.min_by_key(|term| filed(term)).into_iter().collect()
    }

    fn size(map: &ConfigMap) -> Usage {
        let parsed =
            map.data.iter().flatten().filter_map(|(name, value)| Some((name.clone(), Quantity::parse(value).ok()?)));
        parsed.collect()
    }

    #[test]
    fn objects_are_found_under_their_rarest_term() {
        let mut filing = Filing::new(&Index::of("rarest", rarest));
        for n in 0..100 {
            let name = format!("m{n}");
            filing.put(&Key::new("a", &*name), Some(&map(&[("app", &name), ("tier", "web")])));
        }
        assert!(filing.count("tier=web") <= 1, "{}", filing.count("tier=web"));
        assert_eq!(filing.keys("app=m7").collect::<Vec<_>>(), [&Key::new("a", "m7")]);
        for n in 0..100 {
            filing.put(&Key::new("a", format!("m{n}")), None);
        }
        assert!(filing.by_term.is_empty() && filing.places.is_empty());
    }

    #[test]
    fn sums_follow_every_change_even_beyond_what_a_quantity_holds() {
        let terms = |_: &ConfigMap, _: &dyn Fn(&str) -> usize| vec!["all".to_owned()];
        let mut filing = Filing::new(&Index { name: "sums", terms, amounts: size });
        let sum = |filing: &Filing<ConfigMap>| {
            filing.beginning("al").flat_map(|term| term.sum()).map(|(n, q)| format!("{n} {q}")).collect::<Vec<_>>()
        };
        filing.put(&Key::new("a", "x"), Some(&map(&[("size", "1Gi")])));
        filing.put(&Key::new("a", "y"), Some(&map(&[("size", "9223372036854775807")])));
        filing.put(&Key::new("a", "z"), Some(&map(&[("size", "9223372036854775807")])));
        filing.put(&Key::new("a", "x"), Some(&map(&[("size", "2Gi")])));
        filing.put(&Key::new("a", "y"), None);
        filing.put(&Key::new("a", "z"), None);
        assert_eq!(sum(&filing), ["size 2Gi"]);
    }
}
