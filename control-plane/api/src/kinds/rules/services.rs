//! Services, Endpoints and EndpointSlices.

use super::addresses;
use super::at::At;
use super::config::dotless;
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

fn service_name(name: &str) -> Vec<String> {
    dotless(names::dns1035_label, name)
}

pub(in crate::kinds) fn service(object: &Object, out: &mut Vec<FieldError>) {
    checked(object, service_name, out, |root, _| {
        let spec = root.field("spec");
        by_type(&spec);
        ports(&spec);
        metadata::labels(&spec.field("selector"));
        affinity(&spec);
        spec.field("externalIPs").items().for_each(|ip| ip.matches(endpoint_ip));
        spec.field("type").one_of(&["ClusterIP", "ExternalName", "LoadBalancer", "NodePort"]);
        balancer(&spec);
        traffic(&spec);
        families(&spec);
        let distribution = spec.field("trafficDistribution");
        distribution.maybe_one_of(&["PreferClose", "PreferSameZone", "PreferSameNode"]);
    });
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
        port.field("protocol").one_of(&["SCTP", "TCP", "UDP"]);
        target(&port);
        let protocol = port.field("appProtocol");
        if protocol.is() {
            protocol.matches(names::qualified_name);
        }
    }
    if spec.get("type") == "ClusterIP" {
        for port in list.items().filter(|p| p.field("nodePort").int().unwrap_or(0) != 0) {
            port.field("nodePort").forbidden("may not be used when `type` is 'ClusterIP'");
        }
    }
    same_ports(&list);
}

fn target(port: &At<'_>) {
    let target = port.field("targetPort");
    match target.value {
        None => {}
        Some(Value::Str(_)) => target.matches(words::port_name),
        Some(_) => target.between(1, 65535),
    }
}

fn same_ports(list: &At<'_>) {
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
    kind.one_of(&["ClientIP", "None"]);
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

fn balancer(spec: &At<'_>) {
    let is = spec.get("type") == "LoadBalancer";
    let ranges = spec.field("loadBalancerSourceRanges").named("spec.LoadBalancerSourceRanges");
    if !ranges.is_empty() {
        match is {
            true => ranges.items().for_each(|r| {
                let text = r.text().trim();
                words::cidr(text).iter().for_each(|why| r.invalid_text(text, why));
            }),
            false => ranges.forbidden("may only be used when `type` is 'LoadBalancer'"),
        }
    }
    if spec.has("allocateLoadBalancerNodePorts") && !is {
        spec.field("allocateLoadBalancerNodePorts").forbidden("may only be used when `type` is 'LoadBalancer'");
    }
    let class = spec.field("loadBalancerClass");
    match (class.is(), is) {
        (true, true) => class.matches(names::qualified_name),
        (true, false) => class.forbidden("may only be used when `type` is 'LoadBalancer'"),
        _ => {}
    }
}

fn traffic(spec: &At<'_>) {
    let external = spec.field("externalTrafficPolicy");
    let outside = matches!(spec.get("type"), "LoadBalancer" | "NodePort") || !spec.field("externalIPs").is_empty();
    if external.is() && !external.text().is_empty() {
        match outside {
            false => external.invalid("may only be set for externally-accessible services"),
            true => external.one_of(&["Cluster", "Local"]),
        }
    } else if outside {
        external.required("");
    }
    let check = spec.field("healthCheckNodePort");
    if check.int().unwrap_or(0) != 0 && !(spec.get("type") == "LoadBalancer" && external.text() == "Local") {
        check.invalid("may only be set when `type` is 'LoadBalancer' and `externalTrafficPolicy` is 'Local'");
    }
    spec.field("internalTrafficPolicy").maybe_one_of(&["Cluster", "Local"]);
}

fn families(spec: &At<'_>) {
    if spec.get("type") != "ExternalName" {
        return addresses::related(spec, None);
    }
    for at in [spec.field("ipFamilies"), spec.field("ipFamilyPolicy")].into_iter().filter(|at| !at.is_empty()) {
        at.forbidden("may not be set for ExternalName services");
    }
}

pub(in crate::kinds) fn service_update(new: &Object, old: &Object, context: Context<'_>, out: &mut Vec<FieldError>) {
    let rules = |root: &At<'_>| {
        let spec = root.field("spec");
        if spec.get("type") != "ExternalName" {
            addresses::changes(&spec, old);
        }
        let class = spec.field("loadBalancerClass");
        let same = old.str_at(&["spec", "type"]) == spec.get("type") && spec.get("type") == "LoadBalancer";
        if same && metadata::differs(class.value, old.at(&["spec", "loadBalancerClass"])) {
            class.invalid("may not change once set");
        }
    };
    let kind = new.str_at(&["spec", "type"]).to_owned();
    updated(new, old, context, out, rules, |status| {
        let ingress = status.fields(&["loadBalancer", "ingress"]);
        if !ingress.is_empty() && kind != "LoadBalancer" {
            return ingress.forbidden("may only be used when `spec.type` is 'LoadBalancer'");
        }
        for one in ingress.items() {
            if !one.get("ip").is_empty() {
                one.field("ip").matches(words::ip);
            }
            if !one.get("hostname").is_empty() {
                one.field("hostname").matches(names::dns1123_subdomain);
            }
        }
    });
}

pub(in crate::kinds) fn endpoints(object: &Object, out: &mut Vec<FieldError>) {
    checked(object, names::dns1123_subdomain, out, |root, _| {
        root.field("subsets").items().for_each(|s| subset(&s));
    });
}

fn subset(at: &At<'_>) {
    let (ready, waiting) = (at.field("addresses"), at.field("notReadyAddresses"));
    if ready.is_empty() && waiting.is_empty() {
        at.required("must specify `addresses` or `notReadyAddresses`");
    }
    for address in ready.items().chain(waiting.items()) {
        let ip = address.field("ip");
        ip.matches(endpoint_ip);
        if ip.text().parse::<std::net::IpAddr>().is_err() {
            // The second of upstream's two checks says so again.
            ip.invalid_text(ip.text(), "must be a valid IP address");
        }
        if !address.get("hostname").is_empty() {
            address.field("hostname").matches(names::dns1123_label);
        }
        if address.has("nodeName") {
            address.field("nodeName").matches(names::dns1123_subdomain);
        }
    }
    let ports = at.field("ports");
    for port in ports.items() {
        let name = port.field("name");
        match name.text() {
            "" if ports.len() > 1 => name.required(""),
            "" => {}
            _ => name.matches(names::dns1123_label),
        }
        port.field("port").between(1, 65535);
        port.field("protocol").one_of(&["SCTP", "TCP", "UDP"]);
    }
}

/// Addresses of one endpoint, endpoints and ports of one slice: as many as upstream takes.
const MAX_ADDRESSES: usize = 100;
const MAX_ENDPOINTS: usize = 1000;
const MAX_PORTS: usize = 20000;

pub(in crate::kinds) fn endpoint_slice(object: &Object, out: &mut Vec<FieldError>) {
    checked(object, names::dns1123_subdomain, out, |root, _| {
        let kind = root.field("addressType");
        match kind.text() {
            "" => kind.required(""),
            _ => kind.one_of(&["FQDN", "IPv4", "IPv6"]),
        }
        let (endpoints, ports) = (root.field("endpoints"), root.field("ports"));
        limited(&endpoints, MAX_ENDPOINTS);
        endpoints.items().for_each(|e| endpoint(&e, kind.text()));
        limited(&ports, MAX_PORTS);
        slice_ports(&ports);
    });
}

fn limited(at: &At<'_>, most: usize) {
    if at.len() > most {
        let message = format!("Too many: {}: must have at most {most} items", at.len());
        at.say(crate::status::FieldReason::TooMany, message);
    }
}

fn endpoint(at: &At<'_>, kind: &str) {
    let addresses = at.field("addresses");
    if addresses.is_empty() {
        addresses.required("must contain at least 1 address");
    }
    limited(&addresses, MAX_ADDRESSES);
    for address in addresses.items() {
        match kind {
            "IPv4" | "IPv6" => {
                let wrong = words::ip(address.text());
                wrong.iter().for_each(|why| address.invalid_text(address.text(), why));
                if wrong.is_empty() {
                    address.matches(endpoint_ip);
                }
            }
            "FQDN" => address.matches(names::dns1123_subdomain),
            _ => {}
        }
    }
    if at.has("hostname") {
        at.field("hostname").matches(names::dns1123_label);
    }
    if at.has("nodeName") {
        at.field("nodeName").matches(names::dns1123_subdomain);
    }
}

fn slice_ports(list: &At<'_>) {
    let mut seen: Vec<&str> = Vec::new();
    for port in list.items() {
        let name = port.field("name");
        if !name.text().is_empty() {
            name.matches(names::dns1123_label);
        }
        if seen.contains(&name.text()) {
            name.duplicate_as(&format!("{:?}", name.text()), "");
        }
        seen.push(name.text());
        port.field("protocol").one_of(&["SCTP", "TCP", "UDP"]);
        if port.has("appProtocol") {
            port.field("appProtocol").matches(names::qualified_name);
        }
    }
}

pub(in crate::kinds) fn endpoint_slice_update(new: &Object, old: &Object, c: Context<'_>, out: &mut Vec<FieldError>) {
    let rules = |root: &At<'_>| super::workloads::immutable(&root.field("addressType"), old.at(&["addressType"]));
    updated(new, old, c, out, rules, |_| {});
}
