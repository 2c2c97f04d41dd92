//! Taints, and the tolerations of pods.

use k8s_openapi::api::core::v1::{Pod, Taint, Toleration};

/// Why a node does not do, in upstream's words.
pub const UNTOLERATED: &str = "node(s) had untolerated taint(s)";

/// Whether one of the pod's tolerations is for this taint.
pub fn tolerates(pod: &Pod, taint: &Taint) -> bool {
    pod.spec.iter().flat_map(|spec| spec.tolerations.iter().flatten()).any(|toleration| is_for(toleration, taint))
}

fn is_for(toleration: &Toleration, taint: &Taint) -> bool {
    fn text(text: &Option<String>) -> &str {
        text.as_deref().unwrap_or_default()
    }
    let (effect, key) = (text(&toleration.effect), text(&toleration.key));
    let effect = effect.is_empty() || effect == taint.effect;
    let key_fits = key.is_empty() || key == taint.key;
    let (asked, has) = (text(&toleration.value), text(&taint.value));
    let numbers = || Some((has.parse::<i64>().ok()?, asked.parse::<i64>().ok()?));
    let value = || match toleration.operator.as_deref().unwrap_or_default() {
        "Exists" => true,
        "" | "Equal" => !key.is_empty() && asked == has,
        "Lt" => numbers().is_some_and(|(has, asked)| has < asked),
        "Gt" => numbers().is_some_and(|(has, asked)| has > asked),
        _ => false,
    };
    effect && key_fits && value()
}
