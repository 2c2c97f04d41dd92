//! Services and Endpoints.

use super::fill::{each, has, made, put, put_text, sub, text};
use super::rules;
use super::shape::{keep_other_half, reset_status};
use super::{columns, names, subresources};
use crate::kind::Context;
use crate::kind::Kind;
use crate::object::Object;
use crate::table;
use crate::value::{Map, Value};
use std::borrow::Cow;

pub static ENDPOINTS: Kind = Kind {
    names: names!("", "v1", "Endpoints", "endpoints", "endpoints", ["ep"], []),
    type_name: Cow::Borrowed("io.k8s.api.core.v1.Endpoints"),
    columns: columns![("Name", "string", "name", 0), ("Endpoints", "string", "", 0), ("Age", "string", "", 0),],
    create_on_update: true,
    default: endpoints,
    cells: table::endpoints,
    validate: rules::endpoints,
    validate_update: rules::endpoints_update,
    ..Kind::PLAIN
};

pub static SERVICE: Kind = Kind {
    names: names!("", "v1", "Service", "services", "service", ["svc"], ["all"]),
    type_name: Cow::Borrowed("io.k8s.api.core.v1.Service"),
    subresources: subresources![
        ("proxy", "", "", "ServiceProxyOptions", ["create", "delete", "get", "patch", "update"]),
        ("status", "", "", "Service", ["get", "patch", "update"]),
    ],
    columns: columns![
        ("Name", "string", "name", 0),
        ("Type", "string", "", 0),
        ("Cluster-IP", "string", "", 0),
        ("External-IP", "string", "", 0),
        ("Port(s)", "string", "", 0),
        ("Age", "string", "", 0),
        ("Selector", "string", "", 1),
    ],
    has_status: true,
    create_on_update: true,
    default: service,
    prepare_create: new_service,
    prepare_update: update_service,
    selectable: service_fields,
    selectable_fields: &["spec.clusterIP", "spec.type"],
    cells: table::services,
    validate: rules::service,
    validate_update: rules::service_update,
    warnings: rules::service_warnings,
    ..Kind::PLAIN
};

/// Three hours, as upstream has it for affinity to a client.
const AFFINITY_SECONDS: i64 = 10_800;

fn service(object: &mut Object) {
    let Some(spec) = sub(&mut object.0, "spec") else { return };
    put_text(spec, "sessionAffinity", "None");
    put_text(spec, "type", "ClusterIP");
    if text(spec, "sessionAffinity") == "ClientIP" {
        put(made(made(spec, "sessionAffinityConfig"), "clientIP"), "timeoutSeconds", AFFINITY_SECONDS);
    } else {
        spec.remove("sessionAffinityConfig");
    }
    each(spec, "ports", |port| {
        put_text(port, "protocol", "TCP");
        let number = port.get("port").cloned().unwrap_or_default();
        let target = port.get("targetPort").unwrap_or(&Value::Null);
        if target.is_null() || target.as_i64() == Some(0) || target.as_str() == Some("") {
            port.insert("targetPort", number);
        }
    });
    let kind = text(spec, "type").to_owned();
    let external = has(spec, "externalIPs") && kind == "ClusterIP";
    if matches!(kind.as_str(), "NodePort" | "LoadBalancer") || external {
        put_text(spec, "externalTrafficPolicy", "Cluster");
    }
    if matches!(kind.as_str(), "NodePort" | "LoadBalancer" | "ClusterIP") {
        put(spec, "internalTrafficPolicy", "Cluster");
    }
    if kind == "LoadBalancer" {
        put(spec, "allocateLoadBalancerNodePorts", true);
    }
}

/// The families of an IPv4 cluster, where no allocator chose them.
fn new_service(object: &mut Object, context: Context<'_>) {
    reset_status(object, context);
    let spec = made(&mut object.0, "spec");
    if text(spec, "type") == "ExternalName" {
        return;
    }
    let headless = text(spec, "clusterIP") == "None";
    let selects = spec.get("selector").and_then(Value::as_map).is_some_and(|s| !s.is_empty());
    let dual = headless && !selects && !has(spec, "ipFamilies") && !has(spec, "ipFamilyPolicy");
    put(spec, "ipFamilyPolicy", if dual { "RequireDualStack" } else { "SingleStack" });
    put(spec, "ipFamilies", if dual { vec!["IPv4", "IPv6"] } else { vec!["IPv4"] });
}

fn service_fields(object: &Object) -> Vec<(&'static str, String)> {
    vec![
        ("spec.clusterIP", object.str_at(&["spec", "clusterIP"]).to_owned()),
        ("spec.type", object.str_at(&["spec", "type"]).to_owned()),
    ]
}

fn endpoints(object: &mut Object) {
    each(&mut object.0, "subsets", |subset| {
        each(subset, "ports", |port| put_text(port, "protocol", "TCP"));
    });
}

fn is_exposed(kind: &str) -> bool {
    matches!(kind, "NodePort" | "LoadBalancer")
}

/// What was allocated stays while it is needed and nobody says otherwise; what another type had goes with that type.
fn update_service(new: &mut Object, old: &Object, context: Context<'_>) {
    keep_other_half(new, old, context);
    let (Some(new), Some(old)) = (sub(&mut new.0, "spec"), old.0.get("spec").and_then(Value::as_map)) else { return };
    if context.subresource.is_empty() {
        keep_allocated(new, old);
        drop_of_type(new, old);
    }
}

fn keep_allocated(new: &mut Map, old: &Map) {
    let (kind, before) = (text(new, "type").to_owned(), text(old, "type").to_owned());
    if kind != "ExternalName" && before != "ExternalName" {
        let absent = text(new, "clusterIP").is_empty();
        let fields: &[&'static str] = match absent {
            true => &["clusterIP", "clusterIPs", "ipFamilies", "ipFamilyPolicy"],
            false => &["ipFamilies", "ipFamilyPolicy"],
        };
        for field in fields {
            if let Some(value) = old.get(field).filter(|_| absent && field.starts_with("cluster") || !has(new, field)) {
                new.insert(*field, value.clone());
            }
        }
    }
    if !(is_exposed(&kind) && is_exposed(&before)) {
        return;
    }
    let identity = |p: &Map| (text(p, "protocol").to_owned(), p.get("port").and_then(Value::as_i64));
    let given = old.get("ports").and_then(Value::as_list).unwrap_or(&[]).iter().filter_map(Value::as_map);
    let given: Vec<_> = given.filter_map(|p| Some((identity(p), p.get("nodePort")?.clone()))).collect();
    let mut used: Vec<Value> = Vec::new();
    each(new, "ports", |port| used.extend(port.get("nodePort").cloned()));
    each(new, "ports", |port| {
        let found = given.iter().find(|(id, number)| *id == identity(port) && !used.contains(number));
        if let Some((_, number)) = found.filter(|_| !has(port, "nodePort")) {
            used.push(number.clone());
            port.insert("nodePort", number.clone());
        }
    });
    if text(new, "externalTrafficPolicy") == "Local"
        && let Some(port) = old.get("healthCheckNodePort").filter(|_| kind == "LoadBalancer")
    {
        put(new, "healthCheckNodePort", port.clone());
    }
}

/// Fields that only the old type may have, unless the client has set them anew.
fn drop_of_type(new: &mut Map, old: &Map) {
    let (kind, before) = (text(new, "type").to_owned(), text(old, "type").to_owned());
    let drop_same = |new: &mut Map, fields: &[&str]| {
        for field in fields {
            if new.get(field) == old.get(field) {
                new.remove(field);
            }
        }
    };
    if before != "ExternalName" && kind == "ExternalName" {
        drop_same(new, &["clusterIP", "clusterIPs", "ipFamilies", "ipFamilyPolicy"]);
    }
    if is_exposed(&before) && !is_exposed(&kind) && new.get("ports") == old.get("ports") {
        each(new, "ports", |port| drop(port.remove("nodePort")));
    }
    let local = |m: &Map, kind: &str| kind == "LoadBalancer" && text(m, "externalTrafficPolicy") == "Local";
    if local(old, &before) && !local(new, &kind) {
        drop_same(new, &["healthCheckNodePort"]);
    }
    if is_exposed(&before) && !is_exposed(&kind) && !has(new, "externalIPs") {
        drop_same(new, &["externalTrafficPolicy"]);
    }
    if before == "LoadBalancer" && kind != "LoadBalancer" {
        drop_same(new, &["loadBalancerClass", "allocateLoadBalancerNodePorts"]);
    }
}
