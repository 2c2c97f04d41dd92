//! What one change costs does not grow with what else there is.

mod crowd;

use crowd::{Planner, objects};

/// Twenty times the objects, and never this many times the work: a scan of the namespace would be twenty times as much.
const FLAT: u32 = 6;

#[test]
fn a_plan_costs_the_same_in_a_full_namespace() {
    let (few, many) = (objects(50), objects(1000));
    for (small, large) in Planner::both(&few).iter().zip(&Planner::both(&many)) {
        // The fastest of many: the machine may do something else meanwhile.
        let (alone, _) = small.plan((0..200).map(|n| n % 50));
        let (crowded, _) = large.plan((0..200).map(|n| n * 5));
        assert!(crowded < alone * FLAT, "{alone:?} among 50, {crowded:?} among 1000");
    }
}
