//! How many replicas each ReplicaSet of a deployment has next. Numbers in, numbers out.

use k8s_openapi::api::apps::v1::{Deployment, ReplicaSet, RollingUpdateDeployment};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

/// What a deployment asks of its rollout.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bounds {
    pub replicas: i32,
    pub surge: i32,
    pub unavailable: i32,
    pub recreate: bool,
}

impl Bounds {
    pub(crate) fn of(deployment: &Deployment) -> Bounds {
        let spec = deployment.spec.as_ref();
        let replicas = spec.and_then(|spec| spec.replicas).unwrap_or(1);
        let strategy = spec.and_then(|spec| spec.strategy.as_ref());
        let recreate = strategy.and_then(|strategy| strategy.type_.as_deref()) == Some("Recreate");
        if recreate {
            return Bounds { replicas, surge: 0, unavailable: 0, recreate };
        }
        let rolling = strategy.and_then(|strategy| strategy.rolling_update.clone()).unwrap_or_default();
        let (surge, unavailable) = resolve(&rolling, replicas);
        Bounds { replicas, surge, unavailable, recreate }
    }

    /// The most replicas there may be at a time.
    pub(crate) fn most(&self) -> i32 {
        self.replicas.saturating_add(self.surge)
    }

    /// The fewest replicas that must be available.
    pub(crate) fn fewest(&self) -> i32 {
        self.replicas - self.unavailable.min(self.replicas)
    }
}

/// Percentages of surge round up, of unavailability down; both zero would never move, so one may be unavailable.
fn resolve(rolling: &RollingUpdateDeployment, replicas: i32) -> (i32, i32) {
    let quarter = IntOrString::String("25%".to_owned());
    let surge = scaled(rolling.max_surge.as_ref().unwrap_or(&quarter), replicas, true);
    let unavailable = scaled(rolling.max_unavailable.as_ref().unwrap_or(&quarter), replicas, false);
    if surge == 0 && unavailable == 0 { (0, 1) } else { (surge, unavailable.min(replicas)) }
}

/// A number, or a percentage of `total`.
pub(crate) fn scaled(value: &IntOrString, total: i32, round_up: bool) -> i32 {
    match value {
        IntOrString::Int(n) => (*n).max(0),
        IntOrString::String(text) => {
            let percent: i64 = text.trim_end_matches('%').parse().unwrap_or(0).max(0);
            let parts = percent.saturating_mul(i64::from(total.max(0)));
            let whole = if round_up { (parts + 99) / 100 } else { parts / 100 };
            i32::try_from(whole).unwrap_or(i32::MAX)
        }
    }
}

/// The replicas of a set, as asked and as they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Size {
    pub asked: i32,
    pub there: i32,
    pub available: i32,
}

impl Size {
    pub(crate) fn of(set: &ReplicaSet) -> Size {
        let status = set.status.as_ref();
        Size {
            asked: set.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or(1),
            there: status.map_or(0, |status| status.replicas),
            available: status.and_then(|status| status.available_replicas).unwrap_or(0),
        }
    }
}

/// What the new set grows to: as far as the surge allows beside the old ones, and never beyond what is asked.
pub(crate) fn grow(bounds: Bounds, new: Size, old: &[Size]) -> i32 {
    if bounds.recreate || new.asked >= bounds.replicas {
        return bounds.replicas;
    }
    let all = old.iter().map(|size| size.asked).sum::<i32>() + new.asked;
    let room = (bounds.most() - all).max(0);
    new.asked + room.min(bounds.replicas - new.asked)
}

/// What the old sets (oldest first) shrink to: unhealthy replicas go first, healthy ones only as new ones are available.
pub(crate) fn shrink(bounds: Bounds, new: Size, old: &[Size]) -> Vec<i32> {
    let mut next: Vec<i32> = old.iter().map(|size| size.asked).collect();
    let all = next.iter().sum::<i32>() + new.asked;
    let new_unavailable = (new.asked - new.available).max(0);
    let mut most = all - bounds.fewest() - new_unavailable;
    if most <= 0 {
        return next;
    }
    for (asked, size) in next.iter_mut().zip(old) {
        let unhealthy = (*asked - size.available).clamp(0, most.max(0));
        *asked -= unhealthy;
        most -= unhealthy;
    }
    let available = old.iter().map(|size| size.available).sum::<i32>() + new.available;
    let mut spare = (available - bounds.fewest()).max(0);
    for asked in &mut next {
        let healthy = (*asked).clamp(0, spare);
        *asked -= healthy;
        spare -= healthy;
    }
    next
}

/// Spreads a change of scale over the sets of a rollout in flight, in proportion to what each had at the scale before.
/// `sets` are (asked now, most that deployment and surge allowed when it was asked), largest first.
pub(crate) fn spread(bounds: Bounds, sets: &[(i32, i32)]) -> Vec<i32> {
    let total: i32 = sets.iter().map(|(asked, _)| asked).sum();
    let to_add = allowed(bounds) - total;
    let mut added = 0;
    let mut next: Vec<i32> = Vec::with_capacity(sets.len());
    for (asked, most_before) in sets {
        let left = to_add - added;
        let share = if to_add == 0 { 0 } else { share(*asked, *most_before, bounds) };
        let share = if to_add > 0 { share.min(left) } else { share.max(left) };
        added += share;
        next.push((asked + share).max(0));
    }
    // What rounding left over goes to the largest.
    if let Some(first) = next.first_mut() {
        *first = (*first + to_add - added).max(0);
    }
    next
}

/// How many replicas the sets may have together where they are scaled in proportion.
pub(crate) fn allowed(bounds: Bounds) -> i32 {
    if bounds.replicas > 0 { bounds.most() } else { 0 }
}

fn share(asked: i32, most_before: i32, bounds: Bounds) -> i32 {
    if bounds.replicas == 0 {
        return -asked;
    }
    if most_before <= 0 {
        return 0;
    }
    let exact = f64::from(asked) * f64::from(bounds.most()) / f64::from(most_before);
    exact.round() as i32 - asked
}

#[cfg(test)]
mod tests {
    use super::*;

    fn size(asked: i32, available: i32) -> Size {
        Size { asked, there: asked, available }
    }

    /// Whatever becomes available in whatever order: never above the most, never below the fewest, and it ends.
    #[test]
    fn every_rollout_keeps_its_bounds_and_ends() {
        for replicas in 0..8 {
            for (surge, unavailable) in [(0, 1), (1, 0), (1, 1), (3, 0), (2, 3), (0, 8)] {
                let bounds = Bounds { replicas, surge, unavailable: unavailable.min(replicas), recreate: false };
                for sick in 0..=replicas {
                    roll(bounds, sick);
                }
            }
        }
    }

    fn roll(bounds: Bounds, sick: i32) {
        let mut new = size(0, 0);
        let mut old = [size(bounds.replicas, bounds.replicas - sick)];
        let start = old[0].available;
        for _ in 0..100 {
            new.asked = grow(bounds, new, &old);
            assert!(new.asked + old[0].asked <= bounds.most().max(bounds.replicas), "{bounds:?} {new:?} {old:?}");
            old[0].asked = shrink(bounds, new, &old)[0];
            old[0].available = old[0].available.min(old[0].asked);
            let available = new.available + old[0].available;
            assert!(available >= bounds.fewest().min(start), "{bounds:?} {new:?} {old:?}");
            if new.available < new.asked {
                new.available += 1;
            }
            if new.available == bounds.replicas && old[0].asked == 0 {
                return;
            }
        }
        // With nothing allowed to be unavailable and no room for more, only a sick replica would give way.
        assert!(bounds.surge == 0 && bounds.unavailable == 0, "{bounds:?} never ended: {new:?} {old:?}");
    }

    #[test]
    fn percentages_and_shares() {
        let percent = |text: &str, total, up| scaled(&IntOrString::String(text.into()), total, up);
        assert_eq!((percent("25%", 10, true), percent("25%", 10, false)), (3, 2));
        assert_eq!(scaled(&IntOrString::Int(4), 2, false), 4);
        let bounds = Bounds { replicas: 20, surge: 5, unavailable: 2, recreate: false };
        assert_eq!(spread(bounds, &[(8, 13), (5, 13)]), [15, 10]);
        let bounds = Bounds { replicas: 5, surge: 2, unavailable: 1, recreate: false };
        assert_eq!(spread(bounds, &[(8, 13), (5, 13)]), [4, 3]);
        let none = Bounds { replicas: 0, surge: 1, unavailable: 0, recreate: false };
        assert_eq!(spread(none, &[(8, 13), (5, 13)]), [0, 0]);
    }
}
