//! The type checker: what each node's type is, which variable or functions it means, and what is wrong, in upstream's
//! words.

mod alike;
mod calls;
mod formats;
mod literals;
mod unify;

use crate::ast::ACCUMULATOR;
use crate::ast::{Ast, Entry, Fold, Id, Kind, Literal};
use crate::library::Overload;
use crate::limits::ERRORS;
use crate::program::Messages;
use crate::source::{CompileError, Issue, locate};
use crate::types::{Param, Type};
use std::collections::HashMap;
use std::sync::Arc;
use unify::{Known, more_general};

/// What checking found out of each node.
pub(crate) struct Checked {
    pub types: Vec<Type>,
    pub refs: Vec<Ref>,
    /// How many local variables there are.
    pub locals: usize,
    /// Compiled regular expressions, by pattern.
    pub regexes: HashMap<String, regex::Regex>,
}

/// What a node stands for.
#[derive(Clone, Debug, Default)]
pub(crate) enum Ref {
    #[default]
    None,
    /// A declared variable, by its place.
    Variable(usize),
    Local(usize),
    Type(Type),
    /// The functions that can be meant; the values decide.
    Overloads(Vec<&'static Overload>),
    /// Where a loop or binding keeps its variables: the accumulator or bound value first.
    Slots([usize; 3]),
}

/// A declared variable.
pub(crate) type Declared<'a> = (&'a str, Type);

/// Checks a tree. The caller reserves the stack.
pub(crate) fn check(
    source: &str,
    ast: &Ast,
    variables: &[Declared<'_>],
    messages: &Messages,
) -> Result<Checked, CompileError> {
    let mut checker = Checker {
        source,
        ast,
        variables,
        messages,
        known: Known::default(),
        fresh: 0,
        scope: Vec::new(),
        issues: Vec::new(),
        done: Checked {
            types: vec![Type::Error; ast.nodes.len()],
            refs: vec![Ref::None; ast.nodes.len()],
            locals: 0,
            regexes: HashMap::new(),
        },
    };
    checker.check(ast.root);
    if checker.issues.is_empty() {
        checker.check_literals();
        checker.check_formats();
        checker.check_alike(ast.root, false);
    }
    if !checker.issues.is_empty() {
        checker.issues.truncate(ERRORS);
        return Err(CompileError::new(source, checker.issues));
    }
    let Checker { mut done, known, .. } = checker;
    for t in &mut done.types {
        *t = known.resolve(t, true);
    }
    Ok(done)
}

struct Checker<'a> {
    source: &'a str,
    ast: &'a Ast,
    variables: &'a [Declared<'a>],
    messages: &'a Messages,
    known: Known,
    fresh: u32,
    /// Local variables, the innermost last.
    scope: Vec<(&'a str, Type, usize)>,
    issues: Vec<Issue>,
    done: Checked,
}

impl<'a> Checker<'a> {
    fn issue(&mut self, id: Id, message: impl Into<String>) {
        // A node that many branches share is checked often; its issue is told once.
        let (line, column) = locate(self.source, self.ast.nodes[id as usize].at as usize);
        let issue = Issue { line, column, message: message.into() };
        if !self.issues.contains(&issue) {
            self.issues.push(issue);
        }
    }

    fn type_of(&self, id: Id) -> Type {
        self.done.types[id as usize].clone()
    }

    fn mismatch(&mut self, id: Id, wanted: &Type, found: &Type) {
        let (wanted, found) = (self.known.resolve(wanted, false), self.known.resolve(found, false));
        self.issue(id, format!("expected type '{wanted}' but found '{found}'"));
    }

    fn undeclared(&mut self, id: Id, name: &str) {
        self.issue(id, format!("undeclared reference to '{name}' (in container '')"));
    }

    fn fresh(&mut self) -> Type {
        self.fresh += 1;
        Type::Param(Param::Fresh(self.fresh - 1))
    }

    fn slot(&mut self) -> usize {
        self.done.locals += 1;
        self.done.locals - 1
    }

    fn check(&mut self, id: Id) {
        let ast = self.ast;
        let found = match ast.kind(id) {
            Kind::Literal(literal) => literal_type(literal),
            Kind::Ident(name) => self.ident(id, name),
            Kind::Select { operand, field, test } => self.select(id, *operand, field, *test),
            Kind::Call { name, target, args } => self.call(id, name, *target, args),
            Kind::List { items } => {
                let mut of = None;
                for item in items {
                    self.check(item.value);
                    let t = self.held(item.value, item.optional);
                    of = Some(self.join(of, t));
                }
                Type::list(of.unwrap_or_else(|| self.fresh()))
            }
            Kind::Map { entries } => {
                let (mut keys, mut values) = (None, None);
                for entry in entries {
                    self.check(entry.key);
                    let t = self.type_of(entry.key);
                    keys = Some(self.join(keys, t));
                    self.check(entry.value);
                    let t = self.held(entry.value, entry.optional);
                    values = Some(self.join(values, t));
                }
                let keys = keys.unwrap_or_else(|| self.fresh());
                Type::map(keys, values.unwrap_or_else(|| self.fresh()))
            }
            Kind::Struct { name, entries } => self.message(id, name, entries),
            Kind::Fold(fold) => self.fold(id, fold),
            Kind::Let { name, value, body } => {
                self.check(*value);
                let (bound, slot) = (self.type_of(*value), self.slot());
                self.scope.push((name, bound, slot));
                self.check(*body);
                self.scope.pop();
                self.done.refs[id as usize] = Ref::Slots([slot, 0, 0]);
                self.type_of(*body)
            }
            Kind::OptMap { target, name, body, flat } => self.opt_map(id, *target, name, *body, *flat),
            Kind::Broken => Type::Error,
        };
        self.done.types[id as usize] = found;
    }

    fn message(&mut self, id: Id, name: &str, entries: &[Entry]) -> Type {
        let of = self.messages.find(name);
        if of.is_none() {
            self.undeclared(id, name);
        }
        for entry in entries {
            self.check(entry.key);
            self.check(entry.value);
            let (Some(of), Kind::Literal(Literal::String(field))) = (&of, self.ast.kind(entry.key)) else { continue };
            let wanted = match (of.fields.get(field), of.open) {
                (Some(field), _) => Type::of(&field.decl),
                (None, true) => Type::Dyn,
                (None, false) => {
                    self.issue(entry.key, format!("undefined field '{field}'"));
                    continue;
                }
            };
            let found = self.held(entry.value, entry.optional);
            if !self.known.fits(&wanted, &found) {
                let (wanted, found) = (self.known.resolve(&wanted, false), self.known.resolve(&found, false));
                let message = format!("expected type of field '{field}' is '{wanted}' but provided type is '{found}'");
                self.issue(entry.key, message);
            }
        }
        of.map_or(Type::Error, Type::Object)
    }

    fn ident(&mut self, id: Id, name: &str) -> Type {
        match self.lookup(name) {
            Some((found, t)) => {
                self.done.refs[id as usize] = found;
                t
            }
            None => {
                self.undeclared(id, name);
                Type::Error
            }
        }
    }

    /// What a name, dotted or not, stands for.
    fn lookup(&self, name: &str) -> Option<(Ref, Type)> {
        if let Some((_, t, slot)) = self.scope.iter().rev().find(|(n, ..)| *n == name) {
            return Some((Ref::Local(*slot), t.clone()));
        }
        if let Some(i) = self.variables.iter().position(|(n, _)| *n == name) {
            return Some((Ref::Variable(i), self.variables[i].1.clone()));
        }
        let named = Type::named(name)?;
        Some((Ref::Type(named.clone()), Type::Type(Arc::new(named))))
    }

    fn select(&mut self, id: Id, operand: Id, field: &str, test: bool) -> Type {
        if !test
            && let Some(name) = self.ast.qualified(id)
            && let Some((found, t)) = self.lookup(&name)
        {
            self.done.refs[id as usize] = found;
            return t;
        }
        let t = self.field(id, operand, field, false);
        if test { Type::Bool } else { self.known.resolve(&t, false) }
    }

    /// The type of a field of the operand.
    fn field(&mut self, id: Id, operand: Id, field: &str, optional: bool) -> Type {
        self.check(operand);
        let on = self.known.resolve(&self.type_of(operand), false);
        let (of, was_optional) = match &on {
            Type::Optional(of) => ((**of).clone(), true),
            _ => (on, false),
        };
        let found = match &of {
            Type::Map(of) => of.1.clone(),
            Type::Object(object) => match object.field(field) {
                Some(field) => Type::of(&field.decl),
                None if object.open => Type::Dyn,
                None => {
                    self.issue(id, format!("undefined field '{field}'"));
                    Type::Error
                }
            },
            Type::Param(_) => {
                self.known.fits(&Type::Dyn, &of);
                Type::Dyn
            }
            Type::Dyn | Type::Error => Type::Dyn,
            other => {
                self.issue(id, format!("type '{other}' does not support field selection"));
                Type::Dyn
            }
        };
        if optional || was_optional { Type::optional(found) } else { found }
    }

    /// The type of an element, of what it holds where it is optional.
    fn held(&mut self, id: Id, optional: bool) -> Type {
        let t = self.type_of(id);
        if !optional {
            return t;
        }
        match &t {
            Type::Optional(of) => (**of).clone(),
            Type::Dyn | Type::Error => t,
            other => {
                self.mismatch(id, &Type::optional(other.clone()), other);
                t
            }
        }
    }

    /// The common type of the elements of a literal.
    fn join(&mut self, before: Option<Type>, now: Type) -> Type {
        match before {
            None => now,
            Some(before) if self.known.fits(&before, &now) => more_general(before, now),
            Some(_) => Type::Dyn,
        }
    }

    fn fold(&mut self, id: Id, fold: &'a Fold) -> Type {
        self.check(fold.range);
        self.check(fold.init);
        let range = self.known.resolve(&self.type_of(fold.range), false);
        let accu = self.type_of(fold.init);
        let (var, var2) = self.element_types(fold, &range);
        let slots = [self.slot(), self.slot(), self.slot()];
        self.done.refs[id as usize] = Ref::Slots(slots);
        self.scope.push((ACCUMULATOR, accu.clone(), slots[0]));
        let outer = self.scope.len();
        self.scope.push((&fold.var, var, slots[1]));
        if let Some(name) = &fold.var2 {
            self.scope.push((name, var2, slots[2]));
        }
        self.check(fold.condition);
        self.wants(fold.condition, &Type::Bool);
        self.check(fold.step);
        self.wants(fold.step, &accu);
        self.scope.truncate(outer);
        self.check(fold.result);
        self.scope.pop();
        self.known.resolve(&self.type_of(fold.result), false)
    }

    fn element_types(&mut self, fold: &Fold, range: &Type) -> (Type, Type) {
        let pair = fold.var2.is_some();
        match range {
            Type::List(of) if pair => (Type::Int, (**of).clone()),
            Type::List(of) => ((**of).clone(), Type::Dyn),
            Type::Map(of) => (of.0.clone(), of.1.clone()),
            Type::Dyn | Type::Error | Type::Param(_) => {
                self.known.fits(&Type::Dyn, range);
                (Type::Dyn, Type::Dyn)
            }
            other => {
                let message = format!(
                    "expression of type '{other}' cannot be range of a comprehension (must be list, map, or dynamic)"
                );
                self.issue(fold.range, message);
                (Type::Error, Type::Error)
            }
        }
    }

    fn wants(&mut self, id: Id, wanted: &Type) {
        let found = self.type_of(id);
        if !self.known.fits(wanted, &found) {
            self.mismatch(id, wanted, &found);
        }
    }

    fn opt_map(&mut self, id: Id, target: Id, name: &'a str, body: Id, flat: bool) -> Type {
        self.check(target);
        let on = self.known.resolve(&self.type_of(target), false);
        let held = match &on {
            Type::Optional(of) => (**of).clone(),
            Type::Dyn | Type::Error => Type::Dyn,
            other => {
                self.issue(id, format!("found no matching overload for 'hasValue' applied to '{other}.()'"));
                Type::Error
            }
        };
        let slot = self.slot();
        self.done.refs[id as usize] = Ref::Slots([slot, 0, 0]);
        self.scope.push((name, held, slot));
        self.check(body);
        self.scope.pop();
        let result = self.type_of(body);
        if !flat {
            return Type::optional(result);
        }
        let wanted = Type::optional(self.fresh());
        if !self.known.fits(&result, &wanted) {
            let message = format!(
                "found no matching overload for '_?_:_' applied to '(bool, {result}, optional_type({result}))'"
            );
            self.issue(id, message);
        }
        result
    }
}

fn literal_type(literal: &Literal) -> Type {
    match literal {
        Literal::Null => Type::Null,
        Literal::Bool(_) => Type::Bool,
        Literal::Int(_) => Type::Int,
        Literal::Uint(_) => Type::Uint,
        Literal::Double(_) => Type::Double,
        Literal::String(_) => Type::String,
        Literal::Bytes(_) => Type::Bytes,
    }
}
