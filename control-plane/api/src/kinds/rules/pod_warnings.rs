//! What is allowed in a pod but probably not meant, or on its way out.

use super::volumes;
use crate::quantity::Quantity;
use crate::value::Value;
use std::collections::{HashMap, HashSet};

pub(super) fn list<'a>(value: &'a Value, key: &str) -> impl Iterator<Item = (usize, &'a Value)> + use<'a> {
    value.get(key).and_then(Value::as_list).unwrap_or(&[]).iter().enumerate()
}

pub(super) fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value.get(key).and_then(Value::as_str).unwrap_or("")
}

fn is_set(value: &Value, key: &str) -> bool {
    value.get(key).is_some_and(|v| !v.is_null())
}

/// Labels of nodes that have another name by now.
const OLD_LABELS: &[(&str, &str)] = &[
    ("beta.kubernetes.io/arch", "deprecated since v1.14; use \"kubernetes.io/arch\" instead"),
    ("beta.kubernetes.io/os", "deprecated since v1.14; use \"kubernetes.io/os\" instead"),
    (
        "failure-domain.beta.kubernetes.io/region",
        "deprecated since v1.17; use \"topology.kubernetes.io/region\" instead",
    ),
    ("failure-domain.beta.kubernetes.io/zone", "deprecated since v1.17; use \"topology.kubernetes.io/zone\" instead"),
    ("beta.kubernetes.io/instance-type", "deprecated since v1.17; use \"node.kubernetes.io/instance-type\" instead"),
];

fn old_label(key: &str) -> Option<&'static str> {
    OLD_LABELS.iter().find(|(old, _)| *old == key).map(|(_, what)| *what)
}

pub(super) fn pod_spec(spec: &Value, path: &str, out: &mut Vec<String>) {
    nodes(spec, path, out);
    for (i, constraint) in list(spec, "topologySpreadConstraints") {
        let place = format!("{path}.topologySpreadConstraints[{i}]");
        if !is_set(constraint, "labelSelector") {
            out.push(format!("{place}.labelSelector: a null labelSelector results in matching no pod"));
        }
        let key = text(constraint, "topologyKey");
        out.extend(old_label(key).map(|what| format!("{place}.topologyKey: {key} is {what}")));
    }
    for (i, volume) in list(spec, "volumes") {
        volumes::warnings(volume, &format!("{path}.volumes[{i}]"), out);
    }
    list(spec, "volumes").for_each(|(_, volume)| overlaps(volume, out));
    twice(spec, "hostAliases", "ip", path, out);
    twice(spec, "imagePullSecrets", "name", path, out);
    for (i, _) in list(spec, "imagePullSecrets").filter(|(_, secret)| text(secret, "name").is_empty()) {
        out.push(format!("{path}.imagePullSecrets[{i}].name: invalid empty name \"\""));
    }
    fraction(spec.get("overhead"), &format!("{path}.overhead"), &["memory", "ephemeral-storage"], out);
    for (container, place) in containers(spec, path) {
        for name in ["memory", "ephemeral-storage"] {
            fractions(container, &place, &[name], out);
        }
        variables(container, &place, out);
    }
    ports(spec, path, out);
    port_names(spec, path, out);
    if spec.get("terminationGracePeriodSeconds").and_then(Value::as_i64).is_some_and(|s| s < 0) {
        out.push(format!(
            "{path}.terminationGracePeriodSeconds: must be >= 0; negative values are invalid and will be treated as 1"
        ));
    }
    affinity(spec, path, out);
}

/// Every container with its path, in upstream's order.
fn containers<'a>(spec: &'a Value, path: &'a str) -> impl Iterator<Item = (&'a Value, String)> {
    ["initContainers", "containers", "ephemeralContainers"]
        .into_iter()
        .flat_map(move |kind| list(spec, kind).map(move |(i, c)| (c, format!("{path}.{kind}[{i}]"))))
}

/// Old names of labels in what is asked of nodes.
fn nodes(spec: &Value, path: &str, out: &mut Vec<String>) {
    for (key, _) in spec.get("nodeSelector").and_then(Value::as_map).into_iter().flat_map(|m| m.iter()) {
        out.extend(old_label(key).map(|what| format!("{path}.nodeSelector[{key}]: {what}")));
    }
    let place = format!("{path}.affinity.nodeAffinity");
    let Some(of) = spec.at(&["affinity", "nodeAffinity"]) else { return };
    if let Some(required) = of.get(REQUIRED) {
        for (i, term) in list(required, "nodeSelectorTerms") {
            node_term(term, &format!("{place}.{REQUIRED}.nodeSelectorTerms[{i}]"), out);
        }
    }
    for (i, term) in list(of, PREFERRED) {
        if let Some(preference) = term.get("preference") {
            node_term(preference, &format!("{place}.{PREFERRED}[{i}].preference"), out);
        }
    }
}

fn node_term(term: &Value, path: &str, out: &mut Vec<String>) {
    for (i, one) in list(term, "matchExpressions") {
        let key = text(one, "key");
        out.extend(old_label(key).map(|what| format!("{path}.matchExpressions[{i}].key: {key} is {what}")));
    }
}

const REQUIRED: &str = "requiredDuringSchedulingIgnoredDuringExecution";
const PREFERRED: &str = "preferredDuringSchedulingIgnoredDuringExecution";

/// Terms that choose no pod.
fn affinity(spec: &Value, path: &str, out: &mut Vec<String>) {
    let what = "a null labelSelector results in matching no pod";
    for kind in ["podAffinity", "podAntiAffinity"] {
        let Some(of) = spec.at(&["affinity", kind]) else { continue };
        for (i, _) in list(of, REQUIRED).filter(|(_, term)| !is_set(term, "labelSelector")) {
            out.push(format!("{path}.affinity.{kind}.{REQUIRED}[{i}].labelSelector: {what}"));
        }
        for (i, term) in list(of, PREFERRED) {
            if !term.get("podAffinityTerm").is_some_and(|t| is_set(t, "labelSelector")) {
                out.push(format!("{path}.affinity.{kind}.{PREFERRED}[{i}].podAffinityTerm.labelSelector: {what}"));
            }
        }
    }
}

/// Entries of a list that say again what an earlier one says.
fn twice(spec: &Value, of: &str, key: &str, path: &str, out: &mut Vec<String>) {
    let mut known = HashSet::new();
    for (i, one) in list(spec, of).map(|(i, one)| (i, text(one, key))).filter(|(_, one)| !known.insert(*one)) {
        out.push(format!("{path}.{of}[{i}].{key}: duplicate {key} {one:?}"));
    }
}

/// The units of an amount's parts.
const BILLION: i128 = 1_000_000_000;

/// Fractions of bytes in what is limited and requested.
pub(super) fn fractions(of: &Value, path: &str, names: &[&str], out: &mut Vec<String>) {
    for amounts in ["limits", "requests"] {
        fraction(of.at(&["resources", amounts]), &format!("{path}.resources.{amounts}"), names, out);
    }
}

fn fraction(amounts: Option<&Value>, path: &str, names: &[&str], out: &mut Vec<String>) {
    for name in names {
        let amount = amounts.and_then(|a| a.get(name)).and_then(Value::as_str).and_then(|a| Quantity::parse(a).ok());
        if let Some(amount) = amount.filter(|a| a.nanos() % BILLION != 0) {
            out.push(format!("{path}[{name}]: fractional byte value \"{amount}\" is invalid, must be an integer"));
        }
    }
}

/// A path in a volume, and what brings it.
type Placed = (String, String);

/// Files of one volume that lie over or within one another.
fn overlaps(volume: &Value, out: &mut Vec<String>) {
    let name = text(volume, "name");
    for (kind, said, named) in
        [("configMap", "ConfigMap", "name"), ("secret", "Secret", "secretName"), ("downwardAPI", "DownwardAPI", "")]
    {
        let Some(of) = volume.get(kind).filter(|v| !v.is_null()) else { continue };
        let what = source(of, said, named);
        let mut known: Vec<Placed> = Vec::new();
        for (_, item) in list(of, "items") {
            place((text(item, "path").to_owned(), String::new()), &mut known, name, &what, out);
        }
    }
    let mut known: Vec<Placed> = Vec::new();
    for one in volume.at(&["projected", "sources"]).and_then(Value::as_list).unwrap_or(&[]) {
        if one.as_map().is_none_or(|m| m.iter().all(|(_, v)| v.is_null())) {
            out.push(format!("volume {name:?} (Projected) has no sources provided"));
        }
        for (kind, said, named) in
            [("configMap", "ConfigMap", "name"), ("secret", "Secret", "name"), ("downwardAPI", "DownwardAPI", "")]
        {
            let Some(of) = one.get(kind).filter(|v| !v.is_null()) else { continue };
            for (_, item) in list(of, "items") {
                place((text(item, "path").to_owned(), source(of, said, named)), &mut known, name, "Projected", out);
            }
        }
        if let Some(token) = one.get("serviceAccountToken").filter(|v| !v.is_null()) {
            let placed = (text(token, "path").to_owned(), "ServiceAccountToken".to_owned());
            place(placed, &mut known, name, "Projected", out);
        }
    }
}

fn source(of: &Value, said: &str, named: &str) -> String {
    if named.is_empty() { said.to_owned() } else { format!("{said} {:?}", text(of, named)) }
}

/// Adds a path to those that are known, and tells which of them it touches.
fn place(mut new: Placed, known: &mut Vec<Placed>, volume: &str, what: &str, out: &mut Vec<String>) {
    new.0.truncate(new.0.trim_end_matches('/').len());
    let within = |inner: &str, outer: &str| inner.strip_prefix(outer).is_some_and(|rest| rest.starts_with('/'));
    let shown =
        |(path, from): &Placed| if from.is_empty() { format!("{path:?}") } else { format!("{path:?} ({from})") };
    for old in known.iter().filter(|(old, _)| !old.is_empty() && !new.0.is_empty()) {
        if old.0 == new.0 || within(&old.0, &new.0) || within(&new.0, &old.0) {
            out.push(format!("volume {volume:?} ({what}): overlapping paths: {} with {}", shown(&new), shown(old)));
        }
    }
    known.push(new);
}

fn variables(container: &Value, path: &str, out: &mut Vec<String>) {
    let mut known = HashSet::new();
    for (i, one) in list(container, "env") {
        let name = text(one, "name");
        if known.insert(name) {
            continue;
        }
        // A variable made from its earlier self is meant, unless it is nothing else.
        let (own, earlier) = (text(one, "value"), format!("$({name})"));
        if own == earlier || !own.contains(&earlier) {
            out.push(format!(
                "{path}.env[{i}]: hides previous definition of {name:?}, which may be dropped when using apply"
            ));
        }
    }
}

/// Ports of all containers: what is the same port twice, or may be.
fn ports(spec: &Value, path: &str, out: &mut Vec<String>) {
    type Place = (i64, String, String);
    let mut known: HashMap<(i64, String), Vec<Place>> = HashMap::new();
    for (container, of) in containers(spec, path) {
        for (i, port) in list(container, "ports") {
            let number = |key: &str| port.get(key).and_then(Value::as_i64).unwrap_or(0);
            let (own, host) = (number("containerPort"), number("hostPort"));
            let (ip, protocol) = (text(port, "hostIP"), text(port, "protocol"));
            let at = format!("{of}.ports[{i}]");
            if !ip.is_empty() && host == 0 {
                let name = text(port, "name");
                let shown = format!("{{Name:{name} HostPort:0 ContainerPort:{own} Protocol:{protocol} HostIP:{ip}}}");
                out.push(format!("{at}: hostIP set without hostPort: {shown}"));
            }
            let others = known.entry((own, protocol.to_owned())).or_default();
            let told = others.iter().find_map(|(other, other_ip, other_at)| {
                let what = match () {
                    () if *other == host && other_ip == ip => "duplicate",
                    () if *other == 0 || host == 0 => "overlapping",
                    () if *other == host && other_ip.is_empty() != ip.is_empty() => "dangerously ambiguous",
                    () => return None,
                };
                Some(format!("{at}: {what} port definition with {other_at}"))
            });
            out.extend(told);
            others.push((host, ip.to_owned(), at));
        }
    }
}

fn port_names(spec: &Value, path: &str, out: &mut Vec<String>) {
    let mut known: HashMap<&str, String> = HashMap::new();
    for (container, of) in containers(spec, path) {
        for (i, name) in list(container, "ports").map(|(i, p)| (i, text(p, "name"))).filter(|(_, n)| !n.is_empty()) {
            let at = format!("{of}.ports[{i}]");
            match known.get(name) {
                Some(first) => out.push(format!(
                    "{at}: duplicate port name {name:?} with {first}, services and probes that select ports by name \
                     will use {first}"
                )),
                None => drop(known.insert(name, at)),
            }
        }
    }
}
