//! What APIServices say: in which order clients meet groups and versions, and which are another server's.
//!
//! Nothing is forwarded: a request for what is another server's is told that the server is not available, as upstream tells
//! it while that server cannot be reached.

use crate::ctx::Ctx;
use crate::definitions;
use crate::lookup;
use crate::request::RequestInfo;
use crate::respond;
use crate::server::Body;
use api::kinds::order;
use api::{Kind, Object, Status, Value};
use http::Response;
use parking_lot::{Mutex, RwLock};
use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// Between attempts to read the APIServices after the cache broke.
const RETRY: Duration = Duration::from_millis(100);

/// Its group has no APIService and comes before all others.
const OWN: &str = "apiregistration.k8s.io";

/// What an APIService says of a version.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Place {
    of_group: i64,
    of_version: i64,
    is_remote: bool,
}

/// By group and version. It never changes: another one takes its place.
#[derive(Debug, Default)]
pub(crate) struct Table(BTreeMap<(String, String), Place>);

/// A group with its versions in the order in which clients prefer them.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Group {
    pub name: String,
    pub versions: Vec<Version>,
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Version {
    pub name: String,
    /// Whether it is another server's.
    pub is_remote: bool,
}

#[derive(Default)]
pub(crate) struct Aggregation {
    table: RwLock<Arc<Table>>,
    availability: Mutex<Availability>,
}

/// What the conditions of APIServices say.
#[derive(Default)]
struct Availability {
    now: BTreeMap<String, bool>,
    /// How often a service was no longer available, by its name and the reason.
    lost: BTreeMap<(String, String), u64>,
}

impl Aggregation {
    pub(crate) fn table(&self) -> Arc<Table> {
        self.table.read().clone()
    }

    /// Which services are available now; how often each was no longer, by its name and the reason.
    pub(crate) fn availability(&self) -> (BTreeMap<String, bool>, BTreeMap<(String, String), u64>) {
        let availability = self.availability.lock();
        (availability.now.clone(), availability.lost.clone())
    }

    fn update(&self, services: &[Object]) {
        *self.table.write() = Arc::new(Table::of(services));
        self.availability.lock().update(services);
    }

    /// The answer to a request for what is another server's.
    pub(crate) fn answer(&self, info: &RequestInfo) -> Option<Response<Body>> {
        let mut segments = info.path.strip_prefix("/apis/")?.split('/');
        let (group, version) = (segments.next()?, segments.next()?);
        self.table.read().is_remote(group, version).then(|| respond::text(503, "service unavailable\n"))
    }
}

impl Availability {
    fn update(&mut self, services: &[Object]) {
        let mut now = BTreeMap::new();
        for service in services {
            let conditions = service.at(&["status", "conditions"]).and_then(Value::as_list).into_iter().flatten();
            let text = |of: &Value, field: &str| of.get(field).and_then(Value::as_str).unwrap_or("").to_owned();
            let Some(condition) = conditions.into_iter().find(|c| text(c, "type") == "Available") else { continue };
            let (name, is_available) = (service.name().to_owned(), text(condition, "status") == "True");
            if !is_available && self.now.get(&name).is_none_or(|was| *was) {
                *self.lost.entry((name.clone(), text(condition, "reason"))).or_default() += 1;
            }
            now.insert(name, is_available);
        }
        // What is gone is counted no more: names come and go without end.
        self.lost.retain(|(name, _), _| now.contains_key(name));
        self.now = now;
    }
}

impl Table {
    fn of(services: &[Object]) -> Table {
        let place = |service: &Object| {
            let number = |field| service.i64_at(&["spec", field]).unwrap_or(0);
            let place = Place {
                of_group: number("groupPriorityMinimum"),
                of_version: number("versionPriority"),
                is_remote: service.at(&["spec", "service"]).is_some(),
            };
            let at = ["group", "version"].map(|field| service.str_at(&["spec", field]).to_owned());
            (at.into(), place)
        };
        Table(services.iter().map(place).collect())
    }

    fn is_remote(&self, group: &str, version: &str) -> bool {
        !self.0.is_empty() && self.place(group, version).is_some_and(|place| place.is_remote)
    }

    fn place(&self, group: &str, version: &str) -> Option<Place> {
        self.0.get(&(group.to_owned(), version.to_owned())).copied()
    }

    /// The named groups, of the kinds that are served and of the APIServices, as clients are to meet them.
    pub(crate) fn groups<'a>(&self, kinds: impl Iterator<Item = &'a Arc<Kind>>) -> Vec<Group> {
        let mut all: BTreeMap<&str, BTreeMap<&str, Place>> = BTreeMap::new();
        for kind in kinds {
            let (group, version) = (&*kind.names.group, &*kind.names.version);
            let by_default = || {
                let (of_group, of_version) = order::built_in(group, version).unwrap_or(order::DEFINED);
                Place { of_group: of_group.into(), of_version: of_version.into(), is_remote: false }
            };
            let place = self.place(group, version).unwrap_or_else(by_default);
            all.entry(group).or_default().insert(version, place);
        }
        for ((group, version), place) in &self.0 {
            all.entry(group).or_default().insert(version, *place);
        }
        all.remove("");
        let mut all: Vec<_> = all.into_iter().collect();
        all.sort_by_key(|(name, versions)| {
            let highest = versions.values().map(|place| place.of_group).max().unwrap_or(0);
            (*name != OWN, Reverse(highest), *name)
        });
        let version = |(name, place): (&str, Place)| Version { name: name.to_owned(), is_remote: place.is_remote };
        let group = |(name, versions): (&str, BTreeMap<&str, Place>)| {
            let mut versions: Vec<_> = versions.into_iter().collect();
            versions.sort_by_key(|(name, place)| (Reverse(place.of_version), Reverse(rank(name)), *name));
            Group { name: name.to_owned(), versions: versions.into_iter().map(version).collect() }
        };
        all.into_iter().map(group).collect()
    }
}

/// Kubernetes' order of versions: GA before beta before alpha, higher numbers first; what is no such version comes last.
fn rank(version: &str) -> Option<(u8, u32, u32)> {
    let number = |text: &str| text.parse().ok();
    let rest = version.strip_prefix('v')?;
    for (name, stage) in [("alpha", 0), ("beta", 1)] {
        if let Some((major, minor)) = rest.split_once(name) {
            return Some((stage, number(major)?, number(minor)?));
        }
    }
    Some((2, number(rest)?, 0))
}

/// Follows the APIServices until the server stops.
pub(crate) async fn follow(ctx: Arc<Ctx>) {
    loop {
        let changed = async {
            match read(&ctx).await {
                Ok(mut cursor) => definitions::changed(&mut cursor).await,
                Err(status) => {
                    tracing::warn!(error = status.message, "APIServices cannot be read");
                    tokio::time::sleep(RETRY).await;
                }
            }
        };
        if ctx.stop.run_until_cancelled(changed).await.is_none() {
            return;
        }
    }
}

/// Takes the APIServices as they are now, and returns a cursor behind them.
pub(crate) async fn read(ctx: &Ctx) -> Result<crate::cache::Cursor, Status> {
    let kind = ctx.registry.known(lookup::API_SERVICES)?;
    let (entries, cursor) = ctx.registry.cache(&kind).await?.snapshot(None);
    let services: Vec<Object> = entries.iter().filter_map(|entry| entry.decode(&kind).ok()).collect();
    ctx.aggregation.update(&services);
    Ok(cursor)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn service(version: &str, group: &str, priorities: [i64; 2], is_remote: bool) -> Object {
        let mut object = Object::default();
        object.set(&["spec", "group"], group);
        object.set(&["spec", "version"], version);
        object.set(&["spec", "groupPriorityMinimum"], priorities[0]);
        object.set(&["spec", "versionPriority"], priorities[1]);
        if is_remote {
            object.set(&["spec", "service", "name"], "back");
        }
        object
    }

    fn shown(services: &[Object]) -> Vec<String> {
        let built_in: Vec<Arc<Kind>> = api::kinds::all().iter().map(|kind| Arc::new((*kind).clone())).collect();
        let version = |v: &Version| format!("{}{}", v.name, if v.is_remote { "*" } else { "" });
        let groups = Table::of(services).groups(built_in.iter());
        let shown = |g: &Group| format!("{} {}", g.name, g.versions.iter().map(version).collect::<Vec<_>>().join(" "));
        groups.iter().map(shown).collect()
    }

    #[test]
    fn groups_are_met_in_the_order_of_their_priorities() {
        let without = shown(&[]);
        assert_eq!(
            without[..4],
            ["apiregistration.k8s.io v1", "apps v1", "events.k8s.io v1", "authentication.k8s.io v1"]
        );
        assert_eq!(without.last().map(String::as_str), Some("flowcontrol.apiserver.k8s.io v1"));
        assert!(without.contains(&"autoscaling v2 v1".to_owned()), "{without:?}");
        let with = shown(&[
            service("v1", "", [18000, 1], false),
            service("v1", "apps", [5, 15], false),
            service("v1", "first.example", [20000, 10], true),
            service("v1", "mixed.example", [2000, 20], true),
            service("v2", "mixed.example", [100, 10], false),
            service("v1", "a.example", [1000, 100], false),
            service("v1beta1", "a.example", [1000, 100], false),
            service("v11alpha1", "a.example", [1000, 100], false),
            service("v2", "a.example", [1000, 100], false),
            service("very", "a.example", [1000, 100], false),
            service("v1beta2", "a.example", [1000, 100], false),
        ]);
        assert_eq!(with[..3], ["apiregistration.k8s.io v1", "first.example v1*", "events.k8s.io v1"]);
        let last = ["mixed.example v1* v2", "a.example v2 v1 v1beta2 v1beta1 v11alpha1 very", "apps v1"];
        assert_eq!(with[with.len() - 3..], last);
    }

    #[test]
    fn what_is_anothers_is_told_apart_by_its_path() {
        let aggregation = Aggregation::default();
        aggregation.update(&[service("v1", "a.example", [1, 1], true)]);
        let asked = |path: &str| {
            let info = RequestInfo::parse(&http::Method::GET, path, "");
            aggregation.answer(&info).map(|response| response.status().as_u16())
        };
        for path in ["/apis/a.example/v1", "/apis/a.example/v1/", "/apis/a.example/v1/namespaces/x/things/y"] {
            assert_eq!(asked(path), Some(503), "{path}");
        }
        for path in ["/apis", "/apis/a.example", "/apis/a.example/v2", "/apis/apps/v1", "/api/v1", "/openapi/v3"] {
            assert_eq!(asked(path), None, "{path}");
        }
    }

    #[test]
    fn what_is_no_longer_available_is_counted_once() {
        let aggregation = Aggregation::default();
        let with = |status: &str, reason: &str| {
            let mut object = service("v1", "a.example", [1, 1], true);
            object.set(&["metadata", "name"], "v1.a.example");
            let condition = [("type", "Available"), ("status", status), ("reason", reason)];
            let condition: api::Map = condition.into_iter().map(|(key, text)| (key, Value::from(text))).collect();
            object.set(&["status", "conditions"], vec![condition]);
            object
        };
        for (status, reason) in [("False", "A"), ("False", "A"), ("False", "B"), ("True", "Passed"), ("False", "A")] {
            aggregation.update(&[with(status, reason)]);
        }
        let (now, lost) = aggregation.availability();
        assert_eq!(now, BTreeMap::from([("v1.a.example".to_owned(), false)]));
        assert_eq!(lost, BTreeMap::from([(("v1.a.example".to_owned(), "A".to_owned()), 2)]));
        aggregation.update(&[]);
        assert!(aggregation.availability().1.is_empty());
    }
}
