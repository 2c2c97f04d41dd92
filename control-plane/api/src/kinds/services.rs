//! Services and Endpoints.

use super::fill::{each, has, made, put, put_text, sub, text};
use super::shape::{keep_other_half, reset_status};
use super::{columns, names, subresources};
use crate::kind::Context;
use crate::kind::Kind;
use crate::object::Object;
use crate::table;
use crate::value::Value;
use std::borrow::Cow;

pub static ENDPOINTS: Kind = Kind {
    names: names!("", "v1", "Endpoints", "endpoints", "endpoints", ["ep"], []),
    type_name: Cow::Borrowed("io.k8s.api.core.v1.Endpoints"),
    columns: columns![("Name", "string", "name", 0), ("Endpoints", "string", "", 0), ("Age", "string", "", 0),],
    create_on_update: true,
    default: endpoints,
    cells: table::endpoints,
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
    prepare_update: keep_other_half,
    selectable: service_fields,
    selectable_fields: &["spec.clusterIP", "spec.type"],
    cells: table::services,
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
        if matches!(port.get("targetPort"), None | Some(Value::Int(0)))
            || text(port, "targetPort") == "" && !port.get("targetPort").is_some_and(|t| t.as_i64().is_some())
        {
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

/// The families of an IPv4 cluster; the addresses themselves are the allocator's.
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
