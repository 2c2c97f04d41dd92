//! Services.

use super::addresses;
use super::at::At;
use super::metadata;
use super::words::{self, endpoint_ip};
use super::workloads::{checked, updated};
use crate::kind::Context;
use crate::names;
use crate::object::Object;
use crate::status::FieldError;
use crate::value::Value;

/// A day, in seconds.
const MAX_AFFINITY_SECONDS: i64 = 86400;

pub(in crate::kinds) fn service(object: &Object, out: &mut Vec<FieldError>) {
    checked(object, names::dns1123_label, out, |root, _| {
        whole(root, None);
        addresses::related(&root.field("spec"));
    });
}

/// What holds for a new Service, and for a changed one where `old` is what it was.
fn whole(root: &At<'_>, old: Option<&Object>) {
    let spec = root.field("spec");
    modes(&root.fields(&["metadata", "annotations"]));
    by_type(&spec);
    ports(&spec);
    metadata::labels(&spec.field("selector"));
    affinity(&spec);
    let known = old.and_then(|o| o.at(&["spec", "externalIPs"])).and_then(Value::as_list).unwrap_or(&[]);
    for ip in spec.field("externalIPs").items() {
        let wrong = if known.iter().any(|k| Some(k) == ip.value) { Vec::new() } else { words::ip(ip.text()) };
        wrong.iter().for_each(|why| ip.invalid_text(ip.text(), why));
        if wrong.is_empty() {
            ip.matches(endpoint_ip);
        }
    }
    let kind = spec.field("type");
    match kind.text() {
        "" => kind.required(""),
        _ => kind.one_of(&["ClusterIP", "ExternalName", "LoadBalancer", "NodePort"]),
    }
    same_ports(&spec);
    ranges(root, old);
    balancer(&spec);
    traffic(&spec);
    spec.field("trafficDistribution").maybe_one_of(&["PreferClose", "PreferSameZone", "PreferSameNode"]);
}

/// The older annotation of hints says what the newer one does.
fn modes(at: &At<'_>) {
    let one = |key: &str| at.pairs().find(|(k, _)| *k == key).map(|(_, value)| value);
    let (hints, mode) = (one("service.kubernetes.io/topology-aware-hints"), one("service.kubernetes.io/topology-mode"));
    if let Some((_, mode)) = hints.zip(mode).filter(|(h, m)| h.text() != m.text()) {
        mode.invalid_text(
            mode.text(),
            "must match annotations[service.kubernetes.io/topology-aware-hints] when both are specified",
        );
    }
}

fn headless(spec: &At<'_>) -> bool {
    spec.get("clusterIP") == "None"
}

fn by_type(spec: &At<'_>) {
    let ips = spec.field("clusterIPs");
    match spec.get("type") {
        "LoadBalancer" | "NodePort" if headless(spec) => {
            let why = format!("may not be set to 'None' for {} services", spec.get("type"));
            ips.key(0).invalid_text("None", &why);
        }
        "ExternalName" => {
            if !ips.is_empty() || !spec.get("clusterIP").is_empty() {
                ips.forbidden("may not be set for ExternalName services");
            }
            for at in [spec.field("ipFamilies"), spec.field("ipFamilyPolicy")].into_iter().filter(|at| !at.is_empty()) {
                at.forbidden("may not be set for ExternalName services");
            }
            let name = spec.field("externalName");
            let host = name.text().strip_suffix('.').unwrap_or(name.text());
            match host {
                "" => name.required(""),
                _ => names::dns1123_subdomain(host).iter().for_each(|why| name.invalid_text(host, why)),
            }
        }
        _ => {}
    }
}

fn ports(spec: &At<'_>) {
    let list = spec.field("ports");
    if list.is_empty() && !headless(spec) && spec.get("type") != "ExternalName" {
        list.required("");
    }
    let named = list.len() > 1;
    let mut seen: Vec<&str> = Vec::new();
    for port in list.items() {
        let name = port.field("name");
        match name.text() {
            "" if named => name.required(""),
            "" => {}
            text => {
                name.matches(names::dns1123_label);
                if seen.contains(&text) {
                    name.duplicate();
                }
                seen.push(text);
            }
        }
        port.field("port").between(1, 65535);
        let protocol = port.field("protocol");
        match protocol.text() {
            "" => protocol.required(""),
            _ => protocol.one_of(&["SCTP", "TCP", "UDP"]),
        }
        target(&port);
        let protocol = port.field("appProtocol");
        if protocol.is() {
            protocol.matches(names::qualified_name);
        }
    }
}

fn target(port: &At<'_>) {
    let target = port.field("targetPort");
    match target.value {
        None => {}
        Some(Value::Str(_)) => target.matches(words::port_name),
        Some(_) => target.between(1, 65535),
    }
}

/// Ports of nodes and of the Service, each one once for a protocol.
fn same_ports(spec: &At<'_>) {
    let list = spec.field("ports");
    let on_nodes: Vec<At<'_>> =
        list.items().map(|p| p.field("nodePort")).filter(|p| p.int().unwrap_or(0) != 0).collect();
    if spec.get("type") == "ClusterIP" {
        on_nodes.iter().for_each(|p| p.forbidden("may not be used when `type` is 'ClusterIP'"));
    }
    let mut seen = Vec::new();
    for port in list.items() {
        let number = port.field("nodePort");
        let this = (port.get("protocol").to_owned(), number.int());
        if number.int().unwrap_or(0) != 0 {
            if seen.contains(&this) {
                number.duplicate();
            }
            seen.push(this);
        }
    }
    let mut seen: Vec<(&str, Option<i64>)> = Vec::new();
    for port in list.items() {
        let this = (port.get("protocol"), port.field("port").int());
        if seen.contains(&this) {
            let shown = super::inner::inner(port.value.map(|_| &Value::Null), crate::schema::find(PORT));
            port.duplicate_as(&identity(&shown, this), "");
        }
        seen.push(this);
    }
}

const PORT: &str = "io.k8s.api.core.v1.ServicePort";

/// A port as only its protocol and number say it.
fn identity(empty: &str, (protocol, number): (&str, Option<i64>)) -> String {
    let number = number.unwrap_or(0);
    empty
        .replace("\"Protocol\":\"\"", &format!("\"Protocol\":{protocol:?}"))
        .replace("\"Port\":0", &format!("\"Port\":{number}"))
        .replace("\"TargetPort\":null", "\"TargetPort\":0")
}

fn affinity(spec: &At<'_>) {
    let (kind, config) = (spec.field("sessionAffinity"), spec.field("sessionAffinityConfig"));
    match kind.text() {
        "" => kind.required(""),
        _ => kind.one_of(&["ClientIP", "None"]),
    }
    match kind.text() {
        "ClientIP" => {
            let seconds = config.fields(&["clientIP", "timeoutSeconds"]);
            if !config.is() {
                config.required("when session affinity type is ClientIP");
            } else if !seconds.int().is_some_and(|s| (1..=MAX_AFFINITY_SECONDS).contains(&s)) {
                seconds.invalid(&format!("must be greater than 0 and less than {MAX_AFFINITY_SECONDS}"));
            }
        }
        "None" if config.is() => {
            config.forbidden("must not be set when session affinity is None");
        }
        _ => {}
    }
}

const RANGES_NOTE: &str = "service.beta.kubernetes.io/load-balancer-source-ranges";
const OF_BALANCERS: &str = "may only be used when `type` is 'LoadBalancer'";

/// Who may reach a balancer, in its field or in the older annotation.
fn ranges(root: &At<'_>, old: Option<&Object>) {
    let spec = root.field("spec");
    let is = spec.get("type") == "LoadBalancer";
    let ranges = spec.field("loadBalancerSourceRanges").named("spec.LoadBalancerSourceRanges");
    if !ranges.is_empty() {
        if !is {
            ranges.forbidden(OF_BALANCERS);
        }
        let known =
            old.and_then(|o| o.at(&["spec", "loadBalancerSourceRanges"])).and_then(Value::as_list).unwrap_or(&[]);
        let known: Vec<&str> = known.iter().filter_map(Value::as_str).map(str::trim).collect();
        for range in ranges.items().filter(|r| !known.contains(&r.text().trim())) {
            let text = range.text().trim();
            words::cidr(text).iter().for_each(|why| range.invalid_text(text, why));
        }
        return;
    }
    let notes = root.fields(&["metadata", "annotations"]);
    let Some((_, note)) = notes.pairs().find(|(key, _)| *key == RANGES_NOTE) else { return };
    if !is {
        note.forbidden(OF_BALANCERS);
    }
    let same = old.is_some_and(|o| o.annotation(RANGES_NOTE) == Some(note.text()));
    let text = note.text().trim();
    for range in text.split(',').map(str::trim).filter(|_| !same && !text.is_empty()) {
        words::cidr(range).iter().for_each(|why| note.invalid_text(range, why));
    }
}

fn balancer(spec: &At<'_>) {
    let is = spec.get("type") == "LoadBalancer";
    let ports = spec.field("allocateLoadBalancerNodePorts");
    match (ports.is(), is) {
        (true, false) => ports.forbidden(OF_BALANCERS),
        (false, true) => ports.named("allocateLoadBalancerNodePorts").required(""),
        _ => {}
    }
    class(spec);
}

fn class(spec: &At<'_>) {
    let class = spec.field("loadBalancerClass");
    match (class.is(), spec.get("type") == "LoadBalancer") {
        (true, true) => class.matches(names::qualified_name),
        (true, false) => class.forbidden(OF_BALANCERS),
        _ => {}
    }
}

fn traffic(spec: &At<'_>) {
    let external = spec.field("externalTrafficPolicy");
    let outside = match spec.get("type") {
        "LoadBalancer" | "NodePort" => true,
        "ClusterIP" => !spec.field("externalIPs").is_empty(),
        _ => false,
    };
    if external.is() && !external.text().is_empty() {
        match outside {
            false => external.invalid("may only be set for externally-accessible services"),
            true => external.one_of(&["Cluster", "Local"]),
        }
    } else if outside {
        external.required("");
    }
    let check = spec.field("healthCheckNodePort");
    let number = check.int().unwrap_or(0);
    if !needs_check(spec.get("type"), external.text()) {
        if number != 0 {
            check.invalid("may only be set when `type` is 'LoadBalancer' and `externalTrafficPolicy` is 'Local'");
        }
    } else if number != 0 {
        check.between(1, 65535);
    }
    let inside = spec.field("internalTrafficPolicy");
    if !inside.is() && matches!(spec.get("type"), "ClusterIP" | "LoadBalancer" | "NodePort") {
        inside.required("");
    }
    inside.maybe_one_of(&["Cluster", "Local"]);
}

fn needs_check(kind: &str, external: &str) -> bool {
    kind == "LoadBalancer" && external == "Local"
}

pub(in crate::kinds) fn service_update(new: &Object, old: &Object, context: Context<'_>, out: &mut Vec<FieldError>) {
    let kind = new.str_at(&["spec", "type"]).to_owned();
    let rules = |root: &At<'_>| {
        let spec = root.field("spec");
        addresses::changes(&spec, old);
        let own = spec.field("loadBalancerClass");
        let same = old.str_at(&["spec", "type"]) == kind && kind == "LoadBalancer";
        if same && metadata::differs(own.value, old.at(&["spec", "loadBalancerClass"])) {
            own.invalid("may not change once set");
        }
        class(&spec);
        let check = |o: &Object| o.i64_at(&["spec", "healthCheckNodePort"]).unwrap_or(0);
        let needs = |o: &Object| needs_check(o.str_at(&["spec", "type"]), o.str_at(&["spec", "externalTrafficPolicy"]));
        if needs(old) && needs(new) && check(old) != check(new) {
            spec.field("healthCheckNodePort").forbidden("field is immutable");
        }
        whole(root, Some(old));
        addresses::related(&spec);
    };
    out.clear();
    updated(new, old, context, out, rules, |status| status_of(status, &kind, old));
}

fn status_of(status: &At<'_>, kind: &str, old: &Object) {
    let ingress = status.fields(&["loadBalancer", "ingress"]);
    if !ingress.is_empty() && kind != "LoadBalancer" {
        return ingress.forbidden("may only be used when `spec.type` is 'LoadBalancer'");
    }
    let known = old.at(&["status", "loadBalancer", "ingress"]).and_then(Value::as_list).unwrap_or(&[]);
    for one in ingress.items() {
        let (ip, mode, host) = (one.field("ip"), one.field("ipMode"), one.field("hostname"));
        if !ip.is_empty() && !known.iter().any(|k| k.get("ip") == ip.value) {
            ip.matches(words::ip);
        }
        match (mode.is(), ip.is_empty()) {
            (false, false) => mode.required("must be specified when `ip` is set"),
            (true, true) => mode.forbidden("may not be specified when `ip` is not set"),
            (true, false) => mode.one_of(&["Proxy", "VIP"]),
            (false, true) => {}
        }
        if !host.is_empty() {
            host.matches(names::dns1123_subdomain);
            if host.text().parse::<std::net::IpAddr>().is_ok() {
                host.invalid("must be a DNS name, not an IP address");
            }
        }
    }
}
