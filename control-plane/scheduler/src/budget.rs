//! PodDisruptionBudgets: whose end would break one.

use std::collections::HashMap;
use std::sync::Arc;

use client::Key;
use k8s_openapi::api::policy::v1::PodDisruptionBudget;

use crate::pod::PodInfo;
use crate::selectors::Selector;

#[derive(Debug, Default)]
pub struct Budgets(HashMap<Key, Budget>);

#[derive(Debug)]
struct Budget {
    selector: Selector,
    allowed: i32,
    /// Pods whose end is counted in `allowed` already.
    counted: Vec<String>,
}

impl Budgets {
    pub fn set(&mut self, key: &Key, budget: Option<&PodDisruptionBudget>) {
        let Some(budget) = budget else { return drop(self.0.remove(key)) };
        let status = budget.status.as_ref();
        let selector = Selector::new(budget.spec.as_ref().and_then(|spec| spec.selector.as_ref()));
        let counted = status.and_then(|status| status.disrupted_pods.as_ref());
        let counted = counted.into_iter().flat_map(|pods| pods.keys().cloned()).collect();
        let allowed = status.and_then(|status| status.disruptions_allowed).unwrap_or(0);
        self.0.insert(key.clone(), Budget { selector, allowed, counted });
    }

    /// Of pods that would end one after another, whether the end of each would break a budget; none where there are no budgets.
    pub fn broken_by(&self, pods: &[&Arc<PodInfo>]) -> Vec<bool> {
        if self.0.is_empty() {
            return vec![];
        }
        let mut left: HashMap<&Key, i32> = HashMap::new();
        pods.iter().map(|pod| self.breaks(pod, &mut left)).collect()
    }

    fn breaks<'a>(&'a self, pod: &PodInfo, left: &mut HashMap<&'a Key, i32>) -> bool {
        let Some(labels) = pod.labels().filter(|labels| !labels.is_empty()) else { return false };
        let name = pod.pod.metadata.name.as_deref().unwrap_or_default();
        let concerns = |key: &Key, budget: &Budget| {
            key.namespace == pod.namespace()
                && !budget.selector.is_empty()
                && budget.selector.matches(Some(labels))
                && !budget.counted.iter().any(|counted| counted == name)
        };
        let mut breaks = false;
        for (key, budget) in self.0.iter().filter(|(key, budget)| concerns(key, budget)) {
            let left = left.entry(key).or_insert(budget.allowed);
            *left -= 1;
            breaks |= *left < 0;
        }
        breaks
    }
}
