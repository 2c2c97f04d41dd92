//! Label selectors of pods and of nodes.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{Node, NodeSelector, NodeSelectorRequirement, NodeSelectorTerm};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;

pub type Labels = BTreeMap<String, String>;

/// A label selector ready to be asked: equal ones choose the same.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Selector {
    /// None chooses nothing; no requirements choose everything.
    requirements: Option<Vec<Requirement>>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
struct Requirement {
    key: String,
    operator: Operator,
    values: Vec<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
enum Operator {
    In,
    NotIn,
    Exists,
    DoesNotExist,
    /// An operator nobody knows: the API lets none through.
    Never,
}

impl Selector {
    pub const NOTHING: Selector = Selector { requirements: None };

    pub fn new(selector: Option<&LabelSelector>) -> Selector {
        let Some(selector) = selector else { return Selector::NOTHING };
        let mut chosen = Selector::equal(selector.match_labels.iter().flatten());
        for r in selector.match_expressions.iter().flatten() {
            let operator = match r.operator.as_str() {
                "In" => Operator::In,
                "NotIn" => Operator::NotIn,
                "Exists" => Operator::Exists,
                "DoesNotExist" => Operator::DoesNotExist,
                _ => Operator::Never,
            };
            chosen.require(&r.key, operator, r.values.clone().unwrap_or_default());
        }
        chosen
    }

    /// Chooses what has all these labels.
    pub fn equal<'a>(labels: impl Iterator<Item = (&'a String, &'a String)>) -> Selector {
        let mut chosen = Selector { requirements: Some(vec![]) };
        labels.for_each(|(key, value)| chosen.require(key, Operator::In, vec![value.clone()]));
        chosen
    }

    /// Chooses less: only what has (or has not) the same values of the keys as these labels.
    pub fn like(&mut self, labels: Option<&Labels>, keys: Option<&Vec<String>>, unlike: bool) {
        let operator = if unlike { Operator::NotIn } else { Operator::In };
        for key in keys.into_iter().flatten() {
            if let Some(value) = labels.and_then(|labels| labels.get(key)) {
                self.require(key, operator, vec![value.clone()]);
            }
        }
    }

    /// Chooses less: only what the other one chooses too.
    pub fn and(&mut self, other: &Selector) {
        match &other.requirements {
            None => self.requirements = None,
            Some(more) => more.iter().for_each(|r| self.require(&r.key, r.operator, r.values.clone())),
        }
    }

    pub fn is_empty(&self) -> bool {
        self.requirements.as_ref().is_some_and(Vec::is_empty)
    }

    /// A label without which nothing is chosen, if the selector has one: what an index goes by.
    pub fn anchor(&self) -> Option<(&str, &str)> {
        let mut one = self.requirements.iter().flatten().filter(|r| r.operator == Operator::In && r.values.len() == 1);
        one.next().map(|r| (r.key.as_str(), r.values[0].as_str()))
    }

    fn require(&mut self, key: &str, operator: Operator, mut values: Vec<String>) {
        let Some(requirements) = &mut self.requirements else { return };
        values.sort_unstable();
        let more = Requirement { key: key.to_owned(), operator, values };
        if let Err(at) = requirements.binary_search(&more) {
            requirements.insert(at, more);
        }
    }

    pub fn matches(&self, labels: Option<&Labels>) -> bool {
        let get = |key: &str| labels.and_then(|labels| labels.get(key));
        self.requirements.as_ref().is_some_and(|all| all.iter().all(|r| r.meets(get(&r.key))))
    }
}

impl Requirement {
    fn meets(&self, value: Option<&String>) -> bool {
        match self.operator {
            Operator::In => value.is_some_and(|value| self.values.contains(value)),
            Operator::NotIn => value.is_none_or(|value| !self.values.contains(value)),
            Operator::Exists => value.is_some(),
            Operator::DoesNotExist => value.is_none(),
            Operator::Never => false,
        }
    }
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
