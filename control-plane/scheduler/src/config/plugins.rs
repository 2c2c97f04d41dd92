//! Which plugins a profile has at which extension point, and how much their scores count.

use serde::Deserialize;

use super::{Refused, refuse};
use crate::plugins::{ALL, Plugin};
use crate::profile::Profile;

/// Upstream's plugins that are a part of the loop or the queue here, and so always there.
const BUILT_IN: [&str; 3] = ["SchedulingGates", "PrioritySort", "DefaultBinder"];
const PREEMPTION: &str = "DefaultPreemption";
/// Upstream's plugins that are not here: switching them off changes nothing.
const ABSENT: [&str; 5] = ["VolumeRestrictions", "NodeVolumeLimits", "VolumeBinding", "VolumeZone", "DynamicResources"];

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Points {
    #[serde(default)]
    multi_point: Set,
    #[serde(default)]
    pre_filter: Set,
    #[serde(default)]
    filter: Set,
    #[serde(default)]
    post_filter: Set,
    #[serde(default)]
    pre_score: Set,
    #[serde(default)]
    score: Set,
    #[serde(default)]
    pre_enqueue: Set,
    #[serde(default)]
    queue_sort: Set,
    #[serde(default)]
    reserve: Set,
    #[serde(default)]
    permit: Set,
    #[serde(default)]
    pre_bind: Set,
    #[serde(default)]
    bind: Set,
    #[serde(default)]
    post_bind: Set,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
struct Set {
    #[serde(default)]
    enabled: Vec<Enabled>,
    #[serde(default)]
    disabled: Vec<Disabled>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Enabled {
    name: String,
    #[serde(default)]
    weight: i64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Disabled {
    name: String,
}

impl Set {
    fn disables(&self, name: &str) -> bool {
        self.disabled.iter().any(|disabled| disabled.name == "*" || disabled.name == name)
    }

    fn enables(&self, name: &str) -> Option<&Enabled> {
        self.enabled.iter().find(|enabled| enabled.name == name)
    }

    fn check(&self, at: &str) -> Result<(), Refused> {
        let known = |name: &str| name == PREEMPTION || ALL.iter().any(|plugin| plugin.name() == name);
        for enabled in &self.enabled {
            if !known(&enabled.name) && !BUILT_IN.contains(&enabled.name.as_str()) {
                return refuse(&format!("{at}.enabled"), format_args!("there is no plugin {:?}", enabled.name));
            }
            if !(0..=100).contains(&enabled.weight) {
                return refuse(
                    &format!("{at}.enabled"),
                    format_args!("the weight of {} must be 0 to 100", enabled.name),
                );
            }
        }
        for Disabled { name } in &self.disabled {
            let at = format!("{at}.disabled");
            if BUILT_IN.contains(&name.as_str()) {
                return refuse(&at, format_args!("{name} cannot be switched off"));
            }
            if name != "*" && !known(name) && !ABSENT.contains(&name.as_str()) {
                return refuse(&at, format_args!("there is no plugin {name:?}"));
            }
        }
        Ok(())
    }
}

impl Points {
    pub(super) fn apply(&self, at: &str, profile: &mut Profile) -> Result<(), Refused> {
        let open = [
            ("multiPoint", &self.multi_point),
            ("preFilter", &self.pre_filter),
            ("filter", &self.filter),
            ("postFilter", &self.post_filter),
            ("preScore", &self.pre_score),
            ("score", &self.score),
        ];
        open.iter().try_for_each(|(name, set)| set.check(&format!("{at}.{name}")))?;
        let fixed = [
            ("preEnqueue", &self.pre_enqueue),
            ("queueSort", &self.queue_sort),
            ("reserve", &self.reserve),
            ("permit", &self.permit),
            ("preBind", &self.pre_bind),
            ("bind", &self.bind),
            ("postBind", &self.post_bind),
        ];
        if let Some((name, _)) = fixed.iter().find(|(_, set)| !set.enabled.is_empty() || !set.disabled.is_empty()) {
            return refuse(&format!("{at}.{name}"), "cannot be changed");
        }
        let filters = ALL.iter().copied().filter(|plugin| plugin.filters());
        profile.filters = filters.filter(|plugin| self.has(plugin.name(), &[&self.pre_filter, &self.filter])).collect();
        profile.scores = ALL.iter().filter_map(|plugin| Some((*plugin, self.weight(*plugin)?))).collect();
        profile.preempts = self.has(PREEMPTION, &[&self.post_filter]);
        Ok(())
    }

    /// Whether a plugin is on at a point: what is said about the point goes before what is said about all.
    fn has(&self, name: &str, points: &[&Set]) -> bool {
        if points.iter().any(|set| set.enables(name).is_some()) {
            return true;
        }
        let everywhere = self.multi_point.enables(name).is_some() || !self.multi_point.disables(name);
        everywhere && !points.iter().any(|set| set.disables(name))
    }

    fn weight(&self, plugin: &dyn Plugin) -> Option<i64> {
        let default = plugin.weight()?;
        let name = plugin.name();
        if !self.has(name, &[&self.pre_score, &self.score]) {
            return None;
        }
        let said = self.score.enables(name).or(self.multi_point.enables(name));
        // As upstream: who is named without a weight counts once.
        Some(said.map_or(default, |enabled| enabled.weight.max(1)))
    }
}
