//! TaintNodesByCondition: a new node takes no pods before it is known to be ready.

use super::{Admission, Operation, fields};
use crate::lookup;
use serde_json::json;

const NOT_READY: &str = "node.kubernetes.io/not-ready";

pub(super) fn mutate(admission: &mut Admission<'_>) {
    if !admission.writes(lookup::NODES, "", &[Operation::Create]) {
        return;
    }
    let Some(node) = admission.object.as_mut() else { return };
    let spec = node.0.entry("spec");
    let there = fields::list(spec, &["taints"])
        .iter()
        .any(|t| fields::text(t, &["key"]) == NOT_READY && fields::text(t, &["effect"]) == "NoSchedule");
    if !there {
        fields::list_mut(spec, "taints").push(fields::value(&json!({"key": NOT_READY, "effect": "NoSchedule"})));
    }
}
