//! Role-based access control: who is bound to which rules, as plain data, and what the rules allow.

use crate::authn::User;
use crate::request::RequestInfo;
use api::{Object, Value};
use std::collections::HashMap;
use std::sync::Arc;

/// One rule of a role.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Rule {
    pub verbs: Vec<String>,
    pub groups: Vec<String>,
    pub resources: Vec<String>,
    pub names: Vec<String>,
    pub urls: Vec<String>,
}

/// Upstream's own chain (admin of edit of view) has three steps; longer ones take a few more changes to settle.
const AGGREGATION_DEPTH_MAX: usize = 5;

pub(crate) type Rules = Arc<[Rule]>;

fn texts(rule: &Value, key: &str) -> Vec<String> {
    let list = rule.get(key).and_then(Value::as_list).unwrap_or(&[]);
    list.iter().filter_map(Value::as_str).map(str::to_owned).collect()
}

/// The rules of a Role or ClusterRole.
pub(crate) fn rules_of(role: &Object) -> Vec<Rule> {
    let rules = role.at(&["rules"]).and_then(Value::as_list).unwrap_or(&[]);
    let rule = |r| Rule {
        verbs: texts(r, "verbs"),
        groups: texts(r, "apiGroups"),
        resources: texts(r, "resources"),
        names: texts(r, "resourceNames"),
        urls: texts(r, "nonResourceURLs"),
    };
    rules.iter().map(rule).collect()
}

fn holds(list: &[String], word: &str) -> bool {
    list.iter().any(|w| w == "*" || w == word)
}

impl Rule {
    fn allows(&self, request: &RequestInfo) -> bool {
        if !request.is_resource {
            return holds(&self.verbs, &request.verb) && self.urls.iter().any(|url| path_matches(url, &request.path));
        }
        holds(&self.verbs, &request.verb)
            && holds(&self.groups, &request.group)
            && self.names_resource(&request.resource, &request.subresource)
            && (self.names.is_empty() || self.names.contains(&request.name))
    }

    pub(crate) fn names_resource(&self, resource: &str, subresource: &str) -> bool {
        self.resources.iter().any(|r| match (r.as_str(), r.split_once('/')) {
            ("*", _) => true,
            (_, Some(("*", sub))) => !subresource.is_empty() && sub == subresource,
            (_, Some((main, sub))) => main == resource && sub == subresource,
            (main, None) => subresource.is_empty() && main == resource,
        })
    }
}

/// Whether one of the rules allows the request.
pub(crate) fn any_allows(rules: &[Rule], request: &RequestInfo) -> bool {
    rules.iter().any(|rule| rule.allows(request))
}

/// Whether a rule's URL covers a path: `*`, the path itself, or a prefix that ends in `*`.
pub(crate) fn path_matches(url: &str, path: &str) -> bool {
    url == "*" || url == path || url.strip_suffix('*').is_some_and(|prefix| path.starts_with(prefix))
}

/// A binding as it concerns one of its subjects.
#[derive(Debug, Clone)]
struct Grant {
    /// `ClusterRoleBinding "x" of ClusterRole "y" to Group "z"`.
    text: String,
    rules: Rules,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Who {
    User(String),
    Group(String),
}

/// All bindings, found by subject. The empty namespace holds the ClusterRoleBindings.
#[derive(Debug, Default)]
pub(crate) struct Policy {
    grants: HashMap<String, HashMap<Who, Vec<Grant>>>,
    roles: HashMap<(String, String), Rules>,
}

/// The objects that a policy is made of.
#[derive(Debug, Default)]
pub(crate) struct Objects {
    pub roles: Vec<Object>,
    pub cluster_roles: Vec<Object>,
    pub role_bindings: Vec<Object>,
    pub cluster_role_bindings: Vec<Object>,
}

impl Policy {
    pub(crate) fn new(objects: &Objects) -> Policy {
        let mut policy = Policy::default();
        for role in objects.roles.iter().chain(&objects.cluster_roles) {
            let key = (role.namespace().to_owned(), role.name().to_owned());
            policy.roles.insert(key, rules_of(role).into());
        }
        policy.aggregate(&objects.cluster_roles);
        for binding in objects.cluster_role_bindings.iter().chain(&objects.role_bindings) {
            policy.bind(binding);
        }
        policy
    }

    /// Aggregated roles are worked out here as well, so that a grant does not wait for a controller to write it down.
    fn aggregate(&mut self, roles: &[Object]) {
        let aggregated: Vec<&Object> = roles.iter().filter(|r| r.at(&["aggregationRule"]).is_some()).collect();
        // Each pass carries rules one step further, and a chain is no longer than there are aggregated roles.
        for _ in 0..aggregated.len().min(AGGREGATION_DEPTH_MAX) {
            for role in &aggregated {
                let sources = roles.iter().filter(|r| r.name() != role.name() && selected(role, r));
                let mut rules = rules_of(role);
                for rule in sources.filter_map(|r| self.role("", r.name())).flat_map(|r| r.to_vec()) {
                    if !rules.contains(&rule) {
                        rules.push(rule);
                    }
                }
                self.roles.insert((String::new(), role.name().to_owned()), rules.into());
            }
        }
    }

    /// The rules of a Role (with its namespace) or a ClusterRole (without).
    pub(crate) fn role(&self, namespace: &str, name: &str) -> Option<Rules> {
        self.roles.get(&(namespace.to_owned(), name.to_owned())).cloned()
    }

    fn bind(&mut self, binding: &Object) {
        let namespace = binding.namespace();
        let (kind, role) = (binding.str_at(&["roleRef", "kind"]), binding.str_at(&["roleRef", "name"]));
        let from = if kind == "Role" { namespace } else { "" };
        let Some(rules) = self.role(from, role) else { return };
        let name = match namespace.is_empty() {
            true => format!("ClusterRoleBinding {:?}", binding.name()),
            false => format!("RoleBinding \"{}/{namespace}\"", binding.name()),
        };
        let grants = self.grants.entry(namespace.to_owned()).or_default();
        for subject in binding.at(&["subjects"]).and_then(Value::as_list).unwrap_or(&[]) {
            let Some((who, shown)) = subject_of(subject, namespace) else { continue };
            let text = format!("{name} of {kind} {role:?} to {shown}");
            grants.entry(who).or_default().push(Grant { text, rules: rules.clone() });
        }
    }

    fn grants_of(&self, user: &User, namespace: &str) -> impl Iterator<Item = &Grant> {
        let scopes = [Some(""), Some(namespace).filter(|n| !n.is_empty())];
        let bound = scopes.into_iter().flatten().filter_map(|n| self.grants.get(n));
        let who: Vec<Who> =
            std::iter::once(Who::User(user.name.clone())).chain(user.groups.iter().cloned().map(Who::Group)).collect();
        bound.flat_map(move |grants| who.iter().filter_map(|w| grants.get(w)).flatten().collect::<Vec<_>>())
    }

    /// Why the request is allowed; `None` where no rule allows it.
    pub(crate) fn allows(&self, user: &User, request: &RequestInfo) -> Option<String> {
        let namespace = if request.is_resource { request.namespace.as_str() } else { "" };
        let grant = self.grants_of(user, namespace).find(|g| g.rules.iter().any(|r| r.allows(request)))?;
        Some(format!("RBAC: allowed by {}", grant.text))
    }

    /// Every rule that the user has in a namespace (empty: in all of them).
    pub(crate) fn rules_for(&self, user: &User, namespace: &str) -> Vec<Rule> {
        self.grants_of(user, namespace).flat_map(|g| g.rules.iter().cloned()).collect()
    }
}

fn subject_of(subject: &Value, namespace: &str) -> Option<(Who, String)> {
    let text = |key| subject.get(key).and_then(Value::as_str).unwrap_or("");
    let name = text("name");
    match text("kind") {
        "User" => Some((Who::User(name.to_owned()), format!("User {name:?}"))),
        "Group" => Some((Who::Group(name.to_owned()), format!("Group {name:?}"))),
        "ServiceAccount" => {
            let at = if text("namespace").is_empty() { namespace } else { text("namespace") };
            let who = Who::User(format!("system:serviceaccount:{at}:{name}"));
            (!at.is_empty()).then(|| (who, format!("ServiceAccount \"{name}/{at}\"")))
        }
        _ => None,
    }
}

/// The rules of an aggregated ClusterRole: those of every ClusterRole that one of its selectors matches.
/// `None` where the role is not aggregated.
pub(crate) fn aggregate(role: &Object, all: &[Object]) -> Option<Vec<Value>> {
    role.at(&["aggregationRule", "clusterRoleSelectors"])?.as_list()?;
    let mut sources: Vec<&Object> = all.iter().filter(|r| r.name() != role.name() && selected(role, r)).collect();
    sources.sort_by(|a, b| a.name().cmp(b.name()));
    let mut rules: Vec<Value> = Vec::new();
    for rule in sources.iter().filter_map(|r| r.at(&["rules"])?.as_list()).flatten() {
        if !rules.contains(rule) {
            rules.push(rule.clone());
        }
    }
    Some(rules)
}

/// Whether one of the selectors of an aggregated role matches another role.
fn selected(aggregated: &Object, role: &Object) -> bool {
    let selectors = aggregated.at(&["aggregationRule", "clusterRoleSelectors"]).and_then(Value::as_list);
    selectors.is_some_and(|list| list.iter().any(|s| selects(s, role)))
}

fn selects(selector: &Value, role: &Object) -> bool {
    let labels = selector.get("matchLabels").and_then(Value::as_map);
    let by_labels = labels.into_iter().flat_map(|m| m.iter()).all(|(k, v)| role.label(k) == v.as_str());
    let expressions = selector.get("matchExpressions").and_then(Value::as_list).unwrap_or(&[]);
    by_labels && expressions.iter().all(|e| expression_holds(e, role))
}

fn expression_holds(expression: &Value, role: &Object) -> bool {
    let text = |key| expression.get(key).and_then(Value::as_str).unwrap_or("");
    let label = role.label(text("key"));
    let values = texts(expression, "values");
    match text("operator") {
        "In" => label.is_some_and(|l| values.iter().any(|v| v == l)),
        "NotIn" => label.is_none_or(|l| !values.iter().any(|v| v == l)),
        "Exists" => label.is_some(),
        "DoesNotExist" => label.is_none(),
        _ => false,
    }
}
