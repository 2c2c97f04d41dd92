//! Objects against the rules of their schema: transition rules where there is something before, nothing twice about parts
//! that have not changed.

use super::compile::{Compiled, Node, compile};
use super::texts::{self, Message};
use super::tree::{Root, Tree};
use crate::metrics::EVALUATION;
use api::Object;
use api::kind::Rules;
use api::status::{FieldError, FieldReason, shown};
use api::structural::Structural;
use api::value::{Map, Value};
use expr::{Binding, Data, Fail, Val, limits};

/// The rules of one version of a definition.
pub(super) struct SchemaRules(Option<Node>);

impl std::fmt::Debug for SchemaRules {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SchemaRules")
    }
}

impl SchemaRules {
    pub(super) fn new(schema: &Structural) -> SchemaRules {
        SchemaRules(compile(schema, true))
    }
}

impl Rules for SchemaRules {
    fn check(&self, object: &Object, old: Option<&Object>, errors: &mut Vec<FieldError>) {
        let Some(node) = &self.0 else { return };
        if errors.iter().any(|e| blocks(e.reason)) {
            errors.push(FieldError::new(FieldReason::Invalid, "<nil>", format!("Invalid value: null: {NOT_CHECKED}")));
            return;
        }
        let mut walk = Walk { budget: limits::PER_OBJECT, over: false, errors };
        let (new, old) = (At::Root(&object.0), old.map(|o| At::Root(&o.0)));
        let same = Same { here: old.map(|old| (new, Some(old))), above: None };
        walk.node(node, "", new, old, same);
    }
}

const NOT_CHECKED: &str = "some validation rules were not checked because the object was invalid; correct the existing \
                           errors to complete validation";

/// Whether rules can't be run on an object of which this is said: they count on values of their types and sizes.
fn blocks(reason: FieldReason) -> bool {
    match reason {
        FieldReason::NotSupported
        | FieldReason::Required
        | FieldReason::TooLong
        | FieldReason::TooMany
        | FieldReason::TypeInvalid => true,
        FieldReason::Invalid
        | FieldReason::Duplicate
        | FieldReason::Forbidden
        | FieldReason::NotFound
        | FieldReason::Internal => false,
    }
}

/// A value, or the whole object.
#[derive(Clone, Copy)]
enum At<'a> {
    Root(&'a Map),
    Value(&'a Value),
}

impl<'a> At<'a> {
    fn map(self) -> Option<&'a Map> {
        match self {
            At::Root(map) => Some(map),
            At::Value(value) => value.as_map(),
        }
    }

    fn list(self) -> Option<&'a [Value]> {
        match self {
            At::Root(_) => None,
            At::Value(value) => value.as_list(),
        }
    }

    fn member(self, key: &str) -> Option<At<'a>> {
        self.map()?.get(key).map(At::Value)
    }

    fn equals(self, other: At<'_>) -> bool {
        match (self, other) {
            (At::Root(a), At::Root(b)) => a == b,
            (At::Value(a), At::Value(b)) => a == b,
            _ => false,
        }
    }

    /// Hands the value to an evaluation.
    fn with<R>(self, then: impl FnOnce(&dyn Data) -> R) -> R {
        match self {
            At::Root(map) => then(&Root(map)),
            At::Value(value) => then(Tree::of(value)),
        }
    }
}

/// What tells whether a value has changed: itself and what it was, where it can be found again, else the nearest value
/// around it that can.
#[derive(Clone, Copy, Default)]
struct Same<'a> {
    here: Option<(At<'a>, Option<At<'a>>)>,
    above: Option<(At<'a>, Option<At<'a>>)>,
}

impl<'a> Same<'a> {
    fn holds(self) -> bool {
        self.here.or(self.above).is_some_and(|(new, old)| old.is_some_and(|old| new.equals(old)))
    }

    /// For a value below, with what it was; `None` where it can't be found again.
    fn below(self, pair: Option<(At<'a>, Option<At<'a>>)>) -> Same<'a> {
        match self.here {
            None => self,
            Some(_) => Same { here: pair, above: self.here },
        }
    }
}

struct Walk<'e> {
    budget: u64,
    /// Nothing is evaluated any more.
    over: bool,
    errors: &'e mut Vec<FieldError>,
}

impl Walk<'_> {
    fn node<'a>(&mut self, node: &Node, path: &str, new: At<'a>, old: Option<At<'a>>, same: Same<'a>) {
        if self.over || matches!(new, At::Value(Value::Null)) {
            return;
        }
        for compiled in &node.rules {
            self.rule(node, compiled, path, new, old, same);
            if self.over {
                return;
            }
        }
        for nested in &node.all_of {
            self.node(nested, path, new, old, Same { here: None, above: same.above });
        }
        if let Some(map) = new.map() {
            self.map(node, path, map, old, same);
        } else if let (Some(items), Some(elements)) = (new.list(), &node.elements) {
            for (i, item) in items.iter().enumerate() {
                let before = old.and_then(At::list).and_then(|old| found_again(node, item, old)).map(At::Value);
                let pair = node.keys.is_some().then_some((At::Value(item), before)).filter(|p| p.1.is_some());
                self.node(elements, &format!("{path}[{i}]"), At::Value(item), before, same.below(pair));
            }
        }
    }

    fn map<'a>(&mut self, node: &Node, path: &str, map: &'a Map, old: Option<At<'a>>, same: Same<'a>) {
        let root = path.is_empty() && same.above.is_none();
        for (key, value) in map.iter() {
            let (below, at) = match (node.properties.get(key.as_str()), &node.elements) {
                (Some(below), _) if path.is_empty() => (below, key.to_string()),
                (Some(below), _) => (below, format!("{path}.{key}")),
                (None, Some(below)) => (&**below, format!("{path}[{key}]")),
                (None, None) => continue,
            };
            let before = old.and_then(|old| old.member(key));
            let next = match root && matches!(key.as_str(), "apiVersion" | "kind") {
                true => Same::default(),
                false => same.below(Some((At::Value(value), before))),
            };
            self.node(below, &at, At::Value(value), before, next);
        }
    }

    fn rule(&mut self, node: &Node, rule: &Compiled, path: &str, new: At<'_>, old: Option<At<'_>>, same: Same<'_>) {
        let path = if path.is_empty() { "<nil>" } else { path };
        let mut typed = |why: String| {
            self.errors.push(FieldError::new(
                FieldReason::Invalid,
                path,
                format!("Invalid value: {:?}: {why}", node.ty),
            ));
        };
        let program = match &rule.program {
            Ok(program) => program,
            // The definition was taken with an expression that does not compile: before expressions were checked.
            Err(why) => return typed(format!("rule compile error: {why}")),
        };
        let optional = rule.rule.optional_old_self == Some(true);
        if rule.uses_old && old.is_none() && !optional {
            return;
        }
        if self.budget == 0 {
            typed(texts::OUT_OF_BUDGET.to_owned());
            self.over = true;
            return;
        }
        let (result, cost) = evaluated(program, new, old, optional, |value| matches!(value, Val::Bool(true)));
        if cost > self.budget {
            typed(texts::OUT_OF_BUDGET.to_owned());
            self.over = true;
            return;
        }
        let name = texts::rule_name(&rule.rule);
        match result {
            Ok(true) => self.budget -= cost,
            Ok(false) => {
                self.budget -= cost;
                if rule.uses_old || !same.holds() {
                    self.broken(node, rule, path, new, old);
                }
            }
            Err(Fail::CostLimit) => {
                typed(format!(
                    "'{}': no further validation rules will be run due to call cost exceeds limit for rule: {name}",
                    Fail::CostLimit
                ));
                self.over = true;
            }
            Err(fail) => {
                typed(texts::failed(&fail, name));
                self.budget -= cost;
            }
        }
    }

    /// Tells of a rule that does not hold.
    fn broken(&mut self, node: &Node, rule: &Compiled, path: &str, new: At<'_>, old: Option<At<'_>>) {
        let at = match (rule.field_path.as_str(), path) {
            ("", path) => path.to_owned(),
            (below, "<nil>") => below.to_owned(),
            (below, path) => format!("{path}.{below}"),
        };
        let mut detail = None;
        if let Some(program) = &rule.message {
            let optional = rule.rule.optional_old_self == Some(true);
            let (result, cost) = evaluated(program, new, old, optional, |value| match value {
                Val::String(text) => Some(text.to_string()),
                _ => None,
            });
            match texts::message(result, cost, self.budget, &rule.rule.message_expression) {
                Message::Text(text) => detail = Some(text),
                Message::Unusable => {}
                Message::Stop(why) => {
                    let why = format!("Invalid value: {:?}: {why}", node.ty);
                    self.errors.push(FieldError::new(FieldReason::Invalid, at, why));
                    self.over = true;
                    return;
                }
            }
            self.budget -= cost.min(self.budget);
        }
        let detail = detail.unwrap_or_else(|| texts::default_message(&rule.rule));
        let value = match (node.ty, new) {
            ("object" | "array", _) | (_, At::Root(_)) => String::new(),
            (_, At::Value(value)) => format!(": {}", shown(value)),
        };
        let (reason, message) = match rule.rule.reason.as_str() {
            "FieldValueForbidden" => (FieldReason::Forbidden, format!("Forbidden: {detail}")),
            "FieldValueRequired" => (FieldReason::Required, format!("Required value: {detail}")),
            "FieldValueDuplicate" => (FieldReason::Duplicate, format!("Duplicate value{value}")),
            _ => (FieldReason::Invalid, format!("Invalid value{value}: {detail}")),
        };
        self.errors.push(FieldError::new(reason, at, message));
    }
}

/// The item of a list as it was that has the same keys.
fn found_again<'a>(node: &Node, item: &Value, old: &'a [Value]) -> Option<&'a Value> {
    let keys = node.keys.as_ref()?;
    let mut found = old.iter().filter(|o| keys.iter().all(|key| o.get(key) == item.get(key)));
    let first = found.next()?;
    // Two of them: which one it was can't be told.
    found.next().is_none().then_some(first)
}

fn evaluated<R>(
    program: &expr::Program,
    new: At<'_>,
    old: Option<At<'_>>,
    optional: bool,
    read: impl FnOnce(&Val<'_>) -> R,
) -> (Result<R, Fail>, u64) {
    let run = |new: &dyn Data, old: Binding<'_>| {
        EVALUATION.run(|| {
            program.evaluate(&[Binding::Value(new), old], limits::PER_CALL, |outcome| {
                (outcome.result.as_ref().map(read).map_err(Clone::clone), outcome.cost)
            })
        })
    };
    new.with(|new| match old {
        Some(old) => old.with(|old| run(new, Binding::Value(old))),
        None if optional => run(new, Binding::None),
        None => run(new, Binding::Unset),
    })
}
