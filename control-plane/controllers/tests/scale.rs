//! What one change costs does not grow with what else there is.

mod crowd;

use crowd::{Planner, objects};

/// Twenty times the objects, and never this many times the work: a scan of the namespace would be twenty times as much.
const FLAT: u32 = 6;

#[test]
fn a_change_and_its_plan_cost_the_same_in_a_full_namespace() {
    let (few, many) = (objects(50), objects(1000));
    for (small, large) in Planner::all(&few).zip(Planner::all(&many)) {
        // The fastest of many: the machine may do something else meanwhile.
        let (alone, _) = small.plan((0..200).map(|n| n % 50));
        let (crowded, _) = large.plan((0..200).map(|n| n * 5));
        assert!(crowded < alone * FLAT, "{}: {alone:?} among 50, {crowded:?} among 1000", small.name);
        let (alone, crowded) = (small.change, large.change);
        assert!(crowded < alone * FLAT, "a change for {}: {alone:?} among 50, {crowded:?} among 1000", small.name);
    }
}
