//! Compiling and evaluating.

use crate::ast::{Ast, Id, Kind, Literal};
use crate::check::{Checked, Ref, check};
use crate::cost::{Range, estimate::estimate};
use crate::data::Data;
use crate::decl::{Decl, Object, Shape};
use crate::eval::Machine;
use crate::library::regex;
use crate::limits::PER_CALL;
use crate::parse::parse;
use crate::source::CompileError;
use crate::types::Type;
use crate::value::{Fail, Out, Val};
use std::sync::Arc;

/// Stack for compiling: the generated parser takes several kilobytes for each level of nesting.
const COMPILE_STACK: usize = 32 * 1024 * 1024;

/// A variable that expressions may use.
#[derive(Clone, Debug)]
pub struct Variable {
    pub name: String,
    pub decl: Arc<Decl>,
    /// Whether it holds an optional value instead of the value.
    pub optional: bool,
}

/// What expressions are compiled against.
#[derive(Clone, Debug, Default)]
pub struct Environment {
    pub variables: Vec<Variable>,
    /// The messages that expressions may make.
    pub(crate) messages: Messages,
}

/// Types of messages by their names.
#[derive(Clone, Debug, Default)]
pub(crate) struct Messages {
    declared: Vec<Arc<Object>>,
    open: Option<String>,
}

impl Messages {
    /// Whether expressions make patches of objects.
    pub(crate) fn makes_patches(&self) -> bool {
        self.open.is_some()
    }

    /// The type of a name; `Object.spec` is open where `Object` is.
    pub(crate) fn find(&self, name: &str) -> Option<Arc<Object>> {
        let open = |root: &String| name.strip_prefix(root.as_str()).is_some_and(|r| r.is_empty() || r.starts_with('.'));
        match self.declared.iter().find(|object| object.name == name) {
            Some(object) => Some(object.clone()),
            None if self.open.as_ref().is_some_and(open) => {
                Some(Arc::new(Object { name: name.to_owned(), open: true, ..Object::default() }))
            }
            None => None,
        }
    }
}

/// A compiled expression.
pub struct Program {
    ast: Ast,
    checked: Checked,
    variables: Vec<Variable>,
}

/// What a variable is in one evaluation.
#[derive(Clone, Copy)]
pub enum Binding<'a> {
    /// It has no value: using it is an error.
    Unset,
    Value(&'a dyn Data),
    /// An optional variable without a value.
    None,
}

/// How an evaluation went.
#[derive(Debug)]
pub struct Outcome<'a> {
    pub result: Out<'a>,
    pub cost: u64,
}

impl Environment {
    /// An environment of one variable, as rules of a schema have it.
    pub fn with(mut self, name: &str, decl: Arc<Decl>, optional: bool) -> Environment {
        self.variables.push(Variable { name: name.to_owned(), decl, optional });
        self
    }

    /// Lets expressions make messages of a declared object: `Name{field: value}`. They are maps when evaluated.
    pub fn with_message(mut self, decl: &Decl) -> Environment {
        if let Shape::Object(object) = &decl.shape {
            self.messages.declared.push(object.clone());
        }
        self
    }

    /// Lets expressions make messages of a name and of all names below it (`Object.spec`), with whatever fields.
    pub fn with_open_message(mut self, name: &str) -> Environment {
        self.messages.open = Some(name.to_owned());
        self
    }

    /// Parses and checks an expression.
    pub fn compile(&self, source: &str) -> Result<Program, CompileError> {
        stacker::maybe_grow(COMPILE_STACK, COMPILE_STACK, || {
            let ast = parse(source)?;
            let declared: Vec<(&str, Type)> = self
                .variables
                .iter()
                .map(|v| {
                    let t = Type::of(&v.decl);
                    (v.name.as_str(), if v.optional { Type::optional(t) } else { t })
                })
                .collect();
            let checked = check(source, &ast, &declared, &self.messages)?;
            Ok(Program { ast, checked, variables: self.variables.clone() })
        })
    }
}

impl Program {
    /// The type of what it gives.
    pub fn result_type(&self) -> &Type {
        &self.checked.types[self.ast.root as usize]
    }

    /// Whether it uses a variable.
    pub fn uses(&self, name: &str) -> bool {
        let Some(place) = self.variables.iter().position(|v| v.name == name) else { return false };
        self.checked.refs.iter().any(|r| matches!(r, Ref::Variable(i) if *i == place))
    }

    /// Computes the constants in it, as upstream does once, before a program runs.
    ///
    /// # Errors
    /// Why one of them has no value.
    pub fn check_constants(&self) -> Result<(), String> {
        for (id, node) in self.ast.nodes.iter().enumerate() {
            let told = match &node.kind {
                Kind::Call { name, .. } if is_conversion(name) && self.is_constant(id as Id) => {
                    self.machine(&[], PER_CALL).eval(id as Id).err().map(|fail| fail.to_string())
                }
                Kind::Call { name, args, .. } if matches!(name.as_str(), "find" | "findAll") => {
                    match args.first().map(|arg| self.ast.kind(*arg)) {
                        Some(Kind::Literal(Literal::String(pattern))) => regex::compile(pattern).err(),
                        _ => None,
                    }
                }
                _ => None,
            };
            if let Some(why) = told {
                return Err(why);
            }
        }
        Ok(())
    }

    /// Whether a value is written, be it converted.
    fn is_constant(&self, id: Id) -> bool {
        match self.ast.kind(id) {
            Kind::Literal(_) => true,
            Kind::List { items } => items.iter().all(|item| !item.optional && self.is_constant(item.value)),
            Kind::Call { name, target: None, args } => {
                (is_conversion(name) || name == "dyn" || name == "-_") && args.iter().all(|arg| self.is_constant(*arg))
            }
            _ => false,
        }
    }

    fn machine<'a>(&'a self, variables: &'a [Option<Val<'a>>], limit: u64) -> Machine<'a> {
        Machine {
            ast: &self.ast,
            checked: &self.checked,
            variables,
            locals: vec![None; self.checked.locals],
            cost: 0,
            limit,
        }
    }

    /// What it can cost. Sizes are those of the root's declaration.
    pub fn estimate(&self, root: Option<&Decl>) -> Range {
        stacker::maybe_grow(COMPILE_STACK, COMPILE_STACK, || estimate(&self.ast, &self.checked, root))
    }

    /// Evaluates it with the variables in the order in which they were declared, and passes what it gives on.
    pub fn evaluate<R>(&self, bindings: &[Binding<'_>], limit: u64, then: impl FnOnce(Outcome<'_>) -> R) -> R {
        let variables: Result<Vec<Option<Val<'_>>>, Fail> =
            self.variables.iter().zip(bindings).map(|(v, b)| bound(v, *b)).collect();
        let variables = match variables {
            Ok(variables) => variables,
            Err(fail) => return then(Outcome { result: Err(fail), cost: 0 }),
        };
        let mut machine = self.machine(&variables, limit);
        let result = machine.eval(self.ast.root);
        let cost = machine.cost;
        then(Outcome { result, cost })
    }
}

fn is_conversion(name: &str) -> bool {
    matches!(name, "bool" | "bytes" | "double" | "duration" | "int" | "string" | "timestamp" | "uint")
}

fn bound<'a>(variable: &'a Variable, binding: Binding<'a>) -> Result<Option<Val<'a>>, Fail> {
    Ok(match binding {
        Binding::Unset => None,
        Binding::None => Some(Val::Optional(None)),
        Binding::Value(node) => {
            let value = Val::read(&variable.decl, node)?;
            Some(if variable.optional { Val::some(value) } else { value })
        }
    })
}
