//! ClusterRoles that are put together from others, chosen by their labels.

use client::{Controller, Decision, Key, Moment, Plan, View, Watches};
use k8s_openapi::api::rbac::v1::{ClusterRole, PolicyRule};

use crate::selector;

pub(crate) struct Aggregation;

impl Controller for Aggregation {
    fn name(&self) -> &'static str {
        "clusterrole-aggregation-controller"
    }

    fn watches(&self, watches: &mut Watches<'_>) {
        // Any role may begin or cease to be part of any other.
        watches.mapped::<ClusterRole>(|view, _| {
            let roles = view.of::<ClusterRole>().list();
            let aggregating = roles.iter().filter(|role| role.aggregation_rule.is_some());
            aggregating.map(|role| Key::of(role.as_ref())).collect()
        });
    }

    fn plan(&self, view: &View, key: &Key, _: Moment) -> Decision {
        let mut plan = Plan::done();
        let Some(role) = view.of::<ClusterRole>().get_key(key) else { return plan.into() };
        if role.aggregation_rule.is_some() {
            let rules = gather(view, &role);
            if role.rules.as_deref().unwrap_or_default() != rules {
                plan.update(&ClusterRole { rules: Some(rules), ..ClusterRole::clone(&role) });
            }
        }
        plan.into()
    }
}

/// The rules of all chosen roles, each once, in the order of the roles' names.
fn gather(view: &View, role: &ClusterRole) -> Vec<PolicyRule> {
    let selectors = role.aggregation_rule.iter().flat_map(|rule| rule.cluster_role_selectors.iter().flatten());
    let selectors: Vec<_> = selectors.collect();
    let mut parts = view.of::<ClusterRole>().list();
    parts.retain(|part| {
        let labels = part.metadata.labels.as_ref();
        part.metadata.name != role.metadata.name && selectors.iter().any(|s| selector::matches(s, labels))
    });
    parts.sort_by(|a, b| a.metadata.name.cmp(&b.metadata.name));
    let mut rules: Vec<PolicyRule> = Vec::new();
    for rule in parts.iter().flat_map(|part| part.rules.iter().flatten()) {
        if !rules.contains(rule) {
            rules.push(rule.clone());
        }
    }
    rules
}
