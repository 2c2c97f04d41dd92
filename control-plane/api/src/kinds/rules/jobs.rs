//! Jobs and CronJobs.

use super::at::{At, Errors};
use super::metadata::differs;
use super::pods::template;
use super::selectors::{LABEL_SELECTOR as SELECTOR, label_selector};
use super::words;
use super::workloads::{checked, immutable, mismatch, selects_template, updated};
use crate::cron;
use crate::kind::Context;
use crate::names;
use crate::object::Object;
use crate::status::{FieldError, FieldReason};
use crate::value::Value;

/// CronJobs add eleven letters to the names of their Jobs, which are labels.
const MAX_CRON_NAME: usize = 52;

pub(in crate::kinds) fn job(object: &Object, out: &mut Vec<FieldError>) {
    checked(object, names::dns1123_subdomain, out, |root, errors| {
        let spec = root.field("spec");
        selector(root, &spec);
        job_spec(&spec, errors);
        if spec.has("selector") {
            selects_template(&spec);
        } else if spec.field("manualSelector").truth() {
            mismatch(&spec);
        }
    });
}

/// What the server makes of a Job's selector unless the user does.
fn selector(root: &At<'_>, spec: &At<'_>) {
    let at = spec.field("selector");
    if spec.field("manualSelector").truth() {
        return;
    }
    let uid = root.field("metadata").get("uid");
    let wanted = |key: &str| at.field("matchLabels").pairs().any(|(k, v)| k == key && v.text() == uid);
    let generated = wanted("batch.kubernetes.io/controller-uid") || wanted("controller-uid");
    if at.is() && !generated {
        at.invalid_typed(SELECTOR, "`selector` not auto-generated");
        selects_template(spec);
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
    }
    let mode = at.field("completionMode");
    mode.maybe_one_of(&["NonIndexed", "Indexed"]);
    if mode.text() == "Indexed" && !at.has("completions") {
        at.field("completions").required("when completion mode is Indexed");
    }
    if at.has("podFailurePolicy") {
        failure_policy(&at.field("podFailurePolicy"), &at.fields(&["template", "spec"]));
    }
    success_policy(&at.field("successPolicy"), mode.text() == "Indexed");
    at.field("podReplacementPolicy").maybe_one_of(&["Failed", "TerminatingOrFailed"]);
    if at.field("manualSelector").truth() && !at.has("selector") {
        at.field("selector").required("");
    }
    label_selector(&at.field("selector"));
    template(&at.field("template"), errors);
    let restart = at.fields(&["template", "spec", "restartPolicy"]);
    if !matches!(restart.text(), "OnFailure" | "Never") {
        restart.required("valid values: \"OnFailure\", \"Never\"");
    }
}

fn per_index(at: &At<'_>) {
    let indexed = at.get("completionMode") == "Indexed";
    let (limit, failed) = (at.field("backoffLimitPerIndex"), at.field("maxFailedIndexes"));
    if failed.is() && !limit.is() {
        limit.required("when maxFailedIndexes is specified");
    }
    for one in [&limit, &failed].into_iter().filter(|n| n.is()) {
        one.not_negative();
        if !indexed {
            one.invalid("requires indexed completion mode");
        }
    }
}

const RULE: &str = "specifying one of OnExitCodes and OnPodConditions is required";

fn failure_policy(at: &At<'_>, pod: &At<'_>) {
    if pod.get("restartPolicy") == "OnFailure" {
        at.named(format!("{}.restartPolicy", pod.path.trim_end_matches('.')))
            .invalid_text("OnFailure", "only \"Never\" is supported when podFailurePolicy is specified");
    }
    for rule in at.field("rules").items() {
        rule.field("action").one_of(&["Count", "FailIndex", "FailJob", "Ignore"]);
        let (codes, conditions) = (rule.field("onExitCodes"), rule.field("onPodConditions"));
        match (codes.is(), conditions.is_empty()) {
            (true, true) => exit_codes(&codes),
            (true, false) => rule.invalid_as("specifying both OnExitCodes and OnPodConditions is not supported", ""),
            (false, true) => rule.invalid_as(RULE, ""),
            (false, false) => {
                for condition in conditions.items() {
                    condition.field("type").matches(names::qualified_name);
                    condition.field("status").one_of(&["False", "True", "Unknown"]);
                }
            }
        }
    }
}

fn exit_codes(at: &At<'_>) {
    let operator = at.field("operator");
    operator.one_of(&["In", "NotIn"]);
    let values = at.field("values");
    if values.is_empty() {
        values.invalid("at least one value is required");
    }
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
}

fn success_policy(at: &At<'_>, indexed: bool) {
    if !at.is() {
        return;
    }
    if !indexed {
        return at.invalid_inner("io.k8s.api.batch.v1.SuccessPolicy", "requires indexed completion mode");
    }
    let rules = at.field("rules");
    if rules.is_empty() {
        rules.required("at least one rules must be specified when the successPolicy is specified");
    }
    for rule in rules.items() {
        rule.field("succeededCount").not_negative();
        if !rule.has("succeededCount") && !rule.has("succeededIndexes") {
            rule.required("at least one of succeededCount or succeededIndexes must be specified");
        }
    }
}

pub(in crate::kinds) fn job_update(new: &Object, old: &Object, context: Context<'_>, out: &mut Vec<FieldError>) {
    let spec = |root: &At<'_>| {
        let at = root.field("spec");
        let before = |key: &str| old.at(&["spec", key]);
        let indexed = at.get("completionMode") == "Indexed";
        let elastic = indexed && at.field("completions").value == at.field("parallelism").value;
        if !elastic {
            immutable(&at.field("completions"), before("completions"));
        }
        if differs(at.field("selector").value, before("selector")) {
            at.field("selector").invalid_typed(SELECTOR, "field is immutable");
        }
        let suspended = old.bool_at(&["spec", "suspend"]).unwrap_or(false)
            && old.at(&["status", "startTime"]).is_none_or(Value::is_null);
        if !suspended && differs(at.field("template").value, before("template")) {
            at.field("template").invalid_inner("io.k8s.api.core.v1.PodTemplateSpec", "field is immutable");
        }
        for key in ["completionMode", "podFailurePolicy", "backoffLimitPerIndex", "managedBy", "successPolicy"] {
            immutable(&at.field(key), before(key));
        }
    };
    updated(new, old, context, out, spec, |status| {
        ["active", "succeeded", "failed", "ready", "terminating"].iter().for_each(|c| status.field(c).not_negative());
        job_status(status, new);
    });
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

fn cron_name(name: &str) -> Vec<String> {
    let mut out = names::dns1123_subdomain(name);
    if name.len() > MAX_CRON_NAME {
        out.push(format!("must be no more than {MAX_CRON_NAME} characters"));
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
        super::metadata::labels(&job.fields(&["metadata", "labels"]));
        super::metadata::annotations(&job.fields(&["metadata", "annotations"]));
        job_spec(&job.field("spec"), errors);
        if job.field("spec").field("manualSelector").truth() {
            job.fields(&["spec", "manualSelector"]).unsupported(&["nil", "false"]);
        }
    });
}

pub(in crate::kinds) fn cron_job_update(new: &Object, old: &Object, context: Context<'_>, out: &mut Vec<FieldError>) {
    updated(new, old, context, out, |_| {}, |_| {});
}

fn time_zone(at: &At<'_>) {
    let zone = at.text();
    if zone.is_empty() || zone.eq_ignore_ascii_case("local") {
        return at.invalid("timeZone must be an explicit time zone as defined in https://www.iana.org/time-zones");
    }
    if let Err(why) = cron::zone(zone) {
        at.invalid(&why);
    }
}

fn schedule(at: &At<'_>) {
    let text = at.text();
    if text.contains("TZ") {
        return at.invalid("cannot use TZ or CRON_TZ in schedule, use timeZone field instead");
    }
    if let Err(why) = cron::Schedule::parse(text) {
        at.invalid(&why);
    }
}
