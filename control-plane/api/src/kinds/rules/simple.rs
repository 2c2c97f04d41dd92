//! Kinds whose rules are few: leases, classes, budgets, roles, bindings.

use super::at::At;
use super::metadata::{self, differs, path_segment};
use super::selectors::label_selector;
use super::workloads::{checked, immutable, status_updated, updated};
use super::{placement, resources, words};
use crate::kind::Context;
use crate::names;
use crate::object::Object;
use crate::status::FieldError;

pub(in crate::kinds) fn lease(object: &Object, out: &mut Vec<FieldError>) {
    checked(object, names::dns1123_subdomain, out, |root, _| {
        let spec = root.field("spec");
        let seconds = spec.field("leaseDurationSeconds");
        if seconds.int().is_some_and(|s| s <= 0) {
            seconds.invalid("must be greater than 0");
        }
        spec.field("leaseTransitions").not_negative();
    });
}

const USER_CLASSES_AT_MOST: i64 = 1_000_000_000;
const SYSTEM_CLASSES: &[&str] = &["system-node-critical", "system-cluster-critical"];

pub(in crate::kinds) fn priority_class(object: &Object, out: &mut Vec<FieldError>) {
    checked(object, names::dns1123_subdomain, out, |root, _| {
        let name = root.fields(&["metadata", "name"]);
        let value = root.field("value");
        if name.text().starts_with("system-") {
            if !SYSTEM_CLASSES.contains(&name.text()) {
                let why = "priority class names with 'system-' prefix are reserved for system use only. error:";
                name.forbidden(&format!("{why} {} is not a known system priority class", name.text()));
            }
        } else if value.int().unwrap_or(0) > USER_CLASSES_AT_MOST {
            value.forbidden(&format!("maximum allowed value of a user defined priority is {USER_CLASSES_AT_MOST}"));
        }
        super::pods::preemption(&root.field("preemptionPolicy"));
    });
}

pub(in crate::kinds) fn priority_class_update(new: &Object, old: &Object, c: Context<'_>, out: &mut Vec<FieldError>) {
    // What it says was looked at when it was made, and stays.
    out.clear();
    let rules = |root: &At<'_>| {
        if differs(root.field("value").value, old.at(&["value"])) {
            root.field("value").forbidden("may not be changed in an update.");
        }
        immutable(&root.field("preemptionPolicy"), old.at(&["preemptionPolicy"]));
    };
    updated(new, old, c, out, rules, |_| {});
}

pub(in crate::kinds) fn runtime_class(object: &Object, out: &mut Vec<FieldError>) {
    checked(object, names::dns1123_subdomain, out, |root, _| {
        root.field("handler").required_matches(names::dns1123_label);
        let overhead = root.field("overhead");
        resources::overhead(&overhead.field("podFixed").named(overhead.path));
        let scheduling = root.field("scheduling");
        metadata::labels(&scheduling.field("nodeSelector"));
        let tolerations = scheduling.field("tolerations");
        placement::tolerations(&tolerations);
        let list = tolerations.list();
        for (_, one) in tolerations.items().enumerate().filter(|(i, _)| list[..*i].contains(&list[*i])) {
            let type_name = "io.k8s.api.core.v1.Toleration";
            one.duplicate_as(&super::inner::inner(one.value, crate::schema::find(type_name)), "");
        }
    });
}

pub(in crate::kinds) fn runtime_class_update(new: &Object, old: &Object, c: Context<'_>, out: &mut Vec<FieldError>) {
    let rules = |root: &At<'_>| immutable(&root.field("handler"), old.at(&["handler"]));
    updated(new, old, c, out, rules, |_| {});
}

pub(in crate::kinds) fn disruption_budget(object: &Object, out: &mut Vec<FieldError>) {
    checked(object, path_segment, out, |root, _| {
        let spec = root.field("spec");
        let (least, gone) = (spec.field("minAvailable"), spec.field("maxUnavailable"));
        if least.is() && gone.is() {
            let type_name = "io.k8s.api.policy.v1.PodDisruptionBudgetSpec";
            spec.invalid_inner(type_name, "minAvailable and maxUnavailable cannot be both set");
        }
        for at in [least, gone] {
            words::int_or_percent(&at);
            words::at_most_all(&at);
        }
        label_selector(&spec.field("selector"));
        spec.field("unhealthyPodEvictionPolicy").maybe_one_of(&["AlwaysAllow", "IfHealthyBudget"]);
    });
}

pub(in crate::kinds) fn disruption_update(new: &Object, old: &Object, c: Context<'_>, out: &mut Vec<FieldError>) {
    status_updated(new, old, c, out, |status| {
        super::conditions::conditions(&status.field("conditions"));
        for key in ["disruptionsAllowed", "currentHealthy", "desiredHealthy", "expectedPods"] {
            status.field(key).not_negative();
        }
    });
}

pub(in crate::kinds) fn role(object: &Object, out: &mut Vec<FieldError>) {
    checked(object, path_segment, out, |root, _| rules(root, true));
}

pub(in crate::kinds) fn cluster_role(object: &Object, out: &mut Vec<FieldError>) {
    checked(object, path_segment, out, |root, _| {
        rules(root, false);
        let aggregation = root.field("aggregationRule");
        if !aggregation.is() {
            return;
        }
        let selectors = aggregation.field("clusterRoleSelectors");
        if selectors.is_empty() {
            selectors.required("at least one clusterRoleSelector required if aggregationRule is non-nil");
        }
        for selector in selectors.items() {
            let before = selector.errors_count();
            label_selector(&selector);
            if selector.errors_count() > before {
                // Upstream shows the selector that it could not make of it.
                selector.invalid_as("null", "invalid label selector.");
            }
        }
    });
}

fn rules(root: &At<'_>, namespaced: bool) {
    for rule in root.field("rules").items() {
        let [verbs, groups, kinds, urls] =
            ["verbs", "apiGroups", "resources", "nonResourceURLs"].map(|f| rule.field(f));
        if verbs.is_empty() {
            verbs.required("verbs must contain at least one value");
        }
        if !urls.is_empty() {
            if namespaced {
                urls.invalid("namespaced rules cannot apply to non-resource URLs");
            }
            if !groups.is_empty() || !kinds.is_empty() || !rule.field("resourceNames").is_empty() {
                urls.invalid("rules cannot apply to both regular resources and non-resource URLs");
            }
            continue;
        }
        if groups.is_empty() {
            groups.required("resource rules must supply at least one api group");
        }
        if kinds.is_empty() {
            kinds.required("resource rules must supply at least one resource");
        }
    }
}

const RBAC: &str = "rbac.authorization.k8s.io";

pub(in crate::kinds) fn role_binding(object: &Object, out: &mut Vec<FieldError>) {
    checked(object, path_segment, out, |root, _| binding(root, &["Role", "ClusterRole"], false));
}

pub(in crate::kinds) fn cluster_role_binding(object: &Object, out: &mut Vec<FieldError>) {
    checked(object, path_segment, out, |root, _| binding(root, &["ClusterRole"], true));
}

fn binding(root: &At<'_>, kinds: &[&str], cluster: bool) {
    let role = root.field("roleRef");
    if role.get("apiGroup") != RBAC {
        role.field("apiGroup").unsupported(&[RBAC]);
    }
    role.field("kind").one_of(kinds);
    let name = role.field("name");
    match name.text() {
        "" => name.required(""),
        _ => name.matches(path_segment),
    }
    for subject in root.field("subjects").items() {
        let (group, name, namespace) = (subject.field("apiGroup"), subject.field("name"), subject.field("namespace"));
        name.not_empty();
        match subject.get("kind") {
            "ServiceAccount" => {
                if !name.text().is_empty() {
                    name.matches(names::dns1123_subdomain);
                }
                if !group.text().is_empty() {
                    group.unsupported(&[""]);
                }
                // In a binding of one namespace that namespace is meant; here there is none.
                if cluster {
                    namespace.not_empty();
                }
            }
            "User" | "Group" => {
                if group.text() != RBAC {
                    group.unsupported(&[RBAC]);
                }
            }
            _ => subject.field("kind").unsupported(&["ServiceAccount", "User", "Group"]),
        }
    }
}

pub(in crate::kinds) fn binding_update(new: &Object, old: &Object, c: Context<'_>, out: &mut Vec<FieldError>) {
    let rules = |root: &At<'_>| {
        let role = root.field("roleRef");
        if differs(role.value, old.at(&["roleRef"])) {
            role.invalid_inner("io.k8s.api.rbac.v1.RoleRef", "cannot change roleRef");
        }
    };
    updated(new, old, c, out, rules, |_| {});
}
