//! The rules that a CustomResourceDefinition brings, when it is written: that they are well-formed, compile, and do not
//! cost too much.

use super::compile::{self, has_rules};
use super::costs::{Cardinality, Total, below, too_much};
use super::declare::{declare, element, property};
use super::{field_path, texts};
use api::Object;
use api::kind::Rules;
use api::status::{FieldError, FieldReason, shown};
use api::structural::{Additional, List, Rule, Structural};
use api::value::Value;
use expr::Decl;
use std::sync::Arc;

/// What kinds of errors a rule may report.
const REASONS: [&str; 4] = ["FieldValueDuplicate", "FieldValueForbidden", "FieldValueInvalid", "FieldValueRequired"];

/// Checks the expressions of definitions, after everything else about them.
#[derive(Debug)]
pub(crate) struct DefinitionRules;

impl Rules for DefinitionRules {
    fn check(&self, object: &Object, old: Option<&Object>, errors: &mut Vec<FieldError>) {
        let before = old.map(schemas);
        for (path, source) in schemas(object) {
            // What was taken once is not judged again.
            if before.as_ref().is_some_and(|b| b.iter().any(|(_, s)| *s == source)) {
                continue;
            }
            let Ok(schema) = Structural::parse(source) else { continue };
            if has_rules(&schema) {
                let broken = errors.iter().any(|e| e.path.starts_with(&path));
                check(&schema, &path, broken, errors);
            }
        }
    }
}

/// The schemas of a definition with their paths: one where all versions agree.
fn schemas(object: &Object) -> Vec<(String, &Value)> {
    let versions = object.at(&["spec", "versions"]).and_then(Value::as_list).unwrap_or(&[]);
    let of = |version: &'_ Value| version.at(&["schema", "openAPIV3Schema"]).is_some();
    if versions.windows(2).all(|w| w[0].get("schema") == w[1].get("schema")) {
        let first = versions.first().filter(|v| of(v));
        let schema = first.and_then(|v| v.at(&["schema", "openAPIV3Schema"]));
        return schema.map(|s| ("spec.validation.openAPIV3Schema".to_owned(), s)).into_iter().collect();
    }
    let each = versions.iter().enumerate().filter_map(|(i, version)| {
        let schema = version.at(&["schema", "openAPIV3Schema"])?;
        Some((format!("spec.versions[{i}].schema.openAPIV3Schema"), schema))
    });
    each.collect()
}

/// Checks all rules of a schema. Of one that is itself broken, only the form of its rules is checked.
pub(super) fn check(schema: &Structural, path: &str, broken: bool, errors: &mut Vec<FieldError>) {
    let mut walk = Walk { total: Total::default(), broken };
    let found = walk.node(schema, path, Place { decl: declare(schema, true), cardinality: Some(1), lost: None });
    errors.extend(found.form);
    errors.extend(found.expressions);
    let Some((paths, whole)) = walk.total.excess() else { return };
    let why = "contributed to estimated rule cost total exceeding cost limit for entire OpenAPIv3 schema";
    errors.extend(paths.into_iter().map(|at| forbidden(at, why)));
    errors.push(forbidden(path.to_owned(), &whole));
}

fn forbidden(path: String, why: &str) -> FieldError {
    FieldError::new(FieldReason::Forbidden, path, format!("Forbidden: {why}"))
}

fn invalid(path: String, value: &str, why: &str) -> FieldError {
    FieldError::new(FieldReason::Invalid, path, format!("Invalid value: {value}: {why}"))
}

/// What is known of a node from those above it.
#[derive(Clone, Default)]
struct Place {
    decl: Option<Arc<Decl>>,
    cardinality: Cardinality,
    /// The list or map above whose items can't be found again after a change.
    lost: Option<String>,
}

/// Errors of a node and what is below it. Expressions are only looked at where the form is right.
#[derive(Default)]
struct Found {
    form: Vec<FieldError>,
    expressions: Vec<FieldError>,
}

impl Found {
    fn merge(&mut self, other: Found) {
        self.form.extend(other.form);
        self.expressions.extend(other.expressions);
    }
}

struct Walk {
    total: Total,
    broken: bool,
}

impl Walk {
    fn node(&mut self, schema: &Structural, path: &str, place: Place) -> Found {
        let mut found = Found::default();
        let cardinality = below(schema, place.cardinality);
        let elements = place.decl.as_deref().and_then(element);
        let next = |decl: Option<Arc<Decl>>, schema: &Structural, lost: Option<String>| Place {
            decl: decl.or_else(|| declare(schema, schema.embedded)),
            cardinality,
            lost,
        };
        if let Additional::Schema(values) = &schema.additional {
            let at = format!("{path}.additionalProperties");
            found.merge(self.node(values, &at, next(elements.clone(), values, place.lost.clone())));
        }
        for (name, inner) in &schema.properties {
            let decl = place.decl.as_deref().and_then(|d| property(d, name));
            let at = format!("{path}.properties[{name}]");
            found.merge(self.node(inner, &at, next(decl, inner, place.lost.clone())));
        }
        if let Some(items) = &schema.items {
            let lost = match schema.list {
                List::Map(_) => place.lost.clone(),
                List::Atomic | List::Set => place.lost.clone().or_else(|| Some(path.to_owned())),
            };
            found.merge(self.node(items, &format!("{path}.items"), next(elements, items, lost)));
        }
        for (i, rule) in schema.rules.iter().enumerate() {
            form(rule, schema, &format!("{path}.x-kubernetes-validations[{i}]"), &mut found.form);
        }
        if found.form.is_empty() && !self.broken {
            for (i, rule) in schema.rules.iter().enumerate() {
                let at = format!("{path}.x-kubernetes-validations[{i}]");
                self.expression(rule, schema, &at, &place, &mut found.expressions);
            }
        }
        found
    }

    fn expression(&mut self, rule: &Rule, schema: &Structural, at: &str, place: &Place, errors: &mut Vec<FieldError>) {
        let Some(decl) = &place.decl else { return };
        let compiled = compile::rule(rule, schema, decl);
        let path = format!("{at}.rule");
        match &compiled.program {
            Ok(program) => {
                let times = place.cardinality.unwrap_or_else(|| decl.max_cardinality());
                let cost = program.estimate(Some(decl)).max.saturating_mul(times);
                errors.extend(too_much("estimated rule cost", cost).map(|why| forbidden(path.clone(), &why)));
                self.total.add(path.clone(), cost);
            }
            Err(why) => errors.push(invalid(path.clone(), &texts::shown(rule), why)),
        }
        let message = format!("{at}.messageExpression");
        if let Some(why) = &compiled.message_error {
            errors.push(invalid(message.clone(), &texts::shown(rule), why));
        }
        if let Some(program) = &compiled.message {
            let cost = program.estimate(Some(decl)).max;
            errors
                .extend(too_much("estimated messageExpression cost", cost).map(|why| forbidden(message.clone(), &why)));
            self.total.add(message, cost);
        }
        if compiled.uses_old {
            if let Some(lost) = &place.lost {
                let why = format!("oldSelf cannot be used on the uncorrelatable portion of the schema within {lost}");
                errors.push(invalid(path, &shown(&Value::from(rule.rule.as_str())), &why));
            }
        } else if let Some(optional) = rule.optional_old_self {
            let why = "may not be set if oldSelf is not used in rule";
            errors.push(invalid(format!("{at}.optionalOldSelf"), &optional.to_string(), why));
        }
    }
}

/// The form of a rule, before its expressions.
fn form(rule: &Rule, schema: &Structural, at: &str, errors: &mut Vec<FieldError>) {
    let lines = |text: &str| text.contains(['\n', '\r']);
    let text = |value: &str| shown(&Value::from(value));
    let mut wrong =
        |name: &str, value: &str, why: &str| errors.push(invalid(format!("{at}.{name}"), &text(value), why));
    let required = |name: &str, why: &str| {
        FieldError::new(FieldReason::Required, format!("{at}.{name}"), format!("Required value: {why}"))
    };
    let (expression, message) = (rule.rule.trim(), rule.message.trim());
    if expression.is_empty() {
        errors.push(required("rule", "rule is not specified"));
    } else if !rule.message.is_empty() && message.is_empty() {
        wrong("message", &rule.message, "must be non-empty if specified");
    } else if lines(message) {
        wrong("message", &rule.message, "must not contain line breaks");
    } else if lines(expression) && message.is_empty() {
        errors.push(required("message", "message must be specified if rule contains line breaks"));
    }
    if !rule.message_expression.is_empty() && rule.message_expression.trim().is_empty() {
        errors.push(required("messageExpression", "messageExpression must be non-empty if specified"));
    }
    if !(rule.reason.is_empty() || REASONS.contains(&rule.reason.as_str())) {
        let known = REASONS.map(|r| format!("{r:?}")).join(", ");
        let message = format!("Unsupported value: {}: supported values: {known}", text(&rule.reason));
        errors.push(FieldError::new(FieldReason::NotSupported, format!("{at}.reason"), message));
    }
    let mut wrong = |value: &str, why: &str| errors.push(invalid(format!("{at}.fieldPath"), &text(value), why));
    if rule.field_path.is_empty() {
        return;
    }
    if rule.field_path.trim().is_empty() {
        wrong(&rule.field_path, "must be non-empty if specified");
    }
    if lines(&rule.field_path) {
        wrong(&rule.field_path, "must not contain line breaks");
    }
    if field_path::normalize(&rule.field_path, schema).is_none() {
        wrong(&rule.field_path, "must be a valid path");
    }
}
