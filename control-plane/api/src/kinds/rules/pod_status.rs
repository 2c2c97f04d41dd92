//! The status of a pod, as its kubelet and the scheduler write it.

use super::at::At;
use super::words;
use crate::names;
use crate::object::Object;
use crate::value::Value;
use std::net::IpAddr;

const STATUSES: &[&str] = &["containerStatuses", "initContainerStatuses", "ephemeralContainerStatuses"];

/// The status of the pod at `root`, as a change of `old`.
pub(super) fn status(root: &At<'_>, old: &Object) {
    let (at, spec) = (root.field("status"), root.field("spec"));
    conditions(&at.field("conditions"));
    nominated(&at.field("nominatedNodeName"), old);
    let seen = at.field("observedGeneration");
    if seen.int().is_some_and(|g| g < 0) {
        seen.invalid("must be a non-negative integer");
    }
    transitions(&at, old);
    claims(&at.field("resourceClaimStatuses"), &spec.field("resourceClaims"));
    extended(&at.field("extendedResourceClaimStatus"), &spec);
    addresses(&at.field("podIPs"), old.at(&["status", "podIPs"]));
    let hosts = at.field("hostIPs");
    if let Some(first) = hosts.items().next().filter(|f| f.get("ip") != at.get("hostIP")) {
        first.field("ip").invalid_text(first.get("ip"), "must be equal to `hostIP`");
    }
    addresses(&hosts, old.at(&["status", "hostIPs"]));
    let os = spec.fields(&["os", "name"]);
    for container in STATUSES.iter().flat_map(|l| at.field(l).items().collect::<Vec<_>>()) {
        user(&container.fields(&["user", "linux"]), os.text());
    }
    health(&at.field("containerStatuses"), &spec.field("containers"));
    health(&at.field("initContainerStatuses"), &spec.field("initContainers"));
    for one in at.field("ephemeralContainerStatuses").items().map(|s| s.field("allocatedResourcesStatus")) {
        if !one.is_empty() {
            one.forbidden("must not be specified in container status");
        }
    }
    for mount in STATUSES.iter().flat_map(|l| at.field(l).items().collect::<Vec<_>>()) {
        mount.field("volumeMounts").items().for_each(|m| image(&m.fields(&["volumeStatus", "image"])));
    }
}

fn conditions(at: &At<'_>) {
    for one in at.items() {
        let (kind, seen) = (one.field("type").named(format!("{}.Type", one.path)), one.field("observedGeneration"));
        if seen.int().is_some_and(|g| g < 0) {
            seen.invalid("must be a non-negative integer");
        }
        if !matches!(kind.text(), "PodScheduled" | "Ready" | "Initialized") {
            kind.matches(names::qualified_name);
        }
    }
}

fn nominated(at: &At<'_>, old: &Object) {
    if at.is_empty() || at.text() == old.str_at(&["status", "nominatedNodeName"]) {
        return;
    }
    at.matches(names::dns1123_subdomain);
    if !old.str_at(&["spec", "nodeName"]).is_empty() {
        at.forbidden("may not be set on pods that are already bound to a node");
    }
}

/// What has ended runs again only where something restarts it.
fn transitions(at: &At<'_>, old: &Object) {
    for list in STATUSES {
        let before = old.at(&["status", list]).and_then(Value::as_list).unwrap_or(&[]);
        let ended = |status: &Value| status.at(&["state", "terminated"]).filter(|t| !t.is_null()).cloned();
        let name = |status: &Value| status.get("name").and_then(Value::as_str).unwrap_or("").to_owned();
        let containers = match *list {
            "containerStatuses" => "containers",
            "initContainerStatuses" => "initContainers",
            _ => "",
        };
        if !containers.is_empty() && all_restart(old) {
            continue;
        }
        for (i, was) in before.iter().enumerate() {
            let Some(end) = ended(was) else { continue };
            let again = at.field(list).list().iter().any(|now| name(now) == name(was) && ended(now).is_none());
            let code = end.get("exitCode").and_then(Value::as_i64).unwrap_or(0);
            if again && !restarts(old, containers, &name(was), code) {
                at.field(list).key(i).field("state").forbidden("may not be transitioned to non-terminated state");
            }
        }
    }
}

fn rules(container: &Value) -> &[Value] {
    container.get("restartPolicyRules").and_then(Value::as_list).unwrap_or(&[])
}

fn all<'a>(pod: &'a Object, list: &str) -> &'a [Value] {
    pod.at(&["spec", list]).and_then(Value::as_list).unwrap_or(&[])
}

/// Whether some container's end may restart them all.
fn all_restart(pod: &Object) -> bool {
    let action = |rule: &Value| rule.get("action").and_then(Value::as_str) == Some("RestartAllContainers");
    let mut containers = all(pod, "containers").iter().chain(all(pod, "initContainers"));
    containers.any(|c| rules(c).iter().any(action))
}

/// Whether a container that ended with this code is started again: by a rule of its own, its policy, or its pod's.
fn restarts(pod: &Object, list: &str, name: &str, code: i64) -> bool {
    let found = all(pod, list).iter().find(|c| c.get("name").and_then(Value::as_str) == Some(name));
    let Some(container) = found else { return false };
    let matches = |rule: &&Value| {
        let values = rule.at(&["exitCodes", "values"]).and_then(Value::as_list).unwrap_or(&[]);
        let listed = values.iter().any(|v| v.as_i64() == Some(code));
        match rule.at(&["exitCodes", "operator"]).and_then(Value::as_str) {
            Some("In") => listed,
            Some("NotIn") => !listed,
            _ => false,
        }
    };
    if let Some(rule) = rules(container).iter().find(matches) {
        return rule.get("action").and_then(Value::as_str) == Some("Restart");
    }
    let own = container.get("restartPolicy").and_then(Value::as_str);
    match own.unwrap_or(pod.str_at(&["spec", "restartPolicy"])) {
        "Always" => true,
        "OnFailure" => code != 0,
        _ => false,
    }
}

fn claims(at: &At<'_>, of_pod: &At<'_>) {
    let mut seen: Vec<&str> = Vec::new();
    for one in at.items() {
        let name = one.field("name");
        if !of_pod.items().any(|c| c.get("name") == name.text()) {
            name.invalid_text(name.text(), "must match the name of an entry in `spec.resourceClaims`");
        }
        if seen.contains(&name.text()) {
            name.duplicate_as(&format!("{:?}", name.text()), "");
        }
        seen.push(name.text());
        if one.has("resourceClaimName") {
            one.field("resourceClaimName").matches(names::dns1123_subdomain);
        }
    }
}

/// The claim that was made for resources that containers only name.
fn extended(at: &At<'_>, spec: &At<'_>) {
    if !at.is() {
        return;
    }
    let mappings = at.field("requestMappings");
    if mappings.is_empty() {
        mappings.required("at least one request mapping is required");
    }
    let mut seen = Vec::new();
    for one in mappings.items() {
        let (container, resource, request) =
            (one.field("containerName"), one.field("resourceName"), one.field("requestName"));
        let found = ["initContainers", "containers"]
            .iter()
            .flat_map(|l| spec.field(l).items().collect::<Vec<_>>())
            .filter(|c| c.get("name") == container.text())
            .last();
        match found {
            None => container.invalid_text(
                container.text(),
                "must match the name of an entry in spec.initContainers.name or spec.containers.name",
            ),
            Some(c) if !c.fields(&["resources", "requests"]).has(resource.text()) => resource.invalid_text(
                resource.text(),
                "must match the extended resource name of an entry in spec.initContainers.resources.requests or spec.containers.resources.requests",
            ),
            Some(_) => {}
        }
        request.named(at.field("requestName").path).matches(names::dns1123_label);
        let key = [container.text(), resource.text(), request.text()];
        if seen.contains(&key) {
            [&container, &resource, &request].iter().for_each(|f| f.duplicate_as(&format!("{:?}", f.text()), ""));
        }
        seen.push(key);
    }
    at.field("resourceClaimName").required_matches(names::dns1123_subdomain);
}

/// At most one address of each family; those that were known are not looked at again.
fn addresses(at: &At<'_>, old: Option<&Value>) {
    let known: Vec<&str> =
        old.and_then(Value::as_list).unwrap_or(&[]).iter().filter_map(|o| o.get("ip")?.as_str()).collect();
    for one in at.items().filter(|o| !known.contains(&o.get("ip"))) {
        let ip = one.get("ip");
        words::ip(ip).iter().for_each(|why| one.invalid_text(ip, why));
    }
    if at.len() < 2 {
        return;
    }
    let texts: Vec<&str> = at.list().iter().map(|o| o.get("ip").and_then(Value::as_str).unwrap_or("")).collect();
    let mut families = Vec::new();
    for (i, text) in texts.iter().enumerate() {
        match text.parse::<IpAddr>() {
            Ok(ip) => families.push(ip.is_ipv4()),
            Err(_) => {
                let message =
                    format!("Internal error: failed to check for dual stack with error:invalid IP[{i}]: <nil>");
                at.say(crate::status::FieldReason::Internal, message);
                families.clear();
                break;
            }
        }
    }
    let both = families.contains(&true) && families.contains(&false);
    if !both || at.len() > 2 {
        let list: Vec<String> = texts.iter().map(|ip| format!("{{\"IP\":{ip:?}}}")).collect();
        at.invalid_as(&format!("[{}]", list.join(",")), "may specify no more than one IP for each IP family");
    }
}

fn user(at: &At<'_>, os: &str) {
    if !at.is() {
        return;
    }
    match os {
        "windows" => at.forbidden("cannot be set for a windows pod"),
        "" | "linux" => {
            at.field("uid").between(0, i64::from(i32::MAX));
            at.field("gid").between(0, i64::from(i32::MAX));
            at.field("supplementalGroups").items().for_each(|g| g.between(0, i64::from(i32::MAX)));
        }
        _ => {}
    }
}

/// As upstream's, in bytes.
const MAX_MESSAGE: usize = 1024;
const MAX_IMAGE: usize = 256;

/// How the devices are that containers were given.
fn health(statuses: &At<'_>, containers: &At<'_>) {
    for status in statuses.items() {
        let container = containers.items().find(|c| c.get("name") == status.get("name"));
        for resource in status.field("allocatedResourcesStatus").items() {
            if let Some(container) = &container {
                allocated(&resource.field("name"), &container.field("resources"));
            }
            let mut seen: Vec<&str> = Vec::new();
            for one in resource.field("resources").items() {
                let (health, message, id) = (one.field("health"), one.field("message"), one.field("resourceID"));
                health.one_of(&["Healthy", "Unhealthy", "Unknown"]);
                if message.is() && message.is_empty() {
                    message.required("must be non-empty if specified");
                } else if message.text().len() > MAX_MESSAGE {
                    message.too_long(MAX_MESSAGE);
                }
                if seen.contains(&id.text()) {
                    id.duplicate_as(&format!("{:?}", id.text()), "");
                }
                seen.push(id.text());
            }
        }
    }
}

fn allocated(name: &At<'_>, resources: &At<'_>) {
    let text = name.text();
    if let Some(claim) = text.strip_prefix("claim:") {
        let called = |c: &At<'_>| match c.get("request") {
            "" => c.get("name").to_owned(),
            request => format!("{}/{request}", c.get("name")),
        };
        if !resources.field("claims").items().any(|c| called(&c) == claim) {
            name.invalid_text(text, "must match one of the container's resource claims in a format 'claim:<claimName>/<request>' or 'claim:<claimName>' if request is empty");
        }
    } else if !resources.field("requests").has(text) {
        name.invalid_text(text, "must match one of the container's resource requests");
    }
}

fn image(at: &At<'_>) {
    if !at.is() {
        return;
    }
    let (prefix, _) = at.path.rsplit_once('.').unwrap_or(("", ""));
    let image = at.field("imageRef").named(format!("{prefix}.imageVolumeStatus.imageRef"));
    if image.is_empty() {
        image.required("imageRef must not be empty");
    }
    if image.text().len() > MAX_IMAGE {
        image.too_long(MAX_IMAGE);
    }
}
