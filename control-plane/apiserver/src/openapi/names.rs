//! How groups, operations and types are called in OpenAPI.

use super::Gvk;

/// A group as identifiers name it: its parts, but for `k8s.io`, as words in one.
fn group(name: &str) -> &str {
    if name.is_empty() { "core" } else { name.strip_suffix(".k8s.io").unwrap_or(name) }
}

/// `rbacAuthorization_v1`.
pub(super) fn tag(name: &str, version: &str) -> String {
    format!("{}_{version}", joined(group(name)))
}

/// `rbacAuthorization`.
pub(super) fn group_tag(name: &str) -> String {
    joined(group(name))
}

/// `RbacAuthorizationV1`.
pub(super) fn title(name: &str, version: &str) -> String {
    format!("{}{}", group_title(name), capital(version))
}

/// `RbacAuthorization`.
pub(super) fn group_title(name: &str) -> String {
    capital(&joined(group(name)))
}

/// Words in one, each but the first with a capital.
fn joined(text: &str) -> String {
    let mut words = text.split(|c: char| !c.is_alphanumeric() && c != '_').filter(|w| !w.is_empty());
    let first = words.next().unwrap_or_default().to_owned();
    words.fold(first, |out, word| out + &capital(word))
}

pub(super) fn capital(word: &str) -> String {
    let mut letters = word.chars();
    letters.next().map(|first| first.to_uppercase().chain(letters).collect()).unwrap_or_default()
}

/// `a Pod`, `an Event`, `Endpoints`.
pub(super) fn with_article(kind: &str) -> String {
    if kind.ends_with('s') && !kind.ends_with("ss") {
        return kind.to_owned();
    }
    match kind.starts_with(['A', 'E', 'I', 'O', 'U']) {
        true => format!("an {kind}"),
        false => format!("a {kind}"),
    }
}

/// The type of a built-in kind that is no resource of its own (`io.k8s.api.autoscaling.v1.Scale`).
pub(super) fn type_name(gvk: &Gvk) -> String {
    let group = if gvk.group.is_empty() { "core" } else { gvk.group.split('.').next().unwrap_or_default() };
    format!("io.k8s.api.{group}.{}.{}", gvk.version, gvk.kind)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_have_upstreams_names() {
        for (name, version, short, long) in [
            ("", "v1", "core_v1", "CoreV1"),
            ("apps", "v1", "apps_v1", "AppsV1"),
            ("rbac.authorization.k8s.io", "v1", "rbacAuthorization_v1", "RbacAuthorizationV1"),
            ("flowcontrol.apiserver.k8s.io", "v1beta3", "flowcontrolApiserver_v1beta3", "FlowcontrolApiserverV1beta3"),
            ("my-shop.example.com", "v1", "myShopExampleCom_v1", "MyShopExampleComV1"),
        ] {
            assert_eq!((tag(name, version).as_str(), title(name, version).as_str()), (short, long));
        }
        assert_eq!(
            ["Pod", "Event", "Endpoints", "Ingress"].map(with_article),
            ["a Pod", "an Event", "Endpoints", "an Ingress"]
        );
    }
}
