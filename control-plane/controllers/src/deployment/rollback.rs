//! A deployment that is asked, by an annotation that older clients set, to go back to a revision: it takes that revision's
//! template, and the request is gone.

use client::Plan;
use client::plan::Severity;
use k8s_openapi::api::apps::v1::{Deployment, ReplicaSet};

use super::{NOT_COPIED, Sets, revision, without_hash};

/// Holds the revision; 0 for the last one before this.
pub(super) const ASKED: &str = "deprecated.deployment.rollback.to";
const NOT_FOUND: &str = "DeploymentRollbackRevisionNotFound";

pub(super) fn is_asked_for(deployment: &Deployment) -> bool {
    asked(deployment).is_some()
}

fn asked(deployment: &Deployment) -> Option<i64> {
    deployment.metadata.annotations.as_ref()?.get(ASKED)?.parse().ok()
}

pub(super) fn roll_back(deployment: &Deployment, sets: &Sets, plan: &mut Plan) {
    let mut changed = deployment.clone();
    changed.metadata.annotations.get_or_insert_default().remove(ASKED);
    match (asked(deployment).filter(|asked| *asked != 0).or_else(|| last(sets)), deployment.metadata.name.as_ref()) {
        (None, _) => plan.event(deployment, Severity::Warning, NOT_FOUND, "Unable to find last revision."),
        (Some(asked), name) => match sets.all().find(|set| revision(set) == asked) {
            None => plan.event(deployment, Severity::Warning, NOT_FOUND, "Unable to find the revision to rollback to."),
            Some(set) => take(&mut changed, set, asked, name.map_or("", String::as_str), plan),
        },
    }
    plan.update(&changed);
}

/// The highest revision but one.
fn last(sets: &Sets) -> Option<i64> {
    let mut all: Vec<i64> = sets.all().map(|set| revision(set)).collect();
    all.sort_unstable();
    all.len().checked_sub(2).map(|at| all[at]).filter(|revision| *revision != 0)
}

fn take(changed: &mut Deployment, set: &ReplicaSet, asked: i64, name: &str, plan: &mut Plan) {
    let Some(template) = set.spec.as_ref().and_then(|spec| spec.template.clone()).map(without_hash) else { return };
    let Some(spec) = changed.spec.as_mut() else { return };
    if without_hash(spec.template.clone()) == template {
        let message = format!("The rollback revision contains the same template as current deployment {name:?}");
        return plan.event(changed, Severity::Warning, "DeploymentRollbackTemplateUnchanged", message);
    }
    spec.template = template;
    let own = |key: &String| NOT_COPIED.contains(&key.as_str());
    let annotations = changed.metadata.annotations.get_or_insert_default();
    annotations.retain(|key, _| own(key));
    let of_set = set.metadata.annotations.iter().flatten().filter(|(key, _)| !own(key));
    annotations.extend(of_set.map(|(key, value)| (key.clone(), value.clone())));
    let message = format!("Rolled back deployment {name:?} to revision {asked}");
    plan.event(changed, Severity::Normal, "DeploymentRollback", message);
}
