//! DaemonSet: one pod on every node that takes it.

mod failures;
mod rollout;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use client::plan::Severity;
use client::{Controller, Decision, Key, Moment, Plan, View, Watches};
use k8s_openapi::api::apps::v1::{
    ControllerRevision, DaemonSet, DaemonSetSpec, DaemonSetStatus, RollingUpdateDaemonSet,
};
use k8s_openapi::api::core::v1::{
    Node, NodeSelector, NodeSelectorRequirement, NodeSelectorTerm, Pod, PodSpec, Toleration,
};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use crate::claim::{self, Claims};
use crate::revisions::{HASH, Revisions};
use crate::rollout::scaled;
use crate::{pods, selector};
use failures::Failures;
use rollout::{Place, Seen};

/// Pods made or deleted in one plan, as upstream.
const BURST: usize = 250;
/// What a daemon bears that other pods do not: taint and effect.
const BORNE: [(&str, &str); 6] = [
    ("node.kubernetes.io/not-ready", "NoExecute"),
    ("node.kubernetes.io/unreachable", "NoExecute"),
    ("node.kubernetes.io/disk-pressure", "NoSchedule"),
    ("node.kubernetes.io/memory-pressure", "NoSchedule"),
    ("node.kubernetes.io/pid-pressure", "NoSchedule"),
    ("node.kubernetes.io/unschedulable", "NoSchedule"),
];

pub(crate) struct DaemonSets;

impl Controller for DaemonSets {
    fn name(&self) -> &'static str {
        "daemonset-controller"
    }

    fn identity(&self) -> &'static str {
        "daemon-set-controller"
    }

    fn watches(&self, watches: &mut Watches<'_>) {
        watches.own::<DaemonSet>();
        claim::watch::<Pod, DaemonSet>(watches);
        claim::watch::<ControllerRevision, DaemonSet>(watches);
        watches.mapped::<Node>(|view, change| {
            let shape = |node: &Option<Arc<Node>>| {
                node.as_ref().map(|node| (node.metadata.labels.clone(), node.spec.as_ref().map(|s| s.taints.clone())))
            };
            if change.before.is_some() && shape(&change.before) == shape(&change.after) {
                return vec![];
            }
            view.of::<DaemonSet>().list().iter().map(|set| Key::of(set.as_ref())).collect()
        });
    }

    fn plan(&self, view: &View, key: &Key, moment: Moment) -> Decision {
        let mut plan = Plan::done();
        if let Some(set) = view.of::<DaemonSet>().get_key(key)
            && let Some(spec) = set.spec.as_ref()
            && set.metadata.deletion_timestamp.is_none()
        {
            Work::begin(view, &set, spec, moment, &mut plan).plan(&mut plan);
        }
        plan.into()
    }
}

impl Claims<Pod> for DaemonSet {
    fn selects(&self, pod: &Pod) -> bool {
        self.spec.as_ref().is_some_and(|spec| selector::owns(&spec.selector, pod.metadata.labels.as_ref()))
    }
}

impl Claims<ControllerRevision> for DaemonSet {
    fn selects(&self, revision: &ControllerRevision) -> bool {
        self.spec.as_ref().is_some_and(|spec| selector::owns(&spec.selector, revision.metadata.labels.as_ref()))
    }
}

struct Work<'a> {
    set: &'a DaemonSet,
    spec: &'a DaemonSetSpec,
    moment: Moment,
    nodes: Vec<Arc<Node>>,
    /// The pods by the node they are on or meant for.
    pods: BTreeMap<String, Vec<Arc<Pod>>>,
    revisions: Revisions,
    failures: Failures,
}

impl<'a> Work<'a> {
    fn begin(view: &View, set: &'a DaemonSet, spec: &'a DaemonSetSpec, moment: Moment, plan: &mut Plan) -> Work<'a> {
        let mut by_node: BTreeMap<String, Vec<Arc<Pod>>> = BTreeMap::new();
        // One that has ended and is being deleted is somebody else's: it keeps no successor waiting.
        let is_over = |pod: &Pod| pods::is_finished(pod) && pod.metadata.deletion_timestamp.is_some();
        for pod in claim::claim::<Pod, DaemonSet>(view, set, plan).into_iter().filter(|pod| !is_over(pod)) {
            by_node.entry(meant_for(&pod)).or_default().push(pod);
        }
        let revisions = Revisions::of(view, set, &spec.template, plan);
        let failures = Failures::of(view, set.metadata.generation, moment.now);
        Work { set, spec, moment, nodes: view.of::<Node>().list(), pods: by_node, revisions, failures }
    }

    fn plan(mut self, plan: &mut Plan) {
        let surge = self.surge();
        let mut failures = std::mem::take(&mut self.failures);
        let (mut wanting, mut going) = (Vec::new(), Vec::new());
        for node in &self.nodes {
            let name = node.metadata.name.as_deref().unwrap_or_default();
            let here = self.pods.get(name).map(Vec::as_slice).unwrap_or_default();
            let begins = takes(&self.template(name), node, true);
            if !takes(&self.template(name), node, false) {
                going.extend(here.iter().cloned());
                continue;
            }
            let (finished, alive): (Vec<_>, Vec<_>) = here.iter().cloned().partition(|pod| pods::is_finished(pod));
            let ended = finished.iter().filter(|pod| self.is_replaced(pod, name, &mut failures, plan));
            let ended: Vec<_> = ended.cloned().collect();
            ended.iter().for_each(|pod| self.tell_of_end(name, pod, plan));
            let active: Vec<_> = alive.into_iter().filter(|pod| pods::is_active(pod)).collect();
            // Without surge the like of a pod is made only once it is gone.
            if begins && (here.is_empty() || surge > 0 && active.is_empty() && finished.is_empty()) {
                wanting.push(name);
            }
            going.extend(ended);
            going.extend(rollout::excess(active, surge > 0, &|pod| self.seen(pod)));
        }
        plan.memory = failures.memory();
        self.update(surge, &mut wanting, &mut going);
        let known = |name: &String| self.nodes.iter().any(|node| node.metadata.name.as_ref() == Some(name));
        // Those that were placed on a node that is gone are somebody else's to remove.
        let lost = self.pods.iter().filter(|(name, _)| !known(name)).flat_map(|(_, pods)| pods);
        going.extend(lost.filter(|pod| pods::node(pod).is_empty()).cloned());
        going.retain(|pod| pod.metadata.deletion_timestamp.is_none());
        going.sort_by(|a, b| a.metadata.name.cmp(&b.metadata.name));
        going.dedup_by(|a, b| a.metadata.name == b.metadata.name);
        wanting.iter().take(BURST).enumerate().for_each(|(n, name)| self.create(name, n, plan));
        for pod in going.iter().take(BURST) {
            plan.delete(pod.as_ref());
            let name = pod.metadata.name.as_deref().unwrap_or_default();
            plan.event(self.set, Severity::Normal, "SuccessfulDelete", format!("Deleted pod: {name}"));
        }
        let used = |hash: &str| self.pods.values().flatten().any(|pod| revision(pod) == hash);
        self.revisions.trim(used, self.spec.revision_history_limit, plan);
        self.status(plan);
    }

    /// Whether a pod that has ended gives way now; one that failed may have to wait.
    fn is_replaced(&self, pod: &Pod, node: &str, failures: &mut Failures, plan: &mut Plan) -> bool {
        if pods::phase(pod) != "Failed" || pod.metadata.deletion_timestamp.is_some() {
            return true;
        }
        if let Some(left) = failures.left(node, self.moment.now) {
            plan.again(Duration::try_from(left).unwrap_or_default());
            return false;
        }
        failures.replaced(node, self.moment.now);
        true
    }

    fn tell_of_end(&self, node: &str, pod: &Pod, plan: &mut Plan) {
        if pod.metadata.deletion_timestamp.is_some() {
            return;
        }
        let (severity, reason, how, then) = match pods::phase(pod) {
            "Failed" => (Severity::Warning, "FailedDaemonPod", "failed", "kill"),
            _ => (Severity::Normal, "SucceededDaemonPod", "succeeded", "delete"),
        };
        let (namespace, name) = (pod.metadata.namespace.as_deref(), pod.metadata.name.as_deref());
        let (namespace, name) = (namespace.unwrap_or_default(), name.unwrap_or_default());
        let message = format!("Found {how} daemon pod {namespace}/{name} on node {node}, will try to {then} it");
        plan.event(self.set, severity, reason, message);
    }

    fn seen(&self, pod: &Pod) -> Seen {
        Seen {
            new: revision(pod) == self.revisions.current,
            ready: pods::is_ready(pod),
            available: self.is_available(pod),
        }
    }

    /// How many pods there may be beside those that they replace.
    fn surge(&self) -> usize {
        let most = self.rolling().and_then(|rolling| rolling.max_surge.as_ref());
        let wanted = || self.wanting().count() as i32;
        usize::try_from(most.map_or(0, |most| scaled(most, wanted(), true))).unwrap_or(0)
    }

    /// Of a set that rolls.
    fn rolling(&self) -> Option<&RollingUpdateDaemonSet> {
        let strategy = self.spec.update_strategy.as_ref()?;
        strategy.rolling_update.as_ref().filter(|_| strategy.type_.as_deref() != Some("OnDelete"))
    }

    /// The pod as it would be on a node.
    fn template(&self, node: &str) -> PodSpec {
        let mut spec = self.spec.template.spec.clone().unwrap_or_default();
        pin(&mut spec, node);
        bear(&mut spec);
        spec
    }

    fn create(&self, node: &str, n: usize, plan: &mut Plan) {
        let name = self.set.metadata.name.as_deref().unwrap_or_default();
        let namespace = self.set.metadata.namespace.as_deref().unwrap_or_default();
        let seed = pods::nth(self.moment, n);
        let mut pod =
            pods::from_template(&self.spec.template, namespace, pods::owner(self.set), &format!("{name}-"), seed);
        let labels = pod.metadata.labels.get_or_insert_default();
        labels.insert(HASH.to_owned(), self.revisions.current.clone());
        if let Some(generation) = self.set.metadata.generation {
            labels.insert("pod-template-generation".to_owned(), generation.to_string());
        }
        pod.spec = Some(self.template(node));
        plan.create(&pod);
        let made = pod.metadata.name.as_deref().unwrap_or_default();
        plan.event(self.set, Severity::Normal, "SuccessfulCreate", format!("Created pod: {made}"));
        plan.if_refused(self.set, "FailedCreate", "Error creating");
    }

    /// What goes and what is made so that pods of an old template give way.
    fn update<'b>(&'b self, surge: usize, wanting: &mut Vec<&'b str>, going: &mut Vec<Arc<Pod>>) {
        let strategy = self.spec.update_strategy.as_ref();
        if strategy.and_then(|strategy| strategy.type_.as_deref()) == Some("OnDelete") {
            return;
        }
        let nodes: Vec<Place<'_>> = self.nodes.iter().filter_map(|node| self.place(node)).collect();
        if surge > 0 {
            let (more, less) = rollout::surge(&nodes, surge, &|pod| self.seen(pod));
            wanting.extend(more.into_iter().filter(|node| !wanting.contains(node)).collect::<Vec<_>>());
            return going.extend(less);
        }
        let one = IntOrString::Int(1);
        let most = self.rolling().and_then(|rolling| rolling.max_unavailable.as_ref()).unwrap_or(&one);
        let wanting = nodes.iter().filter(|place| place.begins).count() as i32;
        let most = usize::try_from(scaled(most, wanting, true)).unwrap_or(0).max(1);
        going.extend(rollout::replace(&nodes, most, &|pod| self.seen(pod)));
    }

    /// A node that takes the daemon, or has it and lets it stay.
    fn place<'b>(&self, node: &'b Node) -> Option<Place<'b>> {
        let name = node.metadata.name.as_deref()?;
        let mut pods = self.pods.get(name).cloned().unwrap_or_default();
        pods.retain(|pod| pods::is_active(pod));
        let template = self.template(name);
        let begins = takes(&template, node, true);
        let stays = !pods.is_empty() && takes(&template, node, false);
        (begins || stays).then_some(Place { name, begins, pods })
    }

    fn wanting(&self) -> impl Iterator<Item = &str> {
        let names = self.nodes.iter().filter_map(|node| Some((node.metadata.name.as_deref()?, node)));
        names.filter(|(name, node)| takes(&self.template(name), node, true)).map(|(name, _)| name)
    }

    fn is_available(&self, pod: &Pod) -> bool {
        let least = self.spec.min_ready_seconds.unwrap_or(0);
        pods::until_available(pod, least, self.moment.now).is_some_and(|left| left.is_zero())
    }

    fn status(&mut self, plan: &mut Plan) {
        let mut status = DaemonSetStatus {
            observed_generation: self.set.metadata.generation,
            collision_count: self.set.status.as_ref().and_then(|status| status.collision_count),
            conditions: self.set.status.as_ref().and_then(|status| status.conditions.clone()),
            ..DaemonSetStatus::default()
        };
        let (mut available, mut updated) = (0, 0);
        for node in &self.nodes {
            let name = node.metadata.name.as_deref().unwrap_or_default();
            let here = self.pods.get(name).map(Vec::as_slice).unwrap_or_default();
            // One that ends counts as long as it is there.
            let pod = here.iter().min_by_key(|pod| rollout::age(pod));
            if !takes(&self.template(name), node, true) {
                status.number_misscheduled += i32::from(pod.is_some());
                continue;
            }
            status.desired_number_scheduled += 1;
            let Some(pod) = pod else { continue };
            status.current_number_scheduled += 1;
            status.number_ready += i32::from(pods::is_ready(pod));
            available += i32::from(self.is_available(pod));
            updated += i32::from(revision(pod) == self.revisions.current);
            let least = self.spec.min_ready_seconds.unwrap_or(0);
            let left = pods::until_available(pod, least, self.moment.now).filter(|left| !left.is_zero());
            if let Some(left) = left {
                plan.again(Duration::try_from(left).unwrap_or_default());
            }
        }
        let some = |n: i32| (n > 0).then_some(n);
        status.number_available = some(available);
        status.number_unavailable = some(status.desired_number_scheduled - available);
        status.updated_number_scheduled = some(updated);
        if self.set.status.as_ref() != Some(&status) {
            plan.status(&DaemonSet { status: Some(status), ..self.set.clone() });
        }
    }
}

fn revision(pod: &Pod) -> &str {
    pod.metadata.labels.as_ref().and_then(|labels| labels.get(HASH)).map_or("", String::as_str)
}

/// The node a pod is on, or the one that its affinity pins it to.
fn meant_for(pod: &Pod) -> String {
    if !pods::node(pod).is_empty() {
        return pods::node(pod).to_owned();
    }
    let affinity = pod.spec.as_ref().and_then(|spec| spec.affinity.as_ref()?.node_affinity.as_ref());
    let required = affinity.and_then(|a| a.required_during_scheduling_ignored_during_execution.as_ref());
    let terms = required.iter().flat_map(|required| &required.node_selector_terms);
    let mut fields = terms.flat_map(|term| term.match_fields.iter().flatten());
    let name = fields.find(|field| field.key == "metadata.name").and_then(|field| field.values.as_ref()?.first());
    name.cloned().unwrap_or_default()
}

/// Pins a pod to a node, beside whatever else it requires.
fn pin(spec: &mut PodSpec, node: &str) {
    let field = NodeSelectorRequirement {
        key: "metadata.name".to_owned(),
        operator: "In".to_owned(),
        values: Some(vec![node.to_owned()]),
    };
    let affinity = spec.affinity.get_or_insert_default().node_affinity.get_or_insert_default();
    let required = affinity
        .required_during_scheduling_ignored_during_execution
        .get_or_insert_with(|| NodeSelector { node_selector_terms: vec![NodeSelectorTerm::default()] });
    for term in &mut required.node_selector_terms {
        term.match_fields = Some(vec![field.clone()]);
    }
}

fn bear(spec: &mut PodSpec) {
    let network = ("node.kubernetes.io/network-unavailable", "NoSchedule");
    let more = (spec.host_network == Some(true)).then_some(network);
    for (key, effect) in BORNE.into_iter().chain(more) {
        let toleration = Toleration {
            key: Some(key.to_owned()),
            operator: Some("Exists".to_owned()),
            effect: Some(effect.to_owned()),
            ..Toleration::default()
        };
        let all = spec.tolerations.get_or_insert_default();
        if !all.contains(&toleration) {
            all.push(toleration);
        }
    }
}

/// Whether a node takes the daemon: to begin with, or to keep it.
fn takes(spec: &PodSpec, node: &Node, begin: bool) -> bool {
    let label = |key: &str| node.metadata.labels.as_ref().and_then(|labels| labels.get(key));
    let named = spec.node_name.as_ref().is_none_or(|name| node.metadata.name.as_ref() == Some(name));
    let selected = spec.node_selector.iter().flatten().all(|(key, value)| label(key) == Some(value));
    let affinity = spec.affinity.as_ref().and_then(|affinity| affinity.node_affinity.as_ref());
    let required = affinity.and_then(|a| a.required_during_scheduling_ignored_during_execution.as_ref());
    let affine = required.is_none_or(|required| fit::nodes::chooses(required, node));
    let keeps_away = |effect: &str| effect == "NoExecute" || begin && effect == "NoSchedule";
    let mut taints = node.spec.iter().flat_map(|spec| spec.taints.iter().flatten());
    let borne = taints.all(|taint| {
        !keeps_away(&taint.effect) || spec.tolerations.iter().flatten().any(|t| crate::eviction::meets(t, taint))
    });
    named && selected && affine && borne
}
