//! What is behind a gate that is off: fields of pods that are dropped as if nobody had sent them.

use super::fill::{each, sub};
use crate::value::Map;

/// A pod's spec, wherever it stands, without those fields: groups of pods that are scheduled together, trust bundles
/// and certificates in projected volumes, and the signal that stops a container.
pub(super) fn pod_spec(spec: &mut Map) {
    spec.remove("schedulingGroup");
    each(spec, "volumes", |volume| {
        if let Some(projected) = sub(volume, "projected") {
            each(projected, "sources", |source| {
                source.remove("clusterTrustBundle");
                source.remove("podCertificate");
            });
        }
    });
    for containers in ["initContainers", "containers", "ephemeralContainers"] {
        each(spec, containers, |container| {
            let Some(lifecycle) = sub(container, "lifecycle") else { return };
            if lifecycle.remove("stopSignal").is_some() && lifecycle.is_empty() {
                container.remove("lifecycle");
            }
        });
    }
}
