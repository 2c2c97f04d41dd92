//! Taints keep pods away that do not tolerate them.

use k8s_openapi::api::core::v1::{Pod, Taint, Toleration};

use super::{Judge, Plugin, Reject, to_largest};
use crate::queue::Happening;
use crate::snapshot::{NodeInfo, Snapshot};

pub(super) struct TaintToleration;
struct Taints<'a>(&'a Pod);

impl Plugin for TaintToleration {
    fn name(&self) -> &'static str {
        "TaintToleration"
    }

    fn helped_by(&self) -> &'static [Happening] {
        &[Happening::NodeAdded, Happening::NodeOpened]
    }

    fn weight(&self) -> i64 {
        3
    }

    fn begin<'a>(&self, _: &'a Snapshot, pod: &'a Pod) -> Option<Box<dyn Judge + 'a>> {
        Some(Box::new(Taints(pod)))
    }
}

impl Judge for Taints<'_> {
    fn filter(&self, node: &NodeInfo) -> Result<(), Reject> {
        let hard = |taint: &&Taint| matches!(taint.effect.as_str(), "NoSchedule" | "NoExecute");
        match taints(node).filter(hard).find(|taint| !tolerates(self.0, taint)) {
            Some(taint) => {
                let value = taint.value.as_deref().unwrap_or_default();
                Reject::firmly(format!("node(s) had untolerated taint {{{}: {value}}}", taint.key))
            }
            None => Ok(()),
        }
    }

    fn score(&self, node: &NodeInfo) -> Option<i64> {
        let unwelcome = taints(node).filter(|t| t.effect == "PreferNoSchedule" && !tolerates(self.0, t));
        Some(unwelcome.count() as i64)
    }

    fn normalize(&self, scores: &mut [i64]) {
        to_largest(scores, true);
    }
}

fn taints(node: &NodeInfo) -> impl Iterator<Item = &Taint> {
    let spec = node.node.as_ref().and_then(|node| node.spec.as_ref());
    spec.into_iter().flat_map(|spec| spec.taints.iter().flatten())
}

/// Whether one of the pod's tolerations is for this taint.
pub fn tolerates(pod: &Pod, taint: &Taint) -> bool {
    pod.spec.iter().flat_map(|spec| spec.tolerations.iter().flatten()).any(|toleration| is_for(toleration, taint))
}

fn is_for(toleration: &Toleration, taint: &Taint) -> bool {
    let text = |text: &Option<String>| text.clone().unwrap_or_default();
    let (effect, key) = (text(&toleration.effect), text(&toleration.key));
    let effect = effect.is_empty() || effect == taint.effect;
    let key_fits = key.is_empty() || key == taint.key;
    let (asked, has) = (text(&toleration.value), text(&taint.value));
    let numbers = || Some((has.parse::<i64>().ok()?, asked.parse::<i64>().ok()?));
    let value = match toleration.operator.as_deref().unwrap_or_default() {
        "Exists" => true,
        "" | "Equal" => !key.is_empty() && asked == has,
        "Lt" => numbers().is_some_and(|(has, asked)| has < asked),
        "Gt" => numbers().is_some_and(|(has, asked)| has > asked),
        _ => false,
    };
    effect && key_fits && value
}
