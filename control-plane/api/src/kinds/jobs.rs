//! Jobs and CronJobs.

use super::fill::{each, has, is_true, made, put, put_text, sub};
use super::pod_spec;
use super::rules;
use super::shape::{keep_other_half, reset_status};
use super::{columns, names, subresources};
use crate::kind::Context;
use crate::kind::Kind;
use crate::object::Object;
use crate::table;
use crate::value::Map;
use std::borrow::Cow;

pub static CRON_JOB: Kind = Kind {
    names: names!("batch", "v1", "CronJob", "cronjobs", "cronjob", ["cj"], ["all"]),
    type_name: Cow::Borrowed("io.k8s.api.batch.v1.CronJob"),
    subresources: subresources![("status", "", "", "CronJob", ["get", "patch", "update"]),],
    columns: columns![
        ("Name", "string", "name", 0),
        ("Schedule", "string", "", 0),
        ("Timezone", "string", "", 0),
        ("Suspend", "boolean", "", 0),
        ("Active", "integer", "", 0),
        ("Last Schedule", "string", "", 0),
        ("Age", "string", "", 0),
        ("Containers", "string", "", 1),
        ("Images", "string", "", 1),
        ("Selector", "string", "", 1),
    ],
    has_status: true,
    has_generation: true,
    default: cron_job,
    prepare_create: reset_status,
    prepare_update: keep_other_half,
    cells: table::cron_jobs,
    validate: rules::cron_job,
    validate_update: rules::cron_job_update,
    warnings: rules::cron_job_warnings,
    ..Kind::PLAIN
};

pub static JOB: Kind = Kind {
    names: names!("batch", "v1", "Job", "jobs", "job", [], ["all"]),
    type_name: Cow::Borrowed("io.k8s.api.batch.v1.Job"),
    subresources: subresources![("status", "", "", "Job", ["get", "patch", "update"]),],
    columns: columns![
        ("Name", "string", "name", 0),
        ("Status", "string", "", 0),
        ("Completions", "string", "", 0),
        ("Duration", "string", "", 0),
        ("Age", "string", "", 0),
        ("Containers", "string", "", 1),
        ("Images", "string", "", 1),
        ("Selector", "string", "", 1),
    ],
    has_status: true,
    has_generation: true,
    default: job,
    prepare_create: new_job,
    prepare_update: keep_other_half,
    selectable: |o| vec![("status.successful", o.i64_at(&["status", "succeeded"]).unwrap_or(0).to_string())],
    selectable_fields: &["status.successful"],
    cells: table::jobs,
    validate: rules::job,
    validate_update: rules::job_update,
    warnings: rules::template_warnings,
    ..Kind::PLAIN
};

/// What stands for "no limit of retries" where each index has its own.
const NO_LIMIT: i64 = i32::MAX as i64;

fn job(object: &mut Object) {
    labels_of_template(object);
    let Some(spec) = sub(&mut object.0, "spec") else { return };
    pod_spec::template(spec);
    if !has(spec, "completions") && !has(spec, "parallelism") {
        spec.insert("completions", 1);
    }
    put(spec, "parallelism", 1);
    let limit = if has(spec, "backoffLimitPerIndex") { NO_LIMIT } else { 6 };
    put(spec, "backoffLimit", limit);
    put(spec, "completionMode", "NonIndexed");
    put(spec, "suspend", false);
    put(spec, "manualSelector", false);
    let replaced = if has(spec, "podFailurePolicy") { "Failed" } else { "TerminatingOrFailed" };
    put(spec, "podReplacementPolicy", replaced);
    failure_policy(spec);
}

fn failure_policy(spec: &mut Map) {
    if let Some(policy) = sub(spec, "podFailurePolicy") {
        each(policy, "rules", |rule| {
            each(rule, "onPodConditions", |condition| put_text(condition, "status", "True"));
        });
    }
}

fn labels_of_template(object: &mut Object) {
    let labels = object.at(&["spec", "template", "metadata", "labels"]).cloned();
    if let Some(labels) = labels.filter(|_| object.meta_pairs("labels").next().is_none()) {
        object.set(&["metadata", "labels"], labels);
    }
}

/// Selector and labels of a job are generated from its uid, which the registry has set before.
fn new_job(object: &mut Object, context: Context<'_>) {
    reset_status(object, context);
    let (name, uid) = (object.name().to_owned(), object.uid().to_owned());
    let spec = made(&mut object.0, "spec");
    if is_true(spec, "manualSelector") {
        return labels_of_template(object);
    }
    let labels = made(made(made(spec, "template"), "metadata"), "labels");
    for (key, value) in [
        ("batch.kubernetes.io/controller-uid", &uid),
        ("batch.kubernetes.io/job-name", &name),
        ("controller-uid", &uid),
        ("job-name", &name),
    ] {
        // What is there already is for validation to refuse.
        put(labels, key, value.as_str());
    }
    let selector = made(made(spec, "selector"), "matchLabels");
    put(selector, "batch.kubernetes.io/controller-uid", uid);
    labels_of_template(object);
}

fn cron_job(object: &mut Object) {
    let Some(spec) = sub(&mut object.0, "spec") else { return };
    put_text(spec, "concurrencyPolicy", "Allow");
    put(spec, "suspend", false);
    put(spec, "successfulJobsHistoryLimit", 3);
    put(spec, "failedJobsHistoryLimit", 1);
    if let Some(job) = sub(spec, "jobTemplate").and_then(|t| sub(t, "spec")) {
        pod_spec::template(job);
        failure_policy(job);
    }
}
