//! What Kubernetes says about its types and fields, for `kubectl explain`. The texts stay compressed in the binary; a
//! document unpacks them line by line and keeps those of its own types.

use crate::discovery::digest;
use flate2::read::ZlibDecoder;
use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader};
use std::sync::LazyLock;

/// Made by `build.rs`, which says what a line holds.
static PACKED: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptions.z"));

/// Changes when any text does.
pub(super) static TAG: LazyLock<String> = LazyLock::new(|| digest(PACKED));

/// The texts of some types, by type and field; a type's own text has an empty field.
#[derive(Default)]
pub(super) struct Texts(BTreeMap<(String, String), String>);

impl Texts {
    pub(super) fn of(names: &BTreeSet<String>) -> Texts {
        let lines = BufReader::new(ZlibDecoder::new(PACKED)).lines().map_while(Result::ok);
        let wanted = lines.filter_map(|line| {
            let mut parts = line.splitn(3, '\t');
            let (name, field, text) = (parts.next()?, parts.next()?, parts.next()?);
            names.contains(name).then(|| ((name.to_owned(), field.to_owned()), unescaped(text)))
        });
        Texts(wanted.collect())
    }

    pub(super) fn get(&self, name: &str, field: &str) -> Option<&str> {
        self.0.get(&(name.to_owned(), field.to_owned())).map(String::as_str)
    }
}

fn unescaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text.chars();
    while let Some(c) = rest.next() {
        match c {
            '\\' => out.extend(rest.next().map(|c| if c == 'n' { '\n' } else { c })),
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_and_fields_have_their_texts() {
        let names = ["Pod", "PodSpec", "Container"].map(|n| format!("io.k8s.api.core.v1.{n}")).into();
        let texts = Texts::of(&names);
        let text =
            |name: &str, field: &str| texts.get(&format!("io.k8s.api.core.v1.{name}"), field).unwrap_or_default();
        assert!(text("Pod", "").starts_with("Pod is a collection of containers"));
        assert!(text("PodSpec", "containers").starts_with("List of containers belonging to the pod."));
        assert!(text("Container", "image").starts_with("Container image name."));
        assert_eq!(text("Service", ""), "", "only what was asked for is kept");
    }

    #[test]
    fn line_breaks_survive() {
        assert_eq!(unescaped(r"a\nb\\n"), "a\nb\\n");
    }
}
