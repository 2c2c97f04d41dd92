//! Workloads that keep pods running: their selectors, templates and strategies.

use super::at::{At, Errors};
use super::metadata::{self, NameRule, differs};
use super::pods::{template, template_with};
use super::selectors::{LABEL_SELECTOR as SELECTOR, label_selector, selects_all};
use super::words;
use crate::kind::Context;
use crate::names;
use crate::object::Object;
use crate::selector::LabelSelector;
use crate::status::FieldError;
use crate::value::{Map, Value};

pub(super) fn checked(
    object: &Object,
    name: NameRule,
    out: &mut Vec<FieldError>,
    rules: impl FnOnce(&At<'_>, &Errors),
) {
    let errors = Errors::default();
    let root = At::root(object, &errors);
    metadata::of(&root, name);
    rules(&root, &errors);
    out.extend(errors.into_list());
}

/// The rules of an update, behind those of the object itself; writes of the status have rules of their own.
pub(super) fn updated(
    new: &Object,
    old: &Object,
    context: Context<'_>,
    out: &mut Vec<FieldError>,
    spec: impl FnOnce(&At<'_>),
    status: impl FnOnce(&At<'_>),
) {
    let errors = Errors::default();
    let root = At::root(new, &errors);
    match context.subresource {
        "" => spec(&root),
        _ => {
            out.clear();
            status(&root.field("status"));
        }
    }
    out.extend(errors.into_list());
    metadata::update(new, old, out);
}

/// The same where nothing but the status has rules for updates.
pub(super) fn status_updated(
    new: &Object,
    old: &Object,
    context: Context<'_>,
    out: &mut Vec<FieldError>,
    status: impl FnOnce(&At<'_>),
) {
    updated(new, old, context, out, |_| {}, status);
}

pub(super) fn immutable(at: &At<'_>, old: Option<&Value>) {
    if differs(at.value, old) {
        at.invalid("field is immutable");
    }
}

fn selector_stays(spec: &At<'_>, old: &Object) {
    let selector = spec.field("selector");
    if differs(selector.value, old.at(&["spec", "selector"])) {
        selector.invalid_typed(SELECTOR, "field is immutable");
    }
}

/// The labels of a template are what its workload selects.
pub(super) fn selects_template(spec: &At<'_>) -> bool {
    let Some(selector) = spec.field("selector").value else { return false };
    let Ok(selector) = LabelSelector::from_value(selector) else { return true };
    let labels = spec.fields(&["template", "metadata", "labels"]);
    let good = selector.matches_labels(labels.value);
    if !good {
        mismatch(spec);
    }
    good
}

pub(super) fn mismatch(spec: &At<'_>) {
    spec.fields(&["template", "metadata", "labels"]).invalid("`selector` does not match template `labels`");
}

/// A selector that must be there. `who` says whose it is where the empty one is refused.
fn selector(spec: &At<'_>, who: &str) {
    let at = spec.field("selector");
    if !at.is() {
        return at.required("");
    }
    label_selector(&at);
    if selects_all(&at) {
        at.invalid_as("{}", &format!("empty selector is invalid for {who}"));
    }
}

/// The selector and the template of what keeps a number of equal pods.
fn pods(spec: &At<'_>, errors: &Errors, who: &str) {
    let at = spec.field("selector");
    match at.value.map(LabelSelector::from_value) {
        None => mismatch(spec),
        Some(Ok(_)) => {
            selects_template(spec);
        }
        Some(Err(_)) => at.invalid_typed(SELECTOR, who),
    }
    restarting_template(&spec.field("template"), errors, "ReplicaSet");
}

/// A template of pods that are always restarted.
fn restarting_template(at: &At<'_>, errors: &Errors, who: &str) {
    restarting_template_with(at, errors, who, &[]);
}

/// The same where volumes of these names are added for each pod.
fn restarting_template_with<'a>(at: &At<'a>, errors: &Errors, who: &str, added: &[&'a str]) {
    template_with(at, errors, added);
    let spec = at.field("spec");
    if spec.get("restartPolicy") != "Always" {
        spec.field("restartPolicy").unsupported(&["Always"]);
    }
    if spec.has("activeDeadlineSeconds") {
        spec.field("activeDeadlineSeconds").forbidden(&format!("activeDeadlineSeconds in {who} is not Supported"));
    }
}

pub(in crate::kinds) fn deployment(object: &Object, out: &mut Vec<FieldError>) {
    checked(object, names::dns1123_subdomain, out, |root, errors| {
        let spec = root.field("spec");
        spec.field("replicas").not_negative();
        selector(&spec, "deployment");
        pods(&spec, errors, "invalid label selector");
        deployment_strategy(&spec.field("strategy"));
        spec.field("minReadySeconds").not_negative();
        spec.field("revisionHistoryLimit").not_negative();
        let deadline = spec.field("progressDeadlineSeconds");
        deadline.not_negative();
        if deadline.int().is_some_and(|d| d <= spec.field("minReadySeconds").int().unwrap_or(0)) {
            deadline.invalid("must be greater than minReadySeconds");
        }
    });
}

fn deployment_strategy(at: &At<'_>) {
    let rolling = at.field("rollingUpdate");
    match at.get("type") {
        "Recreate" if rolling.is() => {
            rolling.forbidden("may not be specified when strategy `type` is 'Recreate'");
        }
        "Recreate" => {}
        "RollingUpdate" if !rolling.is() => {
            rolling.required("this should be defaulted and never be nil");
        }
        "RollingUpdate" => {
            let (surge, gone) = (rolling.field("maxSurge"), rolling.field("maxUnavailable"));
            words::int_or_percent(&gone);
            words::int_or_percent(&surge);
            if words::is_zero(&gone) && words::is_zero(&surge) {
                gone.invalid("may not be 0 when `maxSurge` is 0");
            }
            words::at_most_all(&gone);
        }
        "" if !at.is() => {}
        _ => at.unsupported_as(&super::inner::inner(at.value, strategy("Deployment")), &["Recreate", "RollingUpdate"]),
    }
}

fn strategy(of: &str) -> Option<&'static crate::schema::Schema> {
    let kind = if of == "Deployment" { "Strategy" } else { "UpdateStrategy" };
    crate::schema::find(&format!("io.k8s.api.apps.v1.{of}{kind}"))
}

pub(in crate::kinds) fn deployment_update(new: &Object, old: &Object, context: Context<'_>, out: &mut Vec<FieldError>) {
    updated(
        new,
        old,
        context,
        out,
        |root| selector_stays(&root.field("spec"), old),
        |status| {
            let counts = ["replicas", "updatedReplicas", "readyReplicas", "availableReplicas", "unavailableReplicas"];
            counts_not_negative(status, &counts);
            status.field("collisionCount").not_negative();
            counts_within(status, "replicas", &["updatedReplicas", "readyReplicas", "availableReplicas"]);
            let available = status.field("availableReplicas");
            if available.int().unwrap_or(0) > status.field("readyReplicas").int().unwrap_or(0) {
                available.invalid("cannot be greater than readyReplicas");
            }
        },
    );
}

fn counts_not_negative(status: &At<'_>, keys: &[&str]) {
    keys.iter().for_each(|k| status.field(k).not_negative());
}

fn counts_within(status: &At<'_>, whole: &str, parts: &[&str]) {
    let most = status.field(whole).int().unwrap_or(0);
    for part in parts.iter().map(|p| status.field(p)) {
        let count = part.int().unwrap_or(0);
        if count > most {
            part.invalid_as(&count.to_string(), &format!("cannot be greater than status.{whole}"));
        }
    }
}

pub(in crate::kinds) fn replica_set(object: &Object, out: &mut Vec<FieldError>) {
    checked(object, names::dns1123_subdomain, out, |root, errors| {
        let spec = root.field("spec");
        spec.field("replicas").not_negative();
        spec.field("minReadySeconds").not_negative();
        selector(&spec, "deployment");
        pods(&spec, errors, "invalid label selector");
    });
}

pub(in crate::kinds) fn replica_set_update(
    new: &Object,
    old: &Object,
    context: Context<'_>,
    out: &mut Vec<FieldError>,
) {
    updated(new, old, context, out, |root| selector_stays(&root.field("spec"), old), replica_status);
}

fn replica_status(status: &At<'_>) {
    let counts = [
        "replicas",
        "fullyLabeledReplicas",
        "readyReplicas",
        "availableReplicas",
        "observedGeneration",
        "terminatingReplicas",
    ];
    counts_not_negative(status, &counts);
    counts_within(status, "replicas", &["fullyLabeledReplicas", "readyReplicas", "availableReplicas"]);
    counts_within(status, "readyReplicas", &[]);
    let (ready, available) = (status.field("readyReplicas"), status.field("availableReplicas"));
    if available.int() > ready.int().or(Some(0)) && available.is() {
        available.invalid("cannot be greater than readyReplicas");
    }
}

pub(in crate::kinds) fn replication_controller(object: &Object, out: &mut Vec<FieldError>) {
    checked(object, names::dns1123_subdomain, out, |root, errors| {
        let spec = root.field("spec");
        spec.field("minReadySeconds").not_negative();
        spec.field("selector").not_empty();
        spec.field("replicas").not_negative();
        let pods = spec.field("template");
        if !pods.is() {
            return pods.required("");
        }
        let labels = pods.fields(&["metadata", "labels"]);
        let carried = |k: &str| labels.pairs().find(|(l, _)| *l == k).map(|(_, v)| v.text());
        if spec.field("selector").pairs().any(|(k, v)| carried(k) != Some(v.text())) {
            labels.invalid("`selector` does not match template `labels`");
        }
        restarting_template(&pods, errors, "ReplicationController");
    });
}

pub(in crate::kinds) fn controller_update(new: &Object, old: &Object, context: Context<'_>, out: &mut Vec<FieldError>) {
    status_updated(new, old, context, out, replica_status);
}

pub(in crate::kinds) fn daemon_set(object: &Object, out: &mut Vec<FieldError>) {
    checked(object, names::dns1123_subdomain, out, |root, errors| {
        let spec = root.field("spec");
        let at = spec.field("selector");
        label_selector(&at);
        match at.is() {
            false => mismatch(&spec),
            true => drop(selects_template(&spec)),
        }
        if at.is() && selects_all(&at) {
            at.invalid_as("{}", "empty selector is invalid for daemonset");
        }
        template_of_daemons(&spec.field("template"), errors);
        spec.field("minReadySeconds").not_negative();
        daemon_strategy(&spec.field("updateStrategy"));
        spec.field("revisionHistoryLimit").not_negative();
    });
}

fn template_of_daemons(at: &At<'_>, errors: &Errors) {
    template(at, errors);
    let spec = at.field("spec");
    if spec.get("restartPolicy") != "Always" {
        spec.field("restartPolicy").unsupported(&["Always"]);
    }
    if spec.has("activeDeadlineSeconds") {
        spec.field("activeDeadlineSeconds").forbidden("activeDeadlineSeconds in DaemonSet is not Supported");
    }
}

fn daemon_strategy(at: &At<'_>) {
    let rolling = at.field("rollingUpdate");
    match at.get("type") {
        "OnDelete" => {}
        "RollingUpdate" if !rolling.is() => rolling.required(""),
        "RollingUpdate" => {
            let (surge, gone) = (rolling.field("maxSurge"), rolling.field("maxUnavailable"));
            for at in [&gone, &surge] {
                words::int_or_percent(at);
                words::at_most_all(at);
            }
            match (words::is_zero(&gone), words::is_zero(&surge)) {
                (false, false) => surge.invalid("may not be set when maxUnavailable is non-zero"),
                (true, true) => gone.required("cannot be 0 when maxSurge is 0"),
                _ => {}
            }
        }
        _ => at.unsupported_as(&super::inner::inner(at.value, strategy("DaemonSet")), &["RollingUpdate", "OnDelete"]),
    }
}

pub(in crate::kinds) fn daemon_set_update(new: &Object, old: &Object, context: Context<'_>, out: &mut Vec<FieldError>) {
    let counts = [
        "currentNumberScheduled",
        "numberMisscheduled",
        "desiredNumberScheduled",
        "numberReady",
        "observedGeneration",
        "updatedNumberScheduled",
        "numberAvailable",
        "numberUnavailable",
    ];
    updated(
        new,
        old,
        context,
        out,
        |root| selector_stays(&root.field("spec"), old),
        |s| counts_not_negative(s, &counts),
    );
}

/// StatefulSets name their pods, which are labels of DNS.
pub(in crate::kinds) fn stateful_set(object: &Object, out: &mut Vec<FieldError>) {
    checked(object, names::dns1123_label, out, |root, _| stateful_spec(&root.field("spec")));
    // The controller puts the name of the service there.
    out.retain(|e| e.path != "spec.template.spec.subdomain");
}

fn stateful_spec(spec: &At<'_>) {
    let management = spec.field("podManagementPolicy");
    match management.text() {
        "" => management.required(""),
        "OrderedReady" | "Parallel" => {}
        _ => management.invalid("must be 'OrderedReady' or 'Parallel'"),
    }
    let strategy = spec.field("updateStrategy");
    match strategy.get("type") {
        "" => strategy.required(""),
        "OnDelete" if strategy.has("rollingUpdate") => {
            let type_name = "io.k8s.api.apps.v1.RollingUpdateStatefulSetStrategy";
            strategy.field("rollingUpdate").invalid_inner(type_name, "only allowed for updateStrategy 'RollingUpdate'");
        }
        "OnDelete" => {}
        "RollingUpdate" => {
            let rolling = strategy.field("rollingUpdate");
            rolling.field("partition").not_negative();
            words::int_or_percent(&rolling.field("maxUnavailable"));
        }
        _ => {
            let type_name = "io.k8s.api.apps.v1.StatefulSetUpdateStrategy";
            strategy.invalid_inner(type_name, "must be 'RollingUpdate' or 'OnDelete'");
        }
    }
    let retention = spec.field("persistentVolumeClaimRetentionPolicy");
    for when in ["whenDeleted", "whenScaled"] {
        retention.field(when).maybe_one_of(&["Retain", "Delete"]);
    }
    spec.field("volumeClaimTemplates").items().for_each(|claim| super::claims::claim_spec(&claim.field("spec")));
    spec.field("replicas").not_negative();
    spec.field("minReadySeconds").not_negative();
    spec.fields(&["ordinals", "start"]).not_negative();
    selector(spec, "statefulset");
    let service = spec.field("serviceName");
    if !service.text().is_empty() {
        service.matches(names::dns1123_label);
    }
    match spec.field("selector").value.map(LabelSelector::from_value) {
        Some(Err(_)) => spec.field("selector").invalid_typed(SELECTOR, ""),
        found => {
            match found {
                None => mismatch(spec),
                Some(_) => drop(selects_template(spec)),
            }
            let claims = spec.field("volumeClaimTemplates");
            claimed_volumes(spec, &claims);
            let claims: Vec<&str> = claims.items().map(|claim| claim.fields(&["metadata", "name"]).text()).collect();
            // Upstream looks at these of the template, and then at all of it.
            let meta = |key: &str| spec.fields(&["template", "metadata", key]).named(format!("spec.template.{key}"));
            metadata::labels(&meta("labels"));
            metadata::annotations(&meta("annotations"));
            let found = Errors::default();
            restarting_template_with(&spec.field("template").telling(&found), &found, "StatefulSet", &claims);
            spec.report(behind_claims(found.into_list(), spec, &claims));
        }
    }
}

/// Complaints of a template whose volumes stand behind those of the claims, which take the place of any of their names.
fn behind_claims(found: Vec<FieldError>, spec: &At<'_>, claims: &[&str]) -> Vec<FieldError> {
    const VOLUMES: &str = "spec.template.spec.volumes[";
    let volumes = spec.fields(&["template", "spec", "volumes"]);
    let names: Vec<&str> = volumes.items().map(|volume| volume.get("name")).collect();
    let moved = |mut error: FieldError| {
        let place = error.path.strip_prefix(VOLUMES).and_then(|rest| rest.split_once(']'));
        let Some((index, rest)) = place.and_then(|(i, rest)| Some((i.parse::<usize>().ok()?, rest))) else {
            return Some(error);
        };
        if names.get(index).is_some_and(|name| claims.contains(name)) {
            return None;
        }
        let before = names.iter().take(index).filter(|name| !claims.contains(name)).count();
        error.path = format!("{VOLUMES}{}]{rest}", claims.len() + before);
        Some(error)
    };
    found.into_iter().filter_map(moved).collect()
}

/// The volumes that claims of their own make for the pods.
fn claimed_volumes(spec: &At<'_>, claims: &At<'_>) {
    let list = spec.fields(&["template", "spec", "volumes"]);
    for (i, claim) in claims.items().enumerate() {
        let name = claim.fields(&["metadata", "name"]);
        let volume = list.key(i).other(None);
        if name.is_empty() {
            volume.field("persistentVolumeClaim").field("claimName").required("");
        }
        name.named(format!("{}.name", volume.path)).required_matches(names::dns1123_label);
    }
}

const STATEFUL_CHANGES: &str = "updates to statefulset spec for fields other than 'replicas', 'ordinals', 'template', 'updateStrategy', 'revisionHistoryLimit', 'persistentVolumeClaimRetentionPolicy' and 'minReadySeconds' are forbidden";
const STATEFUL_FREE: &[&str] = &[
    "replicas",
    "ordinals",
    "template",
    "updateStrategy",
    "revisionHistoryLimit",
    "persistentVolumeClaimRetentionPolicy",
    "minReadySeconds",
];

pub(in crate::kinds) fn stateful_set_update(
    new: &Object,
    old: &Object,
    context: Context<'_>,
    out: &mut Vec<FieldError>,
) {
    // Claims that are there are no longer looked at.
    out.retain(|e| !e.path.starts_with("spec.volumeClaimTemplates") && e.path != "spec.serviceName");
    let fixed = |o: &Object| -> Map {
        let mut spec = o.at(&["spec"]).and_then(Value::as_map).cloned().unwrap_or_default();
        spec.retain(|key, _| !STATEFUL_FREE.contains(&key.as_str()));
        spec
    };
    let spec = |root: &At<'_>| {
        if fixed(new) != fixed(old) {
            root.field("spec").forbidden(STATEFUL_CHANGES);
        }
    };
    updated(new, old, context, out, spec, |status| {
        let counts = ["replicas", "readyReplicas", "currentReplicas", "updatedReplicas", "availableReplicas"];
        counts_not_negative(status, &counts);
        counts_not_negative(status, &["observedGeneration", "collisionCount"]);
        counts_within(status, "replicas", &counts[1..]);
        counts_within(status, "readyReplicas", &["availableReplicas"]);
    });
}

pub(in crate::kinds) fn controller_revision(object: &Object, out: &mut Vec<FieldError>) {
    checked(object, names::dns1123_subdomain, out, |root, _| {
        let data = root.field("data");
        match data.value {
            None => data.required("data is mandatory"),
            Some(Value::Map(_)) => {}
            Some(_) => data.required("data must be a valid JSON object"),
        }
        root.field("revision").not_negative();
    });
}

pub(in crate::kinds) fn controller_revision_update(
    new: &Object,
    old: &Object,
    c: Context<'_>,
    out: &mut Vec<FieldError>,
) {
    // What stays need not be looked at again.
    out.retain(|e| e.path != "data");
    updated(new, old, c, out, |root| immutable(&root.field("data"), old.at(&["data"])), |_| {});
}
