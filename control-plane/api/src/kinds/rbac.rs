//! Roles and their bindings.

use super::fill::{each, put_text, sub, text};
use super::rules;
use super::{columns, names};
use crate::kind::{Kind, Scope};
use crate::object::Object;
use crate::table;
use std::borrow::Cow;

pub static CLUSTER_ROLE_BINDING: Kind = Kind {
    names: names!(
        "rbac.authorization.k8s.io",
        "v1",
        "ClusterRoleBinding",
        "clusterrolebindings",
        "clusterrolebinding",
        [],
        []
    ),
    type_name: Cow::Borrowed("io.k8s.api.rbac.v1.ClusterRoleBinding"),
    scope: Scope::Cluster,
    columns: columns![
        ("Name", "string", "name", 0),
        ("Role", "string", "", 0),
        ("Age", "string", "", 0),
        ("Users", "string", "", 1),
        ("Groups", "string", "", 1),
        ("ServiceAccounts", "string", "", 1),
    ],
    create_on_update: true,
    default: binding,
    cells: table::role_bindings,
    validate: rules::cluster_role_binding,
    validate_update: rules::binding_update,
    ..Kind::PLAIN
};

pub static CLUSTER_ROLE: Kind = Kind {
    names: names!("rbac.authorization.k8s.io", "v1", "ClusterRole", "clusterroles", "clusterrole", [], []),
    type_name: Cow::Borrowed("io.k8s.api.rbac.v1.ClusterRole"),
    scope: Scope::Cluster,
    columns: columns![("Name", "string", "name", 0), ("Created At", "date", "", 0),],
    create_on_update: true,
    validate: rules::cluster_role,
    validate_update: rules::metadata_update,
    ..Kind::PLAIN
};

pub static ROLE_BINDING: Kind = Kind {
    names: names!("rbac.authorization.k8s.io", "v1", "RoleBinding", "rolebindings", "rolebinding", [], []),
    type_name: Cow::Borrowed("io.k8s.api.rbac.v1.RoleBinding"),
    columns: columns![
        ("Name", "string", "name", 0),
        ("Role", "string", "", 0),
        ("Age", "string", "", 0),
        ("Users", "string", "", 1),
        ("Groups", "string", "", 1),
        ("ServiceAccounts", "string", "", 1),
    ],
    create_on_update: true,
    default: binding,
    cells: table::role_bindings,
    validate: rules::role_binding,
    validate_update: rules::binding_update,
    ..Kind::PLAIN
};

pub static ROLE: Kind = Kind {
    names: names!("rbac.authorization.k8s.io", "v1", "Role", "roles", "role", [], []),
    type_name: Cow::Borrowed("io.k8s.api.rbac.v1.Role"),
    columns: columns![("Name", "string", "name", 0), ("Created At", "date", "", 0),],
    create_on_update: true,
    validate: rules::role,
    validate_update: rules::metadata_update,
    ..Kind::PLAIN
};

const GROUP: &str = "rbac.authorization.k8s.io";

fn binding(object: &mut Object) {
    if let Some(role) = sub(&mut object.0, "roleRef") {
        put_text(role, "apiGroup", GROUP);
    }
    each(&mut object.0, "subjects", |subject| {
        if matches!(text(subject, "kind"), "User" | "Group") {
            put_text(subject, "apiGroup", GROUP);
        }
    });
}
