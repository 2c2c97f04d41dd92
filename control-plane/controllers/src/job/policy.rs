//! What the policies of a job say of its pods: which failures count, and when enough has succeeded.

use std::collections::BTreeSet;

use k8s_openapi::api::batch::v1::{PodFailurePolicy, PodFailurePolicyRule, SuccessPolicy, SuccessPolicyRule};
use k8s_openapi::api::core::v1::{ContainerStatus, Pod};

use super::indexes;

/// What a failed pod means.
#[derive(Debug, PartialEq)]
pub(super) enum Failure {
    Counts,
    Ignored,
    EndsIndex,
    EndsJob(String),
}

/// The first rule that matches decides; without one the failure counts.
pub(super) fn judge(policy: Option<&PodFailurePolicy>, pod: &Pod) -> Failure {
    let rules = policy.map(|policy| policy.rules.as_slice()).unwrap_or_default();
    let matching = rules.iter().enumerate().find_map(|(at, rule)| Some((at, rule, matched(rule, pod)?)));
    let Some((at, rule, why)) = matching else { return Failure::Counts };
    match rule.action.as_str() {
        "Ignore" => Failure::Ignored,
        "FailIndex" => Failure::EndsIndex,
        "FailJob" => Failure::EndsJob(format!("{why} matching FailJob rule at index {at}")),
        _ => Failure::Counts,
    }
}

/// Why a rule matches a failed pod, if it does.
fn matched(rule: &PodFailurePolicyRule, pod: &Pod) -> Option<String> {
    let name = client::Key::of(pod);
    if let Some(codes) = &rule.on_exit_codes {
        let status = pod.status.as_ref()?;
        let all = status.container_statuses.iter().flatten().chain(status.init_container_statuses.iter().flatten());
        let meant = |status: &&ContainerStatus| codes.container_name.as_ref().is_none_or(|name| *name == status.name);
        let found = all.filter(meant).find_map(|status| {
            let code = status.state.as_ref()?.terminated.as_ref()?.exit_code;
            let listed = codes.values.contains(&code);
            let matches = code != 0 && if codes.operator == "NotIn" { !listed } else { listed };
            matches.then_some((&status.name, code))
        });
        return found
            .map(|(container, code)| format!("Container {container} for pod {name} failed with exit code {code}"));
    }
    let conditions = || pod.status.iter().flat_map(|status| status.conditions.iter().flatten());
    let wanted = rule.on_pod_conditions.iter().flatten().find(|wanted| {
        let status = wanted_status(&wanted.status);
        conditions().any(|condition| condition.type_ == wanted.type_ && condition.status == status)
    });
    wanted.map(|wanted| format!("Pod {name} has condition {}", wanted.type_))
}

fn wanted_status(status: &Option<String>) -> &str {
    status.as_deref().unwrap_or("True")
}

/// The first rule that is met by these completed indexes.
pub(super) fn success(policy: Option<&SuccessPolicy>, completed: &BTreeSet<i32>) -> Option<usize> {
    policy?.rules.iter().position(|rule| met(rule, completed))
}

fn met(rule: &SuccessPolicyRule, completed: &BTreeSet<i32>) -> bool {
    let enough = |there: usize, wanted: i32| i32::try_from(there).is_ok_and(|there| there >= wanted);
    match (&rule.succeeded_indexes, rule.succeeded_count) {
        (Some(text), count) => {
            let wanted = indexes::parse(text);
            let there = wanted.intersection(completed).count();
            count.map_or(there == wanted.len(), |count| enough(there, count))
        }
        (None, Some(count)) => enough(completed.len(), count),
        (None, None) => false,
    }
}
