//! Pods of lower priority end where that makes room.

use super::{Plugin, Point};
use crate::preempt::{self, Found};
use crate::refusals::Refusals;
use crate::schedule::Attempt;

#[derive(Debug)]
pub(super) struct DefaultPreemption;

impl Plugin for DefaultPreemption {
    fn name(&self) -> &'static str {
        preempt::NAME
    }

    fn points(&self) -> &'static [Point] {
        &[Point::PostFilter]
    }

    fn post_filter(&self, attempt: &mut Attempt, refusals: &Refusals, seed: u64) -> Found {
        preempt::find(attempt, refusals, seed)
    }
}
