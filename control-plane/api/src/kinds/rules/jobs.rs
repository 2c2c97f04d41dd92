//! Jobs and CronJobs.

use super::at::{At, Errors};
use super::metadata::differs;
use super::pods::template;
use super::selectors::{LABEL_SELECTOR as SELECTOR, label_selector};
use super::words;
use super::workloads::{checked, immutable, mismatch, selects_template, status_updated, updated};
use crate::cron;
use crate::kind::Context;
use crate::names;
use crate::object::Object;
use crate::selector::LabelSelector;
use crate::status::{FieldError, FieldReason};
use crate::value::{Map, Value};

/// CronJobs add eleven letters to the names of their Jobs, which are labels.
const MAX_CRON_NAME: usize = 52;

/// As upstream's: of one policy, of one rule's codes and conditions.
const MAX_RULES: usize = 20;
const MAX_EXIT_CODES: usize = 255;
const MAX_CONDITIONS: usize = 20;
const MAX_MANAGER: usize = 63;
/// Of a list of indexes, in bytes.
const MAX_INDEXES: usize = 64 * 1024;
/// So many pods at once, and so many indexes that failed, may an indexed job have; so few of them where there are more
/// completions than are kept one by one.
const MAX_INDEXED: i64 = 100_000;
const MAX_OF_MANY: i64 = 10_000;

pub(in crate::kinds) fn job(object: &Object, out: &mut Vec<FieldError>) {
    checked(object, names::dns1123_subdomain, out, |root, errors| {
        let spec = root.field("spec");
        generated(root, &spec);
        job_spec(&spec, errors);
        selected(&spec);
        host_names(root, &spec);
    });
}

/// The pods of an indexed job are called after it, and each name is a label.
fn host_names(root: &At<'_>, spec: &At<'_>) {
    let count = spec.field("completions").int().unwrap_or(0);
    if spec.get("completionMode") != "Indexed" || count <= 0 {
        return;
    }
    let name = root.fields(&["metadata", "name"]);
    let longest = format!("{}-{}", name.text(), count - 1);
    if !names::dns1123_label(&longest).is_empty() {
        name.invalid_text(name.text(), &format!("will not able to create pod with invalid DNS label: {longest}"));
    }
}

/// What the server makes of a Job's selector and labels unless the user does.
fn generated(root: &At<'_>, spec: &At<'_>) {
    let selector = spec.field("selector");
    if spec.field("manualSelector").truth() || !selector.is() {
        return;
    }
    let meta = root.field("metadata");
    let labels = spec.fields(&["template", "metadata", "labels"]);
    let prefix = "batch.kubernetes.io/";
    let mut expected = Map::new();
    for (name, wanted) in [("controller-uid", meta.get("uid")), ("job-name", meta.get("name"))] {
        for key in [name.to_owned(), format!("{prefix}{name}")] {
            match labels.pairs().find(|(k, _)| *k == key).map(|(_, v)| v.text()) {
                Some(held) if held == wanted => {}
                Some(_) => labels.key(&key).invalid(&format!("must be '{wanted}'")),
                None => labels.key(&key).required(&format!("must be '{wanted}'")),
            }
            expected.insert(key, wanted);
        }
    }
    let expected = Value::Map(expected);
    let matches = selector.value.and_then(|v| LabelSelector::from_value(v).ok());
    if matches.is_some_and(|s| !s.matches_labels(Some(&expected))) {
        selector.invalid_typed(SELECTOR, "`selector` not auto-generated");
    }
}

/// Whoever makes it, the selector is of the pods that will be.
fn selected(spec: &At<'_>) {
    let selector = spec.field("selector");
    match selector.is() {
        true => {
            label_selector(&selector);
            selects_template(spec);
        }
        false => {
            selector.required("");
            mismatch(spec);
        }
    }
}

/// The rules of Jobs and of the Jobs to be.
fn job_spec(at: &At<'_>, errors: &Errors) {
    for number in ["parallelism", "completions", "activeDeadlineSeconds", "backoffLimit", "ttlSecondsAfterFinished"] {
        at.field(number).not_negative();
    }
    per_index(at);
    let manager = at.field("managedBy");
    if manager.is() {
        words::domain_path(&manager);
        if manager.text().len() > MAX_MANAGER {
            manager.too_long(MAX_MANAGER);
        }
    }
    let mode = at.field("completionMode");
    mode.maybe_one_of(&["NonIndexed", "Indexed"]);
    if mode.text() == "Indexed" {
        indexed(at);
    }
    let policy = at.field("podFailurePolicy");
    if policy.is() {
        failure_policy(&policy, at);
    }
    success_policy(&at.field("successPolicy"), at);
    let replaced = at.field("podReplacementPolicy");
    match policy.is() {
        true => replaced.maybe_one_of(&["Failed"]),
        false => replaced.maybe_one_of(&["Failed", "TerminatingOrFailed"]),
    }
    template(&at.field("template"), errors);
    let restart = at.fields(&["template", "spec", "restartPolicy"]);
    match restart.text() {
        "" | "Always" => restart.required("valid values: \"OnFailure\", \"Never\""),
        "OnFailure" if policy.is() => {
            restart.invalid("only \"Never\" is supported when podFailurePolicy is specified");
        }
        _ => restart.one_of(&["OnFailure", "Never"]),
    }
}

fn indexed(at: &At<'_>) {
    let [completions, parallelism, failed] =
        ["completions", "parallelism", "maxFailedIndexes"].map(|key| at.field(key));
    if !completions.is() {
        completions.required("when completion mode is Indexed");
    }
    let at_most = |number: &At<'_>, limit: i64, when: &str| {
        if number.int().is_some_and(|n| n > limit) {
            number.invalid(&format!("must be less than or equal to {limit}{when}"));
        }
    };
    at_most(&parallelism, MAX_INDEXED, " when completion mode is Indexed");
    if completions.int().zip(failed.int()).is_some_and(|(all, failed)| failed > all) {
        failed.invalid("must be less than or equal to completions");
    }
    at_most(&failed, MAX_INDEXED, "");
    if completions.int().is_some_and(|c| c > MAX_INDEXED) && at.has("backoffLimitPerIndex") {
        if !failed.is() {
            failed.required(&format!("must be specified when completions is above {MAX_INDEXED}"));
        }
        let when = format!(" when completions are above {MAX_INDEXED} and used with backoff limit per index");
        at_most(&parallelism, MAX_OF_MANY, &when);
        at_most(&failed, MAX_OF_MANY, &when);
    }
}

fn per_index(at: &At<'_>) {
    let (limit, failed) = (at.field("backoffLimitPerIndex"), at.field("maxFailedIndexes"));
    if failed.is() && !limit.is() {
        limit.required("when maxFailedIndexes is specified");
    }
    for one in [&limit, &failed].into_iter().filter(|n| n.is()) {
        one.not_negative();
        if matches!(at.get("completionMode"), "" | "NonIndexed") {
            one.invalid("requires indexed completion mode");
        }
    }
}

/// A text that must be there and one of these; `values` are sorted.
fn chosen(at: &At<'_>, values: &[&str]) {
    if at.is_empty() {
        let list: Vec<String> = values.iter().map(|v| format!("{v:?}")).collect();
        return at.required(&format!("valid values: [{}]", list.join(" ")));
    }
    at.one_of(values);
}

fn at_most(list: &At<'_>, limit: usize) {
    if list.len() > limit {
        list.too_many(limit);
    }
}

fn failure_policy(at: &At<'_>, job: &At<'_>) {
    let rules = at.field("rules");
    at_most(&rules, MAX_RULES);
    for rule in rules.items() {
        let action = rule.field("action");
        match action.text() {
            "FailIndex" if job.has("backoffLimitPerIndex") => {}
            "FailIndex" => action.invalid("requires the backoffLimitPerIndex to be set"),
            _ => chosen(&action, &["Count", "FailIndex", "FailJob", "Ignore"]),
        }
        let (codes, conditions) = (rule.field("onExitCodes"), rule.field("onPodConditions"));
        if codes.is() {
            exit_codes(&codes, &job.fields(&["template", "spec"]));
        }
        at_most(&conditions, MAX_CONDITIONS);
        for condition in conditions.items() {
            condition.field("type").matches(names::qualified_name);
            chosen(&condition.field("status"), &["False", "True", "Unknown"]);
        }
        match (codes.is(), !conditions.is_empty()) {
            (true, true) => rule.invalid_as("specifying both OnExitCodes and OnPodConditions is not supported", ""),
            (false, false) => rule.invalid_as("specifying one of OnExitCodes and OnPodConditions is required", ""),
            _ => {}
        }
    }
}

fn exit_codes(at: &At<'_>, pod: &At<'_>) {
    let operator = at.field("operator");
    chosen(&operator, &["In", "NotIn"]);
    let container = at.field("containerName");
    let known = |name: &str| {
        ["containers", "initContainers"].iter().any(|l| pod.field(l).items().any(|c| c.get("name") == name))
    };
    if container.is() && !known(container.text()) {
        container.invalid("must be one of the container or initContainer names in the pod template");
    }
    let values = at.field("values");
    if values.is_empty() {
        values.invalid("at least one value is required");
    }
    at_most(&values, MAX_EXIT_CODES);
    for value in values.items() {
        if operator.text() == "In" && value.int() == Some(0) {
            value.invalid("must not be 0 for the In operator");
        }
    }
    for (i, value) in values.items().enumerate() {
        if values.list().iter().take(i).any(|v| Some(v) == value.value) {
            value.duplicate();
        }
    }
    let numbers: Vec<i64> = values.items().filter_map(|v| v.int()).collect();
    if !numbers.is_sorted() {
        values.invalid("must be ordered");
    }
}

fn success_policy(at: &At<'_>, job: &At<'_>) {
    if !at.is() {
        return;
    }
    if job.get("completionMode") != "Indexed" {
        return at.invalid_inner(SUCCESS, "requires indexed completion mode");
    }
    let rules = at.field("rules");
    if rules.is_empty() {
        rules.required("at least one rules must be specified when the successPolicy is specified");
    }
    at_most(&rules, MAX_RULES);
    let completions = job.field("completions").int().unwrap_or(0);
    rules.items().for_each(|rule| success_rule(&rule, completions));
}

fn success_rule(rule: &At<'_>, completions: i64) {
    let (count, indexes) = (rule.field("succeededCount"), rule.field("succeededIndexes"));
    if !count.is() && !indexes.is() {
        rule.required("at least one of succeededCount or succeededIndexes must be specified");
    }
    if indexes.text().len() > MAX_INDEXES {
        indexes.too_long(MAX_INDEXES);
    }
    let mut held = 0;
    if indexes.is() {
        match words::indexes(indexes.text(), completions) {
            Ok(number) => held = number,
            Err(why) => indexes.invalid(&format!("error parsing succeededIndexes: {why}")),
        }
    }
    count.not_negative();
    let more_than = |most: i64| count.int().is_some_and(|c| c > most);
    if more_than(completions) {
        let why = format!("must be less than or equal to {completions} (the number of specified completions)");
        count.invalid(&why);
    }
    if indexes.is() && more_than(held) {
        count.invalid(&format!(
            "must be less than or equal to {held} (the number of indexes in the specified succeededIndexes field)"
        ));
    }
}

const SUCCESS: &str = "io.k8s.api.batch.v1.SuccessPolicy";

pub(in crate::kinds) fn job_update(new: &Object, old: &Object, context: Context<'_>, out: &mut Vec<FieldError>) {
    let spec = |root: &At<'_>| {
        let at = root.field("spec");
        let before = |key: &str| old.at(&["spec", key]);
        // Upstream looks at the whole spec a second time here.
        job_spec(&at, at.errors());
        selected(&at);
        let completions = at.field("completions");
        match at.get("completionMode") == "Indexed" {
            false => immutable(&completions, before("completions")),
            true if !completions.is() || completions.value == at.field("parallelism").value => {}
            true if !differs(completions.value, before("completions")) => {}
            true => completions.invalid("can only be modified in tandem with spec.parallelism"),
        }
        if differs(at.field("selector").value, before("selector")) {
            at.field("selector").invalid_typed(SELECTOR, "field is immutable");
        }
        template_stays(&at.field("template"), old);
        for key in ["completionMode", "backoffLimitPerIndex", "managedBy"] {
            immutable(&at.field(key), before(key));
        }
        for (key, type_name) in
            [("podFailurePolicy", "io.k8s.api.batch.v1.PodFailurePolicy"), ("successPolicy", SUCCESS)]
        {
            if differs(at.field(key).value, before(key)) {
                at.field(key).invalid_inner(type_name, "field is immutable");
            }
        }
    };
    updated(new, old, context, out, spec, |status| {
        ["active", "succeeded", "failed", "ready", "terminating"].iter().for_each(|c| status.field(c).not_negative());
        job_status(status, new);
    });
}

/// What a job that rests may say anew of where its pods will run.
const SCHEDULING: &[&[&str]] = &[
    &["spec", "affinity", "nodeAffinity"],
    &["spec", "nodeSelector"],
    &["spec", "tolerations"],
    &["spec", "schedulingGates"],
    &["metadata", "labels"],
    &["metadata", "annotations"],
];

/// The template stays, but for what a suspended job may change before its pods are there.
fn template_stays(at: &At<'_>, old: &Object) {
    let Some(before) = old.at(&["spec", "template"]) else { return };
    let conditions = old.at(&["status", "conditions"]).and_then(Value::as_list).unwrap_or_default();
    let is = |c: &Value, key: &str, text: &str| c.get(key).and_then(Value::as_str) == Some(text);
    let waits = old.at(&["status", "startTime"]).is_none_or(Value::is_null)
        || conditions.iter().any(|c| is(c, "type", "Suspended") && is(c, "status", "True"));
    let rests = waits
        && old.bool_at(&["spec", "suspend"]).unwrap_or(false)
        && old.i64_at(&["status", "active"]).unwrap_or(0) == 0;
    if !rests {
        if differs(at.value, Some(before)) {
            at.invalid_inner("io.k8s.api.core.v1.PodTemplateSpec", "field is immutable");
        }
        return;
    }
    let free = |template: Option<&Value>| -> Option<Value> {
        let mut pod = Object(template?.as_map()?.clone());
        SCHEDULING.iter().for_each(|path| drop(pod.unset(path)));
        if pod.at(&["spec", "affinity"]).and_then(Value::as_map).is_some_and(Map::is_empty) {
            pod.unset(&["spec", "affinity"]);
        }
        for list in ["containers", "initContainers"] {
            let containers = pod.0.get_mut("spec").and_then(|s| s.as_map_mut()?.get_mut(list));
            for container in containers.and_then(Value::as_list_mut).into_iter().flatten() {
                container.as_map_mut().and_then(|c| c.remove("resources"));
            }
        }
        pod.at(&["spec"]).cloned()
    };
    if free(at.value) != free(Some(before)) {
        at.field("spec").invalid_inner("io.k8s.api.core.v1.PodSpec", "field is immutable");
    }
}

/// What a status may not say of a job.
fn job_status(status: &At<'_>, job: &Object) {
    let holds =
        |kind: &str| status.field("conditions").items().any(|c| c.get("type") == kind && c.get("status") == "True");
    let mut seen: Vec<&str> = Vec::new();
    for list in ["succeeded", "failed"] {
        for pod in status.fields(&["uncountedTerminatedPods", list]).items() {
            match pod.text() {
                "" => pod.invalid_text("", "must not be empty"),
                uid if seen.contains(&uid) => pod.duplicate(),
                uid => seen.push(uid),
            }
        }
    }
    let end = status.field("completionTime");
    if holds("Complete") && holds("Failed") {
        status
            .field("conditions")
            .say(FieldReason::Invalid, "Invalid value: cannot set Complete=True and Failed=true conditions");
    }
    if end.is() && !holds("Complete") {
        end.invalid("cannot set completionTime when there is no Complete=True condition");
    }
    indexes_of(status, job);
    let ready = status.field("ready");
    if ready.int().is_some_and(|r| r > status.field("active").int().unwrap_or(0)) {
        ready.invalid("cannot set more ready pods than active");
    }
}

fn indexes_of(status: &At<'_>, job: &Object) {
    let spec = |key: &str| job.at(&["spec", key]).filter(|v| !v.is_null());
    let (done, failed) = (status.field("completedIndexes"), status.field("failedIndexes"));
    let limit = spec("completions").and_then(Value::as_i64);
    let wrong = |at: &At<'_>| limit.and_then(|limit| words::indexes(at.text(), limit).err());
    if let Some(why) = wrong(&done).filter(|_| !done.is_empty()) {
        done.invalid(&format!("error parsing completedIndexes: {why}"));
    }
    let by_index = spec("backoffLimitPerIndex").is_some();
    if let Some(why) = wrong(&failed).filter(|_| by_index && failed.is()) {
        failed.invalid(&format!("error parsing failedIndexes: {why}"));
    }
    if !done.is_empty() && job.str_at(&["spec", "completionMode"]) != "Indexed" {
        done.invalid("cannot set non-empty completedIndexes when non-indexed completion mode");
    }
    if failed.is() && !by_index {
        failed.invalid("cannot set non-null failedIndexes when backoffLimitPerIndex is null");
    }
}

const TOO_LONG: &str = "must be no more than 52 characters";

fn cron_name(name: &str) -> Vec<String> {
    let mut out = names::dns1123_subdomain(name);
    if name.len() > MAX_CRON_NAME {
        out.push(TOO_LONG.to_owned());
    }
    out
}

pub(in crate::kinds) fn cron_job(object: &Object, out: &mut Vec<FieldError>) {
    checked(object, cron_name, out, |root, errors| {
        let spec = root.field("spec");
        let zone = spec.field("timeZone");
        match spec.get("schedule") {
            "" => spec.field("schedule").required(""),
            _ => schedule(&spec.field("schedule")),
        }
        if zone.is() {
            time_zone(&zone);
        }
        spec.field("startingDeadlineSeconds").not_negative();
        spec.field("concurrencyPolicy").one_of(&["Allow", "Forbid", "Replace"]);
        spec.field("successfulJobsHistoryLimit").not_negative();
        spec.field("failedJobsHistoryLimit").not_negative();
        let job = spec.field("jobTemplate");
        job_spec(&job.field("spec"), errors);
        let (selector, manual) = (job.fields(&["spec", "selector"]), job.fields(&["spec", "manualSelector"]));
        if selector.is() {
            selector.invalid_typed(SELECTOR, "`selector` will be auto-generated");
        }
        if manual.truth() {
            manual.unsupported(&["nil", "false"]);
        }
    });
}

pub(in crate::kinds) fn cron_job_update(new: &Object, old: &Object, context: Context<'_>, out: &mut Vec<FieldError>) {
    // Names were looked at when it was made, when the limit may have been another; a status has no rules.
    out.retain(|e| !(e.path == "metadata.name" && e.message.ends_with(TOO_LONG)));
    status_updated(new, old, context, out, |_| {});
}

fn time_zone(at: &At<'_>) {
    let zone = at.text();
    if zone.is_empty() {
        return at.invalid("timeZone must be nil or non-empty string");
    }
    if zone.eq_ignore_ascii_case("local") {
        at.invalid("timeZone must be an explicit time zone as defined in https://www.iana.org/time-zones");
        if zone == "Local" {
            return;
        }
    }
    if let Err(why) = cron::zone(zone) {
        at.invalid(&why);
    }
}

fn schedule(at: &At<'_>) {
    let text = at.text();
    if let Err(why) = cron::Schedule::parse(text) {
        at.invalid(&why);
    }
    if text.contains("TZ") {
        at.invalid("cannot use TZ or CRON_TZ in schedule, use timeZone field instead");
    }
}
