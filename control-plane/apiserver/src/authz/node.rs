//! The Node authoriser: a kubelet reads only what its pods need, and writes only what is its own.

use super::rbac::{Policy, any_allows};
use crate::authn::User;
use crate::request::RequestInfo;
use api::{Object, Value};
use std::collections::{HashMap, HashSet};

/// What the pods of a node refer to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Needed {
    Secret,
    ConfigMap,
    Claim,
    Volume,
    ServiceAccount,
    Pod,
}

/// Node → the things that its pods need.
#[derive(Debug, Default)]
pub(crate) struct Graph(HashMap<String, HashSet<(Needed, String, String)>>);

impl Graph {
    pub(crate) fn new(pods: &[Object], claims: &[Object]) -> Graph {
        let volumes: HashMap<(&str, &str), &str> =
            claims.iter().map(|c| ((c.namespace(), c.name()), c.str_at(&["spec", "volumeName"]))).collect();
        let mut graph = Graph::default();
        for pod in pods {
            let node = pod.str_at(&["spec", "nodeName"]);
            if node.is_empty() {
                continue;
            }
            let needs = graph.0.entry(node.to_owned()).or_default();
            let namespace = pod.namespace();
            // A mirror pod was written by the node itself: it may not widen what the node can read.
            if pod.annotation("kubernetes.io/config.mirror").is_some() {
                needs.insert((Needed::Pod, namespace.to_owned(), pod.name().to_owned()));
                continue;
            }
            for (what, name) in needs_of(pod) {
                if what == Needed::Claim
                    && let Some(volume) = volumes.get(&(namespace, name.as_str())).filter(|v| !v.is_empty())
                {
                    needs.insert((Needed::Volume, String::new(), (*volume).to_owned()));
                }
                needs.insert((what, namespace.to_owned(), name));
            }
        }
        graph
    }

    fn relates(&self, node: &str, what: Needed, namespace: &str, name: &str) -> bool {
        let key = (what, namespace.to_owned(), name.to_owned());
        self.0.get(node).is_some_and(|needs| needs.contains(&key))
    }
}

fn text<'a>(value: &'a Value, path: &[&str]) -> &'a str {
    value.at(path).and_then(Value::as_str).unwrap_or("")
}

fn list<'a>(value: &'a Value, path: &[&str]) -> &'a [Value] {
    value.at(path).and_then(Value::as_list).unwrap_or(&[])
}

/// Everything that the kubelet must read to run a pod.
fn needs_of(pod: &Object) -> Vec<(Needed, String)> {
    let mut needs = vec![(Needed::Pod, pod.name().to_owned())];
    let mut add = |what, name: &str| {
        if !name.is_empty() {
            needs.push((what, name.to_owned()));
        }
    };
    let Some(spec) = pod.at(&["spec"]) else { return needs };
    add(Needed::ServiceAccount, text(spec, &["serviceAccountName"]));
    for secret in list(spec, &["imagePullSecrets"]) {
        add(Needed::Secret, text(secret, &["name"]));
    }
    for key in ["containers", "initContainers", "ephemeralContainers"] {
        for container in list(spec, &[key]) {
            for from in list(container, &["envFrom"]) {
                add(Needed::Secret, text(from, &["secretRef", "name"]));
                add(Needed::ConfigMap, text(from, &["configMapRef", "name"]));
            }
            for env in list(container, &["env"]) {
                add(Needed::Secret, text(env, &["valueFrom", "secretKeyRef", "name"]));
                add(Needed::ConfigMap, text(env, &["valueFrom", "configMapKeyRef", "name"]));
            }
        }
    }
    for volume in list(spec, &["volumes"]) {
        add(Needed::Secret, text(volume, &["secret", "secretName"]));
        add(Needed::ConfigMap, text(volume, &["configMap", "name"]));
        add(Needed::Claim, text(volume, &["persistentVolumeClaim", "claimName"]));
        if volume.get("ephemeral").is_some() {
            add(Needed::Claim, &format!("{}-{}", pod.name(), text(volume, &["name"])));
        }
        for path in
            [["cephfs", "secretRef", "name"], ["csi", "nodePublishSecretRef", "name"], ["iscsi", "secretRef", "name"]]
        {
            add(Needed::Secret, text(volume, &path));
        }
        for source in list(volume, &["projected", "sources"]) {
            add(Needed::Secret, text(source, &["secret", "name"]));
            add(Needed::ConfigMap, text(source, &["configMap", "name"]));
        }
    }
    needs
}

/// The node that a user is, if it is one.
pub(crate) fn node_of(user: &User) -> Option<&str> {
    let node = user.name.strip_prefix("system:node:").filter(|n| !n.is_empty())?;
    user.groups.iter().any(|g| g == "system:nodes").then_some(node)
}

/// `Ok` allows; `Err` says why this authoriser has no opinion.
pub(crate) fn decide(graph: &Graph, policy: &Policy, node: &str, request: &RequestInfo) -> Result<(), String> {
    if !request.is_resource {
        return by_rules(policy, request);
    }
    match (request.group.as_str(), request.resource.as_str()) {
        ("", "secrets") => related(graph, node, Needed::Secret, request),
        ("", "configmaps") => related(graph, node, Needed::ConfigMap, request),
        ("", "persistentvolumeclaims") if request.subresource == "status" => by_rules(policy, request),
        ("", "persistentvolumeclaims") => related(graph, node, Needed::Claim, request),
        ("", "persistentvolumes") => related(graph, node, Needed::Volume, request),
        ("", "serviceaccounts") => account(graph, node, request),
        ("", "nodes") => own_node(policy, node, request),
        ("", "pods") => pods(graph, policy, node, request),
        ("coordination.k8s.io", "leases") => own_lease(node, request),
        ("storage.k8s.io", "csinodes") => {
            own(node, request, "can only access CSINode with the same name as the requesting node")
        }
        _ => by_rules(policy, request),
    }
}

/// What needs no relation is granted to every node by the role of upstream's NodeRules.
fn by_rules(policy: &Policy, request: &RequestInfo) -> Result<(), String> {
    match policy.role("", "system:node").is_some_and(|rules| any_allows(&rules, request)) {
        true => Ok(()),
        false => Err(String::new()),
    }
}

fn related(graph: &Graph, node: &str, what: Needed, request: &RequestInfo) -> Result<(), String> {
    if !matches!(request.verb.as_str(), "get" | "list" | "watch") {
        return Err("can only read resources of this type".into());
    }
    if !request.subresource.is_empty() {
        return Err("cannot read subresource".into());
    }
    if request.name.is_empty() {
        return Err("can only read individual resources of this type".into());
    }
    relation(graph, node, what, request)
}

fn relation(graph: &Graph, node: &str, what: Needed, request: &RequestInfo) -> Result<(), String> {
    if request.name.is_empty() {
        return Err("No Object name found".into());
    }
    let namespace = if what == Needed::Volume { "" } else { &request.namespace };
    match graph.relates(node, what, namespace, &request.name) {
        true => Ok(()),
        false => Err(format!("no relationship found between node '{node}' and this object")),
    }
}

fn account(graph: &Graph, node: &str, request: &RequestInfo) -> Result<(), String> {
    match (request.verb.as_str(), request.subresource.as_str()) {
        ("create", "token") => relation(graph, node, Needed::ServiceAccount, request),
        ("get", "") => relation(graph, node, Needed::ServiceAccount, request),
        _ => Err("can only create tokens for individual service accounts".into()),
    }
}

fn own_node(policy: &Policy, node: &str, request: &RequestInfo) -> Result<(), String> {
    match request.verb.as_str() {
        "get" | "list" | "watch" if request.name != node => {
            Err(format!("node '{node}' cannot read '{}', only its own Node object", request.name))
        }
        _ => by_rules(policy, request),
    }
}

fn pods(graph: &Graph, policy: &Policy, node: &str, request: &RequestInfo) -> Result<(), String> {
    match request.verb.as_str() {
        "get" if request.subresource.is_empty() => relation(graph, node, Needed::Pod, request),
        "list" | "watch" => {
            let wanted = format!("spec.nodeName={node}");
            match request.field_selector.split(',').any(|term| term.replace("==", "=") == wanted) {
                true => Ok(()),
                false => Err("can only list/watch pods with spec.nodeName field selector".into()),
            }
        }
        _ => by_rules(policy, request),
    }
}

fn own_lease(node: &str, request: &RequestInfo) -> Result<(), String> {
    if request.namespace != "kube-node-lease" {
        return Err("can only access leases in the \"kube-node-lease\" system namespace".into());
    }
    own(node, request, "can only access node lease with the same name as the requesting node")
}

/// An object of the node's own name.
fn own(node: &str, request: &RequestInfo, otherwise: &str) -> Result<(), String> {
    match request.verb.as_str() {
        "create" => Ok(()),
        "get" | "update" | "patch" | "delete" if request.name == node => Ok(()),
        "get" | "update" | "patch" | "delete" => Err(otherwise.to_owned()),
        _ => Err("can only get, create, update, patch, or delete a node's own object".into()),
    }
}
