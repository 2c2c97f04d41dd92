//! `docs/resources.md` is written from the kinds and from `docs/not-honoured.md`: it says what they say, or this fails.
//! `UPDATE_CASES=1` writes it anew.

use api::Kind;
use std::fmt::Write;
use std::path::Path;

const HEAD: &str = "# The resources

What is served, with its verbs, and what of it is accepted but not honoured yet (`docs/not-honoured.md` has the whole list,
with what belongs to no resource). This page is written by a test of the `api` crate from the kinds themselves
(`UPDATE_CASES=1 cargo test -p api --test resources`). CustomResourceDefinitions add resources with all verbs.

`all` stands for create, delete, deletecollection, get, list, patch, update and watch.

| resource | kind | scope | verbs | not honoured yet |
|---|---|---|---|---|
";

#[test]
fn the_table_of_resources_is_true() {
    let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs");
    let page = docs.join("resources.md");
    let gaps = gaps(&std::fs::read_to_string(docs.join("not-honoured.md")).expect("docs/not-honoured.md"));
    let wanted = table(&gaps);
    if std::env::var_os("UPDATE_CASES").is_some() {
        std::fs::write(&page, &wanted).expect("docs/resources.md can be written");
    }
    let there = std::fs::read_to_string(&page).unwrap_or_default();
    assert!(there == wanted, "docs/resources.md is not what the kinds say: UPDATE_CASES=1 writes it");
}

/// The rows of all tables: what is not honoured, and how it is now.
fn gaps(text: &str) -> Vec<(String, String)> {
    let row = |line: &str| -> Option<(String, String)> {
        let (what, how) = line.strip_prefix("| ")?.strip_suffix(" |")?.split_once(" | ")?;
        (what != "what").then(|| (what.to_owned(), how.to_owned()))
    };
    text.lines().filter_map(row).collect()
}

/// What a row is about: kinds by their names or the plurals of those.
fn names(what: &str, kind: &Kind) -> bool {
    let name = &*kind.names.kind;
    let plurals = [format!("{name}s"), format!("{}ies", name.trim_end_matches('y'))];
    let mut words = what.split(|c: char| !c.is_ascii_alphanumeric());
    words.any(|word| word == name || plurals.iter().any(|p| p == word))
}

fn table(gaps: &[(String, String)]) -> String {
    let mut out = HEAD.to_owned();
    let mut kinds: Vec<&Kind> = api::kinds::all().to_vec();
    kinds.sort_by_key(|k| (k.names.group.clone(), k.names.plural.clone(), k.names.version.clone()));
    for kind in kinds {
        let version = match &*kind.names.group {
            "" => kind.names.version.to_string(),
            group => format!("{group}/{}", kind.names.version),
        };
        let scope = match kind.scope {
            api::kind::Scope::Namespaced => "namespaced",
            api::kind::Scope::Cluster => "cluster",
        };
        let (plural, name) = (&*kind.names.plural, &*kind.names.kind);
        let missing = gaps.iter().filter(|(what, _)| names(what, kind)).map(|(what, how)| format!("{what}: {how}"));
        // What pods may ask of a node is a part of its own.
        let pods = (name == "Pod").then(|| "see the part on pods".to_owned());
        let missing: Vec<String> = missing.chain(pods).collect();
        let (verbs, missing) = (verbs(&kind.verbs), missing.join("<br>"));
        writeln!(out, "| `{plural}` | {version} {name} | {scope} | {verbs} | {missing} |").expect("a text grows");
        for sub in kind.subresources.iter() {
            let verbs = self::verbs(&sub.verbs);
            writeln!(out, "| `{plural}/{}` | {} | | {verbs} | |", sub.name, sub.kind).expect("a text grows");
        }
    }
    out
}

fn verbs<T: AsRef<str>>(verbs: &[T]) -> String {
    const ALL: [&str; 8] = ["create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"];
    let mut verbs: Vec<&str> = verbs.iter().map(AsRef::as_ref).collect();
    verbs.sort_unstable();
    if verbs == ALL { "all".to_owned() } else { verbs.join(", ") }
}
