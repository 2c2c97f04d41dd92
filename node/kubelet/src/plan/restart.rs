//! Whether a container that ended runs again.

use crate::observed::Container;
use crate::units::{Role, Unit};
use k8s_openapi::api::core::v1::Pod;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It runs, or has yet to.
    Live,
    /// It ended and is to start again.
    Again,
    /// It ended for good.
    Ended,
}

pub fn verdict(pod: &Pod, unit: &Unit<'_>, container: Option<&Container>) -> Verdict {
    let Some(exit) = container.and_then(Container::exit) else { return Verdict::Live };
    if container.is_some_and(|c| c.renewed) {
        return Verdict::Again;
    }
    let again = match unit.role {
        Role::Sidecar => true,
        Role::Ephemeral => false,
        Role::Init if exit.code == 0 => false,
        Role::Init | Role::Main => match by_rule(unit, exit.code) {
            Some(again) => again,
            None => match policy(pod, unit) {
                "Never" => false,
                "OnFailure" => exit.code != 0,
                _ => true,
            },
        },
    };
    if again { Verdict::Again } else { Verdict::Ended }
}

/// The container's own policy goes before the pod's.
fn policy<'a>(pod: &'a Pod, unit: &'a Unit<'_>) -> &'a str {
    let own = unit.spec.restart_policy.as_deref();
    own.or(pod.spec.as_ref().and_then(|s| s.restart_policy.as_deref())).unwrap_or("Always")
}

/// `restartPolicyRules`: the first rule that fits the exit code decides.
fn by_rule(unit: &Unit<'_>, code: i32) -> Option<bool> {
    unit.spec.restart_policy_rules.iter().flatten().find_map(|rule| {
        let codes = rule.exit_codes.as_ref()?;
        let listed = codes.values.iter().flatten().any(|v| *v == code);
        let fits = match codes.operator.as_str() {
            "In" => listed,
            "NotIn" => !listed,
            _ => return None,
        };
        fits.then(|| rule.action == "Restart")
    })
}
