//! The rules that a CustomResourceDefinition brings, when it is written: that they compile and do not cost too much. Their
//! form is judged with the rest of the definition, before.

use super::compile::{self, has_rules};
use super::costs::{Cardinality, Total, below, too_much};
use super::declare::{declare, element, property};
use super::texts;
use api::Object;
use api::kind::Rules;
use api::status::{FieldError, FieldReason, shown};
use api::structural::{Additional, List, Rule, Structural};
use api::value::Value;
use expr::Decl;
use std::collections::BTreeSet;
use std::sync::Arc;

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
                check(&schema, &path, errors);
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

/// Checks all rules of a schema, whose form is right.
pub(super) fn check(schema: &Structural, path: &str, errors: &mut Vec<FieldError>) {
    let broken = errors.iter().map(|e| e.path.clone()).collect();
    let mut walk = Walk { broken, total: Total::default(), errors: Vec::new() };
    walk.node(schema, path, Place { decl: declare(schema, true), cardinality: Some(1), lost: None });
    errors.extend(walk.errors);
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

struct Walk {
    /// Where the schema is wrong, be it the form of a rule.
    broken: BTreeSet<String>,
    total: Total,
    errors: Vec<FieldError>,
}

impl Walk {
    /// Whether a schema is right, with all that is below it.
    fn is_sound(&self, path: &str) -> bool {
        let mut from = self.broken.range(path.to_owned()..).map_while(|broken| broken.strip_prefix(path));
        !from.any(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
    }

    fn node(&mut self, schema: &Structural, path: &str, place: Place) {
        let cardinality = below(schema, place.cardinality);
        let elements = place.decl.as_deref().and_then(element);
        let next = |decl: Option<Arc<Decl>>, schema: &Structural, lost: Option<String>| Place {
            decl: decl.or_else(|| declare(schema, schema.embedded)),
            cardinality,
            lost,
        };
        if let Additional::Schema(values) = &schema.additional {
            let at = format!("{path}.additionalProperties");
            self.node(values, &at, next(elements.clone(), values, place.lost.clone()));
        }
        for (name, inner) in &schema.properties {
            let decl = place.decl.as_deref().and_then(|d| property(d, name));
            let at = format!("{path}.properties[{name}]");
            self.node(inner, &at, next(decl, inner, place.lost.clone()));
        }
        if let Some(items) = &schema.items {
            let lost = match schema.list {
                List::Map(_) => place.lost.clone(),
                List::Atomic | List::Set => place.lost.clone().or_else(|| Some(path.to_owned())),
            };
            self.node(items, &format!("{path}.items"), next(elements, items, lost));
        }
        if schema.rules.is_empty() || !self.is_sound(path) {
            return;
        }
        if place.decl.is_none() {
            let why = "Internal error: internal error: failed to construct type information for \
                       x-kubernetes-validations rules: unable to convert structural schema to CEL declarations";
            self.errors.push(FieldError::new(FieldReason::Internal, format!("{path}.x-kubernetes-validations"), why));
        }
        for (i, rule) in schema.rules.iter().enumerate() {
            self.expression(rule, schema, &format!("{path}.x-kubernetes-validations[{i}]"), &place);
        }
    }

    fn expression(&mut self, rule: &Rule, schema: &Structural, at: &str, place: &Place) {
        let Some(decl) = &place.decl else { return };
        let compiled = compile::rule(rule, schema, decl);
        let path = format!("{at}.rule");
        match &compiled.program {
            Ok(program) => {
                let times = place.cardinality.unwrap_or_else(|| decl.max_cardinality());
                let cost = program.estimate(Some(decl)).max.saturating_mul(times);
                self.errors.extend(too_much("estimated rule cost", cost).map(|why| forbidden(path.clone(), &why)));
                self.total.add(path.clone(), cost);
            }
            Err(why) => self.errors.push(invalid(path.clone(), &texts::shown(rule), why)),
        }
        let message = format!("{at}.messageExpression");
        if let Some(why) = &compiled.message_error {
            self.errors.push(invalid(message.clone(), &texts::shown(rule), why));
        }
        if let Some(program) = &compiled.message {
            let cost = program.estimate(Some(decl)).max;
            self.errors
                .extend(too_much("estimated messageExpression cost", cost).map(|why| forbidden(message.clone(), &why)));
            self.total.add(message, cost);
        }
        if compiled.uses_old {
            if let Some(lost) = &place.lost {
                let why = format!("oldSelf cannot be used on the uncorrelatable portion of the schema within {lost}");
                self.errors.push(invalid(path, &shown(&Value::from(rule.rule.as_str())), &why));
            }
        } else if let Some(optional) = rule.optional_old_self {
            let why = "may not be set if oldSelf is not used in rule";
            self.errors.push(invalid(format!("{at}.optionalOldSelf"), &optional.to_string(), why));
        }
    }
}
