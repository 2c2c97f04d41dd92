//! APIService objects: one for every group and version that is served here, and the availability of all of them.
//!
//! Those of what is built in are put right once, when this starts, and are the administrator's from then on. Those of
//! other servers are never asked: nothing is forwarded to them, and their condition says so, or what else is missing.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use api::kinds::order;
use client::{Controller, Decision, Key, Moment, Plan, Read, View, Watches};
use jiff::Timestamp;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition as Definition;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::kube_aggregator::pkg::apis::apiregistration::v1::{APIService, APIServiceCondition, APIServiceSpec};
use kube::ResourceExt;
use serde_json::{Value, json};

/// Who keeps an APIService: this controller, for as long as the server runs or for as long as a definition is there.
const MANAGED: &str = "kube-aggregator.kubernetes.io/automanaged";
const ON_START: &str = "onstart";
const LIVE: &str = "true";

/// Between looks at the Services that others are said to be behind: nobody follows all Services and slices for the few.
const LOOK: Duration = Duration::from_secs(5);
/// Between looks for built-in groups that have none. Only the first finds any.
const ROUND: Duration = Duration::from_secs(60);

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
        watches.every(ROUND, |_| built_in().into_keys().map(|name| Key::new("", name)).collect());
    }

    fn plan(&self, view: &View, key: &Key, moment: Moment) -> Decision {
        let found = view.of::<APIService>().get_key(key);
        let definitions = view.of::<Definition>().list();
        let defined = definitions.iter().flat_map(|d| versions(d).collect::<Vec<_>>());
        let defined = defined.into_iter().find(|(name, _)| *name == key.name).map(|(_, at)| (LIVE, at));
        let built_in = built_in().remove(&key.name);
        let is_synced = built_in.is_some() && view.memory().is_some();
        let memory = built_in.is_some().then(|| json!("synced"));
        let wanted = built_in.map(|at| (ON_START, at)).or(defined);
        let mut plan = Plan { memory, ..Plan::done() };
        match (found, wanted) {
            (None, Some((managed, at))) if !is_synced => plan.create(&made(&key.name, managed, &at)),
            (None, _) => {}
            (Some(found), None) if found.labels().get(MANAGED).is_some_and(|m| m == LIVE) => plan.delete(&*found),
            (Some(found), wanted) => {
                let corrected = wanted.filter(|_| !is_synced).and_then(|(m, at)| corrected(&found, m, &at));
                if let Some(next) = corrected {
                    plan.update(&next);
                    return plan.into();
                }
                let availability = match availability(&found, view) {
                    Ok(availability) => availability,
                    Err(reads) => return Decision::Need(reads),
                };
                plan.again_after = (availability.status == "False").then_some(LOOK);
                if let Some(next) = available(&found, &availability, moment.now) {
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

/// The groups and versions that are built in, by the names of their APIServices. The group of APIServices has none.
fn built_in() -> BTreeMap<String, Place> {
    let all = api::kinds::all().iter().map(|kind| (kind.names.group.to_string(), kind.names.version.to_string()));
    let all = all.filter(|(group, version)| order::built_in(group, version).is_some());
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
    let built_in = order::built_in(group, version).filter(|_| managed == ON_START);
    let (group_priority_minimum, version_priority) = built_in.unwrap_or(order::DEFINED);
    APIServiceSpec {
        group: Some(group.clone()).filter(|g| !g.is_empty()),
        version: Some(version.clone()),
        group_priority_minimum,
        version_priority,
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

/// What the condition of a service says.
struct Availability {
    status: &'static str,
    reason: &'static str,
    message: String,
}

impl Availability {
    fn not(reason: &'static str, message: String) -> Availability {
        Availability { status: "False", reason, message }
    }
}

/// Whether a service can be asked, as upstream looks at it: its Service, the port, the endpoints. Or the reads it takes.
fn availability(found: &APIService, view: &View) -> Result<Availability, Vec<Read>> {
    let Some(service) = found.spec.as_ref().and_then(|spec| spec.service.as_ref()) else {
        let message = "Local APIServices are always available".to_owned();
        return Ok(Availability { status: "True", reason: "Local", message });
    };
    let name = service.name.as_deref().unwrap_or_default();
    let namespace = service.namespace.as_deref().unwrap_or_default();
    let reads = [
        Read::path(format!("/api/v1/namespaces/{namespace}/services/{name}")),
        Read::path(format!(
            "/apis/discovery.k8s.io/v1/namespaces/{namespace}/endpointslices?labelSelector=kubernetes.io%2Fservice-name%3D{name}"
        )),
    ];
    let [Some(behind), Some(slices)] = reads.each_ref().map(|read| view.answer(read)) else {
        return Err(reads.into());
    };
    let Some(behind) = behind else {
        return Ok(Availability::not("ServiceNotFound", format!("service/{name} in {namespace:?} is not present")));
    };
    let slices = slices.and_then(|list| list["items"].as_array()).map(Vec::as_slice).unwrap_or_default();
    Ok(missing(name, namespace, service.port.unwrap_or(443), behind, slices).unwrap_or_else(|| {
        Availability::not("NotSupported", "requests are not forwarded to other API servers yet".to_owned())
    }))
}

/// What is missing behind a Service of an address of its own.
fn missing(name: &str, namespace: &str, port: i32, behind: &Value, slices: &[Value]) -> Option<Availability> {
    if behind["spec"]["type"] != "ClusterIP" {
        return None;
    }
    let mut ports = behind["spec"]["ports"].as_array().into_iter().flatten();
    let Some(listening) = ports.find(|known| known["port"] == port) else {
        let message = format!("service/{name} in {namespace:?} is not listening on port {port}");
        return Some(Availability::not("ServicePortError", message));
    };
    if slices.is_empty() {
        let message = format!("cannot find endpointslices for service/{name} in {namespace:?}");
        return Some(Availability::not("EndpointsNotFound", message));
    }
    let text = |of: &Value| of["name"].as_str().unwrap_or_default().to_owned();
    let wanted = text(listening);
    let has_port = |slice: &&Value| slice["ports"].as_array().is_some_and(|all| all.iter().any(|p| text(p) == wanted));
    let mut endpoints = slices.iter().filter(has_port).filter_map(|slice| slice["endpoints"].as_array()).flatten();
    let is_ready = |endpoint: &Value| endpoint["conditions"]["ready"] != false;
    (!endpoints.any(is_ready)).then(|| {
        let message =
            format!("endpointslices for service/{name} in {namespace:?} have no addresses with port name {wanted:?}");
        Availability::not("MissingEndpoints", message)
    })
}

/// The service with its availability, if that is news.
fn available(found: &APIService, availability: &Availability, now: Timestamp) -> Option<APIService> {
    let mut next = found.clone();
    let conditions = next.status.get_or_insert_default().conditions.get_or_insert_default();
    let known = conditions.iter().position(|c| c.type_ == "Available").map(|i| conditions.remove(i));
    let since = known.as_ref().filter(|k| k.status == availability.status).and_then(|k| k.last_transition_time.clone());
    conditions.push(APIServiceCondition {
        type_: "Available".to_owned(),
        status: availability.status.to_owned(),
        reason: Some(availability.reason.to_owned()),
        message: Some(availability.message.clone()),
        last_transition_time: since.or(Some(Time(now))),
    });
    (next.status != found.status).then_some(next)
}
