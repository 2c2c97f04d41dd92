//! DefaultTolerationSeconds: a pod stays five minutes on a node that is gone, unless it says otherwise.

use super::{Admission, Operation, fields};
use crate::lookup;
use api::{Object, Value};
use serde_json::json;

const TAINTS: [&str; 2] = ["node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable"];
const SECONDS: i64 = 300;

pub(super) fn mutate(admission: &mut Admission<'_>) {
    if admission.writes(lookup::PODS, "", &[Operation::Create, Operation::Update])
        && let Some(pod) = admission.object.as_mut()
    {
        tolerate(pod);
    }
}

pub(super) fn tolerate(pod: &mut Object) {
    let spec = pod.0.entry("spec");
    for taint in TAINTS {
        if !fields::list(spec, &["tolerations"]).iter().any(|t| covers(t, taint)) {
            fields::list_mut(spec, "tolerations").push(fields::value(&json!({
                "key": taint, "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": SECONDS,
            })));
        }
    }
}

fn covers(toleration: &Value, taint: &str) -> bool {
    let (key, effect) = (fields::text(toleration, &["key"]), fields::text(toleration, &["effect"]));
    (key.is_empty() || key == taint) && (effect.is_empty() || effect == "NoExecute")
}
