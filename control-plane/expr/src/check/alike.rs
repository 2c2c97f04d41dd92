//! The elements of a list or map that is written out are all of one type, but for what is formatted.

use super::Checker;
use crate::ast::{Id, Kind};
use crate::types::Type;

impl Checker<'_> {
    /// Looks at everything below a node. The caller reserves the stack.
    pub(super) fn check_alike(&mut self, id: Id, formatted: bool) {
        let ast = self.ast;
        let mut below: Vec<Id> = Vec::new();
        let mut mixed = formatted;
        match ast.kind(id) {
            Kind::Literal(_) | Kind::Ident(_) | Kind::Broken => {}
            Kind::Select { operand, .. } => below.push(*operand),
            Kind::Call { name, target, args } => {
                mixed |= name == "format";
                below.extend(target.iter().chain(args));
            }
            Kind::List { items } => {
                if !formatted {
                    self.alike(items.iter().map(|i| (i.value, i.optional)));
                }
                below.extend(items.iter().map(|i| i.value));
            }
            Kind::Map { entries } => {
                if !formatted {
                    self.alike(entries.iter().map(|e| (e.key, false)));
                    self.alike(entries.iter().map(|e| (e.value, e.optional)));
                }
                below.extend(entries.iter().flat_map(|e| [e.key, e.value]));
            }
            Kind::Struct { entries, .. } => below.extend(entries.iter().map(|e| e.value)),
            Kind::Fold(fold) => below.extend([fold.range, fold.init, fold.condition, fold.step, fold.result]),
            Kind::Let { value, body, .. } => below.extend([*value, *body]),
            Kind::OptMap { target, body, .. } => below.extend([*target, *body]),
        }
        for id in below {
            self.check_alike(id, mixed);
        }
    }

    fn alike(&mut self, elements: impl Iterator<Item = (Id, bool)>) {
        let mut first: Option<Type> = None;
        for (id, optional) in elements {
            let found = match self.known.resolve(&self.type_of(id), true) {
                Type::Optional(of) if optional => (*of).clone(),
                found => found,
            };
            match &first {
                None => first = Some(found),
                Some(wanted) if *wanted == found => {}
                Some(wanted) => return self.issue(id, format!("expected type '{wanted}' but found '{found}'")),
            }
        }
    }
}
