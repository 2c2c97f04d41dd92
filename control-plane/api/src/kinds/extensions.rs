//! What adds kinds: CustomResourceDefinitions and APIServices.

use super::{columns, names, subresources};
use crate::kind::{Kind, Scope};
use std::borrow::Cow;

pub static CUSTOM_RESOURCE_DEFINITION: Kind = Kind {
    names: names!(
        "apiextensions.k8s.io",
        "v1",
        "CustomResourceDefinition",
        "customresourcedefinitions",
        "customresourcedefinition",
        ["crd", "crds"],
        ["api-extensions"]
    ),
    type_name: Cow::Borrowed("io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.CustomResourceDefinition"),
    scope: Scope::Cluster,
    subresources: subresources![("status", "", "", "CustomResourceDefinition", ["get", "patch", "update"]),],
    columns: columns![("Name", "string", "name", 0), ("Created At", "date", "", 0),],
    has_status: true,
    has_generation: true,
    unconditional_update: false,
    ..Kind::PLAIN
};

pub static API_SERVICE: Kind = Kind {
    names: names!("apiregistration.k8s.io", "v1", "APIService", "apiservices", "apiservice", [], ["api-extensions"]),
    type_name: Cow::Borrowed("io.k8s.kube-aggregator.pkg.apis.apiregistration.v1.APIService"),
    scope: Scope::Cluster,
    subresources: subresources![("status", "", "", "APIService", ["get", "patch", "update"]),],
    columns: columns![
        ("Name", "string", "name", 0),
        ("Service", "string", "", 0),
        ("Available", "string", "", 0),
        ("Age", "string", "", 0),
    ],
    has_status: true,
    unconditional_update: false,
    ..Kind::PLAIN
};
