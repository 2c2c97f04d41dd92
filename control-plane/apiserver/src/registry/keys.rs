//! Where objects are kept: `/registry/GROUP/PLURAL/NAMESPACE/NAME`, without the namespace for cluster-scoped kinds.

use api::Kind;
use api::kind::Scope;

pub(crate) const ROOT: &str = "/registry/";

/// The core group's name in keys; no API group can be called so, because it has no dot and is not built in.
pub(super) const CORE: &str = "core";

/// The prefix of all keys of a kind. Versions of one resource share it.
pub(crate) fn prefix(kind: &Kind) -> String {
    let group = match (&*kind.names.group, &*kind.names.plural) {
        ("", _) | ("events.k8s.io", "events") => CORE,
        (group, _) => group,
    };
    format!("{ROOT}{group}/{}/", kind.names.plural)
}

/// The part of an object's key below its kind's prefix.
pub(crate) fn below(kind: &Kind, namespace: &str, name: &str) -> String {
    match kind.scope {
        Scope::Namespaced => format!("{namespace}/{name}"),
        Scope::Cluster => name.to_owned(),
    }
}

pub(crate) fn key(kind: &Kind, namespace: &str, name: &str) -> String {
    prefix(kind) + &below(kind, namespace, name)
}

/// Where upstream keeps an object, as messages say it.
pub(crate) fn upstream_key(kind: &Kind, namespace: &str, name: &str) -> String {
    let (group, plural) = (&kind.names.group, &kind.names.plural);
    let at = match &**plural {
        _ if kind.custom.is_some() || matches!(&**group, "apiregistration.k8s.io" | "apiextensions.k8s.io") => {
            format!("{group}/{plural}")
        }
        "replicationcontrollers" => "controllers".to_owned(),
        "services" => "services/specs".to_owned(),
        "endpoints" => "services/endpoints".to_owned(),
        "nodes" => "minions".to_owned(),
        "ingresses" => "ingress".to_owned(),
        other => other.to_owned(),
    };
    format!("{ROOT}{at}/{}", below(kind, namespace, name))
}
