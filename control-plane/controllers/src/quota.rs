//! ResourceQuota: what a namespace holds of what it may, counted anew when something goes.
//!
//! Admission raises usage in the transaction that makes an object, so a count is right if it is made of objects as they were
//! at the quota's own revision or later, and if nobody wrote the quota since: the caches count where they are that far, and
//! live reads where they are not.

use std::sync::Arc;
use std::time::Duration;

use api::Object;
use api::quota::{self, Usage};
use client::{Controller, Decision, Key, Moment, Object as Watched, Plan, Read, View, Watches};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Pod, ResourceQuota, ResourceQuotaStatus, Service};
use k8s_openapi::api::resource::v1::ResourceClaim;
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use kube::core::ApiResource;
use serde::Serialize;
use serde_json::Value;

use crate::discovery::Served;
use crate::index;

pub(crate) const NAME: &str = "resourcequota-controller";
/// Everything is counted anew so often, as upstream: pods whose grace passes, usage of writes that somebody else undid.
const RESYNC: Duration = Duration::from_secs(300);
/// Kinds of which more than their number counts: they are watched whole.
const MEASURED: [(&str, &str); 4] =
    [("", "pods"), ("", "services"), ("", "persistentvolumeclaims"), ("resource.k8s.io", "resourceclaims")];

/// Counts objects of these kinds.
pub struct Quotas {
    kinds: Vec<Served>,
}

impl Quotas {
    pub(crate) fn of_served(kinds: Vec<Served>) -> Quotas {
        let counted = |kind: &Served| {
            let name = (kind.resource.group.as_str(), kind.resource.plural.as_str());
            kind.namespaced && kind.watchable && name.1 != "events" && !MEASURED.contains(&name)
        };
        Quotas { kinds: kinds.into_iter().filter(counted).collect() }
    }

    /// Beside those that are measured, counts exactly these kinds: (apiVersion, kind, plural).
    pub fn of(kinds: &[(&str, &str, &str)]) -> Quotas {
        let kinds = kinds.iter().map(|(version, kind, plural)| Served::of(version, kind, plural, true));
        Quotas::of_served(kinds.collect())
    }
}

impl Controller for Quotas {
    fn name(&self) -> &'static str {
        NAME
    }

    fn watches(&self, watches: &mut Watches<'_>) {
        // What admission raises needs no counting: only what a quota limits does.
        watches.mapped::<ResourceQuota>(|_, change| match (&change.before, &change.after) {
            (Some(before), Some(after)) if before.spec == after.spec && is_told(after) => vec![],
            (_, Some(_)) => vec![change.key.clone()],
            (_, None) => vec![],
        });
        measured::<Pod>(watches);
        measured::<Service>(watches);
        measured::<PersistentVolumeClaim>(watches);
        measured::<ResourceClaim>(watches);
        for kind in &self.kinds {
            watches.metadata(&kind.resource, |view, resource, change| match change.after {
                Some(_) => vec![],
                None => limiting(view, &change.key.namespace, resource),
            });
        }
        watches.every(RESYNC, |view| view.of::<ResourceQuota>().list().iter().map(|q| Key::of(q.as_ref())).collect());
    }

    fn plan(&self, view: &View, key: &Key, moment: Moment) -> Decision {
        let Some(quota) = view.of::<ResourceQuota>().get_key(key) else { return Plan::done().into() };
        let mut count = Count::begin(view, &quota, moment.now);
        count.measure::<Pod>();
        count.measure::<Service>();
        count.measure::<PersistentVolumeClaim>();
        count.measure::<ResourceClaim>();
        self.kinds.iter().for_each(|kind| count.number(&kind.resource));
        count.end()
    }
}

/// Watches a kind of which more than the number counts.
fn measured<K: Watched<DynamicType = ()> + Serialize>(watches: &mut Watches<'_>) {
    watches.mapped::<K>(|view, change| {
        let Some(before) = &change.before else { return vec![] };
        let resource = ApiResource::erase::<K>(&());
        let quotas = limiting(view, &change.key.namespace, &resource);
        let usage = |object: &Arc<K>| index::usage_of(&resource, object.as_ref());
        let same = || change.after.as_ref().is_some_and(|after| usage(before) == usage(after));
        if quotas.is_empty() || same() { vec![] } else { quotas }
    });
}

/// The quotas of a namespace that limit something of a resource.
fn limiting(view: &View, namespace: &str, resource: &ApiResource) -> Vec<Key> {
    let mut quotas = view.of::<ResourceQuota>().list_in(namespace);
    quotas.retain(|quota| {
        let hard = quota.spec.as_ref().and_then(|spec| spec.hard.as_ref());
        hard.is_some_and(|hard| hard.keys().any(|name| quota::is_of(name, &resource.group, &resource.plural)))
    });
    quotas.iter().map(|quota| Key::of(quota.as_ref())).collect()
}

/// Whether a status says of everything that the spec limits how much there is.
fn is_told(quota: &ResourceQuota) -> bool {
    let status = quota.status.as_ref();
    let hard = quota.spec.as_ref().and_then(|spec| spec.hard.as_ref());
    status.and_then(|status| status.hard.as_ref()) == hard && status.is_some_and(|status| status.used.is_some())
}

/// A count under way.
struct Count<'a> {
    view: &'a View,
    quota: &'a ResourceQuota,
    object: Object,
    hard: Usage,
    now: Timestamp,
    used: Usage,
    reads: Vec<Read>,
    /// A read shows less than the quota knows of.
    stale: bool,
}

impl<'a> Count<'a> {
    fn begin(view: &'a View, quota: &'a ResourceQuota, now: Timestamp) -> Count<'a> {
        let object = Object::from_typed(quota).unwrap_or_default();
        let hard = quota::amounts(&object, &["spec", "hard"]);
        Count { view, quota, object, hard, now, used: Usage::new(), reads: Vec::new(), stale: false }
    }

    fn namespace(&self) -> &'a str {
        self.quota.metadata.namespace.as_deref().unwrap_or_default()
    }

    fn revision(&self) -> u64 {
        revision(self.quota.metadata.resource_version.as_deref())
    }

    /// The limited names that are of a resource, none of them used yet.
    fn names(&mut self, resource: &ApiResource) -> bool {
        let of = |name: &&String| quota::is_of(name, &resource.group, &resource.plural);
        let names: Vec<String> = self.hard.keys().filter(of).cloned().collect();
        for name in &names {
            self.used.entry(name.clone()).or_insert(api::Quantity::ZERO);
        }
        !names.is_empty()
    }

    fn measure<K: Watched<DynamicType = ()> + Serialize>(&mut self) {
        let resource = ApiResource::erase::<K>(&());
        if !self.names(&resource) {
            return;
        }
        let informer = self.view.of::<K>();
        if informer.revision() >= self.revision() {
            let tallies = informer.tallies(&index::usage::<K>(), &index::within(self.namespace()));
            return tallies.into_iter().for_each(|tally| self.add(&resource, tally.any.as_ref(), tally.sum));
        }
        let items = self.read(Read::list(&resource, self.namespace()));
        items.iter().for_each(|item| self.add(&resource, item, index::usage_of(&resource, item)));
    }

    fn number(&mut self, resource: &ApiResource) {
        if !self.names(resource) {
            return;
        }
        let informer = self.view.metadata().get(resource).filter(|informer| informer.revision() >= self.revision());
        let count = match informer {
            Some(informer) => informer.count_in(self.namespace()),
            None => self.read(Read::list(resource, self.namespace()).metadata()).len(),
        };
        // Only pods have scopes: a quota that has some counts none of these.
        if quota::covers(&self.object, &resource.group, &resource.plural, &Object::default()) {
            let count = api::Quantity::from_int(i64::try_from(count).unwrap_or(i64::MAX));
            let counts = quota::counts(&resource.group, &resource.plural).into_iter().map(|name| (name, count));
            quota::add(&mut self.used, &counts.collect());
        }
    }

    /// What a live read shows; nothing as long as it is not made.
    fn read(&mut self, read: Read) -> &'a [Value] {
        let Some(answer) = self.view.answer(&read) else {
            self.reads.push(read);
            return &[];
        };
        // A kind that is no longer served has no objects.
        let Some(list) = answer else { return &[] };
        self.stale |= revision(list["metadata"]["resourceVersion"].as_str()) < self.revision();
        list["items"].as_array().map(Vec::as_slice).unwrap_or_default()
    }

    /// Adds what an object and its likes use.
    fn add<T: Serialize>(&mut self, resource: &ApiResource, object: &T, mut usage: Usage) {
        let Ok(object) = Object::from_typed(object) else { return };
        if !quota::covers(&self.object, &resource.group, &resource.plural, &object) {
            return;
        }
        if resource.plural == "pods" && quota::is_over(&object, self.now) {
            usage.retain(|name, _| name.starts_with("count/"));
        }
        quota::add(&mut self.used, &usage);
    }

    fn end(self) -> Decision {
        if !self.reads.is_empty() {
            return Decision::Need(self.reads);
        }
        let mut plan = Plan::done();
        if self.stale {
            // It was raised while it was counted.
            plan.again(Duration::ZERO);
            return plan.into();
        }
        let before = quota::amounts(&self.object, &["status", "used"]);
        // What no kind that is served now accounts for stays as it was last known.
        let used = self.hard.keys().filter_map(|name| {
            let amount = self.used.get(name).or_else(|| before.get(name))?;
            Some((name.clone(), *amount))
        });
        let used: Usage = used.collect();
        let same = used.len() == before.len()
            && used.iter().all(|(name, amount)| before.get(name).is_some_and(|known| known.nanos() == amount.nanos()));
        if same && is_told(self.quota) {
            return plan.into();
        }
        let hard = self.quota.spec.as_ref().and_then(|spec| spec.hard.clone());
        if !is_told(self.quota) {
            // What was made before the quota said what it limits was not raised.
            plan.again(Duration::ZERO);
        }
        let used = used.into_iter().map(|(name, amount)| (name, Quantity(amount.to_string()))).collect();
        let status = Some(ResourceQuotaStatus { hard, used: Some(used) });
        plan.status(&ResourceQuota { status, ..self.quota.clone() });
        plan.into()
    }
}

fn revision(text: Option<&str>) -> u64 {
    text.and_then(|text| text.parse().ok()).unwrap_or(0)
}
