//! Texts that are formatted with what is written beside them: whether each clause can show its argument.

use super::Checker;
use crate::ast::{Id, Item, Kind, Literal};
use crate::library::printf::{Clause, Piece, not_shown, pieces};
use crate::types::Type;

impl Checker<'_> {
    pub(super) fn check_formats(&mut self) {
        let ast = self.ast;
        for (id, node) in ast.nodes.iter().enumerate() {
            let Kind::Call { name, target: Some(target), args } = &node.kind else { continue };
            let (Kind::Literal(Literal::String(text)), [args]) = (ast.kind(*target), &args[..]) else { continue };
            let Kind::List { items } = ast.kind(*args) else { continue };
            if name == "format" {
                self.format(id as Id, text, items);
            }
        }
    }

    fn format(&mut self, call: Id, text: &str, items: &[Item]) {
        let mut used = 0;
        for piece in pieces(text) {
            let clause = match piece {
                Piece::Text(_) => continue,
                Piece::Clause(clause) => clause,
            };
            let Some(item) = items.get(used) else {
                return self.issue(call, format!("index {used} out of range"));
            };
            used += 1;
            match clause {
                Err(why) => return self.issue(call, why),
                Ok(clause) => {
                    if let Some(odd) = self.odd(&clause, item.value) {
                        let found = self.known.resolve(&self.type_of(odd), true);
                        return self.issue(odd, not_shown(clause.verb, found.name()));
                    }
                }
            }
        }
        if used < items.len() {
            let given = items.len();
            self.issue(call, format!("too many arguments supplied to string.format (expected {used}, got {given})"));
        }
    }

    /// The part of an argument that a clause can't show.
    fn odd(&self, clause: &Clause, arg: Id) -> Option<Id> {
        let t = self.known.resolve(&self.type_of(arg), true);
        if !shows(clause.verb, &t) {
            return Some(arg);
        }
        match self.ast.kind(arg) {
            Kind::List { items } if clause.verb == 's' => items.iter().find_map(|i| self.odd(clause, i.value)),
            Kind::Map { entries } if clause.verb == 's' => {
                entries.iter().flat_map(|e| [e.key, e.value]).find_map(|part| self.odd(clause, part))
            }
            _ => None,
        }
    }
}

fn shows(verb: char, t: &Type) -> bool {
    match (verb, t) {
        (_, Type::Dyn | Type::Error | Type::Param(_)) => true,
        ('s', t) => !matches!(t, Type::Optional(_) | Type::Object(_) | Type::Opaque(_)),
        ('d' | 'o' | 'b' | 'x' | 'X', Type::Int | Type::Uint) => true,
        ('f' | 'e', Type::Double | Type::String) => true,
        ('b', Type::Bool) => true,
        ('x' | 'X', Type::String | Type::Bytes) => true,
        _ => false,
    }
}
