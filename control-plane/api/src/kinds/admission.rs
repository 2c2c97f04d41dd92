//! Webhooks and policies of admission.

use super::fill::{each, put, sub};
use super::rules;
use super::shape::{keep_other_half, reset_status};
use super::{columns, names, subresources};
use crate::kind::{Kind, Scope};
use crate::object::Object;
use crate::table;
use crate::value::Map;
use std::borrow::Cow;

pub static MUTATING_ADMISSION_POLICY: Kind = Kind {
    names: names!(
        "admissionregistration.k8s.io",
        "v1",
        "MutatingAdmissionPolicy",
        "mutatingadmissionpolicies",
        "mutatingadmissionpolicy",
        [],
        ["api-extensions"]
    ),
    type_name: Cow::Borrowed("io.k8s.api.admissionregistration.v1.MutatingAdmissionPolicy"),
    scope: Scope::Cluster,
    columns: columns![
        ("Name", "string", "name", 0),
        ("Mutations", "integer", "", 0),
        ("ParamKind", "string", "", 0),
        ("Age", "string", "", 0),
    ],
    has_generation: true,
    unconditional_update: false,
    default: mutating_policy,
    cells: table::policies,
    validate: rules::mutating_policy,
    validate_update: rules::metadata_update,
    ..Kind::PLAIN
};

pub static MUTATING_ADMISSION_POLICY_BINDING: Kind = Kind {
    names: names!(
        "admissionregistration.k8s.io",
        "v1",
        "MutatingAdmissionPolicyBinding",
        "mutatingadmissionpolicybindings",
        "mutatingadmissionpolicybinding",
        [],
        ["api-extensions"]
    ),
    type_name: Cow::Borrowed("io.k8s.api.admissionregistration.v1.MutatingAdmissionPolicyBinding"),
    scope: Scope::Cluster,
    columns: columns![
        ("Name", "string", "name", 0),
        ("PolicyName", "string", "", 0),
        ("ParamRef", "string", "", 0),
        ("Age", "string", "", 0),
    ],
    has_generation: true,
    unconditional_update: false,
    default: binding,
    cells: table::policy_bindings,
    validate: rules::mutation_binding,
    validate_update: rules::metadata_update,
    ..Kind::PLAIN
};

pub static MUTATING_WEBHOOK_CONFIGURATION: Kind = Kind {
    names: names!(
        "admissionregistration.k8s.io",
        "v1",
        "MutatingWebhookConfiguration",
        "mutatingwebhookconfigurations",
        "mutatingwebhookconfiguration",
        [],
        ["api-extensions"]
    ),
    type_name: Cow::Borrowed("io.k8s.api.admissionregistration.v1.MutatingWebhookConfiguration"),
    scope: Scope::Cluster,
    columns: columns![("Name", "string", "name", 0), ("Webhooks", "integer", "", 0), ("Age", "string", "", 0),],
    has_generation: true,
    unconditional_update: false,
    default: mutating_webhooks,
    cells: table::webhooks,
    validate: rules::webhooks,
    validate_update: rules::metadata_update,
    ..Kind::PLAIN
};

pub static VALIDATING_ADMISSION_POLICY: Kind = Kind {
    names: names!(
        "admissionregistration.k8s.io",
        "v1",
        "ValidatingAdmissionPolicy",
        "validatingadmissionpolicies",
        "validatingadmissionpolicy",
        [],
        ["api-extensions"]
    ),
    type_name: Cow::Borrowed("io.k8s.api.admissionregistration.v1.ValidatingAdmissionPolicy"),
    scope: Scope::Cluster,
    subresources: subresources![("status", "", "", "ValidatingAdmissionPolicy", ["get", "patch", "update"]),],
    columns: columns![
        ("Name", "string", "name", 0),
        ("Validations", "integer", "", 0),
        ("ParamKind", "string", "", 0),
        ("Age", "string", "", 0),
    ],
    has_status: true,
    has_generation: true,
    unconditional_update: false,
    default: policy,
    prepare_create: reset_status,
    prepare_update: keep_other_half,
    cells: table::policies,
    validate: rules::validating_policy,
    validate_update: rules::policy_update,
    ..Kind::PLAIN
};

pub static VALIDATING_ADMISSION_POLICY_BINDING: Kind = Kind {
    names: names!(
        "admissionregistration.k8s.io",
        "v1",
        "ValidatingAdmissionPolicyBinding",
        "validatingadmissionpolicybindings",
        "validatingadmissionpolicybinding",
        [],
        ["api-extensions"]
    ),
    type_name: Cow::Borrowed("io.k8s.api.admissionregistration.v1.ValidatingAdmissionPolicyBinding"),
    scope: Scope::Cluster,
    columns: columns![
        ("Name", "string", "name", 0),
        ("PolicyName", "string", "", 0),
        ("ParamRef", "string", "", 0),
        ("Age", "string", "", 0),
    ],
    has_generation: true,
    unconditional_update: false,
    default: binding,
    cells: table::policy_bindings,
    validate: rules::policy_binding,
    validate_update: rules::metadata_update,
    ..Kind::PLAIN
};

pub static VALIDATING_WEBHOOK_CONFIGURATION: Kind = Kind {
    names: names!(
        "admissionregistration.k8s.io",
        "v1",
        "ValidatingWebhookConfiguration",
        "validatingwebhookconfigurations",
        "validatingwebhookconfiguration",
        [],
        ["api-extensions"]
    ),
    type_name: Cow::Borrowed("io.k8s.api.admissionregistration.v1.ValidatingWebhookConfiguration"),
    scope: Scope::Cluster,
    columns: columns![("Name", "string", "name", 0), ("Webhooks", "integer", "", 0), ("Age", "string", "", 0),],
    has_generation: true,
    unconditional_update: false,
    default: |o| each(&mut o.0, "webhooks", webhook),
    cells: table::webhooks,
    validate: rules::webhooks,
    validate_update: rules::metadata_update,
    ..Kind::PLAIN
};

fn mutating_webhooks(object: &mut Object) {
    each(&mut object.0, "webhooks", |w| {
        webhook(w);
        put(w, "reinvocationPolicy", "Never");
    });
}

fn webhook(w: &mut Map) {
    put(w, "failurePolicy", "Fail");
    put(w, "matchPolicy", "Equivalent");
    put(w, "namespaceSelector", Map::new());
    put(w, "objectSelector", Map::new());
    put(w, "timeoutSeconds", 10);
    each(w, "rules", |rule| put(rule, "scope", "*"));
    if let Some(service) = sub(w, "clientConfig").and_then(|c| sub(c, "service")) {
        put(service, "port", 443);
    }
}

fn policy(object: &mut Object) {
    let Some(spec) = sub(&mut object.0, "spec") else { return };
    put(spec, "failurePolicy", "Fail");
    if let Some(constraints) = sub(spec, "matchConstraints") {
        matches(constraints);
    }
}

fn mutating_policy(object: &mut Object) {
    policy(object);
}

fn binding(object: &mut Object) {
    if let Some(resources) = sub(&mut object.0, "spec").and_then(|s| sub(s, "matchResources")) {
        matches(resources);
    }
}

fn matches(resources: &mut Map) {
    put(resources, "matchPolicy", "Equivalent");
    put(resources, "namespaceSelector", Map::new());
    put(resources, "objectSelector", Map::new());
    for rules in ["resourceRules", "excludeResourceRules"] {
        each(resources, rules, |rule| put(rule, "scope", "*"));
    }
}
