//! Ingresses, network policies, addresses and their ranges.

use super::fill::{each, put, sub};
use super::rules;
use super::shape::{keep_other_half, reset_status};
use super::{columns, names, subresources};
use crate::kind::{Kind, Scope};
use crate::object::Object;
use crate::table;
use crate::value::Value;
use std::borrow::Cow;

pub static INGRESS_CLASS: Kind = Kind {
    names: names!("networking.k8s.io", "v1", "IngressClass", "ingressclasses", "ingressclass", [], []),
    type_name: Cow::Borrowed("io.k8s.api.networking.v1.IngressClass"),
    scope: Scope::Cluster,
    columns: columns![
        ("Name", "string", "name", 0),
        ("Controller", "string", "", 0),
        ("Parameters", "string", "", 0),
        ("Age", "string", "", 0),
    ],
    has_generation: true,
    default: ingress_class,
    cells: table::ingress_classes,
    validate: rules::ingress_class,
    validate_update: rules::ingress_class_update,
    ..Kind::PLAIN
};

pub static INGRESS: Kind = Kind {
    names: names!("networking.k8s.io", "v1", "Ingress", "ingresses", "ingress", ["ing"], []),
    type_name: Cow::Borrowed("io.k8s.api.networking.v1.Ingress"),
    subresources: subresources![("status", "", "", "Ingress", ["get", "patch", "update"]),],
    columns: columns![
        ("Name", "string", "name", 0),
        ("Class", "string", "", 0),
        ("Hosts", "string", "", 0),
        ("Address", "string", "", 0),
        ("Ports", "string", "", 0),
        ("Age", "string", "", 0),
    ],
    has_status: true,
    has_generation: true,
    prepare_create: reset_status,
    prepare_update: keep_other_half,
    cells: table::ingresses,
    validate: rules::ingress,
    validate_update: rules::ingress_update,
    warnings: rules::ingress_warnings,
    ..Kind::PLAIN
};

pub static IP_ADDRESS: Kind = Kind {
    names: names!("networking.k8s.io", "v1", "IPAddress", "ipaddresses", "ipaddress", ["ip"], []),
    type_name: Cow::Borrowed("io.k8s.api.networking.v1.IPAddress"),
    scope: Scope::Cluster,
    columns: columns![("Name", "string", "name", 0), ("ParentRef", "string", "", 0),],
    cells: table::ip_addresses,
    validate: rules::ip_address,
    validate_update: rules::ip_address_update,
    ..Kind::PLAIN
};

pub static NETWORK_POLICY: Kind = Kind {
    names: names!("networking.k8s.io", "v1", "NetworkPolicy", "networkpolicies", "networkpolicy", ["netpol"], []),
    type_name: Cow::Borrowed("io.k8s.api.networking.v1.NetworkPolicy"),
    columns: columns![("Name", "string", "name", 0), ("Pod-Selector", "string", "", 0), ("Age", "string", "", 0),],
    has_generation: true,
    default: network_policy,
    cells: table::network_policies,
    validate: rules::network_policy,
    validate_update: rules::metadata_update,
    ..Kind::PLAIN
};

pub static SERVICE_CIDR: Kind = Kind {
    names: names!("networking.k8s.io", "v1", "ServiceCIDR", "servicecidrs", "servicecidr", [], []),
    type_name: Cow::Borrowed("io.k8s.api.networking.v1.ServiceCIDR"),
    scope: Scope::Cluster,
    subresources: subresources![("status", "", "", "ServiceCIDR", ["get", "patch", "update"]),],
    columns: columns![("Name", "string", "name", 0), ("CIDRs", "string", "", 0), ("Age", "string", "", 0),],
    has_status: true,
    prepare_create: reset_status,
    prepare_update: keep_other_half,
    cells: table::service_cidrs,
    validate: rules::service_cidr,
    validate_update: rules::service_cidr_update,
    ..Kind::PLAIN
};

fn network_policy(object: &mut Object) {
    let Some(spec) = sub(&mut object.0, "spec") else { return };
    for rules in ["ingress", "egress"] {
        each(spec, rules, |rule| each(rule, "ports", |port| put(port, "protocol", "TCP")));
    }
    if spec.get("policyTypes").and_then(Value::as_list).is_none_or(<[Value]>::is_empty) {
        let egress = spec.get("egress").and_then(Value::as_list).is_some_and(|e| !e.is_empty());
        spec.insert("policyTypes", if egress { vec!["Ingress", "Egress"] } else { vec!["Ingress"] });
    }
}

fn ingress_class(object: &mut Object) {
    if let Some(parameters) = sub(&mut object.0, "spec").and_then(|s| sub(s, "parameters")) {
        put(parameters, "scope", "Cluster");
    }
}
