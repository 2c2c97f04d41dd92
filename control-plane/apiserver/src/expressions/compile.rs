//! The rules of a schema, compiled, in the shape of the schema.

use super::declare::{declare, element, property};
use super::field_path;
use crate::metrics::COMPILATION;
use api::structural::{Additional, List, Rule, Structural, Ty};
use expr::{Decl, Environment, Program, Type};
use std::collections::BTreeMap;
use std::sync::Arc;

/// The names by which rules know the value and what it was before.
pub(super) const SELF: &str = "self";
pub(super) const OLD_SELF: &str = "oldSelf";

/// One node of a schema with its rules and what is below it.
#[derive(Default)]
pub(super) struct Node {
    /// As error messages name it.
    pub ty: &'static str,
    pub rules: Vec<Compiled>,
    pub properties: BTreeMap<String, Node>,
    /// Of a list's items or a map's values.
    pub elements: Option<Box<Node>>,
    pub all_of: Vec<Node>,
    /// The keys by which items are found again in the list as it was.
    pub keys: Option<Vec<String>>,
}

/// One rule.
pub(super) struct Compiled {
    pub rule: Rule,
    /// What it compiled to, or why it did not.
    pub program: Result<Program, String>,
    pub message: Option<Program>,
    pub message_error: Option<String>,
    pub uses_old: bool,
    /// Where its errors stand, below the value.
    pub field_path: String,
}

/// Whether a rule stands anywhere in a schema, `allOf` included.
pub(super) fn has_rules(schema: &Structural) -> bool {
    schema.has_rules() || schema.checks.all_of.iter().any(has_rules)
}

/// Compiles the rules of a schema. Nothing where it has none.
pub(super) fn compile(schema: &Structural, resource: bool) -> Option<Node> {
    node(schema, schema, declare(schema, resource).as_ref())
}

/// The rules of one schema on values that another one describes: they differ under `allOf`.
fn node(rules: &Structural, values: &Structural, decl: Option<&Arc<Decl>>) -> Option<Node> {
    let mut out = Node { ty: type_name(values), ..Node::default() };
    if let List::Map(keys) = &values.list {
        out.keys = Some(keys.iter().map(ToString::to_string).collect());
    }
    if let Some(decl) = decl {
        out.rules = rules.rules.iter().map(|r| rule(r, values, decl)).collect();
    }
    let below = decl.and_then(|d| element(d));
    if let (Some(rules), Some(values)) = (&rules.items, &values.items) {
        out.elements = node(rules, values, below.as_ref()).map(Box::new);
    }
    if let (Additional::Schema(rules), Additional::Schema(values)) = (&rules.additional, &values.additional) {
        out.elements = node(rules, values, below.as_ref()).map(Box::new);
    }
    for (name, rules) in &rules.properties {
        let Some(values) = values.properties.get(name) else { continue };
        // A name that no identifier can spell is unknown to the object, not to rules of its own.
        let decl = match decl.and_then(|d| property(d, name)) {
            Some(decl) => Some(decl),
            None => declare(values, values.embedded),
        };
        if let Some(found) = node(rules, values, decl.as_ref()) {
            out.properties.insert(name.to_string(), found);
        }
    }
    out.all_of = rules.checks.all_of.iter().filter_map(|nested| node(nested, values, decl)).collect();
    let empty = out.rules.is_empty() && out.properties.is_empty() && out.elements.is_none() && out.all_of.is_empty();
    (!empty).then_some(out)
}

fn type_name(schema: &Structural) -> &'static str {
    match schema.ty {
        None => "",
        Some(Ty::Object) => "object",
        Some(Ty::Array) => "array",
        Some(Ty::String) => "string",
        Some(Ty::Integer) => "integer",
        Some(Ty::Number) => "number",
        Some(Ty::Boolean) => "boolean",
    }
}

/// Compiles one rule for values of a schema.
pub(super) fn rule(rule: &Rule, schema: &Structural, decl: &Arc<Decl>) -> Compiled {
    let optional = rule.optional_old_self == Some(true);
    let environment = Environment::default().with(SELF, decl.clone(), false).with(OLD_SELF, decl.clone(), optional);
    let program = match COMPILATION.run(|| environment.compile(&rule.rule)) {
        Ok(program) if *program.result_type() != Type::Bool => Err("cel expression must evaluate to a bool".to_owned()),
        Ok(program) => match program.check_constants() {
            Ok(()) => Ok(program),
            Err(why) => Err(format!("program instantiation failed: {why}")),
        },
        Err(error) => Err(format!("compilation failed: {error}")),
    };
    let uses_old = program.as_ref().is_ok_and(|p| p.uses(OLD_SELF));
    let (mut message, mut message_error) = (None, None);
    if program.is_ok() && !rule.message_expression.is_empty() {
        match COMPILATION.run(|| environment.compile(&rule.message_expression)) {
            Ok(compiled) if *compiled.result_type() != Type::String => {
                message_error = Some("messageExpression must evaluate to a string".to_owned());
            }
            Ok(compiled) => match compiled.check_constants() {
                Ok(()) => message = Some(compiled),
                Err(why) => message_error = Some(format!("messageExpression instantiation failed: {why}")),
            },
            Err(error) => message_error = Some(format!("messageExpression compilation failed: {error}")),
        }
    }
    let field_path = match rule.field_path.as_str() {
        "" => String::new(),
        path => field_path::normalize(path, schema).unwrap_or_default(),
    };
    Compiled { rule: rule.clone(), program, message, message_error, uses_old, field_path }
}
