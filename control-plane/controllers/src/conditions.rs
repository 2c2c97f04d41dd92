//! Conditions of workloads: set one, keep the time of its last transition where its status stays.

use jiff::Timestamp;
use k8s_openapi::api::apps::v1::DeploymentCondition;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

/// A condition to be. Nothing changes where status and reason are already so.
pub(crate) struct Wanted<'a> {
    pub kind: &'a str,
    pub status: bool,
    pub reason: &'a str,
    pub message: String,
}

pub(crate) fn set(conditions: &mut Vec<DeploymentCondition>, wanted: Wanted<'_>, now: Timestamp) {
    let status = if wanted.status { "True" } else { "False" };
    let before = conditions.iter().position(|condition| condition.type_ == wanted.kind);
    let before = before.map(|at| conditions.remove(at));
    let condition = match before {
        Some(same) if same.status == status && same.reason.as_deref() == Some(wanted.reason) => same,
        other => DeploymentCondition {
            type_: wanted.kind.to_owned(),
            status: status.to_owned(),
            reason: Some(wanted.reason.to_owned()),
            message: Some(wanted.message),
            last_update_time: Some(Time(now)),
            last_transition_time: match other {
                Some(old) if old.status == status => old.last_transition_time,
                _ => Some(Time(now)),
            },
        },
    };
    conditions.push(condition);
}

pub(crate) fn get<'a>(conditions: &'a [DeploymentCondition], kind: &str) -> Option<&'a DeploymentCondition> {
    conditions.iter().find(|condition| condition.type_ == kind)
}
