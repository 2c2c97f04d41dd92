//! Endpoints and EndpointSlices: addresses that traffic is sent to.

use super::at::At;
use super::words::{self, endpoint_ip};
use super::workloads::{checked, updated};
use crate::kind::Context;
use crate::names;
use crate::object::Object;
use crate::status::FieldError;

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
        ip.matches(words::ip);
        if !address.get("hostname").is_empty() {
            address.field("hostname").matches(names::dns1123_label);
        }
        if address.has("nodeName") {
            address.field("nodeName").matches(names::dns1123_subdomain);
        }
        // The second of upstream's two checks of the address.
        match ip.text().parse::<std::net::IpAddr>() {
            Ok(_) => ip.matches(endpoint_ip),
            Err(_) => ip.invalid_text(ip.text(), "must be a valid IP address"),
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
        let protocol = port.field("protocol");
        match protocol.text() {
            "" => protocol.required(""),
            _ => protocol.one_of(PROTOCOLS),
        }
        app_protocol(&port);
    }
}

const PROTOCOLS: &[&str] = &["SCTP", "TCP", "UDP"];

/// What a port speaks above the wire.
fn app_protocol(port: &At<'_>) {
    let above = port.field("appProtocol");
    if above.is() {
        above.matches(names::qualified_name);
    }
}

pub(in crate::kinds) fn endpoints_update(new: &Object, old: &Object, context: Context<'_>, out: &mut Vec<FieldError>) {
    if new.at(&["subsets"]) == old.at(&["subsets"]) {
        out.retain(|e| !e.path.starts_with("subsets"));
    }
    updated(new, old, context, out, |_| {}, |_| {});
}

/// Addresses of one endpoint, endpoints and ports of one slice, and the rest of it: as many as upstream takes.
const MAX_ADDRESSES: usize = 100;
const MAX_ENDPOINTS: usize = 1000;
const MAX_PORTS: usize = 20000;
const MAX_TOPOLOGY: usize = 16;
const MAX_HINTS: usize = 8;

pub(in crate::kinds) fn endpoint_slice(object: &Object, out: &mut Vec<FieldError>) {
    checked(object, names::dns1123_subdomain, out, |root, _| {
        let kind = root.field("addressType");
        match kind.text() {
            "" => kind.required(""),
            _ => kind.one_of(&["FQDN", "IPv4", "IPv6"]),
        }
        let (endpoints, ports) = (root.field("endpoints"), root.field("ports"));
        if few(&ports, MAX_PORTS) {
            slice_ports(&ports);
        }
        if few(&endpoints, MAX_ENDPOINTS) {
            endpoints.items().for_each(|e| endpoint(&e, kind.text()));
        }
    });
}

/// Whether there are not too many; complains if there are.
fn few(at: &At<'_>, most: usize) -> bool {
    if at.len() > most {
        at.too_many(most);
    }
    at.len() <= most
}

fn endpoint(at: &At<'_>, kind: &str) {
    let addresses = at.field("addresses");
    if addresses.is_empty() {
        addresses.required("must contain at least 1 address");
    }
    few(&addresses, MAX_ADDRESSES);
    addresses.items().for_each(|one| address(&addresses, &one, kind));
    if at.has("nodeName") {
        at.field("nodeName").matches(names::dns1123_subdomain);
    }
    let topology = at.field("deprecatedTopology");
    few(&topology, MAX_TOPOLOGY);
    super::metadata::labels(&topology);
    if at.has("hostname") {
        at.field("hostname").matches(names::dns1123_label);
    }
    hints(&at.field("hints"));
}

fn address(list: &At<'_>, at: &At<'_>, kind: &str) {
    let text = at.text();
    let ip: Result<std::net::IpAddr, _> = text.parse();
    let (wrong, of_kind) = match kind {
        "FQDN" => return full_name(at),
        "IPv4" => (words::ip(text), ip.is_ok_and(|ip| ip.is_ipv4())),
        "IPv6" => (words::canonical_ip(text), ip.is_ok_and(|ip| ip.is_ipv6())),
        _ => return,
    };
    wrong.iter().for_each(|why| at.invalid_text(text, why));
    if !wrong.is_empty() {
        return;
    }
    if !of_kind {
        list.invalid_text(text, &format!("must be an {kind} address"));
    }
    at.matches(endpoint_ip);
}

/// A name of at least two parts, each of them a label.
fn full_name(at: &At<'_>) {
    let name = at.text().strip_suffix('.').unwrap_or(at.text());
    if at.is_empty() {
        return at.required("");
    }
    let wrong = names::dns1123_subdomain(name);
    if !wrong.is_empty() {
        return wrong.iter().for_each(|why| at.invalid_text(name, why));
    }
    if name.split('.').count() < 2 {
        return at.invalid_text(name, "should be a domain with at least two segments separated by dots");
    }
    for label in name.split('.') {
        if let Some(why) = names::dns1123_label(label).first() {
            return at.invalid_text(label, why);
        }
    }
}

/// For whom an endpoint is: a few zones and nodes, each of them once.
fn hints(at: &At<'_>) {
    for (list, check) in [("forZones", names::label_value as fn(&str) -> _), ("forNodes", names::dns1123_subdomain)] {
        let list = at.field(list);
        if !few(&list, MAX_HINTS) {
            return;
        }
        let mut seen: Vec<&str> = Vec::new();
        for name in list.items().map(|one| one.field("name")) {
            if seen.contains(&name.text()) {
                name.duplicate_as(&format!("{:?}", name.text()), "");
            }
            seen.push(name.text());
            name.matches(check);
        }
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
        port.field("protocol").one_of(PROTOCOLS);
        app_protocol(&port);
    }
}

pub(in crate::kinds) fn endpoint_slice_update(new: &Object, old: &Object, c: Context<'_>, out: &mut Vec<FieldError>) {
    if new.at(&["endpoints"]) == old.at(&["endpoints"]) {
        out.retain(|e| !e.path.starts_with("endpoints"));
    }
    let rules = |root: &At<'_>| super::workloads::immutable(&root.field("addressType"), old.at(&["addressType"]));
    updated(new, old, c, out, rules, |_| {});
}
