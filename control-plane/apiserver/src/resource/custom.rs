//! Paths and verbs of kinds that are defined at run time, which upstream serves by another router than built-in ones.

use crate::request::RequestInfo;
use api::kind::Scope;
use api::{Kind, Status};

/// Whether there is anything at a path: objects of a namespace are in one, others are not.
pub(super) fn is_place(kind: &Kind, info: &RequestInfo) -> bool {
    match kind.scope {
        Scope::Cluster => info.namespace.is_empty(),
        Scope::Namespaced => !info.namespace.is_empty() || matches!(info.verb.as_str(), "list" | "watch"),
    }
}

/// Whether the verb fits the path.
pub(super) fn check_path(kind: &Kind, info: &RequestInfo) -> Result<(), Status> {
    let (group, plural) = (&*kind.names.group, &*kind.names.plural);
    let unsupported = || Status::method_not_supported(group, plural, &info.verb);
    if !info.subresource.is_empty() {
        let found = kind.subresource(&info.subresource).filter(|_| info.rest.is_empty());
        let found = found.ok_or_else(|| Status::not_found(group, plural, &info.name))?;
        return match found.verbs.iter().any(|v| *v == info.verb.as_str()) {
            true => Ok(()),
            false => Err(unsupported()),
        };
    }
    let named = info.path.trim_end_matches('/').rsplit('/').next() != Some(plural) || !info.is_collection();
    let named = named && !info.name.is_empty();
    match info.verb.as_str() {
        "create" if !named && kind.custom.as_ref().is_some_and(|c| c.terminating) => {
            let message = "create not allowed while custom resource definition is terminating".to_owned();
            Err(Status { message, ..unsupported() })
        }
        "get" | "update" | "patch" | "delete" if named => Ok(()),
        "list" | "watch" | "deletecollection" | "create" if !named => Ok(()),
        _ => Err(unsupported()),
    }
}
