//! The decisions of [`rbac`](super::rbac), [`node`](super::node) and [`escalation`](super::escalation) on cases.

use super::{escalation, forbidden, node, rbac};
use crate::authn::User;
use crate::request::RequestInfo;
use api::{Object, Value};
use http::Method;

fn cases() -> Value {
    api::codec::json::decode(include_bytes!("cases.json")).unwrap().value
}

fn objects(value: Option<&Value>) -> Vec<Object> {
    let list = value.and_then(Value::as_list).unwrap_or(&[]);
    list.iter().map(|v| Object(v.as_map().unwrap().clone())).collect()
}

fn of_kind(all: &[Object], kind: &str) -> Vec<Object> {
    all.iter().filter(|o| o.kind() == kind).cloned().collect()
}

fn user(words: &str) -> User {
    let mut words = words.split_whitespace().map(str::to_owned);
    User { name: words.next().unwrap(), groups: words.collect(), ..User::default() }
}

fn request(line: &str) -> RequestInfo {
    let (method, target) = line.split_once(' ').unwrap();
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    RequestInfo::parse(&method.parse::<Method>().unwrap(), path, query)
}

#[test]
fn each_case_is_decided_as_written() {
    let cases = cases();
    let all = objects(cases.get("objects"));
    let policy = rbac::Policy::new(&rbac::Objects {
        roles: of_kind(&all, "Role"),
        cluster_roles: of_kind(&all, "ClusterRole"),
        role_bindings: of_kind(&all, "RoleBinding"),
        cluster_role_bindings: of_kind(&all, "ClusterRoleBinding"),
    });
    let graph = node::Graph::new(&of_kind(&all, "Pod"), &of_kind(&all, "PersistentVolumeClaim"));
    for case in cases.get("decisions").unwrap().as_list().unwrap() {
        let text = |i: &str| case.at(&[i]).and_then(Value::as_str).unwrap();
        let (who, what, expected) = (text("0"), text("1"), text("2"));
        let (user, request) = (user(who), request(what));
        let by_node = node::node_of(&user).map(|node| node::decide(&graph, &policy, node, &request));
        let got = match (by_node, policy.allows(&user, &request)) {
            (Some(Ok(())), _) => "node".to_owned(),
            (_, Some(reason)) => reason,
            (by_node, None) => {
                let reason = by_node.and_then(Result::err).unwrap_or_default();
                forbidden(&user, &request, &reason).message
            }
        };
        assert_eq!(got, expected, "{who}: {what}");
    }
}

#[test]
fn nobody_grants_what_they_do_not_have() {
    let cases = cases();
    for case in cases.get("escalations").unwrap().as_list().unwrap() {
        let rules = |key: &str| {
            let mut role = Object::default();
            role.0.insert("rules", case.get(key).unwrap().clone());
            rbac::rules_of(&role)
        };
        let missing = escalation::uncovered(&rules("owned"), &rules("wanted"));
        let got: Vec<String> = missing.iter().map(escalation::shown).collect();
        let expected: Vec<&str> =
            case.get("missing").unwrap().as_list().unwrap().iter().filter_map(Value::as_str).collect();
        assert_eq!(got, expected, "{case:?}");
    }
}
