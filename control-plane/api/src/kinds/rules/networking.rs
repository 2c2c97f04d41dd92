//! Ingresses, their classes, NetworkPolicies, and the addresses that Services take.

use super::at::At;
use super::metadata::{differs, path_segment};
use super::selectors::label_selector;
use super::words;
use super::workloads::{checked, status_updated, updated};
use crate::kind::Context;
use crate::names;
use crate::object::Object;
use crate::status::FieldError;
use crate::value::Value;
use std::net::IpAddr;

const CLASS: &str = "kubernetes.io/ingress.class";

pub(in crate::kinds) fn ingress(object: &Object, out: &mut Vec<FieldError>) {
    checked(object, names::dns1123_subdomain, out, |root, _| {
        let spec = root.field("spec");
        let annotation = root.fields(&["metadata", "annotations"]).get(CLASS);
        let class = spec.field("ingressClassName");
        if class.is() && !annotation.is_empty() && annotation != class.text() {
            let why = "must match `ingressClassName` when both are specified";
            root.named(format!("annotations.{CLASS}")).invalid_text(annotation, why);
        }
        let (default, rules) = (spec.field("defaultBackend"), spec.field("rules"));
        if !default.is() && rules.is_empty() {
            spec.invalid_as(
                rules.value.map_or("null", |_| "[]"),
                "either `defaultBackend` or `rules` must be specified",
            );
        }
        if default.is() {
            backend(&default);
        }
        for rule in rules.items() {
            let host = rule.field("host");
            if !host.text().is_empty() {
                ingress_host(&host);
            }
            paths(&rule.field("http"));
        }
        for tls in spec.field("tls").items() {
            tls.field("hosts").items().for_each(|h| wildcard_host(&h));
            let secret = tls.field("secretName");
            if !secret.is_empty() {
                secret.matches(names::dns1123_subdomain);
            }
        }
        if class.is() {
            class.matches(names::dns1123_subdomain);
        }
    });
}

fn ingress_host(at: &At<'_>) {
    if at.text().parse::<IpAddr>().is_ok() {
        at.invalid("must be a DNS name, not an IP address");
    }
    wildcard_host(at);
}

const WILDCARD: &str = "a wildcard DNS-1123 subdomain must start with '*.', followed by a valid DNS subdomain, which must consist of lower case alphanumeric characters, '-' or '.' and end with an alphanumeric character (e.g. '*.example.com', regex used for validation is '\\*\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')";

fn wildcard_host(at: &At<'_>) {
    let text = at.text();
    if !text.contains('*') {
        return at.matches(names::dns1123_subdomain);
    }
    if !text.strip_prefix("*.").is_some_and(|rest| names::dns1123_subdomain(rest).is_empty()) {
        at.invalid(WILDCARD);
    }
}

fn paths(http: &At<'_>) {
    if !http.is() {
        return;
    }
    let list = http.field("paths");
    list.not_empty();
    for one in list.items() {
        let (path, kind) = (one.field("path"), one.field("pathType"));
        match kind.text() {
            "" if !kind.is() => {
                kind.required("pathType must be specified");
                continue;
            }
            "Exact" | "Prefix" => http_path(&path),
            "ImplementationSpecific" if path.text().is_empty() => {}
            "ImplementationSpecific" if path.text().starts_with('/') => {}
            "ImplementationSpecific" => path.invalid("must be an absolute path"),
            _ => kind.unsupported(&["Exact", "ImplementationSpecific", "Prefix"]),
        }
        backend(&one.field("backend"));
    }
}

fn http_path(path: &At<'_>) {
    if !path.text().starts_with('/') {
        path.invalid_text(path.text(), "must be an absolute path");
    }
    for banned in ["//", "/./", "/../", "%2f", "%2F"].iter().filter(|b| path.text().contains(**b)) {
        path.invalid(&format!("must not contain '{banned}'"));
    }
    for banned in ["/..", "/."].iter().filter(|b| path.text().ends_with(**b)) {
        path.invalid(&format!("cannot end with '{banned}'"));
    }
}

fn backend(at: &At<'_>) {
    let (service, resource) = (at.field("service"), at.field("resource"));
    match (service.is(), resource.is()) {
        (true, true) => at.invalid_text("", "cannot set both resource and service backends"),
        (_, true) => reference(&resource),
        (false, false) => at.invalid_text("", "resource or service backend is required"),
        (true, false) => {
            service.field("name").required_matches(names::dns1123_label);
            let (name, number) = (service.fields(&["port", "name"]), service.fields(&["port", "number"]));
            match (name.text(), number.int().unwrap_or(0)) {
                ("", 0) => at.required("port name or number is required"),
                ("", _) => number.between(1, 65535),
                (_, 0) => name.matches(words::port_name),
                _ => at.invalid_text("", "cannot set both port name & port number"),
            }
        }
    }
}

/// An object of some group by its kind and name.
fn reference(at: &At<'_>) {
    let group = at.field("apiGroup");
    if group.is() {
        names::dns1123_subdomain(group.text()).iter().for_each(|why| group.invalid_text(group.text(), why));
    }
    for key in ["kind", "name"] {
        at.field(key).required_matches(path_segment);
    }
}

pub(in crate::kinds) fn ingress_update(new: &Object, old: &Object, c: Context<'_>, out: &mut Vec<FieldError>) {
    // Whether both ways to name the class agree was looked at when it was made.
    out.retain(|e| !e.path.starts_with("annotations."));
    status_updated(new, old, c, out, |status| {
        let balancer = |o: &Object| -> Vec<String> {
            let list = o.at(&["status", "loadBalancer", "ingress"]).and_then(Value::as_list).unwrap_or_default();
            list.iter().filter_map(|i| i.get("ip")?.as_str()).map(str::to_owned).collect()
        };
        let known = balancer(old);
        for one in status.fields(&["loadBalancer", "ingress"]).items() {
            let (ip, host) = (one.field("ip"), one.field("hostname"));
            if !ip.is_empty() && !known.iter().any(|k| k == ip.text()) {
                ip.matches(words::ip);
            }
            if host.is_empty() {
                continue;
            }
            host.matches(names::dns1123_subdomain);
            if host.text().parse::<IpAddr>().is_ok() {
                host.invalid("must be a DNS name, not an IP address");
            }
        }
    });
}

pub(in crate::kinds) fn ingress_warnings(object: &Object) -> Vec<String> {
    let old = object.annotation(CLASS).is_some();
    let text = format!("annotation {CLASS:?} is deprecated, please use 'spec.ingressClassName' instead");
    if old { vec![text] } else { Vec::new() }
}

pub(in crate::kinds) fn ingress_class(object: &Object, out: &mut Vec<FieldError>) {
    checked(object, names::dns1123_subdomain, out, |root, _| {
        let spec = root.field("spec");
        let controller = spec.field("controller");
        if controller.text().len() > 250 {
            controller.too_long(250);
        }
        words::domain_path(&controller);
        if spec.has("parameters") {
            parameters(&spec.field("parameters"));
        }
    });
}

fn parameters(at: &At<'_>) {
    reference(at);
    let (scope, namespace) = (at.field("scope"), at.field("namespace"));
    match scope.text() {
        "" if !scope.is() => scope.required(""),
        "Cluster" if namespace.is() => namespace.forbidden("`parameters.scope` is set to 'Cluster'"),
        "Cluster" => {}
        "Namespace" if !namespace.is() => namespace.required("`parameters.scope` is set to 'Namespace'"),
        "Namespace" => {
            names::dns1123_label(namespace.text()).iter().for_each(|why| namespace.invalid_text(namespace.text(), why))
        }
        _ => scope.unsupported(&["Cluster", "Namespace"]),
    }
}

pub(in crate::kinds) fn ingress_class_update(new: &Object, old: &Object, c: Context<'_>, out: &mut Vec<FieldError>) {
    let rules = |root: &At<'_>| {
        let controller = root.fields(&["spec", "controller"]);
        if differs(controller.value, old.at(&["spec", "controller"])) {
            controller.invalid_text(controller.text(), "field is immutable");
        }
    };
    updated(new, old, c, out, rules, |_| {});
}

pub(in crate::kinds) fn network_policy(object: &Object, out: &mut Vec<FieldError>) {
    checked(object, names::dns1123_subdomain, out, |root, _| {
        let spec = root.field("spec");
        label_selector(&spec.field("podSelector"));
        for (direction, peers) in [("ingress", "from"), ("egress", "to")] {
            for rule in spec.field(direction).items() {
                rule.field("ports").items().for_each(|p| policy_port(&p));
                rule.field(peers).items().for_each(|p| peer(&p));
            }
        }
        let types = spec.field("policyTypes");
        if types.len() > 2 {
            return types.invalid("may not specify more than two policyTypes");
        }
        types.items().for_each(|t| t.one_of(&["Ingress", "Egress"]));
    });
}

fn policy_port(at: &At<'_>) {
    at.field("protocol").maybe_one_of(&["TCP", "UDP", "SCTP"]);
    let (port, end) = (at.field("port"), at.field("endPort"));
    if port.is() {
        words::port(&port);
    }
    let Some(last) = end.int() else { return };
    let shown = last.to_string();
    match port.value {
        None => end.invalid_as(&shown, "may not be specified when `port` is not specified"),
        Some(Value::Str(_)) => end.invalid_as(&shown, "may not be specified when `port` is non-numeric"),
        Some(first) => {
            if first.as_i64().is_some_and(|f| last < f) {
                let shown = first.as_i64().unwrap_or(0).to_string();
                end.invalid_as(&shown, "must be greater than or equal to `port`");
            }
            if !(1..=65535).contains(&last) {
                end.between(1, 65535);
            }
        }
    }
}

fn peer(at: &At<'_>) {
    let mut set = 0;
    for selector in ["podSelector", "namespaceSelector"].map(|s| at.field(s)) {
        if selector.is() {
            set += 1;
            label_selector(&selector);
        }
    }
    let block = at.field("ipBlock");
    match (block.is(), set) {
        (true, 0) => ip_block(&block),
        (true, _) => {
            ip_block(&block);
            at.forbidden("may not specify both ipBlock and another peer");
        }
        (false, 0) => at.required("must specify a peer"),
        (false, _) => {}
    }
}

fn ip_block(at: &At<'_>) {
    let cidr = at.field("cidr");
    if cidr.text().is_empty() {
        return cidr.required("");
    }
    cidr.matches(words::cidr);
    let Some(whole) = words::parse_cidr(cidr.text()) else { return };
    for part in at.field("except").items() {
        match words::parse_cidr(part.text()) {
            None => part.matches(words::cidr),
            Some(inner) if !words::strictly_inside(inner, whole) => {
                part.invalid("must be a strict subset of `cidr`");
            }
            Some(_) => {}
        }
    }
}

pub(in crate::kinds) fn ip_address(object: &Object, out: &mut Vec<FieldError>) {
    checked(object, words::ip, out, |root, _| {
        let parent = root.fields(&["spec", "parentRef"]);
        if !parent.is() {
            return parent.required("");
        }
        for key in ["resource", "name"] {
            parent.field(key).required_matches(path_segment);
        }
        let (group, namespace) = (parent.field("group"), parent.field("namespace"));
        if !group.is_empty() {
            group.matches(names::dns1123_subdomain);
        }
        if !namespace.is_empty() {
            namespace.matches(path_segment);
        }
    });
}

pub(in crate::kinds) fn ip_address_update(new: &Object, old: &Object, c: Context<'_>, out: &mut Vec<FieldError>) {
    let rules = |root: &At<'_>| {
        let parent = root.fields(&["spec", "parentRef"]);
        if differs(parent.value, old.at(&["spec", "parentRef"])) {
            parent.invalid_inner("io.k8s.api.networking.v1.ParentReference", "field is immutable");
        }
    };
    updated(new, old, c, out, rules, |_| {});
}

/// Ranges stay; one of the other family may join the first.
pub(in crate::kinds) fn service_cidr_update(new: &Object, old: &Object, c: Context<'_>, out: &mut Vec<FieldError>) {
    out.clear();
    let rules = |root: &At<'_>| {
        let cidrs = root.fields(&["spec", "cidrs"]);
        let before = old.at(&["spec", "cidrs"]).and_then(Value::as_list).unwrap_or_default();
        if before.len() != cidrs.len() && (before.len(), cidrs.len()) != (1, 2) {
            return cidrs.invalid("field is immutable");
        }
        for (cidr, before) in cidrs.items().zip(before) {
            if cidr.value != Some(before) {
                cidr.invalid("field is immutable");
            }
        }
        if before.len() != cidrs.len() {
            ranges(&cidrs);
        }
    };
    updated(new, old, c, out, rules, |_| {});
}

pub(in crate::kinds) fn service_cidr(object: &Object, out: &mut Vec<FieldError>) {
    checked(object, names::dns1123_subdomain, out, |root, _| {
        ranges(&root.fields(&["spec", "cidrs"]));
    });
}

/// One range, or one of each family.
fn ranges(cidrs: &At<'_>) {
    if cidrs.is_empty() {
        return cidrs.required("at least one CIDR required");
    }
    if cidrs.len() > 2 {
        let list = cidrs.list().iter().filter_map(Value::as_str).map(|c| format!("{c:?}")).collect::<Vec<_>>();
        return cidrs.invalid_as(&format!("{{\"CIDRs\":[{}]}}", list.join(",")), "may only hold up to 2 values");
    }
    for cidr in cidrs.items() {
        match words::parse_cidr(cidr.text()) {
            None => cidr.matches(words::cidr),
            Some(parsed) if !words::is_network(parsed) => {
                cidr.invalid("must not have bits set beyond the prefix length");
            }
            Some(_) => {}
        }
    }
    let families: Vec<bool> =
        cidrs.items().filter_map(|c| words::parse_cidr(c.text())).map(|(a, _)| a.is_ipv4()).collect();
    let same = |f: &[bool]| f.iter().filter(|x| **x).count() > 1 || f.iter().filter(|x| !**x).count() > 1;
    if same(&families) {
        cidrs.invalid("may specify no more than one IP for each IP family, i.e 192.168.0.0/24 and 2001:db8::/64");
    }
}
