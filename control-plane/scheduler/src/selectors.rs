//! Label selectors of pods.

use std::collections::BTreeMap;

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
