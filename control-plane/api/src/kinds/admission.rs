//! Webhooks and policies of admission.

use super::{columns, names, subresources};
use crate::kind::{Kind, Scope};
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
    ..Kind::PLAIN
};
