//! A pod with scheduling gates is not tried before all of them are gone.

use super::{Plugin, Point};
use crate::pod::PodInfo;
use crate::queue::Happening;

#[derive(Debug)]
pub(super) struct SchedulingGates;

impl Plugin for SchedulingGates {
    fn name(&self) -> &'static str {
        "SchedulingGates"
    }

    fn points(&self) -> &'static [Point] {
        &[Point::PreEnqueue]
    }

    /// Only the pod itself can change.
    fn helped_by(&self) -> &'static [Happening] {
        &[]
    }

    fn pre_enqueue(&self, pod: &PodInfo) -> Result<(), String> {
        let gates = pod.pod.spec.iter().flat_map(|spec| spec.scheduling_gates.iter().flatten());
        let names: Vec<&str> = gates.map(|gate| gate.name.as_str()).collect();
        match names[..] {
            [] => Ok(()),
            _ => Err(format!("waiting for scheduling gates: {names:?}")),
        }
    }
}
