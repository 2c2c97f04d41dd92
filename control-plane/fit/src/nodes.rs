//! Nodes chosen by labels and by name: node selectors and node affinity.

use k8s_openapi::api::core::v1::{Node, NodeAffinity, NodeSelector, NodeSelectorRequirement, NodeSelectorTerm, Pod};

/// Why a node does not do, in upstream's words.
pub const UNMATCHED: &str = "node(s) didn't match Pod's node affinity/selector";

pub fn affinity(pod: &Pod) -> Option<&NodeAffinity> {
    pod.spec.as_ref()?.affinity.as_ref()?.node_affinity.as_ref()
}

pub fn required(pod: &Pod) -> Option<&NodeSelector> {
    affinity(pod)?.required_during_scheduling_ignored_during_execution.as_ref()
}

/// Whether the pod asks anything of nodes.
pub fn asks(pod: &Pod) -> bool {
    let selects = pod.spec.as_ref().and_then(|spec| spec.node_selector.as_ref()).is_some_and(|s| !s.is_empty());
    selects || required(pod).is_some()
}

/// Whether the node is what the pod's selector and required affinity ask for.
pub fn matches(pod: &Pod, node: &Node) -> bool {
    let label = |key: &str| node.metadata.labels.as_ref().and_then(|labels| labels.get(key));
    let selector = pod.spec.iter().flat_map(|spec| spec.node_selector.iter().flatten());
    let selected = selector.into_iter().all(|(key, value)| label(key) == Some(value));
    selected && required(pod).is_none_or(|required| chooses(required, node))
}

/// Whether one of the selector's terms chooses the node. A term without requirements chooses nothing.
pub fn chooses(selector: &NodeSelector, node: &Node) -> bool {
    selector.node_selector_terms.iter().any(|term| term_chooses(term, node))
}

pub fn term_chooses(term: &NodeSelectorTerm, node: &Node) -> bool {
    let (labels, fields) = (term.match_expressions.as_deref(), term.match_fields.as_deref());
    let (labels, fields) = (labels.unwrap_or_default(), fields.unwrap_or_default());
    if labels.is_empty() && fields.is_empty() {
        return false;
    }
    let label = |r: &NodeSelectorRequirement| node.metadata.labels.as_ref()?.get(&r.key).map(String::as_str);
    let field = |r: &NodeSelectorRequirement| node.metadata.name.as_deref().filter(|_| r.key == "metadata.name");
    labels.iter().all(|r| meets(label(r), &r.operator, &r.values))
        && fields.iter().all(|r| meets(field(r), &r.operator, &r.values))
}

fn meets(value: Option<&str>, operator: &str, values: &Option<Vec<String>>) -> bool {
    let values = values.as_deref().unwrap_or_default();
    let listed = || value.is_some_and(|value| values.iter().any(|known| known == value));
    let numbers = || Some((value?.parse::<i64>().ok()?, values.first()?.parse::<i64>().ok()?));
    match operator {
        "In" => listed(),
        "NotIn" => !listed(),
        "Exists" => value.is_some(),
        "DoesNotExist" => value.is_none(),
        "Gt" => numbers().is_some_and(|(has, than)| has > than),
        "Lt" => numbers().is_some_and(|(has, than)| has < than),
        _ => false,
    }
}
