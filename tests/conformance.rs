//! Which of upstream's conformance specs a test here shows to hold: `docs/conformance.md` is written from the names that
//! tests carry, and says what it has to, or this fails.
//!
//! A scenario carries names under `covers`, a test in Rust on lines `/// Covers: NAME` above it.

use crate::harness::ROOT;
use crate::table::{self, Scenario};
use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::{Path, PathBuf};

/// The areas that have their table so far.
const AREAS: [&str; 2] = ["sig-apps", "sig-scheduling"];
/// Upstream's names, where they are at hand; else the page itself says which there are.
const SPECS: &str = "../shared/data/conformance-specs.txt";
const MARK: &str = "/// Covers: ";

const HEAD: &str = "# Conformance

Which of upstream's conformance specs a test here shows to hold: the test carries the spec's name. A spec without a test is
not known to fail, and not known to hold. `UPDATE_CASES=1 cargo test --test system conformance` writes this page; names are
of three in four of the specs of 1.36.
";

/// The files below a folder that end so.
fn files(folder: &Path, ends: &str, into: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            files(&path, ends, into);
        } else if path.to_string_lossy().ends_with(ends) {
            into.push(path);
        }
    }
    into.sort();
}

/// By spec, the tests that carry its name.
fn covered() -> BTreeMap<String, Vec<String>> {
    let root = Path::new(ROOT);
    let mut covered: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let shown = |path: &Path| path.strip_prefix(root).expect("below the root").display().to_string();
    let mut scenarios = vec![];
    files(&root.join("tests/nodes"), ".yaml", &mut scenarios);
    for file in scenarios {
        for spec in table::read::<Scenario>(&file).covers {
            covered.entry(spec).or_default().push(shown(&file));
        }
    }
    let mut sources = vec![];
    ["tests", "control-plane", "node", "runtime-shim"].iter().for_each(|f| files(&root.join(f), ".rs", &mut sources));
    for file in sources {
        let text = std::fs::read_to_string(&file).expect("a source");
        let mut open: Vec<&str> = vec![];
        for line in text.lines().map(str::trim) {
            if let Some(spec) = line.strip_prefix(MARK) {
                open.push(spec);
            } else if let Some((name, _)) = line.split_once("fn ").and_then(|(_, rest)| rest.split_once('(')) {
                let test = format!("{}: {name}", shown(&file));
                open.drain(..).for_each(|spec| covered.entry(spec.to_owned()).or_default().push(test.clone()));
            }
        }
    }
    covered
}

/// A spec's name as the page has it.
fn row(spec: &str, tests: &[String]) -> String {
    let tests = if tests.is_empty() { "uncovered".to_owned() } else { format!("`{}`", tests.join("`, `")) };
    format!("| {spec} | {tests} |")
}

fn page(specs: &[String], covered: &BTreeMap<String, Vec<String>>) -> String {
    let mut page = HEAD.to_owned();
    for area in AREAS {
        let of_area: Vec<&String> = specs.iter().filter(|s| s.starts_with(&format!("[{area}] "))).collect();
        let shown = of_area.iter().filter(|spec| covered.contains_key(**spec)).count();
        let _ = write!(page, "\n## {area}: {shown} of {}\n\n| spec | test |\n|---|---|\n", of_area.len());
        for spec in of_area {
            let _ = writeln!(page, "{}", row(spec, covered.get(spec).map_or(&[], Vec::as_slice)));
        }
    }
    page
}

#[test]
fn the_page_of_conformance_says_what_the_tests_say() {
    let file = Path::new(ROOT).join("docs/conformance.md");
    let there = std::fs::read_to_string(&file).unwrap_or_default();
    let list = std::fs::read_to_string(Path::new(ROOT).join(SPECS));
    let listed = list.is_ok();
    let specs: Vec<String> = match list {
        Ok(list) => list.lines().map(str::to_owned).collect(),
        Err(_) => {
            eprintln!("SKIPPED: names of specs are held against docs/conformance.md alone, for {SPECS} is not here");
            let rows = there.lines().filter_map(|l| l.strip_prefix("| [")?.split_once(" | "));
            rows.map(|(name, _)| format!("[{name}")).collect()
        }
    };
    let covered = covered();
    let of_area = |spec: &str| AREAS.iter().any(|area| spec.starts_with(&format!("[{area}] ")));
    let checked = covered.keys().filter(|spec| listed || of_area(spec));
    let unknown: Vec<&String> = checked.filter(|spec| !specs.contains(spec)).collect();
    assert!(unknown.is_empty(), "these are no conformance specs: {unknown:#?}");
    let wanted = page(&specs, &covered);
    if std::env::var_os("UPDATE_CASES").is_some() {
        std::fs::write(&file, &wanted).expect("docs/conformance.md can be written");
    } else {
        assert!(there == wanted, "docs/conformance.md is not what the tests say: UPDATE_CASES=1 writes it");
    }
}
