//! The expression tree: macros are expanded, every node stands in one arena, so that dropping it does not recurse.

use std::rc::Rc;

pub(crate) type Id = u32;

#[derive(Debug)]
pub(crate) struct Ast {
    pub nodes: Vec<Node>,
    pub root: Id,
}

#[derive(Debug)]
pub(crate) struct Node {
    /// The byte of the source where it stands.
    pub at: u32,
    pub kind: Kind,
}

#[derive(Debug)]
pub(crate) enum Kind {
    Literal(Literal),
    Ident(String),
    Select {
        operand: Id,
        field: String,
        test: bool,
    },
    Call {
        name: String,
        target: Option<Id>,
        args: Vec<Id>,
    },
    List {
        items: Vec<Item>,
    },
    Map {
        entries: Vec<Entry>,
    },
    /// A message of a declared type; the keys are the names of its fields.
    Struct {
        name: String,
        entries: Vec<Entry>,
    },
    Fold(Box<Fold>),
    /// A hidden variable: the value is computed once.
    Let {
        name: String,
        value: Id,
        body: Id,
    },
    /// `optMap` and `optFlatMap`: the body sees what the optional holds.
    OptMap {
        target: Id,
        name: String,
        body: Id,
        flat: bool,
    },
    /// A macro that was wrong; its issue has been told.
    Broken,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Literal {
    Null,
    Bool(bool),
    Int(i64),
    Uint(u64),
    Double(f64),
    String(String),
    Bytes(Vec<u8>),
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Item {
    pub value: Id,
    pub optional: bool,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Entry {
    pub key: Id,
    pub value: Id,
    pub optional: bool,
}

/// A comprehension: for each element of the range, while the condition holds, the step replaces the accumulator.
#[derive(Debug)]
pub(crate) struct Fold {
    pub range: Id,
    pub var: String,
    pub var2: Option<String>,
    pub init: Id,
    pub condition: Id,
    pub step: Id,
    pub result: Id,
}

/// The accumulator's name, which no source can spell.
pub(crate) const ACCUMULATOR: &str = "@result";

impl Ast {
    pub(crate) fn kind(&self, id: Id) -> &Kind {
        &self.nodes[id as usize].kind
    }

    /// `a.b.c` as a dotted name.
    pub(crate) fn qualified(&self, id: Id) -> Option<Rc<str>> {
        let mut parts = Vec::new();
        let mut at = id;
        loop {
            match self.kind(at) {
                Kind::Ident(name) => {
                    parts.push(name.as_str());
                    parts.reverse();
                    return Some(parts.join(".").into());
                }
                Kind::Select { operand, field, test: false } => {
                    parts.push(field);
                    at = *operand;
                }
                _ => return None,
            }
        }
    }
}
