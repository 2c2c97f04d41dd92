//! NodeRestriction: a kubelet writes its own node and the pods that are bound to it, and cannot relabel itself into
//! places where other pods run.

use super::{Admission, Operation, fields};
use crate::authz::node::node_of;
use crate::ctx::Ctx;
use crate::lookup;
use api::{Object, Status, Value};

/// The labels of Kubernetes' own domains that a kubelet may set on its node.
const OWN_LABELS: [&str; 10] = [
    "kubernetes.io/hostname",
    "kubernetes.io/arch",
    "kubernetes.io/os",
    "beta.kubernetes.io/arch",
    "beta.kubernetes.io/os",
    "beta.kubernetes.io/instance-type",
    "node.kubernetes.io/instance-type",
    "topology.kubernetes.io/region",
    "topology.kubernetes.io/zone",
    "failure-domain.beta.kubernetes.io/zone",
];
const OWN_PREFIXES: [&str; 3] = ["kubelet.kubernetes.io", "node.kubernetes.io", "failure-domain.beta.kubernetes.io"];

pub(super) async fn mutate(ctx: &Ctx, admission: &Admission<'_>) -> Result<(), Status> {
    let Some(node) = node_of(admission.user) else { return Ok(()) };
    let info = admission.info;
    match (info.group.as_str(), info.resource.as_str(), info.subresource.as_str()) {
        ("", "pods", sub) => pod(ctx, admission, node, sub).await,
        ("", "nodes", _) => own_node(admission, node),
        ("", "serviceaccounts", "token") => token(ctx, admission, node).await,
        ("coordination.k8s.io", "leases", _) => named_as(admission, node, "node lease"),
        ("storage.k8s.io", "csinodes", _) => named_as(admission, node, "CSINode"),
        _ => Ok(()),
    }
}

fn named_as(admission: &Admission<'_>, node: &str, what: &str) -> Result<(), Status> {
    let name = match admission.info.name.as_str() {
        "" => admission.object.as_ref().map_or("", Object::name),
        name => name,
    };
    match name == node {
        true => Ok(()),
        false => Err(admission.forbid(&format!("can only access {what} with the same name as the requesting node"))),
    }
}

async fn pod(ctx: &Ctx, admission: &Admission<'_>, node: &str, subresource: &str) -> Result<(), Status> {
    let refuse = |why: String| Err(admission.forbid(&why));
    match (subresource, admission.operation) {
        ("", Operation::Create) => match &admission.object {
            Some(pod) => mirror(pod, node).map_or(Ok(()), refuse),
            None => Ok(()),
        },
        ("", Operation::Delete) | ("status", Operation::Update) => {
            let there = match admission.old {
                Some(old) => Some(old.clone()),
                None => ctx.registry.find(lookup::PODS, &admission.info.namespace, &admission.info.name).await?,
            };
            let Some(pod) = there else { return Ok(()) };
            if pod.str_at(&["spec", "nodeName"]) != node {
                let verb = if subresource.is_empty() { "delete pods" } else { "update pod status for pods" };
                return refuse(format!("node {node:?} can only {verb} with spec.nodeName set to itself"));
            }
            let labels = |o: &Object| o.at(&["metadata", "labels"]).cloned();
            match admission.object.as_ref().is_some_and(|new| labels(new) != labels(&pod)) {
                true => refuse(format!("node {node:?} cannot update labels through pod status")),
                false => Ok(()),
            }
        }
        ("eviction", _) => {
            let pod = ctx.registry.find(lookup::PODS, &admission.info.namespace, &admission.info.name).await?;
            match pod.is_none_or(|p| p.str_at(&["spec", "nodeName"]) == node) {
                true => Ok(()),
                false => refuse(format!("node {node} can only evict pods with spec.nodeName set to itself")),
            }
        }
        ("", _) => refuse(format!(
            "unexpected operation {:?}, node {node:?} can only create and delete mirror pods",
            admission.operation
        )),
        (other, _) => refuse(format!("unexpected pod subresource {other:?}, only 'status' and 'eviction' are allowed")),
    }
}

/// Why a pod that a node creates is refused.
pub(super) fn mirror(pod: &Object, node: &str) -> Option<String> {
    if pod.annotation("kubernetes.io/config.mirror").is_none() {
        return Some(format!(
            "pod does not have \"kubernetes.io/config.mirror\" annotation, node {node:?} can only create mirror pods"
        ));
    }
    if pod.str_at(&["spec", "nodeName"]) != node {
        return Some(format!("node {node:?} can only create pods with spec.nodeName set to itself"));
    }
    let owners = pod.at(&["metadata", "ownerReferences"]).and_then(Value::as_list).unwrap_or(&[]);
    let own = |o: &Value| fields::text(o, &["kind"]) == "Node" && fields::text(o, &["name"]) == node;
    if !owners.iter().all(own) || owners.len() > 1 {
        return Some(format!("node {node:?} can only create pods with an owner reference set to itself"));
    }
    let reference =
        |v: &Value| ["secret", "configMap", "persistentVolumeClaim"].into_iter().find(|k| v.get(k).is_some());
    let volumes = pod.at(&["spec", "volumes"]).and_then(Value::as_list).unwrap_or(&[]);
    let found = volumes.iter().find_map(reference);
    found.map(|what| format!("node {node:?} can not create pods that reference {}", plural(what)))
}

fn plural(what: &str) -> &'static str {
    match what {
        "secret" => "secrets",
        "configMap" => "configmaps",
        _ => "persistentvolumeclaims",
    }
}

fn own_node(admission: &Admission<'_>, node: &str) -> Result<(), Status> {
    let (new, old) = (admission.object.as_ref(), admission.old);
    let name = new.or(old).map_or(admission.info.name.as_str(), Object::name);
    if name != node {
        return Err(admission.forbid(&format!("node {node:?} is not allowed to modify node {name:?}")));
    }
    let Some(new) = new else { return Ok(()) };
    let at = |o: Option<&Object>, path: &[&str]| o.and_then(|o| o.at(path)).cloned();
    if admission.operation == Operation::Update {
        for (path, what) in
            [(&["spec", "taints"][..], "taints"), (&["metadata", "ownerReferences"][..], "owner references")]
        {
            if at(Some(new), path) != at(old, path) {
                return Err(admission.forbid(&format!("node {node:?} is not allowed to modify {what}")));
            }
        }
    }
    let changed = restricted_labels(new, old);
    match (changed.is_empty(), admission.operation) {
        (true, _) => Ok(()),
        (false, Operation::Create) => Err(admission
            .forbid(&format!("node {node:?} is not allowed to set the following labels: {}", changed.join(", ")))),
        (false, _) => Err(admission.forbid(&format!("is not allowed to modify labels: {}", changed.join(", ")))),
    }
}

/// The labels that differ and that a kubelet may not touch.
pub(super) fn restricted_labels(new: &Object, old: Option<&Object>) -> Vec<String> {
    let get = |o: &Object, key: &str| o.label(key).map(str::to_owned);
    let mut keys: Vec<&str> = new.meta_pairs("labels").map(|(k, _)| k).collect();
    keys.extend(old.into_iter().flat_map(|o| o.meta_pairs("labels")).map(|(k, _)| k));
    keys.sort_unstable();
    keys.dedup();
    let differs = |key: &&str| get(new, key) != old.and_then(|o| get(o, key));
    keys.into_iter().filter(differs).filter(|key| restricted(key)).map(str::to_owned).collect()
}

fn restricted(label: &str) -> bool {
    let Some((domain, _)) = label.split_once('/') else { return false };
    let within = |parent: &str| domain == parent || domain.ends_with(&format!(".{parent}"));
    if within("node-restriction.kubernetes.io") {
        return true;
    }
    let kubernetes = within("kubernetes.io") || within("k8s.io");
    kubernetes && !OWN_LABELS.contains(&label) && !OWN_PREFIXES.iter().any(|p| within(p))
}

/// A node gets tokens only for the pods that it runs.
async fn token(ctx: &Ctx, admission: &Admission<'_>, node: &str) -> Result<(), Status> {
    let Some(request) = &admission.object else { return Ok(()) };
    let (kind, name) =
        (request.str_at(&["spec", "boundObjectRef", "kind"]), request.str_at(&["spec", "boundObjectRef", "name"]));
    if kind != "Pod" {
        return Err(admission.forbid("node requested token not bound to a pod"));
    }
    let uid = request.str_at(&["spec", "boundObjectRef", "uid"]);
    if uid.is_empty() {
        return Err(admission.forbid("node requested token with a pod binding without a uid"));
    }
    let Some(pod) = ctx.registry.find(lookup::PODS, &admission.info.namespace, name).await? else {
        return Err(Status::not_found("", "pods", name));
    };
    if pod.uid() != uid {
        return Err(admission.forbid(&format!("the UID in the bound object reference ({uid}) does not match the UID in record. The object might have been deleted and then recreated")));
    }
    match pod.str_at(&["spec", "nodeName"]) == node {
        true => Ok(()),
        false => Err(admission.forbid("node requested token bound to a pod scheduled on a different node")),
    }
}
