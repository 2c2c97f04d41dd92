//! Evaluation: one walk over the tree, which counts what it costs and stops when that is too much.

use crate::ast::{ACCUMULATOR, Ast, Entry, Fold, Id, Item, Kind, Literal};
use crate::check::{Checked, Ref};
use crate::cost::actual;
use crate::cost::{LIST, MAP, MESSAGE};
use crate::library::{Overload, Tools, operators, optional};
use crate::value::{Dict, Fail, Out, Text, Val};
use std::rc::Rc;

/// Stack that a step needs at least, and how much more is taken where there is less: expressions nest deeper than the
/// stack of a server's thread is.
const RED_ZONE: usize = 128 * 1024;
const MORE_STACK: usize = 1024 * 1024;

pub(crate) struct Machine<'a> {
    pub ast: &'a Ast,
    pub checked: &'a Checked,
    /// The declared variables, in their order; one that is not set is an error to use.
    pub variables: &'a [Option<Val<'a>>],
    pub locals: Vec<Option<Out<'a>>>,
    pub cost: u64,
    pub limit: u64,
}

impl<'a> Machine<'a> {
    fn spend(&mut self, units: u64) -> Result<(), Fail> {
        self.cost = self.cost.saturating_add(units);
        if self.cost > self.limit { Err(Fail::CostLimit) } else { Ok(()) }
    }

    pub(crate) fn eval(&mut self, id: Id) -> Out<'a> {
        stacker::maybe_grow(RED_ZONE, MORE_STACK, || self.step(id))
    }

    fn found(&self, id: Id) -> &'a Ref {
        &self.checked.refs[id as usize]
    }

    fn step(&mut self, id: Id) -> Out<'a> {
        match self.ast.kind(id) {
            Kind::Literal(literal) => Ok(constant(literal)),
            Kind::Ident(name) => self.named(id, name),
            Kind::Select { operand, field, test } => match self.found(id) {
                Ref::None => self.select(*operand, field, *test),
                _ => self.named(id, field),
            },
            Kind::Call { name, target, args } => self.call(id, name, *target, args),
            Kind::List { items } => self.list(items),
            Kind::Map { entries } => self.map(entries, MAP),
            Kind::Struct { entries, .. } => self.map(entries, MESSAGE),
            Kind::Fold(fold) => self.fold(id, fold),
            Kind::Let { value, body, .. } => {
                let slot = self.slots(id)[0];
                let bound = self.kept(*value)?;
                self.locals[slot] = Some(bound);
                self.spend(LIST)?;
                self.eval(*body)
            }
            Kind::OptMap { target, body, flat, .. } => {
                let held = match self.eval(*target)? {
                    Val::Optional(Some(held)) => (*held).clone(),
                    Val::Optional(None) => return Ok(Val::Optional(None)),
                    _ => return Err(Fail::no_overload()),
                };
                self.spend(LIST)?;
                let slot = self.slots(id)[0];
                self.locals[slot] = Some(Ok(held));
                let result = self.eval(*body)?;
                Ok(if *flat { result } else { Val::some(result) })
            }
            // The checker does not let it through.
            Kind::Broken => Err(Fail::no_overload()),
        }
    }

    fn slots(&self, id: Id) -> [usize; 3] {
        match self.found(id) {
            Ref::Slots(slots) => *slots,
            _ => [0; 3],
        }
    }

    /// A result that may be an error to deal with later, unless the evaluation ends here.
    fn kept(&mut self, id: Id) -> Result<Out<'a>, Fail> {
        match self.eval(id) {
            Err(Fail::CostLimit) => Err(Fail::CostLimit),
            other => Ok(other),
        }
    }

    fn named(&mut self, id: Id, name: &str) -> Out<'a> {
        match self.found(id) {
            Ref::Type(t) => Ok(Val::Type(t.clone())),
            Ref::Local(slot) => {
                self.spend(1)?;
                self.locals[*slot].clone().unwrap_or_else(|| Err(no_attribute(name)))
            }
            Ref::Variable(i) => {
                self.spend(1)?;
                self.variables.get(*i).cloned().flatten().ok_or_else(|| no_attribute(name))
            }
            Ref::None | Ref::Overloads(_) | Ref::Slots(_) => Err(no_attribute(name)),
        }
    }

    fn select(&mut self, operand: Id, field: &'a str, test: bool) -> Out<'a> {
        let on = self.eval(operand)?;
        if !test {
            self.spend(1)?;
        }
        let key = Val::String(Text::Borrowed(field));
        match (&on, test) {
            (Val::Optional(held), true) => match held {
                Some(held) => Ok(Val::Bool(operators::member(held, &key).is_some())),
                None => Ok(Val::Bool(false)),
            },
            (_, true) if !on.is_list() => Ok(Val::Bool(operators::member(&on, &key).is_some())),
            _ => operators::index(&on, &key),
        }
    }

    fn call(&mut self, id: Id, name: &str, target: Option<Id>, args: &'a [Id]) -> Out<'a> {
        match (name, args) {
            ("_&&_", [left, right]) => return self.logic(*left, *right, false),
            ("_||_", [left, right]) => return self.logic(*left, *right, true),
            ("_?_:_", [test, yes, no]) => {
                return match self.eval(*test)? {
                    Val::Bool(true) => self.eval(*yes),
                    Val::Bool(false) => self.eval(*no),
                    _ => Err(Fail::no_overload()),
                };
            }
            ("@not_strictly_false", [arg]) => {
                let value = self.kept(*arg)?;
                self.spend(1)?;
                return Ok(Val::Bool(!matches!(value, Ok(Val::Bool(false)))));
            }
            // Upstream looks at the values alone: more of them can be keys than the checker lets through.
            ("_[_]", [of, key]) => {
                let (of, key) = (self.eval(*of)?, self.eval(*key)?);
                self.spend(1)?;
                return operators::index(&of, &key);
            }
            ("_?._", [operand, field]) => {
                let (on, key) = (self.eval(*operand)?, self.eval(*field)?);
                self.spend(1)?;
                return optional::index(&on, &key);
            }
            _ => {}
        }
        let Ref::Overloads(overloads) = self.found(id) else { return Err(Fail::no_overload()) };
        let values = match self.accumulated(name, args) {
            Some(slot) => {
                let mut values = vec![Val::Null];
                for arg in &args[1..] {
                    values.push(self.eval(*arg)?);
                }
                self.spend(1)?;
                // The only other holder would be the slot: what is taken out can grow in its place.
                values[0] = self.locals[slot].take().unwrap_or_else(|| Err(no_attribute(name)))?;
                if let Some(grown) = grow(&mut values)? {
                    self.spend(1)?;
                    return Ok(grown);
                }
                values
            }
            None => {
                // A namespace is not a target: such functions are no methods.
                let member = overloads.first().is_some_and(|o| o.member);
                let mut values = Vec::with_capacity(args.len() + 1);
                for arg in target.iter().filter(|_| member).chain(args) {
                    values.push(self.eval(*arg)?);
                }
                values
            }
        };
        match target.filter(|_| values.len() == args.len()).and_then(|t| self.ast.qualified(t)) {
            Some(namespace) => self.apply(&format!("{namespace}.{name}"), overloads, &values),
            None => self.apply(name, overloads, &values),
        }
    }

    fn apply(&mut self, name: &str, overloads: &[&'static Overload], values: &[Val<'a>]) -> Out<'a> {
        let Some(overload) = overloads.iter().find(|o| o.takes(values)) else {
            return Err(no_such(name, values));
        };
        let tools = Tools { regexes: &self.checked.regexes };
        let result = (overload.run)(&tools, values);
        self.spend(actual::cost(overload.cost, values, result.as_ref().ok()))?;
        result
    }

    /// The slot of the accumulator, where a loop's step adds to it.
    fn accumulated(&self, name: &str, args: &[Id]) -> Option<usize> {
        if !matches!(name, "_+_" | "cel.@mapInsert") {
            return None;
        }
        match (self.ast.kind(*args.first()?), self.found(args[0])) {
            (Kind::Ident(name), Ref::Local(slot)) if name == ACCUMULATOR => Some(*slot),
            _ => None,
        }
    }

    /// `&&` and `||`: the one value that decides alone outweighs an error on the other side.
    fn logic(&mut self, left: Id, right: Id, decisive: bool) -> Out<'a> {
        let first = self.kept(left)?;
        if matches!(first, Ok(Val::Bool(b)) if b == decisive) {
            return first;
        }
        let second = self.kept(right)?;
        match (first, second) {
            (_, Ok(Val::Bool(b))) if b == decisive => Ok(Val::Bool(b)),
            (Err(e), _) | (Ok(Val::Bool(_)), Err(e)) => Err(e),
            (Ok(Val::Bool(_)), Ok(Val::Bool(b))) => Ok(Val::Bool(b)),
            _ => Err(Fail::no_overload()),
        }
    }

    fn list(&mut self, items: &'a [Item]) -> Out<'a> {
        let constant = items.iter().all(|i| matches!(self.ast.kind(i.value), Kind::Literal(_)));
        let mut out = Vec::with_capacity(items.len());
        for item in items {
            match (self.eval(item.value)?, item.optional) {
                (Val::Optional(held), true) => out.extend(held.map(|h| (*h).clone())),
                (_, true) => return Err(Fail::no_overload()),
                (value, false) => out.push(value),
            }
        }
        if !constant || items.is_empty() {
            self.spend(LIST)?;
        }
        Ok(Val::list(out))
    }

    fn map(&mut self, entries: &'a [Entry], cost: u64) -> Out<'a> {
        let mut dict = Dict::default();
        for entry in entries {
            let key = self.eval(entry.key)?;
            let value = match (self.eval(entry.value)?, entry.optional) {
                (Val::Optional(Some(held)), true) => (*held).clone(),
                (Val::Optional(None), true) => continue,
                (_, true) => return Err(Fail::no_overload()),
                (value, false) => value,
            };
            dict.put(key, value)?;
        }
        self.spend(cost)?;
        Ok(Val::Map(Rc::new(dict)))
    }

    fn fold(&mut self, id: Id, fold: &'a Fold) -> Out<'a> {
        let [accu, var, var2] = self.slots(id);
        let range = self.eval(fold.range)?;
        let init = self.kept(fold.init)?;
        self.locals[accu] = Some(init);
        let pair = fold.var2.is_some();
        if let Some(items) = range.items() {
            for (i, item) in items.iter().enumerate() {
                let bound = if pair { (Ok(Val::Int(i as i64)), Some(item)) } else { (item, None) };
                if !self.turn(fold, [accu, var, var2], bound)? {
                    break;
                }
            }
        } else if let Some(entries) = range.entries() {
            for (key, value) in entries? {
                if !self.turn(fold, [accu, var, var2], (Ok(key), pair.then_some(Ok(value))))? {
                    break;
                }
            }
        } else {
            return Err(Fail::no_overload());
        }
        self.eval(fold.result)
    }

    /// One turn of a loop, or whether it is over.
    fn turn(
        &mut self,
        fold: &'a Fold,
        [accu, var, var2]: [usize; 3],
        (first, second): (Out<'a>, Option<Out<'a>>),
    ) -> Result<bool, Fail> {
        self.locals[var] = Some(first);
        if second.is_some() {
            self.locals[var2] = second;
        }
        if matches!(self.eval(fold.condition)?, Val::Bool(false)) {
            return Ok(false);
        }
        let next = self.kept(fold.step)?;
        self.locals[accu] = Some(next);
        Ok(true)
    }
}

fn constant(literal: &Literal) -> Val<'_> {
    match literal {
        Literal::Null => Val::Null,
        Literal::Bool(b) => Val::Bool(*b),
        Literal::Int(n) => Val::Int(*n),
        Literal::Uint(n) => Val::Uint(*n),
        Literal::Double(n) => Val::Double(*n),
        Literal::String(s) => Val::String(Text::Borrowed(s)),
        Literal::Bytes(b) => Val::Bytes(b.as_slice().into()),
    }
}

/// Adds to a list or map that nobody else holds. The values are left alone where that is not what happens.
fn grow<'a>(values: &mut Vec<Val<'a>>) -> Result<Option<Val<'a>>, Fail> {
    match &values[..] {
        [Val::List(_), Val::List(_)] | [Val::Map(_), _, _] => {}
        _ => return Ok(None),
    }
    let more = values.split_off(1);
    match (values.pop(), &more[..]) {
        (Some(Val::List(mut list)), [Val::List(added)]) => {
            Rc::make_mut(&mut list).extend(added.iter().cloned());
            Ok(Some(Val::List(list)))
        }
        (Some(Val::Map(mut dict)), [key, value]) => {
            Rc::make_mut(&mut dict).insert(key.clone(), value.clone())?;
            Ok(Some(Val::Map(dict)))
        }
        _ => Err(Fail::no_overload()),
    }
}

fn no_attribute(name: &str) -> Fail {
    Fail::new(format!("no such attribute(s): {name}"))
}

/// Operators, and methods that upstream takes for such, say less than functions when nothing fits.
fn no_such(name: &str, values: &[Val<'_>]) -> Fail {
    match name {
        "size" => Fail::new("no such overload: size"),
        "contains" | "endsWith" | "find" | "matches" | "startsWith" => Fail::no_overload(),
        name if name.starts_with(|c: char| c.is_ascii_alphabetic()) => {
            let types: Vec<String> = values.iter().map(Val::type_name).collect();
            Fail::new(format!("no such overload: {name}({})", types.join(", ")))
        }
        _ => Fail::no_overload(),
    }
}
