//! Nobody grants what they do not have.

use super::rbac::{Rule, path_matches};
use std::collections::BTreeMap;

/// The parts of `wanted` that `owned` does not cover, joined again for showing.
pub(crate) fn uncovered(owned: &[Rule], wanted: &[Rule]) -> Vec<Rule> {
    let missing = wanted.iter().flat_map(pieces).filter(|piece| !owned.iter().any(|rule| covers(rule, piece)));
    join(missing)
}

/// A rule as the rules of one verb and one thing each that it is made of.
fn pieces(rule: &Rule) -> Vec<Rule> {
    let one = |text: &String| vec![text.clone()];
    let names: Vec<Vec<String>> =
        if rule.names.is_empty() { vec![vec![]] } else { rule.names.iter().map(one).collect() };
    let mut pieces = Vec::new();
    for group in &rule.groups {
        for resource in &rule.resources {
            for verb in &rule.verbs {
                pieces.extend(names.iter().map(|name| Rule {
                    verbs: one(verb),
                    groups: one(group),
                    resources: one(resource),
                    names: name.clone(),
                    urls: vec![],
                }));
            }
        }
    }
    for url in &rule.urls {
        let piece = |verb: &String| Rule { verbs: one(verb), urls: one(url), ..Rule::default() };
        pieces.extend(rule.verbs.iter().map(piece));
    }
    pieces
}

fn covers(owner: &Rule, piece: &Rule) -> bool {
    let has = |list: &[String], word: &str| list.iter().any(|w| w == "*" || w == word);
    let verb = piece.verbs.iter().all(|v| has(&owner.verbs, v));
    if let [url] = piece.urls.as_slice() {
        return verb && owner.urls.iter().any(|u| path_matches(u, url));
    }
    let resource = |r: &String| {
        let any = r.split_once('/').map(|(_, sub)| format!("*/{sub}"));
        has(&owner.resources, r) || any.is_some_and(|any| owner.resources.contains(&any))
    };
    let names =
        owner.names.is_empty() || (!piece.names.is_empty() && piece.names.iter().all(|n| owner.names.contains(n)));
    verb && piece.groups.iter().all(|g| has(&owner.groups, g)) && piece.resources.iter().all(resource) && names
}

fn join(pieces: impl Iterator<Item = Rule>) -> Vec<Rule> {
    let mut joined: BTreeMap<[Vec<String>; 4], Vec<String>> = BTreeMap::new();
    for piece in pieces {
        let verbs = joined.entry([piece.groups, piece.resources, piece.names, piece.urls]).or_default();
        verbs.extend(piece.verbs.into_iter().filter(|v| !verbs.contains(v)).collect::<Vec<_>>());
    }
    let rule = |([groups, resources, names, urls], verbs): ([Vec<String>; 4], Vec<String>)| Rule {
        verbs,
        groups,
        resources,
        names,
        urls,
    };
    joined.into_iter().map(rule).collect()
}

/// `{APIGroups:["*"], Resources:["*"], Verbs:["*"]}`.
pub(crate) fn shown(rule: &Rule) -> String {
    let parts = [
        ("APIGroups", &rule.groups),
        ("Resources", &rule.resources),
        ("NonResourceURLs", &rule.urls),
        ("ResourceNames", &rule.names),
        ("Verbs", &rule.verbs),
    ];
    let part = |(name, list): (&str, &Vec<String>)| {
        let words: Vec<String> = list.iter().map(|w| format!("{w:?}")).collect();
        (!list.is_empty()).then(|| format!("{name}:[{}]", words.join(" ")))
    };
    format!("{{{}}}", parts.into_iter().filter_map(part).collect::<Vec<_>>().join(", "))
}
