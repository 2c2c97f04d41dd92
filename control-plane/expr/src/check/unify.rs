//! Whether one type fits another, and what that tells of types that are not known yet.

use crate::types::{Param, Type};
use std::collections::HashMap;
use std::sync::Arc;

/// What is known of type parameters so far.
#[derive(Clone, Default)]
pub(super) struct Known(HashMap<Param, Type>);

impl Known {
    /// Whether values of `from` can stand where `to` is wanted. Nothing is learnt when not.
    pub(super) fn fits(&mut self, from: &Type, to: &Type) -> bool {
        self.all_fit(std::slice::from_ref(from), std::slice::from_ref(to))
    }

    pub(super) fn all_fit(&mut self, from: &[Type], to: &[Type]) -> bool {
        if from.len() != to.len() {
            return false;
        }
        let mut trial = self.clone();
        let fit = from.iter().zip(to).all(|(a, b)| trial.unify(a, b));
        if fit {
            *self = trial;
        }
        fit
    }

    fn unify(&mut self, a: &Type, b: &Type) -> bool {
        if let Type::Param(param) = b {
            match self.bind(a, *param) {
                (true, _) => return true,
                (false, true) => return false,
                (false, false) => {}
            }
        }
        if let Type::Param(param) = a {
            return self.bind(b, *param).0;
        }
        match (a, b) {
            (Type::Dyn | Type::Error, _) | (_, Type::Dyn | Type::Error) => true,
            (Type::Null, other) | (other, Type::Null) => nullable(other),
            (Type::Type(_), Type::Type(_)) => true,
            (Type::List(x), Type::List(y)) | (Type::Optional(x), Type::Optional(y)) => self.unify(x, y),
            (Type::Map(x), Type::Map(y)) => self.unify(&x.0, &y.0) && self.unify(&x.1, &y.1),
            (a, b) => a == b,
        }
    }

    /// Whether the parameter can be the type, and whether it was known before.
    fn bind(&mut self, to: &Type, param: Param) -> (bool, bool) {
        if matches!(to, Type::Param(p) if *p == param) {
            return (true, true);
        }
        if let Some(known) = self.0.get(&param).cloned() {
            if *to == known {
                return (true, true);
            }
            if self.unify(to, &known) {
                let general = if at_most_as_specific(to, &known) { to.clone() } else { known };
                if !self.occurs(param, &general) {
                    self.0.insert(param, general);
                }
                return (true, true);
            }
            return (false, true);
        }
        if self.occurs(param, to) {
            return (false, false);
        }
        self.0.insert(param, to.clone());
        (true, false)
    }

    fn occurs(&self, param: Param, within: &Type) -> bool {
        match within {
            Type::Param(p) if *p == param => true,
            Type::Param(p) => self.0.get(p).is_some_and(|t| self.occurs(param, t)),
            Type::List(t) | Type::Optional(t) | Type::Type(t) => self.occurs(param, t),
            Type::Map(t) => self.occurs(param, &t.0) || self.occurs(param, &t.1),
            _ => false,
        }
    }

    /// The type with everything filled in that is known. What stays unknown becomes dynamic if `finally`.
    pub(super) fn resolve(&self, t: &Type, finally: bool) -> Type {
        match t {
            Type::Param(p) => match self.0.get(p) {
                Some(known) => self.resolve(known, finally),
                None if finally => Type::Dyn,
                None => t.clone(),
            },
            Type::List(of) => Type::list(self.resolve(of, finally)),
            Type::Optional(of) => Type::optional(self.resolve(of, finally)),
            Type::Map(of) => Type::map(self.resolve(&of.0, finally), self.resolve(&of.1, finally)),
            Type::Type(of) => Type::Type(Arc::new(self.resolve(of, finally))),
            other => other.clone(),
        }
    }
}

/// Of two types that agree, the one that says less.
pub(super) fn more_general(a: Type, b: Type) -> Type {
    if at_most_as_specific(&a, &b) { a } else { b }
}

fn at_most_as_specific(a: &Type, b: &Type) -> bool {
    match (a, b) {
        (Type::Dyn | Type::Param(_), _) => true,
        (_, Type::Dyn | Type::Param(_)) => false,
        (Type::List(x), Type::List(y)) | (Type::Optional(x), Type::Optional(y)) => at_most_as_specific(x, y),
        (Type::Map(x), Type::Map(y)) => at_most_as_specific(&x.0, &y.0) && at_most_as_specific(&x.1, &y.1),
        (Type::Type(_), Type::Type(_)) => true,
        (a, b) => a == b,
    }
}

fn nullable(t: &Type) -> bool {
    matches!(t, Type::Null | Type::Optional(_) | Type::Opaque(_) | Type::Object(_) | Type::Duration | Type::Timestamp)
}
