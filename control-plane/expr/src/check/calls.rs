//! Calls: which functions of a name fit the types of the arguments.

use super::{Checker, Ref};
use crate::ast::{Id, Kind, Literal};
use crate::library::{Overload, find};
use crate::types::{Param, Type};
use std::collections::HashMap;

impl Checker<'_> {
    pub(super) fn call(&mut self, id: Id, name: &str, target: Option<Id>, args: &[Id]) -> Type {
        if name == "_?._" {
            let field = match self.ast.kind(args[1]) {
                Kind::Literal(Literal::String(field)) => field.as_str(),
                _ => "",
            };
            self.check(args[1]);
            let t = self.field(id, args[0], field, true);
            return self.known.resolve(&t, false);
        }
        for arg in args {
            self.check(*arg);
        }
        let Some(target) = target else {
            return match self.function(name) {
                Some(overloads) => self.resolve(id, name, overloads, None, args),
                None => {
                    self.undeclared(id, name);
                    Type::Error
                }
            };
        };
        // A dotted name before a call is a namespace, if there is such a function.
        if let Some(prefix) = self.ast.qualified(target)
            && let Some(overloads) = self.function(&format!("{prefix}.{name}"))
        {
            return self.resolve(id, &format!("{prefix}.{name}"), overloads, None, args);
        }
        self.check(target);
        match self.function(name) {
            Some(overloads) => self.resolve(id, name, overloads, Some(target), args),
            None => {
                self.undeclared(id, name);
                Type::Error
            }
        }
    }

    /// The functions of a name. Those for patches are known only where patches are made.
    fn function(&self, name: &str) -> Option<&'static [Overload]> {
        find(name).filter(|_| self.messages.makes_patches() || !name.starts_with("jsonpatch."))
    }

    fn resolve(&mut self, id: Id, name: &str, overloads: &'static [Overload], target: Option<Id>, args: &[Id]) -> Type {
        let types: Vec<Type> = target.iter().chain(args).map(|a| self.type_of(*a)).collect();
        if matches!(name, "_&&_" | "_||_") {
            self.done.refs[id as usize] = Ref::Overloads(overloads.iter().collect());
            return self.logic(args, &types);
        }
        let mut meant = Vec::new();
        let mut result: Option<Type> = None;
        for overload in overloads.iter().filter(|o| o.member == target.is_some()) {
            let (params, gives) = self.instantiate(overload);
            if !self.known.all_fit(&types, &params) {
                continue;
            }
            meant.push(overload);
            let gives = self.known.resolve(&gives, false);
            result = Some(match result {
                None => gives,
                Some(before) if before.is_dyn() || before == gives => before,
                Some(_) => Type::Dyn,
            });
        }
        match result {
            Some(t) => {
                self.done.refs[id as usize] = Ref::Overloads(meant);
                t
            }
            None => {
                self.no_overload(id, name, target.is_some(), &types);
                Type::Error
            }
        }
    }

    fn logic(&mut self, args: &[Id], types: &[Type]) -> Type {
        for (arg, t) in args.iter().zip(types) {
            if !self.known.fits(t, &Type::Bool) {
                self.mismatch(*arg, &Type::Bool, t);
            }
        }
        Type::Bool
    }

    fn no_overload(&mut self, id: Id, name: &str, member: bool, types: &[Type]) {
        let mut shown: Vec<String> = types.iter().map(|t| self.known.resolve(t, true).to_string()).collect();
        let on = if member { format!("{}.", shown.remove(0)) } else { String::new() };
        let applied = format!("{on}({})", shown.join(", "));
        self.issue(id, format!("found no matching overload for '{name}' applied to '{applied}'"));
    }

    /// The overload's types, its own parameters made fresh.
    fn instantiate(&mut self, overload: &Overload) -> (Vec<Type>, Type) {
        let mut fresh = HashMap::new();
        let params = overload.params.iter().map(|t| self.freshen(t, &mut fresh)).collect();
        (params, self.freshen(&overload.result, &mut fresh))
    }

    fn freshen(&mut self, t: &Type, fresh: &mut HashMap<char, Type>) -> Type {
        match t {
            Type::Param(Param::Named(c)) => {
                if let Some(known) = fresh.get(c) {
                    return known.clone();
                }
                let new = self.fresh();
                fresh.insert(*c, new.clone());
                new
            }
            Type::List(of) => Type::list(self.freshen(of, fresh)),
            Type::Optional(of) => Type::optional(self.freshen(of, fresh)),
            Type::Type(of) => Type::Type(std::sync::Arc::new(self.freshen(of, fresh))),
            Type::Map(of) => Type::map(self.freshen(&of.0, fresh), self.freshen(&of.1, fresh)),
            other => other.clone(),
        }
    }
}
