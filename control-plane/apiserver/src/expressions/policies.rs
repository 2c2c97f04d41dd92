//! Expressions that built-in objects hold, compiled when they are written: match conditions of webhooks, admission
//! policies, selectors of devices. What they evaluate to is somebody else's work.

use crate::metrics::COMPILATION;
use api::Object;
use api::kind::Rules;
use api::status::{FieldError, FieldReason, shown};
use api::value::Value;
use expr::{Decl, Environment, Identity, Type};
use std::sync::Arc;

/// Where a kind holds expressions.
#[derive(Debug, Clone, Copy)]
pub(super) enum Holder {
    Webhooks,
    Policy,
    /// The paths of lists of device requests, and of selectors beside them.
    Devices,
}

impl Holder {
    pub(super) fn of(group: &str, plural: &str) -> Option<Holder> {
        match (group, plural) {
            ("admissionregistration.k8s.io", "validatingwebhookconfigurations" | "mutatingwebhookconfigurations") => {
                Some(Holder::Webhooks)
            }
            ("admissionregistration.k8s.io", "validatingadmissionpolicies" | "mutatingadmissionpolicies") => {
                Some(Holder::Policy)
            }
            ("resource.k8s.io", "resourceclaims" | "resourceclaimtemplates" | "deviceclasses") => Some(Holder::Devices),
            _ => None,
        }
    }
}

impl Rules for Holder {
    fn check(&self, object: &Object, old: Option<&Object>, errors: &mut Vec<FieldError>) {
        match self {
            Holder::Webhooks => {
                for (i, hook) in list(object.at(&["webhooks"])) {
                    conditions(hook, &format!("webhooks[{i}]"), &request(), errors);
                }
            }
            Holder::Policy => policy(object, errors),
            // What a claim asks for stays, so that nobody reads it again.
            Holder::Devices if old.is_some() && object.kind() == "ResourceClaim" => {}
            Holder::Devices => devices(object, errors),
        }
    }
}

fn list(value: Option<&Value>) -> impl Iterator<Item = (usize, &Value)> {
    value.and_then(Value::as_list).unwrap_or(&[]).iter().enumerate()
}

fn conditions(of: &Value, path: &str, environment: &Environment, errors: &mut Vec<FieldError>) {
    for (i, condition) in list(of.get("matchConditions")) {
        let at = format!("{path}.matchConditions[{i}].expression");
        compiled(condition, "expression", at, environment, &[Type::Bool], errors);
    }
}

fn policy(object: &Object, errors: &mut Vec<FieldError>) {
    let Some(spec) = object.at(&["spec"]) else { return };
    let mut environment = with_params(request(), spec);
    conditions(spec, "spec", &environment, errors);
    let mut variables: Vec<(String, Arc<Decl>, bool)> = Vec::new();
    for (i, variable) in list(spec.get("variables")) {
        let known =
            environment.clone().with("variables", Decl::object("kubernetes.variables", variables.clone()), false);
        let at = format!("spec.variables[{i}].expression");
        let found = compiled(variable, "expression", at, &known, &[], errors);
        let name = variable.get("name").and_then(Value::as_str).unwrap_or("").to_owned();
        variables.push((name, found.map_or_else(Decl::any, |t| Decl::of(&t)), false));
    }
    let known = Decl::object("kubernetes.variables", variables);
    environment = environment.with("variables", known.clone(), false);
    // Messages are made of what is known already: they ask nobody.
    let messages = with_params(admission(), spec).with("variables", known, false);
    for (i, validation) in list(spec.get("validations")) {
        let at = |key: &str| format!("spec.validations[{i}].{key}");
        compiled(validation, "expression", at("expression"), &environment, &[Type::Bool], errors);
        compiled(validation, "messageExpression", at("messageExpression"), &messages, &[Type::String], errors);
    }
    mutations(spec, &environment, errors);
    for (i, annotation) in list(spec.get("auditAnnotations")) {
        let at = format!("spec.auditAnnotations[{i}].valueExpression");
        compiled(annotation, "valueExpression", at, &environment, &[Type::String, Type::Null], errors);
    }
}

/// A mutation makes a part of an object, or patches.
fn mutations(spec: &Value, known: &Environment, errors: &mut Vec<FieldError>) {
    let patch = object("JSONPatch", &[("op", text()), ("path", text()), ("from", text()), ("value", Decl::any())]);
    let environment = known.clone().with_message(&patch).with_open_message("Object");
    let whole = Decl::open_object("Object");
    for (i, mutation) in list(spec.get("mutations")) {
        let (key, wanted) = match mutation.get("patchType").and_then(Value::as_str) {
            Some("ApplyConfiguration") => ("applyConfiguration", Type::of(&whole)),
            Some("JSONPatch") => ("jsonPatch", Type::of(&Decl::list(patch.clone(), None, Identity::Place))),
            _ => continue,
        };
        let Some(of) = mutation.get(key) else { continue };
        let at = format!("spec.mutations[{i}].{key}.expression");
        compiled(of, "expression", at, &environment, &[wanted], errors);
    }
}

fn with_params(environment: Environment, spec: &Value) -> Environment {
    match spec.get("paramKind").is_some_and(|p| !p.is_null()) {
        true => environment.with("params", Decl::any(), false),
        false => environment,
    }
}

fn devices(object: &Object, errors: &mut Vec<FieldError>) {
    let environment = Environment::default().with("device", device(), false);
    let mut selectors = |of: &Value, path: &str| {
        for (i, selector) in list(of.get("selectors")) {
            let Some(cel) = selector.get("cel") else { continue };
            let at = format!("{path}selectors[{i}].cel.expression");
            let text = cel.get("expression").and_then(Value::as_str).unwrap_or("");
            compile(text, text, at, &environment, &[Type::Bool], errors);
        }
    };
    for (path, keys) in [("spec", &["spec"][..]), ("spec.spec", &["spec", "spec"][..])] {
        let Some(spec) = object.at(keys) else { continue };
        selectors(spec, &format!("{path}."));
        for (i, request) in list(spec.at(&["devices", "requests"])) {
            let at = format!("{path}.devices.requests[{i}].");
            let exactly = request.get("exactly").filter(|e| !e.is_null());
            let several = list(request.get("firstAvailable")).next().is_some();
            if several && exactly.is_some() {
                continue;
            }
            if let Some(exactly) = exactly {
                selectors(exactly, &format!("{at}exactly."));
            }
            for (j, sub) in list(request.get("firstAvailable")) {
                selectors(sub, &format!("{at}firstAvailable[{j}]."));
            }
        }
    }
}

/// Compiles the expression of a field, without the blanks around it. An empty one is somebody else's error.
fn compiled(
    of: &Value,
    key: &str,
    path: String,
    environment: &Environment,
    wanted: &[Type],
    errors: &mut Vec<FieldError>,
) -> Option<Type> {
    let text = of.get(key).and_then(Value::as_str).filter(|t| !t.trim().is_empty())?;
    // Upstream compiles these two as they are, and shows the value of an annotation so.
    let own = matches!(key, "messageExpression")
        || path.starts_with("spec.validations")
        || path.starts_with("spec.variables");
    let shown = if own || key == "valueExpression" { text } else { text.trim() };
    compile(if own { text } else { text.trim() }, shown, path, environment, wanted, errors)
}

/// Compiles one expression, tells what is wrong with what is `given`, and gives its type.
fn compile(
    text: &str,
    given: &str,
    path: String,
    environment: &Environment,
    wanted: &[Type],
    errors: &mut Vec<FieldError>,
) -> Option<Type> {
    let why = match COMPILATION.run(|| environment.compile(text)) {
        Err(error) => format!("compilation failed: {error}"),
        Ok(program) => {
            let found = program.result_type();
            if wanted.is_empty() || wanted.contains(found) {
                if let Err(why) = program.check_constants() {
                    let message = format!("Internal error: program instantiation failed: {why}");
                    insert(errors, FieldError::new(FieldReason::Internal, path, message));
                }
                return Some(found.clone());
            }
            let names: Vec<String> = wanted.iter().map(name).collect();
            match &names[..] {
                [one] => format!("must evaluate to {one} but got {found}"),
                several => format!("must evaluate to one of [{}] but got {found}", several.join(" ")),
            }
        }
    };
    let message = format!("Invalid value: {}: {why}", shown(&Value::from(given)));
    insert(errors, FieldError::new(FieldReason::Invalid, path, message));
    None
}

fn name(t: &Type) -> String {
    match t {
        Type::Null => "null_type".to_owned(),
        other => other.to_string(),
    }
}

/// Puts an error where upstream would have found it: before those of later items of its list, and before its item's name.
fn insert(errors: &mut Vec<FieldError>, error: FieldError) {
    let place = |path: &str| -> Option<(String, usize, String)> {
        let (before, rest) = path.rsplit_once('[')?;
        let (index, field) = rest.split_once(']')?;
        Some((before.to_owned(), index.parse().ok()?, field.trim_start_matches('.').to_owned()))
    };
    let later = |other: &FieldError| {
        let (Some(own), Some(other)) = (place(&error.path), place(&other.path)) else { return false };
        own.0 == other.0 && (other.1 > own.1 || other.1 == own.1 && other.2 == "name")
    };
    let at = errors.iter().position(later).unwrap_or(errors.len());
    errors.insert(at, error);
}

fn text() -> Arc<Decl> {
    Decl::string(None, None)
}

fn object(name: &str, fields: &[(&str, Arc<Decl>)]) -> Arc<Decl> {
    Decl::object(name, fields.iter().map(|(key, decl)| ((*key).to_owned(), decl.clone(), false)))
}

fn texts() -> Arc<Decl> {
    Decl::list(text(), None, Identity::Place)
}

/// What expressions about requests know.
fn request() -> Environment {
    admission().with("authorizer", Decl::authorizer(), false).with(
        "authorizer.requestResource",
        Decl::resource_check(),
        false,
    )
}

/// The request itself.
fn admission() -> Environment {
    let kind = object("kubernetes.GroupVersionKind", &[("group", text()), ("version", text()), ("kind", text())]);
    let resource =
        object("kubernetes.GroupVersionResource", &[("group", text()), ("version", text()), ("resource", text())]);
    let user = object(
        "kubernetes.UserInfo",
        &[("username", text()), ("uid", text()), ("groups", texts()), ("extra", Decl::map(texts(), None))],
    );
    let request = object(
        "kubernetes.AdmissionRequest",
        &[
            ("kind", kind.clone()),
            ("resource", resource.clone()),
            ("subResource", text()),
            ("requestKind", kind),
            ("requestResource", resource),
            ("requestSubResource", text()),
            ("name", text()),
            ("namespace", text()),
            ("operation", text()),
            ("userInfo", user),
            ("dryRun", Decl::bool()),
            ("options", Decl::any()),
        ],
    );
    Environment::default()
        .with("object", Decl::any(), false)
        .with("oldObject", Decl::any(), false)
        .with("request", request, false)
        .with("namespaceObject", namespace(), false)
}

fn namespace() -> Arc<Decl> {
    let metadata = object(
        "kubernetes.NamespaceMetadata",
        &[
            ("name", text()),
            ("generateName", text()),
            ("namespace", text()),
            ("labels", Decl::map(text(), None)),
            ("annotations", Decl::map(text(), None)),
            ("UID", text()),
            ("creationTimestamp", Decl::date_time()),
            ("deletionGracePeriodSeconds", Decl::int()),
            ("deletionTimestamp", Decl::date_time()),
            ("generation", Decl::int()),
            ("resourceVersion", text()),
            ("finalizers", texts()),
        ],
    );
    let spec = object("kubernetes.NamespaceSpec", &[("finalizers", texts())]);
    let status = object("kubernetes.NamespaceStatus", &[("phase", text())]);
    object("kubernetes.Namespace", &[("metadata", metadata), ("spec", spec), ("status", status)])
}

/// What selectors of devices know.
fn device() -> Arc<Decl> {
    let by_domain = || Decl::map(Decl::map(Decl::any(), None), None);
    object(
        "kubernetes.DRADevice",
        &[
            ("driver", text()),
            ("attributes", by_domain()),
            ("capacity", by_domain()),
            ("allowMultipleAllocations", Decl::bool()),
        ],
    )
}
