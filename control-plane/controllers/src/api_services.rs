//! APIService objects: one for every group and version that is served here, and the availability of all of them.
//!
//! Those of other servers are kept as they are: nothing is forwarded to them, and their condition says so.

use std::collections::{BTreeMap, BTreeSet};

use client::{Controller, Decision, Key, Moment, Plan, View, Watches};
use jiff::Timestamp;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition as Definition;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::kube_aggregator::pkg::apis::apiregistration::v1::{APIService, APIServiceCondition, APIServiceSpec};
use kube::ResourceExt;

/// Who keeps an APIService: this controller, for as long as the server runs or for as long as a definition is there.
const MANAGED: &str = "kube-aggregator.kubernetes.io/automanaged";
const ON_START: &str = "onstart";
const LIVE: &str = "true";

/// Priorities of groups as upstream has them; a later version of a group comes before an earlier one.
const PRIORITIES: &[(&str, i32)] = &[
    ("", 18000),
    ("apps", 17800),
    ("events.k8s.io", 17750),
    ("authentication.k8s.io", 17700),
    ("authorization.k8s.io", 17600),
    ("autoscaling", 17500),
    ("batch", 17400),
    ("certificates.k8s.io", 17300),
    ("networking.k8s.io", 17200),
    ("policy", 17100),
    ("rbac.authorization.k8s.io", 17000),
    ("storage.k8s.io", 16800),
    ("admissionregistration.k8s.io", 16700),
    ("apiextensions.k8s.io", 16700),
    ("scheduling.k8s.io", 16600),
    ("coordination.k8s.io", 16500),
    ("node.k8s.io", 16300),
    ("discovery.k8s.io", 16200),
    ("resource.k8s.io", 16200),
    ("flowcontrol.apiserver.k8s.io", 16100),
];
/// What all others have.
const PRIORITY: (i32, i32) = (1000, 100);

pub(crate) struct ApiServices;

impl Controller for ApiServices {
    fn name(&self) -> &'static str {
        "apiservice-registration-controller"
    }

    fn watches(&self, watches: &mut Watches<'_>) {
        watches.own::<APIService>();
        watches.mapped::<Definition>(|_, change| {
            let both = [&change.before, &change.after].into_iter().flatten();
            let names: BTreeSet<String> =
                both.flat_map(|d| versions(d).map(|(name, _)| name).collect::<Vec<_>>()).collect();
            names.into_iter().map(|name| Key::new("", name)).collect()
        });
        // What is built in is there from the start, and comes back if somebody deletes it.
        watches.every(std::time::Duration::from_secs(60), |_| {
            built_in().into_keys().map(|name| Key::new("", name)).collect()
        });
    }

    fn plan(&self, view: &View, key: &Key, moment: Moment) -> Decision {
        let found = view.of::<APIService>().get_key(key);
        let definitions = view.of::<Definition>().list();
        let defined = definitions.iter().flat_map(|d| versions(d).collect::<Vec<_>>());
        let defined = defined.into_iter().find(|(name, _)| *name == key.name).map(|(_, at)| (LIVE, at));
        let wanted = built_in().remove(&key.name).map(|at| (ON_START, at)).or(defined);
        let mut plan = Plan::done();
        match (found, wanted) {
            (None, None) => {}
            (None, Some((managed, at))) => plan.create(&made(&key.name, managed, &at)),
            (Some(found), None) if found.labels().get(MANAGED).is_some_and(|m| m == LIVE) => plan.delete(&*found),
            (Some(found), wanted) => {
                if let Some((managed, at)) = wanted
                    && let Some(next) = corrected(&found, managed, &at)
                {
                    plan.update(&next);
                } else if let Some(next) = available(&found, moment.now) {
                    plan.status(&next);
                }
            }
        }
        plan.into()
    }
}

/// A group and a version.
type Place = (String, String);

fn name_of(group: &str, version: &str) -> String {
    format!("{version}.{group}")
}

/// The groups and versions that are built in, by the names of their APIServices.
fn built_in() -> BTreeMap<String, Place> {
    let all = api::kinds::all().iter().map(|kind| (kind.names.group.to_string(), kind.names.version.to_string()));
    all.map(|(group, version)| (name_of(&group, &version), (group, version))).collect()
}

/// The groups and versions that a definition serves.
fn versions(definition: &Definition) -> impl Iterator<Item = (String, Place)> {
    let conditions = definition.status.iter().flat_map(|s| s.conditions.iter().flatten());
    let established = conditions.into_iter().any(|c| c.type_ == "Established" && c.status == "True");
    let served = definition.spec.versions.iter().filter(move |v| v.served && established);
    let group = definition.spec.group.clone();
    served.map(move |v| (name_of(&group, &v.name), (group.clone(), v.name.clone())))
}

fn spec((group, version): &Place, managed: &str) -> APIServiceSpec {
    let known = PRIORITIES.iter().find(|(of, _)| of == group).filter(|_| managed == ON_START);
    let number = version.trim_start_matches('v').parse().unwrap_or(1);
    let (group_priority, version_priority) = known.map_or(PRIORITY, |(_, p)| (*p, 15 * number));
    APIServiceSpec {
        group: Some(group.clone()).filter(|g| !g.is_empty()),
        version: Some(version.clone()),
        group_priority_minimum: group_priority,
        version_priority: if group.is_empty() { 1 } else { version_priority },
        ..APIServiceSpec::default()
    }
}

fn made(name: &str, managed: &str, at: &Place) -> APIService {
    let mut service = APIService { spec: Some(spec(at, managed)), ..APIService::default() };
    service.metadata.name = Some(name.to_owned());
    service.labels_mut().insert(MANAGED.to_owned(), managed.to_owned());
    service
}

/// The service as it must be, if it is another. One without the label is its maker's.
fn corrected(found: &APIService, managed: &str, at: &Place) -> Option<APIService> {
    let mine = found.labels().get(MANAGED)?;
    let wanted = spec(at, managed);
    (mine != managed || found.spec.as_ref() != Some(&wanted)).then(|| {
        let mut next = found.clone();
        next.labels_mut().insert(MANAGED.to_owned(), managed.to_owned());
        next.spec = Some(wanted);
        next
    })
}

/// The service with its availability, if that is news.
fn available(found: &APIService, now: Timestamp) -> Option<APIService> {
    let local = found.spec.as_ref().is_none_or(|s| s.service.is_none());
    let (status, reason, message) = match local {
        true => ("True", "Local", "Local APIServices are always available"),
        false => ("False", "NotSupported", "requests are not forwarded to other API servers yet"),
    };
    let mut next = found.clone();
    let conditions = next.status.get_or_insert_default().conditions.get_or_insert_default();
    let known = conditions.iter().position(|c| c.type_ == "Available").map(|i| conditions.remove(i));
    let since = known.as_ref().filter(|k| k.status == status).and_then(|k| k.last_transition_time.clone());
    conditions.push(APIServiceCondition {
        type_: "Available".to_owned(),
        status: status.to_owned(),
        reason: Some(reason.to_owned()),
        message: Some(message.to_owned()),
        last_transition_time: since.or(Some(Time(now))),
    });
    (next.status != found.status).then_some(next)
}
