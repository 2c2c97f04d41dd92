//! Deployment: a ReplicaSet for its template, and the way from the old ones to it.

mod rollback;

use std::collections::BTreeMap;
use std::sync::Arc;

use client::plan::Severity;
use client::{Controller, Decision, Key, Moment, Plan, View, Watches};
use k8s_openapi::api::apps::v1::{Deployment, ReplicaSet, ReplicaSetSpec};
use k8s_openapi::api::core::v1::{Pod, PodTemplateSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde_json::json;

use crate::claim::{self, Claims};
use crate::deployment_status as status;
use crate::pods;
use crate::rollout::{self, Bounds, Size};
use crate::selector;

const HASH: &str = "pod-template-hash";
pub(crate) const REVISION: &str = "deployment.kubernetes.io/revision";
const REVISION_HISTORY: &str = "deployment.kubernetes.io/revision-history";
const DESIRED: &str = "deployment.kubernetes.io/desired-replicas";
const MOST: &str = "deployment.kubernetes.io/max-replicas";
/// Past revisions remembered on a set that is used again: what fits an annotation, as upstream.
const HISTORY_BYTES: usize = 2000;
/// Annotations that belong to the deployment alone.
pub(crate) const NOT_COPIED: [&str; 6] =
    ["kubectl.kubernetes.io/last-applied-configuration", REVISION, REVISION_HISTORY, DESIRED, MOST, rollback::ASKED];

pub(crate) struct Deployments;

impl Controller for Deployments {
    fn name(&self) -> &'static str {
        "deployment-controller"
    }

    fn watches(&self, watches: &mut Watches<'_>) {
        watches.own::<Deployment>();
        claim::watch::<ReplicaSet, Deployment>(watches);
        // Only a deployment that recreates waits for the end of pods.
        watches.mapped::<Pod>(|view, change| {
            let Some(pod) =
                change.before.as_ref().filter(|_| change.after.as_ref().is_none_or(|p| pods::is_finished(p)))
            else {
                return vec![];
            };
            let owner = pods::controller_of(pod.as_ref()).filter(|owner| owner.kind == "ReplicaSet");
            let set = owner.and_then(|owner| view.of::<ReplicaSet>().get(&change.key.namespace, &owner.name));
            set.map_or(vec![], |set| claim::concerned::<ReplicaSet, Deployment>(view, &set))
        });
    }

    fn plan(&self, view: &View, key: &Key, moment: Moment) -> Decision {
        match view.of::<Deployment>().get_key(key) {
            Some(deployment) => plan(view, &deployment, moment).into(),
            None => Plan::done().into(),
        }
    }
}

impl Claims<ReplicaSet> for Deployment {
    fn selects(&self, set: &ReplicaSet) -> bool {
        self.spec.as_ref().is_some_and(|spec| selector::owns(&spec.selector, set.metadata.labels.as_ref()))
    }
}

/// The sets of a deployment: the one of its template, if there is one, and the others, oldest first.
pub(crate) struct Sets {
    pub new: Option<Arc<ReplicaSet>>,
    pub old: Vec<Arc<ReplicaSet>>,
}

impl Sets {
    pub(crate) fn all(&self) -> impl Iterator<Item = &Arc<ReplicaSet>> {
        self.old.iter().chain(&self.new)
    }

    fn old_sizes(&self) -> Vec<Size> {
        self.old.iter().map(|set| Size::of(set)).collect()
    }
}

fn plan(view: &View, deployment: &Deployment, moment: Moment) -> Plan {
    let mut plan = Plan::done();
    let Some(spec) = deployment.spec.as_ref() else { return plan };
    let sets = sort(deployment, claim::claim::<ReplicaSet, Deployment>(view, deployment, &mut plan));
    if deployment.metadata.deletion_timestamp.is_some() {
        status::set(deployment, &sets, None, moment, &mut plan);
        return plan;
    }
    let mut made = status::Progress::default();
    let bounds = Bounds::of(deployment);
    if spec.paused != Some(true) && rollback::is_asked_for(deployment) {
        rollback::roll_back(deployment, &sets, &mut plan);
        return plan;
    }
    if spec.paused == Some(true) || sets.all().any(|set| is_scaled(set, deployment)) {
        scale(deployment, &sets, bounds, &mut plan);
    } else {
        made = roll(view, deployment, &sets, bounds, &mut plan);
    }
    // A set that is asked for is still there when the pause ends.
    let paused = spec.paused == Some(true) && !rollback::is_asked_for(deployment);
    if paused || status::is_complete(deployment, &sets) && spec.paused != Some(true) {
        clean_up(deployment, &sets, &mut plan);
    }
    status::set(deployment, &sets, Some(made), moment, &mut plan);
    plan
}

fn sort(deployment: &Deployment, mut sets: Vec<Arc<ReplicaSet>>) -> Sets {
    sets.sort_by_key(|set| {
        (set.metadata.creation_timestamp.as_ref().map(|time| time.0), set.metadata.name.clone().unwrap_or_default())
    });
    let template = deployment.spec.as_ref().map(|spec| &spec.template);
    let same = |set: &Arc<ReplicaSet>| {
        let of_set = set.spec.as_ref().and_then(|spec| spec.template.clone()).map(without_hash);
        of_set.as_ref() == template.cloned().map(without_hash).as_ref()
    };
    let new = sets.iter().position(same).map(|at| sets.remove(at));
    Sets { new, old: sets }
}

pub(crate) fn without_hash(mut template: PodTemplateSpec) -> PodTemplateSpec {
    let meta = template.metadata.get_or_insert_default();
    if let Some(labels) = meta.labels.as_mut() {
        labels.remove(HASH);
    }
    // A template's metadata without anything in it is no difference.
    meta.labels = meta.labels.take().filter(|labels| !labels.is_empty());
    meta.annotations = meta.annotations.take().filter(|annotations| !annotations.is_empty());
    meta.creation_timestamp = None;
    template
}

fn is_scaled(set: &ReplicaSet, deployment: &Deployment) -> bool {
    let desired = annotation(set, DESIRED).and_then(|text| text.parse::<i32>().ok());
    let wanted = deployment.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or(1);
    Size::of(set).asked > 0 && desired.is_some_and(|desired| desired != wanted)
}

/// One step of the rollout.
fn roll(view: &View, deployment: &Deployment, sets: &Sets, bounds: Bounds, plan: &mut Plan) -> status::Progress {
    if bounds.recreate {
        return recreate(view, deployment, sets, bounds, plan);
    }
    let Some(new) = &sets.new else { return introduce(view, deployment, sets, bounds, plan) };
    keep_up(deployment, new, sets, bounds, plan);
    let size = Size::of(new);
    let next = rollout::grow(bounds, size, &sets.old_sizes());
    if next != size.asked {
        resize(deployment, new, next, bounds, plan);
        return status::Progress::default();
    }
    for (set, next) in sets.old.iter().zip(rollout::shrink(bounds, size, &sets.old_sizes())) {
        if next != Size::of(set).asked {
            resize(deployment, set, next, bounds, plan);
        }
    }
    status::Progress::default()
}

/// All old pods first come to their end, then the new set begins.
fn recreate(view: &View, deployment: &Deployment, sets: &Sets, bounds: Bounds, plan: &mut Plan) -> status::Progress {
    let shrinking = sets.old.iter().filter(|set| Size::of(set).asked > 0).collect::<Vec<_>>();
    if !shrinking.is_empty() {
        shrinking.into_iter().for_each(|set| resize(deployment, set, 0, bounds, plan));
        return status::Progress::default();
    }
    let runs = |set: &Arc<ReplicaSet>| {
        let owned = view.of::<Pod>().owned_by(set.metadata.uid.as_deref().unwrap_or_default());
        owned.iter().any(|pod| !pods::is_finished(pod))
    };
    if sets.old.iter().any(runs) {
        return status::Progress::default();
    }
    let Some(new) = &sets.new else { return introduce(view, deployment, sets, bounds, plan) };
    keep_up(deployment, new, sets, bounds, plan);
    if Size::of(new).asked != bounds.replicas {
        resize(deployment, new, bounds.replicas, bounds, plan);
    }
    status::Progress::default()
}

/// Makes the set of the current template.
fn introduce(view: &View, deployment: &Deployment, sets: &Sets, bounds: Bounds, plan: &mut Plan) -> status::Progress {
    let Some(spec) = deployment.spec.as_ref() else { return status::Progress::default() };
    let name = deployment.metadata.name.as_deref().unwrap_or_default();
    let namespace = deployment.metadata.namespace.clone();
    let collisions = deployment.status.as_ref().and_then(|status| status.collision_count);
    let hash = hash(&spec.template, collisions);
    let set_name = format!("{name}-{hash}");
    if view.of::<ReplicaSet>().get(namespace.as_deref().unwrap_or_default(), &set_name).is_some() {
        return status::Progress { collided: true, made: None };
    }
    let none = Size { asked: 0, there: 0, available: 0 };
    let replicas = rollout::grow(bounds, none, &sets.old_sizes());
    let mut template = spec.template.clone();
    let labelled = |labels: Option<BTreeMap<String, String>>| {
        let mut labels = labels.unwrap_or_default();
        labels.insert(HASH.to_owned(), hash.clone());
        Some(labels)
    };
    let labels = labelled(template.metadata.as_ref().and_then(|meta| meta.labels.clone()));
    template.metadata.get_or_insert_default().labels = labels.clone();
    let mut selector = spec.selector.clone();
    selector.match_labels = labelled(selector.match_labels);
    let set = ReplicaSet {
        metadata: ObjectMeta {
            name: Some(set_name.clone()),
            namespace,
            labels,
            annotations: Some(annotations(deployment, None, next_revision(sets), bounds)),
            owner_references: Some(vec![pods::owner(deployment)]),
            ..ObjectMeta::default()
        },
        spec: Some(ReplicaSetSpec {
            replicas: Some(replicas),
            min_ready_seconds: spec.min_ready_seconds,
            selector,
            template: Some(template),
        }),
        status: None,
    };
    plan.create(&set);
    plan.if_refused(deployment, "ReplicaSetCreateError", &format!("Failed to create new replica set \"{set_name}\""));
    if replicas > 0 {
        scaled_event(deployment, &set_name, 0, replicas, plan);
    }
    status::Progress { collided: false, made: Some((set_name, next_revision(sets))) }
}

/// Keeps annotations and `minReadySeconds` of the new set, and the revision of the deployment, as they should be.
fn keep_up(deployment: &Deployment, new: &ReplicaSet, sets: &Sets, bounds: Bounds, plan: &mut Plan) {
    let own = revision(new);
    let newest = sets.old.iter().map(|set| revision(set)).max().unwrap_or(0);
    let wanted = annotations(deployment, Some(new), own.max(newest + 1), bounds);
    let min_ready = deployment.spec.as_ref().and_then(|spec| spec.min_ready_seconds);
    let has_min_ready = new.spec.as_ref().and_then(|spec| spec.min_ready_seconds);
    if new.metadata.annotations.as_ref() != Some(&wanted) || min_ready.unwrap_or(0) != has_min_ready.unwrap_or(0) {
        let patch = json!({
            "metadata": {"annotations": wanted, "resourceVersion": new.metadata.resource_version},
            "spec": {"minReadySeconds": min_ready.unwrap_or(0)},
        });
        plan.patch(new, None, patch);
    }
}

/// The annotations of a set: the deployment's, its revision and the scale it was made for.
fn annotations(
    deployment: &Deployment,
    set: Option<&ReplicaSet>,
    revision: i64,
    bounds: Bounds,
) -> BTreeMap<String, String> {
    let mut wanted = set.and_then(|set| set.metadata.annotations.clone()).unwrap_or_default();
    for (key, value) in deployment.metadata.annotations.iter().flatten() {
        if !NOT_COPIED.contains(&key.as_str()) {
            wanted.insert(key.clone(), value.clone());
        }
    }
    let before = wanted.insert(REVISION.to_owned(), revision.to_string());
    if let Some(before) = before.filter(|before| *before != revision.to_string()) {
        let history = wanted.get(REVISION_HISTORY).map_or(before.clone(), |known| format!("{known},{before}"));
        let start = (0..).find(|at| history.len() - at <= HISTORY_BYTES && history.is_char_boundary(*at)).unwrap_or(0);
        wanted.insert(REVISION_HISTORY.to_owned(), history[start..].to_owned());
    }
    wanted.insert(DESIRED.to_owned(), bounds.replicas.to_string());
    wanted.insert(MOST.to_owned(), bounds.most().to_string());
    wanted
}

/// Changes the scale where no rollout decides: a paused deployment, or one scaled in the middle of a rollout.
fn scale(deployment: &Deployment, sets: &Sets, bounds: Bounds, plan: &mut Plan) {
    let active: Vec<&Arc<ReplicaSet>> = sets.all().filter(|set| Size::of(set).asked > 0).collect();
    let latest = || sets.new.iter().chain(sets.old.last()).next();
    if let [only] = active[..] {
        return resize_to(deployment, only, bounds.replicas, bounds, plan);
    }
    if active.is_empty() {
        if let Some(latest) = latest() {
            resize_to(deployment, latest, bounds.replicas, bounds, plan);
        }
        return;
    }
    let saturated = sets.new.as_ref().filter(|new| {
        let size = Size::of(new);
        size.asked == bounds.replicas && size.available == bounds.replicas
    });
    if saturated.is_some() {
        sets.old.iter().for_each(|set| resize_to(deployment, set, 0, bounds, plan));
        return;
    }
    if bounds.recreate {
        return;
    }
    let mut active = active;
    // Largest first; of equals the newest when growing, the oldest when shrinking.
    let total: i32 = active.iter().map(|set| Size::of(set).asked).sum();
    let grows = rollout::allowed(bounds) > total;
    active.sort_by_cached_key(|set| {
        let created = set.metadata.creation_timestamp.as_ref().map(|time| time.0);
        let (newest, oldest) = (grows.then_some(std::cmp::Reverse(created)), (!grows).then_some(created));
        (std::cmp::Reverse(Size::of(set).asked), newest, oldest, set.metadata.name.clone())
    });
    // A set that does not say for what it was sized was sized for what there is.
    let there = deployment.status.as_ref().and_then(|status| status.replicas).unwrap_or(0);
    let told = |set: &ReplicaSet| annotation(set, MOST).and_then(|text| text.parse().ok()).filter(|most| *most != 0);
    let most_before = |set: &ReplicaSet| told(set).unwrap_or(there);
    let sizes: Vec<_> = active.iter().map(|set| (Size::of(set).asked, most_before(set))).collect();
    for (set, next) in active.into_iter().zip(rollout::spread(bounds, &sizes)) {
        resize_to(deployment, set, next, bounds, plan);
    }
}

/// Resizes a set where its size, or the scale that its annotations tell of, is another.
fn resize_to(deployment: &Deployment, set: &ReplicaSet, next: i32, bounds: Bounds, plan: &mut Plan) {
    if Size::of(set).asked != next || is_scaled(set, deployment) {
        resize(deployment, set, next, bounds, plan);
    }
}

fn resize(deployment: &Deployment, set: &ReplicaSet, next: i32, bounds: Bounds, plan: &mut Plan) {
    let before = Size::of(set).asked;
    let scale = json!({DESIRED: bounds.replicas.to_string(), MOST: bounds.most().to_string()});
    plan.patch(set, None, json!({"metadata": {"annotations": scale}, "spec": {"replicas": next}}));
    if before != next {
        scaled_event(deployment, set.metadata.name.as_deref().unwrap_or_default(), before, next, plan);
    }
}

fn scaled_event(deployment: &Deployment, set: &str, from: i32, to: i32, plan: &mut Plan) {
    let direction = if to > from { "up" } else { "down" };
    let message = format!("Scaled {direction} replica set {set} from {from} to {to}");
    plan.event(deployment, Severity::Normal, "ScalingReplicaSet", message);
}

/// Deletes old sets beyond the history that the deployment keeps.
fn clean_up(deployment: &Deployment, sets: &Sets, plan: &mut Plan) {
    let Some(kept) = deployment.spec.as_ref().and_then(|spec| spec.revision_history_limit) else { return };
    let mut over: Vec<_> = sets.old.iter().filter(|set| set.metadata.deletion_timestamp.is_none()).collect();
    let surplus = over.len().saturating_sub(usize::try_from(kept).unwrap_or(0));
    over.sort_by_key(|set| revision(set));
    for set in over.into_iter().take(surplus) {
        let size = Size::of(set);
        let observed = set.status.as_ref().and_then(|status| status.observed_generation);
        if size.asked == 0 && size.there == 0 && observed >= set.metadata.generation {
            plan.delete(set.as_ref());
        }
    }
}

fn annotation<'a>(set: &'a ReplicaSet, key: &str) -> Option<&'a str> {
    set.metadata.annotations.as_ref()?.get(key).map(String::as_str)
}

pub(crate) fn revision(set: &ReplicaSet) -> i64 {
    annotation(set, REVISION).and_then(|text| text.parse().ok()).unwrap_or(0)
}

fn next_revision(sets: &Sets) -> i64 {
    sets.old.iter().map(|set| revision(set)).max().unwrap_or(0) + 1
}

/// Ten characters or fewer that name a template: FNV-1a, spelled without vowels so that it is a label value and no word.
fn hash(template: &PodTemplateSpec, collisions: Option<i32>) -> String {
    let text = serde_json::to_vec(template).expect("a pod template has string keys only");
    let collisions = collisions.map(i32::to_le_bytes);
    let bytes = text.iter().chain(collisions.iter().flatten());
    let hash = bytes.fold(0x811c_9dc5_u32, |hash, byte| (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193));
    const LETTERS: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";
    hash.to_string().bytes().map(|digit| char::from(LETTERS[usize::from(digit) % LETTERS.len()])).collect()
}
