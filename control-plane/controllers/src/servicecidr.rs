//! ServiceCIDR: says that a range of addresses is ready, and keeps it while addresses of it are in use that no other
//! range holds.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use client::{Controller, Decision, Key, Moment, Plan, View, Watches};
use jiff::SignedDuration;
use k8s_openapi::api::networking::v1::{IPAddress, ServiceCIDR, ServiceCIDRStatus};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use serde_json::json;

const FINALIZER: &str = "networking.k8s.io/service-cidr-finalizer";
/// An address that an apiserver gave out just before it saw the end of the range shows within this time: upstream's.
const GRACE: SignedDuration = SignedDuration::from_secs(10);

pub(crate) struct ServiceRanges;

impl Controller for ServiceRanges {
    fn name(&self) -> &'static str {
        "service-cidrs-controller"
    }

    fn watches(&self, watches: &mut Watches<'_>) {
        // A range that comes or goes may hold addresses of one that waits for its end.
        watches.mapped::<ServiceCIDR>(|view, change| {
            let all = view.of::<ServiceCIDR>().list();
            let waiting = all.iter().filter(|range| range.metadata.deletion_timestamp.is_some());
            std::iter::once(change.key.clone()).chain(waiting.map(|range| Key::of(range.as_ref()))).collect()
        });
        watches.mapped::<IPAddress>(|view, change| match &change.after {
            Some(_) => vec![],
            None => {
                let all = view.of::<ServiceCIDR>().list();
                let waiting = all.iter().filter(|range| range.metadata.deletion_timestamp.is_some());
                waiting.map(|range| Key::of(range.as_ref())).collect()
            }
        });
    }

    fn plan(&self, view: &View, key: &Key, moment: Moment) -> Decision {
        let mut plan = Plan::done();
        if let Some(range) = view.of::<ServiceCIDR>().get_key(key) {
            match &range.metadata.deletion_timestamp {
                None => keep(&range, moment, &mut plan),
                Some(since) => end(view, &range, since, moment, &mut plan),
            }
        }
        plan.into()
    }
}

fn is_kept(range: &ServiceCIDR) -> bool {
    range.metadata.finalizers.iter().flatten().any(|finalizer| finalizer == FINALIZER)
}

fn keep(range: &ServiceCIDR, moment: Moment, plan: &mut Plan) {
    if !is_kept(range) {
        let mut finalizers = range.metadata.finalizers.clone().unwrap_or_default();
        finalizers.push(FINALIZER.to_owned());
        let version = &range.metadata.resource_version;
        plan.patch(range, None, json!({"metadata": {"finalizers": finalizers, "resourceVersion": version}}));
    } else if ready(range).is_none_or(|ready| ready.status != "True") {
        tell(range, "True", "", "Kubernetes Service CIDR is ready", moment, plan);
    }
}

/// The range goes when no address needs it.
fn end(view: &View, range: &ServiceCIDR, since: &Time, moment: Moment, plan: &mut Plan) {
    if !is_kept(range) {
        return;
    }
    if in_use(view, range) {
        if ready(range).is_none_or(|ready| ready.status != "False" || ready.reason != "Terminating") {
            let message = "There are still IPAddresses referencing the ServiceCIDR, please remove them or create a new ServiceCIDR";
            tell(range, "False", "Terminating", message, moment, plan);
        }
        return;
    }
    let left = (since.0 + GRACE).duration_since(moment.now);
    if left > SignedDuration::ZERO {
        return plan.again(Duration::try_from(left).unwrap_or_default());
    }
    let finalizers: Vec<_> = range.metadata.finalizers.iter().flatten().filter(|known| *known != FINALIZER).collect();
    let version = &range.metadata.resource_version;
    plan.patch(range, None, json!({"metadata": {"finalizers": finalizers, "resourceVersion": version}}));
}

/// Whether an address lies in this range, and in no other that stays.
fn in_use(view: &View, range: &ServiceCIDR) -> bool {
    let mut others = view.of::<ServiceCIDR>().list();
    others.retain(|other| other.metadata.uid != range.metadata.uid && other.metadata.deletion_timestamp.is_none());
    let alone = |address: &Arc<IPAddress>| {
        let address = address.metadata.name.as_deref().and_then(|name| name.parse::<IpAddr>().ok());
        address.is_some_and(|ip| holds(range, ip) && !others.iter().any(|other| holds(other, ip)))
    };
    view.of::<IPAddress>().list().iter().any(alone)
}

fn holds(range: &ServiceCIDR, address: IpAddr) -> bool {
    let cidrs = range.spec.iter().flat_map(|spec| spec.cidrs.iter().flatten());
    cidrs.filter_map(|text| text.split_once('/')).any(|(base, bits)| {
        let (Ok(base), Ok(bits)) = (base.parse::<IpAddr>(), bits.parse::<u32>()) else { return false };
        match (base, address) {
            (IpAddr::V4(base), IpAddr::V4(address)) if bits <= 32 => {
                (base.to_bits() ^ address.to_bits()).leading_zeros() >= bits
            }
            (IpAddr::V6(base), IpAddr::V6(address)) if bits <= 128 => {
                (base.to_bits() ^ address.to_bits()).leading_zeros() >= bits
            }
            _ => false,
        }
    })
}

fn ready(range: &ServiceCIDR) -> Option<&Condition> {
    range.status.as_ref()?.conditions.as_ref()?.iter().find(|condition| condition.type_ == "Ready")
}

fn tell(range: &ServiceCIDR, status: &str, reason: &str, message: &str, moment: Moment, plan: &mut Plan) {
    let mut conditions = range.status.as_ref().and_then(|status| status.conditions.clone()).unwrap_or_default();
    conditions.retain(|condition| condition.type_ != "Ready");
    conditions.push(Condition {
        type_: "Ready".to_owned(),
        status: status.to_owned(),
        reason: reason.to_owned(),
        message: message.to_owned(),
        last_transition_time: Time(moment.now),
        observed_generation: None,
    });
    plan.status(&ServiceCIDR { status: Some(ServiceCIDRStatus { conditions: Some(conditions) }), ..range.clone() });
}
