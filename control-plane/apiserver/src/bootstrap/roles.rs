//! The default roles and bindings, read from their table.

use crate::authz::{escalation, rbac};
use api::{Map, Object, Value};

/// The table; its head says what a line means.
const TABLE: &str = include_str!("roles.txt");
const GROUP: &str = "rbac.authorization.k8s.io";
const AUTOUPDATE: &str = "rbac.authorization.kubernetes.io/autoupdate";
const AGGREGATE: &str = "rbac.authorization.k8s.io/aggregate-to-";

/// Every default role and binding.
pub(super) fn all() -> Vec<Object> {
    let mut objects: Vec<Object> = Vec::new();
    for line in TABLE.lines().filter(|l| !l.is_empty() && !l.starts_with('#')) {
        let words: Vec<&str> = line.split_whitespace().collect();
        match words.as_slice() {
            ["clusterrole", name, flags @ ..] => objects.push(cluster_role(name, flags)),
            ["role", name] => objects.push(object("Role", name)),
            ["clusterbinding", name, role, subjects @ ..] => {
                objects.push(binding("ClusterRoleBinding", name, &format!("cluster:{role}"), subjects));
            }
            ["binding", name, role, subjects @ ..] => objects.push(binding("RoleBinding", name, role, subjects)),
            [verbs, "url", paths] => add_rule(&mut objects, &[("nonResourceURLs", paths), ("verbs", verbs)]),
            [verbs, groups, resources] => {
                add_rule(&mut objects, &[("apiGroups", groups), ("resources", resources), ("verbs", verbs)]);
            }
            [verbs, groups, resources, names] => {
                let names = ("resourceNames", *names);
                add_rule(&mut objects, &[("apiGroups", groups), names, ("resources", resources), ("verbs", verbs)]);
            }
            _ => {}
        }
    }
    aggregate(&mut objects);
    objects
}

fn object(kind: &str, name: &str) -> Object {
    let (namespace, name) = name.split_once('/').unwrap_or(("", name));
    let mut object = Object::default();
    object.set_type(&format!("{GROUP}/v1"), kind);
    object.set(&["metadata", "name"], name);
    if !namespace.is_empty() {
        object.set(&["metadata", "namespace"], namespace);
    }
    object.set(&["metadata", "labels", "kubernetes.io/bootstrapping"], "rbac-defaults");
    object.set(&["metadata", "annotations", AUTOUPDATE], "true");
    object
}

fn cluster_role(name: &str, flags: &[&str]) -> Object {
    let mut role = object("ClusterRole", name);
    for flag in flags {
        if let Some(to) = flag.strip_prefix("+to-") {
            role.set(&["metadata", "labels", &format!("{AGGREGATE}{to}")], "true");
        } else if let Some(from) = flag.strip_prefix("=from-") {
            let labels: Map = [(format!("{AGGREGATE}{from}"), Value::from("true"))].into_iter().collect();
            let selector: Map = [("matchLabels", Value::Map(labels))].into_iter().collect();
            role.set(&["aggregationRule", "clusterRoleSelectors"], vec![selector]);
        }
    }
    role
}

fn list(words: &str) -> Value {
    Value::List(words.split(',').map(|w| Value::from(if w == "core" { "" } else { w })).collect())
}

fn add_rule(objects: &mut [Object], parts: &[(&'static str, &str)]) {
    let rule: Map = parts.iter().map(|(key, words)| (*key, list(words))).collect();
    if let Some(role) = objects.last_mut() {
        push(role, "rules", Value::Map(rule));
    }
}

fn push(object: &mut Object, key: &str, item: Value) {
    let list = object.0.entry(key);
    match list.as_list_mut() {
        Some(list) => list.push(item),
        None => *list = Value::List(vec![item]),
    }
}

fn binding(kind: &str, name: &str, role: &str, subjects: &[&str]) -> Object {
    let mut binding = object(kind, name);
    let (role_kind, role) = role.strip_prefix("cluster:").map_or(("Role", role), |r| ("ClusterRole", r));
    let reference: Map = [("apiGroup", GROUP), ("kind", role_kind), ("name", role)].into_iter().collect();
    binding.0.insert("roleRef", reference);
    for subject in subjects {
        let map: Map = match subject.split_once(':') {
            Some(("user", name)) => [("apiGroup", GROUP), ("kind", "User"), ("name", name)].into_iter().collect(),
            Some(("group", name)) => [("apiGroup", GROUP), ("kind", "Group"), ("name", name)].into_iter().collect(),
            Some((_, account)) => {
                let (namespace, name) = account.split_once('/').unwrap_or(("", account));
                [("kind", "ServiceAccount"), ("name", name), ("namespace", namespace)].into_iter().collect()
            }
            None => continue,
        };
        push(&mut binding, "subjects", Value::Map(map));
    }
    binding
}

/// Fills in the rules of the aggregated roles; `admin` is made of `edit`, which is made of `view`.
fn aggregate(objects: &mut [Object]) {
    for name in ["view", "edit", "admin"] {
        let role = objects.iter().position(|o| o.kind() == "ClusterRole" && o.name() == name);
        let Some(role) = role else { continue };
        if let Some(rules) = rbac::aggregate(&objects[role], objects) {
            objects[role].0.insert("rules", rules);
        }
    }
}

/// The role or binding as it must be stored, where what is there lacks something of the default; what was added stays.
/// `None` where nothing is lacking, or the owner has turned updates off.
pub(super) fn reconciled(wanted: &Object, found: &Object) -> Option<Object> {
    if found.annotation(AUTOUPDATE) == Some("false") {
        return None;
    }
    let mut out = found.clone();
    for key in ["labels", "annotations"] {
        for (name, value) in wanted.meta_pairs(key) {
            if out.meta().and_then(|m| m.get(key)).and_then(|m| m.get(name)).is_none() {
                out.set(&["metadata", key, name], value);
            }
        }
    }
    let aggregated = wanted.at(&["aggregationRule"]);
    if let Some(rule) = aggregated {
        out.0.insert("aggregationRule", rule.clone());
    } else {
        let missing = escalation::uncovered(&rbac::rules_of(found), &rbac::rules_of(wanted));
        missing.iter().for_each(|rule| push(&mut out, "rules", rule_value(rule)));
    }
    for subject in wanted.at(&["subjects"]).and_then(Value::as_list).unwrap_or(&[]) {
        let there = out.at(&["subjects"]).and_then(Value::as_list).is_some_and(|l| l.contains(subject));
        if !there {
            push(&mut out, "subjects", subject.clone());
        }
    }
    (out != *found).then_some(out)
}

fn rule_value(rule: &rbac::Rule) -> Value {
    let parts = [
        ("apiGroups", &rule.groups),
        ("nonResourceURLs", &rule.urls),
        ("resourceNames", &rule.names),
        ("resources", &rule.resources),
        ("verbs", &rule.verbs),
    ];
    let filled = parts.into_iter().filter(|(_, words)| !words.is_empty());
    let list = |words: &[String]| Value::List(words.iter().map(|w| Value::from(w.as_str())).collect());
    Value::Map(filled.map(|(key, words)| (key, list(words))).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named<'a>(objects: &'a [Object], kind: &str, name: &str) -> &'a Object {
        objects.iter().find(|o| o.kind() == kind && o.name() == name).expect("it is a default")
    }

    #[test]
    fn the_table_holds_every_default_and_nothing_unread() {
        let objects = all();
        let count = |kind: &str| objects.iter().filter(|o| o.kind() == kind).count();
        let counts = ["ClusterRole", "ClusterRoleBinding", "Role", "RoleBinding"].map(count);
        assert_eq!(counts, [70, 51, 7, 7]);
        for role in objects.iter().filter(|o| o.kind().ends_with("Role")) {
            assert!(role.at(&["rules"]).is_some(), "{} has no rules", role.name());
        }
    }

    #[test]
    fn aggregated_roles_hold_each_other() {
        let objects = all();
        let rules = |name| rbac::rules_of(named(&objects, "ClusterRole", name));
        assert!(escalation::uncovered(&rules("admin"), &rules("edit")).is_empty());
        assert!(escalation::uncovered(&rules("edit"), &rules("view")).is_empty());
        assert!(!escalation::uncovered(&rules("view"), &rules("edit")).is_empty());
    }

    #[test]
    fn a_default_that_lost_a_rule_gets_it_back_and_keeps_what_was_added() {
        let objects = all();
        let wanted = named(&objects, "ClusterRole", "system:basic-user");
        assert_eq!(reconciled(wanted, wanted), None);
        let mut found = wanted.clone();
        let own: Map =
            [("apiGroups", list("core")), ("resources", list("pods")), ("verbs", list("get"))].into_iter().collect();
        found.0.insert("rules", vec![own.clone()]);
        let repaired = reconciled(wanted, &found).expect("its rules were gone");
        let (all, before) = (rbac::rules_of(&repaired), rbac::rules_of(wanted));
        assert!(escalation::uncovered(&all, &before).is_empty());
        assert_eq!(repaired.at(&["rules", "0"]), Some(&Value::Map(own)));
        found.set(&["metadata", "annotations", AUTOUPDATE], "false");
        assert_eq!(reconciled(wanted, &found), None);
    }
}
