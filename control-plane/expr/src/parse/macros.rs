//! Macros: calls that stand for loops and bindings.

use super::Builder;
use crate::ast::{ACCUMULATOR, Entry, Fold, Id, Item, Kind, Literal};
use cel::IdedExpr;
use cel::common::ast::{CallExpr, Expr};

/// The hidden variable of `sortBy`.
const SORTED: &str = "@sortBy";

impl Builder<'_> {
    /// A call, or what the macro of its name stands for.
    pub(super) fn call(&mut self, at: u32, call: &CallExpr) -> Id {
        if let Some(expanded) = self.expand(at, call) {
            return expanded;
        }
        let target = call.target.as_ref().map(|t| self.add(t));
        let args = call.args.iter().map(|a| self.add(a)).collect();
        let name = call.func_name.trim_start_matches('.').to_owned();
        self.node(at, Kind::Call { name, target, args })
    }

    fn expand(&mut self, at: u32, call: &CallExpr) -> Option<Id> {
        let args = &call.args[..];
        let Some(target) = call.target.as_deref() else {
            return (call.func_name == "has" && args.len() == 1).then(|| self.has(at, &args[0]));
        };
        match (call.func_name.as_str(), args.len()) {
            ("all" | "exists" | "exists_one", 2 | 3) | ("existsOne", 3) => Some(self.quantifier(at, call, target)),
            ("map", 2 | 3) | ("filter", 2) => Some(self.mapping(at, call, target)),
            ("transformList", 3 | 4) => Some(self.transform(at, target, args, Built::List)),
            ("transformMap", 3 | 4) => Some(self.transform(at, target, args, Built::Map)),
            ("transformMapEntry", 3 | 4) => Some(self.transform(at, target, args, Built::Entries)),
            ("optMap" | "optFlatMap", 2) => Some(self.opt_map(at, call, target)),
            ("sortBy", 2) => Some(self.sort_by(at, target, args)),
            _ => None,
        }
    }

    fn has(&mut self, at: u32, arg: &IdedExpr) -> Id {
        let arg_at = self.at(arg);
        match &arg.expr {
            Expr::Select(select) => {
                let operand = self.add(&select.operand);
                self.node(at, Kind::Select { operand, field: select.field.clone(), test: true })
            }
            _ => self.issue(arg_at, "invalid argument to has() macro"),
        }
    }

    /// The name that a macro's argument introduces.
    fn variable(&mut self, arg: &IdedExpr, what: &str) -> Result<String, Id> {
        let at = self.at(arg);
        match &arg.expr {
            Expr::Ident(name) if name == ACCUMULATOR || name == "__result__" => {
                Err(self.issue(at, format!("iteration variable overwrites accumulator variable: {name}")))
            }
            Expr::Ident(name) if !name.starts_with('.') => Ok(name.clone()),
            _ => Err(self.issue(at, what)),
        }
    }

    /// The one or two variables of a loop.
    fn variables(&mut self, args: &[IdedExpr]) -> Result<(String, Option<String>), Id> {
        let what = match args.len() {
            1 => "argument must be a simple name",
            _ => "argument must be a simple name",
        };
        let first = self.variable(&args[0], what)?;
        let Some(second) = args.get(1) else { return Ok((first, None)) };
        let at = self.at(second);
        let second = self.variable(second, what)?;
        if second == first {
            return Err(self.issue(at, format!("duplicate variable name: {second}")));
        }
        Ok((first, Some(second)))
    }

    fn quantifier(&mut self, at: u32, call: &CallExpr, target: &IdedExpr) -> Id {
        let (predicate, names) = call.args.split_last().expect("INVARIANT: quantifiers have arguments");
        let (var, var2) = match self.variables(names) {
            Ok(names) => names,
            Err(issue) => return issue,
        };
        let range = self.add(target);
        let predicate = self.add(predicate);
        let (init, condition, step, result) = match call.func_name.as_str() {
            "all" => {
                let accu = self.accumulator(at);
                let condition = self.function(at, "@not_strictly_false", &[accu]);
                let accu = self.accumulator(at);
                let step = self.function(at, "_&&_", &[accu, predicate]);
                (self.literal(at, Literal::Bool(true)), condition, step, self.accumulator(at))
            }
            "exists" => {
                let accu = self.accumulator(at);
                let not = self.function(at, "!_", &[accu]);
                let condition = self.function(at, "@not_strictly_false", &[not]);
                let accu = self.accumulator(at);
                let step = self.function(at, "_||_", &[accu, predicate]);
                (self.literal(at, Literal::Bool(false)), condition, step, self.accumulator(at))
            }
            _ => {
                let (accu, one) = (self.accumulator(at), self.literal(at, Literal::Int(1)));
                let more = self.function(at, "_+_", &[accu, one]);
                let same = self.accumulator(at);
                let step = self.function(at, "_?_:_", &[predicate, more, same]);
                let (accu, one) = (self.accumulator(at), self.literal(at, Literal::Int(1)));
                let result = self.function(at, "_==_", &[accu, one]);
                let condition = self.literal(at, Literal::Bool(true));
                (self.literal(at, Literal::Int(0)), condition, step, result)
            }
        };
        self.node(at, Kind::Fold(Box::new(Fold { range, var, var2, init, condition, step, result })))
    }

    fn mapping(&mut self, at: u32, call: &CallExpr, target: &IdedExpr) -> Id {
        let (var, _) = match self.variables(&call.args[..1]) {
            Ok(names) => names,
            Err(issue) => return issue,
        };
        let range = self.add(target);
        let (filter, value) = match (call.func_name.as_str(), &call.args[1..]) {
            ("filter", [filter]) => (Some(self.add(filter)), self.node(at, Kind::Ident(var.clone()))),
            (_, [filter, value]) => (Some(self.add(filter)), self.add(value)),
            (_, rest) => (None, self.add(&rest[0])),
        };
        self.collect(at, range, (var, None), filter, Built::List, value)
    }

    fn transform(&mut self, at: u32, target: &IdedExpr, args: &[IdedExpr], built: Built) -> Id {
        let (var, var2) = match self.variables(&args[..2]) {
            Ok(names) => names,
            Err(issue) => return issue,
        };
        let range = self.add(target);
        let filter = (args.len() == 4).then(|| self.add(&args[2]));
        let value = self.add(&args[args.len() - 1]);
        self.collect(at, range, (var, var2), filter, built, value)
    }

    /// A loop that adds a value to a list or map for each element that passes.
    fn collect(
        &mut self,
        at: u32,
        range: Id,
        (var, var2): (String, Option<String>),
        filter: Option<Id>,
        built: Built,
        value: Id,
    ) -> Id {
        let accu = self.accumulator(at);
        let (init, added) = match built {
            Built::List => {
                let one = self.node(at, Kind::List { items: vec![Item { value, optional: false }] });
                (self.node(at, Kind::List { items: Vec::new() }), self.function(at, "_+_", &[accu, one]))
            }
            Built::Map => {
                let key = self.node(at, Kind::Ident(var.clone()));
                let step = self.function(at, "cel.@mapInsert", &[accu, key, value]);
                (self.node(at, Kind::Map { entries: Vec::<Entry>::new() }), step)
            }
            Built::Entries => {
                let step = self.function(at, "cel.@mapInsert", &[accu, value]);
                (self.node(at, Kind::Map { entries: Vec::new() }), step)
            }
        };
        let step = match filter {
            Some(filter) => {
                let same = self.accumulator(at);
                self.function(at, "_?_:_", &[filter, added, same])
            }
            None => added,
        };
        let condition = self.literal(at, Literal::Bool(true));
        let result = self.accumulator(at);
        self.node(at, Kind::Fold(Box::new(Fold { range, var, var2, init, condition, step, result })))
    }

    fn opt_map(&mut self, at: u32, call: &CallExpr, target: &IdedExpr) -> Id {
        let flat = call.func_name == "optFlatMap";
        let what = format!("{}() variable name must be a simple identifier", call.func_name);
        let name = match self.variable(&call.args[0], &what) {
            Ok(name) => name,
            Err(issue) => return issue,
        };
        let target = self.add(target);
        let body = self.add(&call.args[1]);
        self.node(at, Kind::OptMap { target, name, body, flat })
    }

    fn sort_by(&mut self, at: u32, target: &IdedExpr, args: &[IdedExpr]) -> Id {
        let var = match self.variable(&args[0], "sortBy variable name must be a simple identifier") {
            Ok(name) => name,
            Err(issue) => return issue,
        };
        let list = self.add(target);
        let key = self.add(&args[1]);
        let range = self.node(at, Kind::Ident(SORTED.to_owned()));
        let keys = self.collect(at, range, (var, None), None, Built::List, key);
        let sorted = self.node(at, Kind::Ident(SORTED.to_owned()));
        let body = self.function(at, "@sortByAssociatedKeys", &[sorted, keys]);
        self.node(at, Kind::Let { name: SORTED.to_owned(), value: list, body })
    }

    fn accumulator(&mut self, at: u32) -> Id {
        self.node(at, Kind::Ident(ACCUMULATOR.to_owned()))
    }

    fn literal(&mut self, at: u32, literal: Literal) -> Id {
        self.node(at, Kind::Literal(literal))
    }

    fn function(&mut self, at: u32, name: &str, args: &[Id]) -> Id {
        self.node(at, Kind::Call { name: name.to_owned(), target: None, args: args.to_vec() })
    }
}

/// What a collecting loop builds.
#[derive(Clone, Copy)]
enum Built {
    List,
    Map,
    Entries,
}
