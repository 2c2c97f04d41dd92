//! Which plugins a profile has at which extension point, in which order, and how much their scores count.
//!
//! As upstream: `multiPoint` changes the default plugins; at each point come those named there that are on everywhere, then those
//! that are on everywhere, then the others named there.

use serde::Deserialize;

use super::{Refused, refuse};
use crate::framework::Point;
use crate::plugins::{ALL, Registered};
use crate::profile::Profile;

/// Upstream's plugins that are not here: switching them off changes nothing.
const ABSENT: [&str; 5] = ["VolumeRestrictions", "NodeVolumeLimits", "VolumeBinding", "VolumeZone", "DynamicResources"];

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(super) struct Points {
    multi_point: Set,
    pre_enqueue: Set,
    queue_sort: Set,
    pre_filter: Set,
    filter: Set,
    post_filter: Set,
    pre_score: Set,
    score: Set,
    reserve: Set,
    permit: Set,
    pre_bind: Set,
    bind: Set,
    post_bind: Set,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
struct Set {
    enabled: Vec<Enabled>,
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

/// A plugin that is on, with the weight that is said; none leaves it to the plugin.
type On = (Registered, Option<i64>);

/// What a configuration is read with.
pub(super) struct Reader<'a> {
    /// Where in the configuration.
    pub at: &'a str,
    /// Plugins besides the default ones.
    pub own: &'a [Registered],
}

impl Set {
    fn disables(&self, name: &str) -> bool {
        self.disabled.iter().any(|disabled| disabled.name == "*" || disabled.name == name)
    }

    fn names(&self, name: &str) -> bool {
        self.enabled.iter().any(|enabled| enabled.name == name)
    }
}

impl Enabled {
    /// As upstream: who is named without a weight counts once.
    fn weight(&self) -> Option<i64> {
        Some(self.weight.max(1))
    }
}

impl Reader<'_> {
    fn known(&self, name: &str) -> Option<Registered> {
        ALL.iter().chain(self.own).find(|plugin| plugin.name() == name).copied()
    }

    fn find(&self, at: &str, enabled: &Enabled) -> Result<Registered, Refused> {
        let at = format!("{}.{at}.enabled", self.at);
        if !(0..=100).contains(&enabled.weight) {
            return refuse(&at, format_args!("the weight of {} must be 0 to 100", enabled.name));
        }
        match self.known(&enabled.name) {
            Some(plugin) => Ok(plugin),
            None => refuse(&at, format_args!("there is no plugin {:?}", enabled.name)),
        }
    }

    fn check_disabled(&self, at: &str, set: &Set) -> Result<(), Refused> {
        let unknown =
            |name: &&str| *name != "*" && self.known(name).is_none() && !ABSENT.iter().any(|absent| absent == name);
        match set.disabled.iter().map(|disabled| disabled.name.as_str()).find(unknown) {
            Some(name) => refuse(&format!("{}.{at}.disabled", self.at), format_args!("there is no plugin {name:?}")),
            None => Ok(()),
        }
    }

    fn twice<T>(&self, at: &str, plugin: Registered) -> Result<T, Refused> {
        refuse(&format!("{}.{at}.enabled", self.at), format_args!("plugin {:?} is named twice", plugin.name()))
    }

    /// The default plugins as `multiPoint` changes them.
    fn everywhere(&self, multi: &Set) -> Result<Vec<On>, Refused> {
        self.check_disabled("multiPoint", multi)?;
        let mut on: Vec<On> = ALL.iter().filter(|p| !multi.disables(p.name())).map(|plugin| (*plugin, None)).collect();
        let mut seen: Vec<&str> = vec![];
        for enabled in &multi.enabled {
            let plugin = self.find("multiPoint", enabled)?;
            if seen.contains(&plugin.name()) {
                return self.twice("multiPoint", plugin);
            }
            seen.push(plugin.name());
            match on.iter_mut().find(|(known, _)| known.name() == plugin.name()) {
                Some((_, weight)) => *weight = enabled.weight(),
                None => on.push((plugin, enabled.weight())),
            }
        }
        Ok(on)
    }

    /// The plugins of one point, in the order in which they are asked.
    fn at_point(&self, everywhere: &[On], point: Point, at: &str, set: &Set) -> Result<Vec<On>, Refused> {
        self.check_disabled(at, set)?;
        let mut named: Vec<On> = vec![];
        for enabled in &set.enabled {
            let plugin = self.find(at, enabled)?;
            if !plugin.is_at(point) {
                let why = format!("plugin {:?} does not extend {}", plugin.name(), point.name());
                return refuse(&format!("{}.{at}.enabled", self.at), why);
            }
            if named.iter().any(|(known, _)| known.name() == plugin.name()) {
                return self.twice(at, plugin);
            }
            named.push((plugin, enabled.weight()));
        }
        let general = |name: &str| everywhere.iter().any(|(plugin, _)| plugin.name() == name);
        let stays =
            |(plugin, _): &&On| plugin.is_at(point) && !set.disables(plugin.name()) && !set.names(plugin.name());
        let all_off = set.disabled.iter().any(|disabled| disabled.name == "*");
        let (first, last): (Vec<On>, Vec<On>) =
            named.into_iter().partition(|(plugin, _)| !all_off && general(plugin.name()));
        Ok(first.into_iter().chain(everywhere.iter().filter(stays).copied()).chain(last).collect())
    }
}

impl Points {
    /// By its name in the configuration.
    fn set(&self, point: Point) -> (&'static str, &Set) {
        match point {
            Point::PreEnqueue => ("preEnqueue", &self.pre_enqueue),
            Point::QueueSort => ("queueSort", &self.queue_sort),
            Point::PreFilter => ("preFilter", &self.pre_filter),
            Point::Filter => ("filter", &self.filter),
            Point::PostFilter => ("postFilter", &self.post_filter),
            Point::PreScore => ("preScore", &self.pre_score),
            Point::Score => ("score", &self.score),
            Point::Reserve | Point::Unreserve => ("reserve", &self.reserve),
            Point::Permit => ("permit", &self.permit),
            Point::PreBind => ("preBind", &self.pre_bind),
            Point::Bind => ("bind", &self.bind),
            Point::PostBind => ("postBind", &self.post_bind),
        }
    }

    pub(super) fn apply(&self, reader: &Reader, profile: &mut Profile) -> Result<(), Refused> {
        let everywhere = reader.everywhere(&self.multi_point)?;
        let weighed = |point: Point| {
            let (at, set) = self.set(point);
            reader.at_point(&everywhere, point, at, set)
        };
        let at = |point: Point| Ok(weighed(point)?.into_iter().map(|(plugin, _)| plugin).collect::<Vec<Registered>>());
        profile.pre_enqueue = at(Point::PreEnqueue)?;
        profile.post_filters = at(Point::PostFilter)?;
        profile.reserve = at(Point::Reserve)?;
        profile.permit = at(Point::Permit)?;
        profile.pre_bind = at(Point::PreBind)?;
        profile.bind = at(Point::Bind)?;
        profile.post_bind = at(Point::PostBind)?;
        let (pre_filter, pre_score) = (at(Point::PreFilter)?, at(Point::PreScore)?);
        // Who looks at the pod first and then at nodes does both or nothing.
        let both = |plugin: &Registered, first: Point, on: &[Registered]| {
            !plugin.is_at(first) || on.iter().any(|known| known.name() == plugin.name())
        };
        profile.filters = at(Point::Filter)?;
        profile.filters.retain(|plugin| both(plugin, Point::PreFilter, &pre_filter));
        let scores = weighed(Point::Score)?.into_iter();
        let scores = scores.filter(|(plugin, _)| both(plugin, Point::PreScore, &pre_score));
        profile.scores = scores.map(|(plugin, weight)| (plugin, weight.unwrap_or(plugin.weight()))).collect();
        let name = &profile.scheduler_name;
        match at(Point::QueueSort)?[..] {
            [only] => profile.queue_sort = only,
            ref several => {
                let why = format!(
                    "only one queue sort plugin required for profile with scheduler name {name:?}, but got {}",
                    several.len()
                );
                return refuse(reader.at, why);
            }
        }
        if profile.bind.is_empty() {
            let why = format!("at least one bind plugin is needed for profile with scheduler name {name:?}");
            return refuse(reader.at, why);
        }
        Ok(())
    }
}
