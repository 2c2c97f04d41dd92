//! Signatures as text: `string::contains(string) bool` is a method of strings, `size(list(A)) int` a function.

use crate::types::{self, Param, Type};

/// A parsed signature.
pub(crate) struct Signature {
    pub name: &'static str,
    pub member: bool,
    /// The target of a method first.
    pub params: Vec<Type>,
    pub result: Type,
}

impl Signature {
    /// Parses one of our own signatures.
    pub(super) fn parse(text: &'static str) -> Signature {
        let (target, rest) = match text.find("::") {
            Some(i) => (Some(&text[..i]), &text[i + 2..]),
            None => (None, text),
        };
        let open = rest.find('(').expect("INVARIANT: a signature of a library has parameters");
        let mut reader = Reader { text: &rest[open + 1..] };
        let mut params: Vec<Type> = target.map(|t| Reader { text: t }.read()).into_iter().collect();
        while !reader.eat(')') {
            params.push(reader.read());
            reader.eat(',');
        }
        Signature { name: &rest[..open], member: target.is_some(), params, result: reader.read() }
    }
}

struct Reader {
    text: &'static str,
}

impl Reader {
    fn eat(&mut self, c: char) -> bool {
        self.text = self.text.trim_start();
        match self.text.strip_prefix(c) {
            Some(rest) => {
                self.text = rest;
                true
            }
            None => false,
        }
    }

    fn read(&mut self) -> Type {
        self.text = self.text.trim_start();
        let end = self.text.find(|c: char| !c.is_ascii_alphanumeric()).unwrap_or(self.text.len());
        let (word, rest) = self.text.split_at(end);
        self.text = rest;
        match word {
            "list" => self.of(|mut t| Type::list(t.remove(0))),
            "optional" => self.of(|mut t| Type::optional(t.remove(0))),
            "type" => self.of(|mut t| Type::Type(std::sync::Arc::new(t.remove(0)))),
            "map" => self.of(|mut t| {
                let value = t.remove(1);
                Type::map(t.remove(0), value)
            }),
            "duration" => Type::Duration,
            "timestamp" => Type::Timestamp,
            "quantity" => Type::Opaque(types::QUANTITY),
            "url" => Type::Opaque(types::URL),
            "semver" => Type::Opaque(types::SEMVER),
            "format" => Type::Opaque(types::FORMAT),
            "ip" => Type::Opaque(types::IP),
            "cidr" => Type::Opaque(types::CIDR),
            "authorizer" => Type::Opaque(types::AUTHORIZER),
            "pathCheck" => Type::Opaque(types::PATH_CHECK),
            "groupCheck" => Type::Opaque(types::GROUP_CHECK),
            "resourceCheck" => Type::Opaque(types::RESOURCE_CHECK),
            "decision" => Type::Opaque(types::DECISION),
            "dyn" => Type::Dyn,
            "null" => Type::Null,
            w if w.len() == 1 => Type::Param(Param::Named(w.chars().next().expect("one letter"))),
            w => Type::named(w).expect("INVARIANT: a signature of a library names known types"),
        }
    }

    fn of(&mut self, build: impl FnOnce(Vec<Type>) -> Type) -> Type {
        self.eat('(');
        let mut inner = Vec::new();
        while !self.eat(')') {
            inner.push(self.read());
            self.eat(',');
        }
        build(inner)
    }
}
