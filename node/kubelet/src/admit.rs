//! Whether a pod can run here at all: what this node would have to ignore, and must not, fails the pod with a reason.

mod place;

pub use place::{Objection, objections};

use k8s_openapi::api::core::v1::{Pod, PodSpec};

/// Why a pod is not run here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    pub reason: String,
    pub message: String,
}

/// Upstream's safe set: these belong to the pod's own namespaces and harm no neighbour.
const SAFE_SYSCTLS: [&str; 12] = [
    "kernel.shm_rmid_forced",
    "net.ipv4.ip_local_port_range",
    "net.ipv4.tcp_syncookies",
    "net.ipv4.ping_group_range",
    "net.ipv4.ip_unprivileged_port_start",
    "net.ipv4.ip_local_reserved_ports",
    "net.ipv4.tcp_keepalive_time",
    "net.ipv4.tcp_fin_timeout",
    "net.ipv4.tcp_keepalive_intvl",
    "net.ipv4.tcp_keepalive_probes",
    "net.ipv4.tcp_rmem",
    "net.ipv4.tcp_wmem",
];

/// Why the pod is refused, whatever else runs here.
pub fn refusal(pod: &Pod) -> Option<Refusal> {
    let spec = pod.spec.as_ref()?;
    let (reason, message) = sysctl(spec).or_else(|| unsupported(spec))?;
    Some(Refusal { reason: reason.to_owned(), message })
}

type Said = (&'static str, String);

fn sysctl(spec: &PodSpec) -> Option<Said> {
    let asked = spec.security_context.as_ref()?.sysctls.as_ref()?;
    let shared = |name: &str| {
        (name.starts_with("net.") && spec.host_network == Some(true))
            || (name.starts_with("kernel.shm") && spec.host_ipc == Some(true))
    };
    let bad = asked.iter().find(|s| !SAFE_SYSCTLS.contains(&s.name.as_str()) || shared(&s.name))?;
    Some(("SysctlForbidden", format!("forbidden sysctl: \"{}\" not allowlisted", bad.name)))
}

fn unsupported(spec: &PodSpec) -> Option<Said> {
    if spec.os.as_ref().is_some_and(|os| os.name != "linux") {
        let text = "Failed to admit pod as the OS field doesn't match node OS";
        return Some(("PodOSNotSupported", text.to_owned()));
    }
    let what = if spec.host_users == Some(false) {
        "user namespaces (hostUsers: false)"
    } else if spec.resource_claims.as_ref().is_some_and(|c| !c.is_empty()) {
        "resourceClaims"
    } else {
        return None;
    };
    Some(("UnexpectedAdmissionError", format!("this node does not offer {what}")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_cannot_be_honoured_is_refused() {
        let sysctl =
            |name: &str| json!({"containers": [], "securityContext": {"sysctls": [{"name": name, "value": "1"}]}});
        for (spec, reason) in [
            (json!({"containers": []}), None),
            (sysctl("net.ipv4.tcp_syncookies"), None),
            (sysctl("kernel.msgmax"), Some("SysctlForbidden")),
            (
                json!({"containers": [], "hostNetwork": true, "securityContext": {"sysctls": [{"name": "net.ipv4.tcp_rmem", "value": "1"}]}}),
                Some("SysctlForbidden"),
            ),
            (json!({"containers": [], "os": {"name": "windows"}}), Some("PodOSNotSupported")),
            (json!({"containers": [], "hostUsers": false}), Some("UnexpectedAdmissionError")),
        ] {
            let pod: Pod = serde_json::from_value(json!({"metadata": {}, "spec": spec})).unwrap();
            let got = refusal(&pod).map(|r| r.reason);
            assert_eq!(got.as_deref(), reason, "{pod:?}");
        }
    }
}
