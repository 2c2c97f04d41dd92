//! What objects use of a ResourceQuota: one reckoning for admission, which raises usage, and for the controller, which
//! works it out anew. It knows nothing of who asks and decides nothing.

mod pods;
mod scopes;

pub(crate) use pods::of_containers;
pub use pods::{is_over, unspecified};
pub use scopes::{class, covers};

use crate::quantity::Format;
use crate::{Object, Quantity, Value};
use std::collections::BTreeMap;

/// Amounts by the names that quotas have for them.
pub type Usage = BTreeMap<String, Quantity>;

/// Core kinds that have a name of their own in a quota besides `count/`.
const NAMED: [&str; 7] =
    ["pods", "services", "configmaps", "secrets", "persistentvolumeclaims", "replicationcontrollers", "resourcequotas"];
/// Devices that a request for all of them may be given at most.
const ALL_DEVICES: i64 = 32;

/// The names by which a quota counts objects of a resource: one as `count/`, and for some an older one.
pub fn counts(group: &str, resource: &str) -> Vec<String> {
    let counted = if group.is_empty() { format!("count/{resource}") } else { format!("count/{resource}.{group}") };
    let named = (group.is_empty() && NAMED.contains(&resource)).then(|| resource.to_owned());
    std::iter::once(counted).chain(named).collect()
}

/// What one object uses. A pod that has ended uses nothing but its place among objects.
pub fn usage(group: &str, resource: &str, object: &Object) -> Usage {
    let mut usage: Usage = counts(group, resource).into_iter().map(|name| (name, one())).collect();
    match (group, resource) {
        ("", "pods") => pods::usage(object, &mut usage),
        ("", "services") => services(object, &mut usage),
        ("", "persistentvolumeclaims") => claims(object, &mut usage),
        ("resource.k8s.io", "resourceclaims") => devices(object, &mut usage),
        _ => {}
    }
    usage
}

/// Whether usage under this name is of this resource, though no object may be there that uses it.
pub fn is_of(name: &str, group: &str, resource: &str) -> bool {
    if counts(group, resource).iter().any(|count| count == name) {
        return true;
    }
    match (group, resource) {
        ("", "pods") => pods::is_of(name),
        ("", "services") => matches!(name, "services.nodeports" | "services.loadbalancers"),
        ("", "persistentvolumeclaims") => name == "requests.storage" || name.contains(".storageclass.storage.k8s.io/"),
        ("resource.k8s.io", "resourceclaims") => name.ends_with(DEVICES),
        _ => false,
    }
}

/// What `more` adds to `total`.
pub fn add(total: &mut Usage, more: &Usage) {
    for (name, amount) in more {
        total.entry(name.clone()).and_modify(|known| *known = known.add(*amount)).or_insert(*amount);
    }
}

/// The amounts that an object has at `path`. What is no quantity is left out.
pub fn amounts(object: &Object, path: &[&str]) -> Usage {
    amounts_in(object.at(path))
}

fn amounts_in(map: Option<&Value>) -> Usage {
    let pairs = map.and_then(Value::as_map).into_iter().flat_map(|map| map.iter());
    pairs.filter_map(|(name, value)| Some((name.to_string(), quantity(value)?))).collect()
}

/// A quantity may be written as a number.
fn quantity(value: &Value) -> Option<Quantity> {
    value.as_i64().map(Quantity::from_int).or_else(|| Quantity::parse(value.as_str()?).ok())
}

fn one() -> Quantity {
    Quantity::from_int(1)
}

fn whole(count: usize) -> Quantity {
    Quantity::from_int(i64::try_from(count).unwrap_or(i64::MAX))
}

fn services(service: &Object, usage: &mut Usage) {
    let ports = service.at(&["spec", "ports"]).and_then(Value::as_list).unwrap_or_default();
    let chosen = || ports.iter().filter(|port| port.at(&["nodePort"]).and_then(Value::as_i64).unwrap_or(0) != 0);
    let balanced = service.str_at(&["spec", "type"]) == "LoadBalancer";
    let node_ports = match service.str_at(&["spec", "type"]) {
        "LoadBalancer" if service.bool_at(&["spec", "allocateLoadBalancerNodePorts"]) == Some(false) => {
            chosen().count()
        }
        "NodePort" | "LoadBalancer" => ports.len(),
        _ => 0,
    };
    usage.insert("services.nodeports".into(), whole(node_ports));
    usage.insert("services.loadbalancers".into(), whole(usize::from(balanced)));
}

fn claims(claim: &Object, usage: &mut Usage) {
    let at = |path: &[&str]| claim.at(path).and_then(quantity);
    let asked = at(&["spec", "resources", "requests", "storage"]);
    // A claim that was made smaller again while it grew still has what was set aside for it.
    let allocated = at(&["status", "allocatedResources", "storage"]);
    let larger = |a: Quantity, b: Quantity| if a.nanos() < b.nanos() { b } else { a };
    let none = Quantity::from_nanos(0, Format::BinarySi);
    let size = asked.map_or(none, |asked| allocated.map_or(asked, |allocated| larger(asked, allocated)));
    usage.insert("requests.storage".into(), size);
    let class = claim.str_at(&["spec", "storageClassName"]);
    if !class.is_empty() {
        usage.insert(format!("{class}.storageclass.storage.k8s.io/requests.storage"), size);
        usage.insert(format!("{class}.storageclass.storage.k8s.io/persistentvolumeclaims"), one());
    }
}

const DEVICES: &str = ".deviceclass.resource.k8s.io/devices";

/// Devices by their class. Of alternatives the one that asks for the most of a class counts.
fn devices(claim: &Object, usage: &mut Usage) {
    let requests = claim.at(&["spec", "devices", "requests"]).and_then(Value::as_list).unwrap_or_default();
    for request in requests {
        let mut most = BTreeMap::<&str, i64>::new();
        let alternatives = request.at(&["firstAvailable"]).and_then(Value::as_list).unwrap_or_default();
        for one in request.at(&["exactly"]).into_iter().chain(alternatives) {
            let class = one.at(&["deviceClassName"]).and_then(Value::as_str).unwrap_or_default();
            let all = one.at(&["allocationMode"]).and_then(Value::as_str) == Some("All");
            let count = if all { ALL_DEVICES } else { one.at(&["count"]).and_then(Value::as_i64).unwrap_or(1) };
            let known = most.entry(class).or_default();
            *known = count.max(*known);
        }
        let counted: Usage =
            most.into_iter().map(|(class, count)| (format!("{class}{DEVICES}"), Quantity::from_int(count))).collect();
        add(usage, &counted);
    }
}

#[cfg(test)]
mod tests;
