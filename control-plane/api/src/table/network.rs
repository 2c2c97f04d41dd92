//! Rows of services and what stands around them.

use super::age::age;
use super::text::{FEW, NONE, UNSET, and_more, few, items, labels, or, part, selector, texts};
use super::{default_name, row};
use crate::kind::Kind;
use crate::object::Object;
use crate::value::Value;

pub(crate) fn services(kind: &Kind, object: &Object, now: i64) -> Vec<Value> {
    row(kind, object, now, |column| {
        Some(match column {
            "Type" => Value::from(object.str_at(&["spec", "type"])),
            "Cluster-IP" => or(texts(object, &["spec", "clusterIPs"]).first().copied().unwrap_or(""), NONE),
            "External-IP" => external(object),
            "Port(s)" => or(&ports(object), NONE),
            "Selector" => labels(object.at(&["spec", "selector"])),
            _ => return None,
        })
    })
}

fn external(object: &Object) -> Value {
    let own = texts(object, &["spec", "externalIPs"]);
    match object.str_at(&["spec", "type"]) {
        "ClusterIP" | "NodePort" => or(&own.join(","), NONE),
        "LoadBalancer" => {
            let given = balancer(object);
            or(&given.iter().map(String::as_str).chain(own).collect::<Vec<_>>().join(","), "<pending>")
        }
        "ExternalName" => Value::from(object.str_at(&["spec", "externalName"])),
        _ => Value::from("<unknown>"),
    }
}

/// The addresses that a load balancer gave, each once.
fn balancer(object: &Object) -> Vec<String> {
    let mut out: Vec<String> = Vec::new();
    for ingress in items(object, &["status", "loadBalancer", "ingress"]) {
        let address = [part(ingress, &["ip"]), part(ingress, &["hostname"])].into_iter().find(|a| !a.is_empty());
        out.extend(address.map(str::to_owned).filter(|a| !out.contains(a)));
    }
    out.sort();
    out
}

fn ports(object: &Object) -> String {
    let number = |port: &Value, key: &str| port.get(key).and_then(Value::as_i64).unwrap_or(0);
    let one = |port: &Value| match number(port, "nodePort") {
        0 => format!("{}/{}", number(port, "port"), part(port, &["protocol"])),
        node => format!("{}:{node}/{}", number(port, "port"), part(port, &["protocol"])),
    };
    items(object, &["spec", "ports"]).iter().map(one).collect::<Vec<_>>().join(",")
}

fn host_port(ip: &str, port: i64) -> String {
    if ip.contains(':') { format!("[{ip}]:{port}") } else { format!("{ip}:{port}") }
}

pub(crate) fn endpoints(kind: &Kind, object: &Object, now: i64) -> Vec<Value> {
    let list = |subset: &Value, key: &str| subset.get(key).and_then(Value::as_list).unwrap_or(&[]).to_vec();
    row(kind, object, now, |column| {
        if column != "Endpoints" {
            return None;
        }
        let mut all = Vec::new();
        for subset in items(object, &["subsets"]) {
            let (addresses, ports) = (list(subset, "addresses"), list(subset, "ports"));
            let ips = addresses.iter().map(|a| part(a, &["ip"]).to_owned());
            match ports.is_empty() {
                true => all.extend(ips),
                false => all.extend(ports.iter().flat_map(|p| {
                    let port = p.get("port").and_then(Value::as_i64).unwrap_or(0);
                    addresses.iter().map(move |a| host_port(part(a, &["ip"]), port))
                })),
            }
        }
        Some(match items(object, &["subsets"]) {
            [] => Value::from(NONE),
            _ => Value::from(few(&all)),
        })
    })
}

pub(crate) fn endpoint_slices(kind: &Kind, object: &Object, now: i64) -> Vec<Value> {
    row(kind, object, now, |column| {
        Some(match column {
            "AddressType" => Value::from(object.str_at(&["addressType"])),
            "Ports" => {
                let port = |p: &Value| match (p.get("port").and_then(Value::as_i64), p.get("name")) {
                    (Some(number), _) => number.to_string(),
                    (None, Some(name)) => name.as_str().unwrap_or("").to_owned(),
                    (None, None) => "*".to_owned(),
                };
                or(&few(&items(object, &["ports"]).iter().map(port).collect::<Vec<_>>()), UNSET)
            }
            "Endpoints" => {
                let each = items(object, &["endpoints"]).iter();
                let all = each.flat_map(|e| e.get("addresses").and_then(Value::as_list).unwrap_or(&[]));
                let all: Vec<String> = all.filter_map(Value::as_str).map(str::to_owned).collect();
                or(&few(&all), UNSET)
            }
            _ => return None,
        })
    })
}

pub(crate) fn ingresses(kind: &Kind, object: &Object, now: i64) -> Vec<Value> {
    row(kind, object, now, |column| {
        Some(match column {
            "Class" => or(object.str_at(&["spec", "ingressClassName"]), NONE),
            "Hosts" => or(&hosts(items(object, &["spec", "rules"])), "*"),
            "Address" => Value::from(balancer(object).join(",")),
            "Ports" => Value::from(if items(object, &["spec", "tls"]).is_empty() { "80" } else { "80, 443" }),
            _ => return None,
        })
    })
}

/// The first hosts; what is more are rules, with a host or without.
fn hosts(rules: &[Value]) -> String {
    let named = rules.iter().enumerate().map(|(i, rule)| (i, part(rule, &["host"])));
    let shown: Vec<(usize, &str)> = named.filter(|(_, host)| !host.is_empty()).take(FEW).collect();
    let full = shown.len() == FEW && shown.last().is_some_and(|(i, _)| i + 1 < rules.len());
    let shown: Vec<String> = shown.into_iter().map(|(_, host)| host.to_owned()).collect();
    and_more(&shown, if full { rules.len() - FEW } else { 0 })
}

pub(crate) fn ingress_classes(kind: &Kind, object: &Object, now: i64) -> Vec<Value> {
    row(kind, object, now, |column| {
        Some(match column {
            "Name" => default_name(object, &["ingressclass.kubernetes.io/is-default-class"]),
            "Controller" => Value::from(object.str_at(&["spec", "controller"])),
            "Parameters" => match object.at(&["spec", "parameters"]) {
                None => Value::from(NONE),
                Some(p) => {
                    let group = part(p, &["apiGroup"]);
                    let group = if group.is_empty() { String::new() } else { format!(".{group}") };
                    Value::from(format!("{}{group}/{}", part(p, &["kind"]), part(p, &["name"])))
                }
            },
            _ => return None,
        })
    })
}

pub(crate) fn network_policies(kind: &Kind, object: &Object, now: i64) -> Vec<Value> {
    row(kind, object, now, |column| match column {
        "Pod-Selector" => Some(selector(object.at(&["spec", "podSelector"]))),
        _ => None,
    })
}

pub(crate) fn ip_addresses(kind: &Kind, object: &Object, now: i64) -> Vec<Value> {
    let mut cells = row(kind, object, now, |column| {
        let parent = object.at(&["spec", "parentRef"]).filter(|_| column == "ParentRef")?;
        let (group, namespace) = (part(parent, &["group"]), part(parent, &["namespace"]));
        let mut out = part(parent, &["resource"]).to_owned();
        if !group.is_empty() {
            out = format!("{out}.{group}");
        }
        if !namespace.is_empty() {
            out = format!("{out}/{namespace}");
        }
        Some(Value::from(format!("{out}/{}", part(parent, &["name"]))))
    });
    // Upstream's rows have one cell more than its columns.
    cells.push(age(object.meta_text("creationTimestamp"), now));
    cells
}

pub(crate) fn service_cidrs(kind: &Kind, object: &Object, now: i64) -> Vec<Value> {
    row(kind, object, now, |column| match column {
        "CIDRs" => Some(Value::from(texts(object, &["spec", "cidrs"]).join(","))),
        _ => None,
    })
}
