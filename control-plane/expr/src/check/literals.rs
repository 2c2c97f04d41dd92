//! Arguments that are known while compiling: regular expressions, durations and moments that can't be parsed are errors
//! then, and expressions that can are compiled once.

use super::Checker;
use crate::ast::{Id, Kind, Literal};
use crate::library::{regex as patterns, time};

impl Checker<'_> {
    pub(super) fn check_literals(&mut self) {
        let ast = self.ast;
        for node in &ast.nodes {
            let Kind::Call { name, target, args } = &node.kind else { continue };
            let at = |i: usize| args.get(i).and_then(|a| literal(ast.kind(*a)).map(|text| (*a, text)));
            match (name.as_str(), target) {
                ("matches", Some(_)) => self.pattern(at(0), true),
                ("matches", None) => self.pattern(at(1), true),
                ("find" | "findAll", Some(_)) => self.pattern(at(0), false),
                ("duration", None) => {
                    if let Some((arg, text)) = at(0)
                        && time::duration(text).is_err()
                    {
                        self.issue(arg, "invalid duration argument");
                    }
                }
                ("timestamp", None) => {
                    if let Some((arg, text)) = at(0)
                        && time::timestamp(text).is_err()
                    {
                        self.issue(arg, "invalid timestamp argument");
                    }
                }
                _ => {}
            }
        }
    }

    fn pattern(&mut self, arg: Option<(Id, &str)>, must: bool) {
        let Some((id, pattern)) = arg else { return };
        match patterns::compile(pattern) {
            Ok(regex) => {
                self.done.regexes.insert(pattern.to_owned(), regex);
            }
            Err(_) if must => self.issue(id, "invalid matches argument"),
            // Told of as a constant without a value.
            Err(_) => {}
        }
    }
}

fn literal(kind: &Kind) -> Option<&str> {
    match kind {
        Kind::Literal(Literal::String(text)) => Some(text),
        _ => None,
    }
}
