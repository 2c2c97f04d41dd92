//! Sets of fields of an object, as `metadata.managedFields` writes them (`FieldsV1`).

use crate::codec::json;
use crate::value::{Key, Map, Value};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

/// One step of the path to a field.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Element {
    /// A field of a struct, or a key of a map.
    Field(Key),
    /// An item of a list that is a map, by its keys as JSON.
    Keys(String),
    /// An item of a list that is a set, as JSON.
    Value(String),
    /// A position, which only foreign managers write.
    Index(i64),
}

impl Element {
    fn parse(text: &str) -> Option<Element> {
        let (kind, rest) = text.split_once(':')?;
        let canonical = || Some(text_of(&json::decode(rest.as_bytes()).ok()?.value));
        match kind {
            "f" => Some(Element::Field(Key::new(rest))),
            "k" => canonical().map(Element::Keys),
            "v" => canonical().map(Element::Value),
            "i" => rest.parse().ok().map(Element::Index),
            _ => None,
        }
    }

    fn text(&self) -> String {
        match self {
            Element::Field(name) => format!("f:{name}"),
            Element::Keys(keys) => format!("k:{keys}"),
            Element::Value(value) => format!("v:{value}"),
            Element::Index(i) => format!("i:{i}"),
        }
    }
}

pub(super) fn text_of(value: &Value) -> String {
    String::from_utf8_lossy(&json::encode(value)).into_owned()
}

impl fmt::Display for Element {
    /// As conflicts name it: `.name`, `[name="c"]`, `[="x"]`, `[1]`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Element::Field(name) => write!(f, ".{name}"),
            Element::Value(value) => write!(f, "[={value}]"),
            Element::Index(i) => write!(f, "[{i}]"),
            Element::Keys(keys) => {
                let map =
                    json::decode(keys.as_bytes()).ok().and_then(|d| d.value.as_map().cloned()).unwrap_or_default();
                let pairs: Vec<String> = map.iter().map(|(k, v)| format!("{k}={}", text_of(v))).collect();
                write!(f, "[{}]", pairs.join(","))
            }
        }
    }
}

/// A set of paths.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Set {
    members: BTreeSet<Element>,
    children: BTreeMap<Element, Set>,
}

impl Set {
    /// Reads `FieldsV1`; none for what is no such thing.
    pub fn from_value(value: &Value) -> Option<Set> {
        let mut set = Set::default();
        for (text, below) in value.as_map()?.iter().filter(|(k, _)| *k != ".") {
            let element = Element::parse(text)?;
            let map = below.as_map()?;
            if map.is_empty() || map.contains_key(".") {
                set.members.insert(element.clone());
            }
            let child = Set::from_value(below)?;
            if !child.is_empty() {
                set.children.insert(element, child);
            }
        }
        Some(set)
    }

    pub fn to_value(&self) -> Value {
        let mut map = Map::new();
        for member in &self.members {
            map.insert(member.text(), Map::new());
        }
        for (element, child) in &self.children {
            let mut below = child.to_value();
            if self.members.contains(element) {
                below.make_map().insert(".", Map::new());
            }
            map.insert(element.text(), below);
        }
        Value::Map(map)
    }

    pub fn is_empty(&self) -> bool {
        self.members.is_empty() && self.children.is_empty()
    }

    pub fn insert(&mut self, path: &[Element]) {
        match path {
            [] => {}
            [last] => {
                self.members.insert(last.clone());
            }
            [first, rest @ ..] => self.children.entry(first.clone()).or_default().insert(rest),
        }
    }

    pub(super) fn has(&self, element: &Element) -> bool {
        self.members.contains(element)
    }

    pub(super) fn holds(&self, path: &[Element]) -> bool {
        match path {
            [] => false,
            [last] => self.has(last),
            [first, rest @ ..] => self.child(first).is_some_and(|child| child.holds(rest)),
        }
    }

    pub(super) fn children(&self) -> impl Iterator<Item = (&Element, &Set)> {
        self.children.iter()
    }

    pub(super) fn child(&self, element: &Element) -> Option<&Set> {
        self.children.get(element)
    }

    pub fn union(&mut self, other: &Set) {
        self.members.extend(other.members.iter().cloned());
        for (element, child) in &other.children {
            self.children.entry(element.clone()).or_default().union(child);
        }
    }

    /// Without the other's members.
    pub fn difference(&mut self, other: &Set) {
        self.members.retain(|m| !other.members.contains(m));
        self.children.retain(|element, child| {
            if let Some(theirs) = other.children.get(element) {
                child.difference(theirs);
            }
            !child.is_empty()
        });
    }

    /// Without the other's members and all below them.
    pub fn without(&mut self, other: &Set) {
        self.members.retain(|m| !other.members.contains(m));
        self.children.retain(|element, child| {
            if let Some(theirs) = other.children.get(element) {
                child.without(theirs);
            }
            !child.is_empty() && !other.members.contains(element)
        });
    }

    pub fn intersection(&self, other: &Set) -> Set {
        let shared = |(element, child): (&Element, &Set)| {
            let both = child.intersection(other.children.get(element)?);
            (!both.is_empty()).then(|| (element.clone(), both))
        };
        Set {
            members: self.members.intersection(&other.members).cloned().collect(),
            children: self.children.iter().filter_map(shared).collect(),
        }
    }

    /// The paths as text, those of a struct's own fields before those below them.
    pub fn paths(&self) -> Vec<String> {
        let mut out = Vec::new();
        self.collect("", &mut out);
        out
    }

    fn collect(&self, prefix: &str, out: &mut Vec<String>) {
        out.extend(self.members.iter().map(|m| format!("{prefix}{m}")));
        for (element, child) in &self.children {
            child.collect(&format!("{prefix}{element}"), out);
        }
    }
}
