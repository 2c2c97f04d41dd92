//! Whether a pod that was given to this node has a place here beside those that are: what the scheduler looked at is looked at
//! again, for a pod may have come past it, or at the same time as another one.

use super::Refusal;
use fit::resources::{self, Amounts};
use fit::{HostPort, nodes, ports, taints};
use k8s_openapi::api::core::v1::{Node, Pod};

/// Why the pod has none, the weightiest first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Objection {
    Lacks {
        resource: String,
        requested: i64,
        used: i64,
        capacity: i64,
    },
    /// Against a rule, with the plugin of the scheduler that knows it.
    Against {
        rule: &'static str,
        why: &'static str,
    },
}

/// What speaks against the pod, beside others that have their places.
pub fn objections<'a>(pod: &Pod, node: &Node, others: impl Iterator<Item = &'a Pod>) -> Vec<Objection> {
    let (mut used, mut many, mut taken) = (Amounts::default(), 0, vec![]);
    for other in others {
        used.add(&resources::asked(other));
        taken.extend(HostPort::of(other));
        many += 1;
    }
    let mut all = lacking(pod, node, &used, many);
    let mut against = |rule, why| all.push(Objection::Against { rule, why });
    if !nodes::matches(pod, node) {
        against("NodeAffinity", nodes::UNMATCHED);
    }
    if ports::any_collides(&HostPort::of(pod), &taken) {
        against("NodePorts", ports::TAKEN);
    }
    if !crate::identity::from_file(pod) && thrown_out(pod, node) {
        against("TaintToleration", taints::UNTOLERATED);
    }
    all
}

fn lacking(pod: &Pod, node: &Node, used: &Amounts, many: i64) -> Vec<Objection> {
    let has = resources::amounts(node.status.as_ref().and_then(|status| status.allocatable.as_ref()));
    let asked = resources::asked(pod);
    let mut all = vec![];
    let most = has.get("pods");
    if many + 1 > most {
        all.push(Objection::Lacks { resource: "pods".into(), requested: 1, used: many, capacity: most });
    }
    let known = |name: &str| !is_extended(name) || has.others().any(|(has, _)| has.as_ref() == name);
    let lacks = resources::lacking(&asked, used, &has).filter(|lack| known(lack.resource.name()));
    all.extend(lacks.map(|lack| Objection::Lacks {
        resource: lack.resource.name().to_owned(),
        requested: lack.requested,
        used: lack.used,
        capacity: lack.capacity,
    }));
    all
}

/// A resource with a domain of its own. One that the node knows nothing of may be the cluster's: not the kubelet's business.
fn is_extended(name: &str) -> bool {
    name.contains('/') && !name.contains("kubernetes.io/")
}

fn thrown_out(pod: &Pod, node: &Node) -> bool {
    let taints = node.spec.iter().flat_map(|spec| spec.taints.iter().flatten());
    taints.filter(|taint| taint.effect == "NoExecute").any(|taint| !taints::tolerates(pod, taint))
}

impl Objection {
    /// Another copy of the node may say otherwise.
    pub fn is_of_labels(&self) -> bool {
        matches!(self, Objection::Against { rule: "NodeAffinity", .. })
    }
}

impl From<&Objection> for Refusal {
    fn from(objection: &Objection) -> Refusal {
        match objection {
            Objection::Lacks { resource, requested, used, capacity } => Refusal {
                reason: format!("OutOf{resource}"),
                message: format!(
                    "Node didn't have enough resource: {resource}, requested: {requested}, used: {used}, capacity: {capacity}"
                ),
            },
            Objection::Against { rule, why } => {
                Refusal { reason: (*rule).to_owned(), message: format!("Predicate {rule} failed: {why}") }
            }
        }
    }
}

#[cfg(test)]
mod tests;
