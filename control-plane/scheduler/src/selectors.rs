//! Label selectors of pods and of nodes.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{Node, NodeSelector, NodeSelectorRequirement, NodeSelectorTerm};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;

type Labels = BTreeMap<String, String>;

/// Whether a label selector chooses these labels. None chooses nothing, an empty one everything.
pub fn matches(selector: Option<&LabelSelector>, labels: Option<&Labels>) -> bool {
    let Some(selector) = selector else { return false };
    let get = |key: &str| labels.and_then(|labels| labels.get(key)).map(String::as_str);
    let exact = selector.match_labels.iter().flatten().all(|(key, value)| get(key) == Some(value));
    let meets = |key: &str, operator: &str, values: &Option<Vec<String>>| meets(get(key), operator, values);
    exact && selector.match_expressions.iter().flatten().all(|r| meets(&r.key, &r.operator, &r.values))
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
