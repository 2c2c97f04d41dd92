//! What pods of one operating system may say: Windows has options of its own, and lacks most of Linux's.

use super::at::At;
use crate::names;
use crate::value::Value;

/// As upstream's: a credential in bytes, and the two parts of a user's name.
const MAX_CREDENTIAL: usize = 64 * 1024;
const MAX_DOMAIN: usize = 256;
const MAX_USER: usize = 104;

/// The options of a pod or a container.
pub(super) fn options(at: &At<'_>) {
    let (name, credential, user) =
        (at.field("gmsaCredentialSpecName"), at.field("gmsaCredentialSpec"), at.field("runAsUserName"));
    if name.is() {
        name.matches(names::dns1123_subdomain);
    }
    if credential.is() && credential.is_empty() {
        credential.invalid("gmsaCredentialSpec cannot be an empty string");
    } else if credential.text().len() > MAX_CREDENTIAL {
        credential.invalid("gmsaCredentialSpec size must be under 64 KiB");
    }
    if user.is() {
        user_name(&user);
    }
}

/// `domain\\user`, or a user alone.
fn user_name(at: &At<'_>) {
    let text = at.text();
    if text.is_empty() {
        return at.invalid("runAsUserName cannot be an empty string");
    }
    if text.bytes().any(|b| b.is_ascii_control()) {
        return at.invalid("runAsUserName cannot contain control characters");
    }
    let (domain, user) = match text.split('\\').collect::<Vec<_>>()[..] {
        [user] => (None, user),
        [domain, user] => (Some(domain), user),
        _ => return at.invalid("runAsUserName cannot contain more than one backslash"),
    };
    if domain.is_some_and(|d| d.len() >= MAX_DOMAIN) {
        at.invalid("runAsUserName's Domain length must be under 256 characters");
    }
    if domain.is_some_and(|d| !is_netbios(d) && !is_domain(d)) {
        at.invalid("runAsUserName's Domain doesn't match the NetBios nor the DNS format");
    }
    if user.is_empty() {
        at.invalid("runAsUserName's User cannot be empty");
    } else if user.len() > MAX_USER {
        at.invalid("runAsUserName's User length must not be longer than 104 characters");
    }
    if !user.is_empty() && user.chars().all(|c| matches!(c, '.' | ' ')) {
        at.invalid("runAsUserName's User cannot contain only periods or spaces");
    }
    if user.contains(['"', '/', '\\', ':', ';', '|', '=', ',', '+', '*', '?', '<', '>', '@', '[', ']']) {
        at.invalid("runAsUserName's User cannot contain the following characters: \"/\\:;|=,+*?<>@[]");
    }
}

fn is_netbios(text: &str) -> bool {
    let banned = |c: char| matches!(c, '\\' | '/' | ':' | '*' | '?' | '"' | '<' | '>' | '|');
    (1..=15).contains(&text.chars().count()) && !text.starts_with('.') && !text.contains(banned)
}

fn is_domain(text: &str) -> bool {
    let label = |l: &str| {
        let bytes = l.as_bytes();
        (1..=63).contains(&bytes.len())
            && bytes.iter().all(|b| b.is_ascii_alphanumeric() || *b == b'-')
            && bytes.first() != Some(&b'-')
            && bytes.last() != Some(&b'-')
    };
    text.split('.').all(label)
}

/// Containers that are processes of the host: all of a pod's, or none.
pub(super) fn host_processes(spec: &At<'_>, containers: &[At<'_>]) {
    const TOLD: &[&str] = &["securityContext", "windowsOptions", "hostProcess"];
    let of_pod = spec.fields(TOLD).value.and_then(Value::as_bool);
    let mut count = 0;
    for container in containers {
        let at = container.fields(TOLD);
        let own = at.value.and_then(Value::as_bool);
        if let Some((pod, _)) = of_pod.zip(own).filter(|(pod, own)| pod != own) {
            at.invalid(&format!("pod hostProcess value must be identical if both are specified, was {pod}"));
        }
        count += usize::from(own.or(of_pod) == Some(true));
    }
    if count == 0 {
        return;
    }
    if count != containers.len() {
        let why = "If pod contains any hostProcess containers then all containers must be HostProcess containers";
        spec.invalid_text("", why);
    }
    if !spec.field("hostNetwork").truth() {
        let why = "hostNetwork must be true if pod contains any hostProcess containers";
        spec.field("hostNetwork").invalid_as("false", why);
    }
}

/// What Windows has not, in pods, and in containers.
const NOT_IN_PODS: &[&str] = &[
    "securityContext.appArmorProfile",
    "securityContext.seLinuxOptions",
    "hostUsers",
    "hostPID",
    "hostIPC",
    "securityContext.seccompProfile",
    "securityContext.fsGroup",
    "securityContext.fsGroupChangePolicy",
    "securityContext.sysctls",
    "shareProcessNamespace",
    "securityContext.runAsUser",
    "securityContext.runAsGroup",
    "securityContext.supplementalGroups",
    "securityContext.supplementalGroupsPolicy",
    "securityContext.seLinuxChangePolicy",
];
const NOT_IN_CONTAINERS: &[&str] = &[
    "appArmorProfile",
    "seLinuxOptions",
    "seccompProfile",
    "capabilities",
    "readOnlyRootFilesystem",
    "privileged",
    "allowPrivilegeEscalation",
    "procMount",
    "runAsUser",
    "runAsGroup",
];

/// What a pod of one system may not set; `containers` are all of its containers.
pub(super) fn system(spec: &At<'_>, containers: &[At<'_>]) {
    let os = spec.field("os");
    if !os.is() {
        return;
    }
    let contexts = || containers.iter().map(|c| c.field("securityContext"));
    match os.get("name") {
        "" => os.field("name").required(""),
        "linux" => {
            let of_pod = std::iter::once(spec.field("securityContext"));
            for at in of_pod.chain(contexts()).map(|c| c.field("windowsOptions")).filter(At::is) {
                at.forbidden("windows options cannot be set for a linux pod");
            }
        }
        "windows" => {
            let of_pod = NOT_IN_PODS.iter().map(|path| spec.fields(&path.split('.').collect::<Vec<_>>()));
            let of_containers = contexts().flat_map(|c| NOT_IN_CONTAINERS.iter().map(move |key| c.field(key)));
            // The host's namespaces are shared only by `true`.
            let set = |at: &At<'_>| match at.path.rsplit('.').next() {
                Some("hostPID" | "hostIPC") => at.truth(),
                Some("sysctls" | "supplementalGroups") => !at.is_empty(),
                _ => at.is(),
            };
            of_pod.chain(of_containers).filter(set).for_each(|at| at.forbidden("cannot be set for a windows pod"));
        }
        name => os.unsupported_as(&format!("{name:?}"), &["linux", "windows"]),
    }
}
