//! Deployments, ReplicaSets, StatefulSets, DaemonSets and ControllerRevisions.

use super::fill::{each, made, put, put_text, sub, text};
use super::pod_spec;
use super::rules;
use super::shape::{keep_other_half, reset_status};
use super::volumes;
use super::{columns, names, subresources};
use crate::kind::Context;
use crate::kind::Kind;
use crate::object::Object;
use crate::schema;
use crate::table;
use std::borrow::Cow;

pub static CONTROLLER_REVISION: Kind = Kind {
    names: names!("apps", "v1", "ControllerRevision", "controllerrevisions", "controllerrevision", [], []),
    type_name: Cow::Borrowed("io.k8s.api.apps.v1.ControllerRevision"),
    columns: columns![
        ("Name", "string", "name", 0),
        ("Controller", "string", "", 0),
        ("Revision", "string", "", 0),
        ("Age", "string", "", 0),
    ],
    cells: table::controller_revisions,
    validate: rules::controller_revision,
    validate_update: rules::controller_revision_update,
    ..Kind::PLAIN
};

pub static DAEMON_SET: Kind = Kind {
    names: names!("apps", "v1", "DaemonSet", "daemonsets", "daemonset", ["ds"], ["all"]),
    type_name: Cow::Borrowed("io.k8s.api.apps.v1.DaemonSet"),
    subresources: subresources![("status", "", "", "DaemonSet", ["get", "patch", "update"]),],
    columns: columns![
        ("Name", "string", "name", 0),
        ("Desired", "integer", "", 0),
        ("Current", "integer", "", 0),
        ("Ready", "integer", "", 0),
        ("Up-to-date", "integer", "", 0),
        ("Available", "integer", "", 0),
        ("Node Selector", "string", "", 0),
        ("Age", "string", "", 0),
        ("Containers", "string", "", 1),
        ("Images", "string", "", 1),
        ("Selector", "string", "", 1),
    ],
    has_status: true,
    has_generation: true,
    default: daemon_set,
    prepare_create: new_daemon_set,
    prepare_update: update_daemon_set,
    cells: table::daemon_sets,
    validate: rules::daemon_set,
    validate_update: rules::daemon_set_update,
    warnings: rules::template_warnings,
    ..Kind::PLAIN
};

pub static DEPLOYMENT: Kind = Kind {
    names: names!("apps", "v1", "Deployment", "deployments", "deployment", ["deploy"], ["all"]),
    type_name: Cow::Borrowed("io.k8s.api.apps.v1.Deployment"),
    subresources: subresources![
        ("scale", "autoscaling", "v1", "Scale", ["get", "patch", "update"]),
        ("status", "", "", "Deployment", ["get", "patch", "update"]),
    ],
    columns: columns![
        ("Name", "string", "name", 0),
        ("Ready", "string", "", 0),
        ("Up-to-date", "string", "", 0),
        ("Available", "string", "", 0),
        ("Age", "string", "", 0),
        ("Containers", "string", "", 1),
        ("Images", "string", "", 1),
        ("Selector", "string", "", 1),
    ],
    has_status: true,
    has_generation: true,
    default: deployment,
    prepare_create: reset_status,
    prepare_update: update_deployment,
    cells: table::deployments,
    validate: rules::deployment,
    validate_update: rules::deployment_update,
    warnings: rules::template_warnings,
    ..Kind::PLAIN
};

pub static REPLICA_SET: Kind = Kind {
    names: names!("apps", "v1", "ReplicaSet", "replicasets", "replicaset", ["rs"], ["all"]),
    type_name: Cow::Borrowed("io.k8s.api.apps.v1.ReplicaSet"),
    subresources: subresources![
        ("scale", "autoscaling", "v1", "Scale", ["get", "patch", "update"]),
        ("status", "", "", "ReplicaSet", ["get", "patch", "update"]),
    ],
    columns: columns![
        ("Name", "string", "name", 0),
        ("Desired", "integer", "", 0),
        ("Current", "integer", "", 0),
        ("Ready", "integer", "", 0),
        ("Age", "string", "", 0),
        ("Containers", "string", "", 1),
        ("Images", "string", "", 1),
        ("Selector", "string", "", 1),
    ],
    has_status: true,
    has_generation: true,
    default: replica_set,
    prepare_create: reset_status,
    prepare_update: keep_other_half,
    cells: table::replica_sets,
    validate: rules::replica_set,
    validate_update: rules::replica_set_update,
    warnings: rules::template_warnings,
    ..Kind::PLAIN
};

pub static STATEFUL_SET: Kind = Kind {
    names: names!("apps", "v1", "StatefulSet", "statefulsets", "statefulset", ["sts"], ["all"]),
    type_name: Cow::Borrowed("io.k8s.api.apps.v1.StatefulSet"),
    subresources: subresources![
        ("scale", "autoscaling", "v1", "Scale", ["get", "patch", "update"]),
        ("status", "", "", "StatefulSet", ["get", "patch", "update"]),
    ],
    columns: columns![
        ("Name", "string", "name", 0),
        ("Ready", "string", "", 0),
        ("Age", "string", "", 0),
        ("Containers", "string", "", 1),
        ("Images", "string", "", 1),
    ],
    has_status: true,
    has_generation: true,
    default: stateful_set,
    prepare_create: reset_status,
    prepare_update: keep_other_half,
    cells: table::stateful_sets,
    validate: rules::stateful_set,
    validate_update: rules::stateful_set_update,
    warnings: rules::stateful_set_warnings,
    ..Kind::PLAIN
};

fn deployment(object: &mut Object) {
    let Some(spec) = sub(&mut object.0, "spec") else { return };
    pod_spec::template(spec);
    put(spec, "replicas", 1);
    put(spec, "revisionHistoryLimit", 10);
    put(spec, "progressDeadlineSeconds", 600);
    let strategy = made(spec, "strategy");
    put_text(strategy, "type", "RollingUpdate");
    if text(strategy, "type") == "RollingUpdate" {
        let rolling = made(strategy, "rollingUpdate");
        put(rolling, "maxUnavailable", "25%");
        put(rolling, "maxSurge", "25%");
    }
}

fn replica_set(object: &mut Object) {
    let Some(spec) = sub(&mut object.0, "spec") else { return };
    put(spec, "replicas", 1);
    pod_spec::template(spec);
}

fn stateful_set(object: &mut Object) {
    let Some(spec) = sub(&mut object.0, "spec") else { return };
    pod_spec::template(spec);
    put_text(spec, "podManagementPolicy", "OrderedReady");
    put(spec, "replicas", 1);
    put(spec, "revisionHistoryLimit", 10);
    let strategy = made(spec, "updateStrategy");
    put_text(strategy, "type", "RollingUpdate");
    if text(strategy, "type") == "RollingUpdate" {
        put(made(strategy, "rollingUpdate"), "partition", 0);
    }
    let retention = made(spec, "persistentVolumeClaimRetentionPolicy");
    put_text(retention, "whenDeleted", "Retain");
    put_text(retention, "whenScaled", "Retain");
    each(spec, "volumeClaimTemplates", |template| {
        let mut claim = Object(std::mem::take(template));
        claim.set_type("v1", "PersistentVolumeClaim");
        volumes::claim(&mut claim);
        *template = claim.0;
    });
}

fn daemon_set(object: &mut Object) {
    put(made(object.meta_mut(), "annotations"), TEMPLATE_GENERATION, "0");
    let Some(spec) = sub(&mut object.0, "spec") else { return };
    pod_spec::template(spec);
    put(spec, "revisionHistoryLimit", 10);
    let strategy = made(spec, "updateStrategy");
    put_text(strategy, "type", "RollingUpdate");
    if text(strategy, "type") == "RollingUpdate" {
        let rolling = made(strategy, "rollingUpdate");
        put(rolling, "maxUnavailable", 1);
        put(rolling, "maxSurge", 0);
    }
}

/// What older clients read the generation of the template from.
const TEMPLATE_GENERATION: &str = "deprecated.daemonset.template.generation";

fn new_daemon_set(object: &mut Object, context: Context<'_>) {
    reset_status(object, context);
    made(object.meta_mut(), "annotations").insert(TEMPLATE_GENERATION, "1");
}

fn update_daemon_set(new: &mut Object, old: &Object, context: Context<'_>) {
    keep_other_half(new, old, context);
    let before: i64 = old.annotation(TEMPLATE_GENERATION).and_then(|t| t.parse().ok()).unwrap_or(0);
    let template = |o: &Object| {
        let mut template = o.at(&["spec", "template"]).cloned().unwrap_or_default();
        schema::normalize("io.k8s.api.core.v1.PodTemplateSpec", &mut template);
        template
    };
    let generation = before.saturating_add(i64::from(template(new) != template(old)));
    made(new.meta_mut(), "annotations").insert(TEMPLATE_GENERATION, generation.to_string());
}

/// A write of the status changes no labels.
fn update_deployment(new: &mut Object, old: &Object, context: Context<'_>) {
    keep_other_half(new, old, context);
    if context.subresource == "status" {
        match old.meta().and_then(|m| m.get("labels")) {
            Some(labels) => drop(new.meta_mut().insert("labels", labels.clone())),
            None => drop(new.meta_mut().remove("labels")),
        }
    }
}
