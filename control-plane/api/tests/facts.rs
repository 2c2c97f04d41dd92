//! What discovery and tables say of every kind, against the facts of `../shared/data`, where they are.

use api::Kind;
use api::kind::Scope;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// The rows of a table, by the names of its columns.
fn rows(file: &str) -> Option<Vec<BTreeMap<String, String>>> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data").join(file);
    let Ok(text) = std::fs::read_to_string(&path) else {
        eprintln!("SKIPPED: {} is not here", path.display());
        return None;
    };
    let mut lines = text.lines().map(|line| line.split('\t').map(str::to_owned).collect::<Vec<_>>());
    let head = lines.next().expect("a head");
    Some(
        lines
            .map(|line| head.iter().cloned().zip(line.into_iter().chain(std::iter::repeat(String::new()))).collect())
            .collect(),
    )
}

fn of(group: &str, version: &str, plural: &str) -> String {
    format!("{group}/{version} {plural}")
}

fn kinds() -> BTreeMap<String, &'static Kind> {
    let named = |k: &&'static Kind| of(&k.names.group, &k.names.version, &k.names.plural);
    api::kinds::all().iter().map(|k| (named(k), *k)).collect()
}

fn sorted<T: AsRef<str>>(texts: &[T]) -> String {
    let texts: BTreeSet<&str> = texts.iter().map(AsRef::as_ref).collect();
    texts.into_iter().collect::<Vec<_>>().join(",")
}

fn listed(text: &str) -> String {
    sorted(&text.split(',').filter(|t| !t.is_empty()).collect::<Vec<_>>())
}

#[test]
fn every_resource_and_verb_is_there() {
    let Some(rows) = rows("kubernetes-resources.tsv") else { return };
    let kinds = kinds();
    let mut wrong = Vec::new();
    for row in &rows {
        let at = of(&row["group"], &row["version"], &row["resource"]);
        let Some(kind) = kinds.get(&at) else {
            wrong.push(format!("{at} is not served"));
            continue;
        };
        let (found, wanted) = match row["subresource"].as_str() {
            "" => {
                let names = &kind.names;
                let namespaced = if kind.scope == Scope::Namespaced { "yes" } else { "no" };
                (
                    [
                        &names.kind,
                        namespaced,
                        &*sorted(&kind.verbs),
                        &names.singular,
                        &*sorted(&names.short),
                        &*sorted(&names.categories),
                    ]
                    .join(" "),
                    [
                        &*row["kind"],
                        &row["namespaced"],
                        &listed(&row["verbs"]),
                        &row["singular"],
                        &listed(&row["short_names"]),
                        &listed(&row["categories"]),
                    ]
                    .join(" "),
                )
            }
            sub => match kind.subresource(sub) {
                Some(found) => {
                    let name = match (&*found.group, &*found.version) {
                        (_, "") if found.kind.is_empty() => kind.names.kind.to_string(),
                        (_, "") => found.kind.to_string(),
                        (group, version) => format!("{group}/{version}/{}", found.kind),
                    };
                    (format!("{name} {}", sorted(&found.verbs)), format!("{} {}", row["kind"], listed(&row["verbs"])))
                }
                None => ("nothing".to_owned(), format!("{sub}: {}", row["verbs"])),
            },
        };
        if found != wanted {
            wrong.push(format!("{at} {}: {found}, not {wanted}", row["subresource"]));
        }
    }
    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), rows.len(), wrong.join("\n"));
    assert!(rows.len() > 100);
}

#[test]
fn every_column_is_there() {
    let Some(rows) = rows("kubernetes-columns.tsv") else { return };
    let mut wanted: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for row in &rows {
        let column = format!("{} {} {:?} {}", row["column"], row["type"], row["format"], row["priority"]);
        wanted.entry(of(&row["group"], &row["version"], &row["resource"])).or_default().push(column);
    }
    let kinds = kinds();
    let mut wrong = Vec::new();
    for (at, wanted) in &wanted {
        let columns = kinds.get(at).map_or(&[][..], |kind| &kind.columns);
        let found: Vec<String> =
            columns.iter().map(|c| format!("{} {} {:?} {}", c.name, c.kind, c.format, c.priority)).collect();
        if found != *wanted {
            wrong.push(format!("{at}: {found:?}, not {wanted:?}"));
        }
    }
    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), wanted.len(), wrong.join("\n"));
}
