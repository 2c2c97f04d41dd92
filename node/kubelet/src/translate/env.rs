//! A container's environment: service variables, `envFrom`, `env` with its references, and `$(VAR)` expansion.

use super::Invalid;
use super::fields::{self, Facts};
use crate::sources::{Fetched, Key, Kind};
use k8s_openapi::api::core::v1::{Container, EnvVar, EnvVarSource, Pod, Service};
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

pub type Fetches = HashMap<Key, Fetched>;

/// The objects that a container's environment is made from.
pub fn needs(namespace: &str, container: &Container) -> Vec<Key> {
    let key = |kind, name: &str| Key { kind, namespace: namespace.to_owned(), name: name.to_owned() };
    let mut list = Vec::new();
    for from in container.env_from.iter().flatten() {
        list.extend(from.config_map_ref.as_ref().map(|r| key(Kind::ConfigMap, &r.name)));
        list.extend(from.secret_ref.as_ref().map(|r| key(Kind::Secret, &r.name)));
    }
    for source in container.env.iter().flatten().filter_map(|e| e.value_from.as_ref()) {
        list.extend(source.config_map_key_ref.as_ref().map(|r| key(Kind::ConfigMap, &r.name)));
        list.extend(source.secret_key_ref.as_ref().map(|r| key(Kind::Secret, &r.name)));
    }
    list
}

/// The environment in the order in which it was built; the first error makes the container wait
/// (`CreateContainerConfigError`).
pub fn env(
    pod: &Pod,
    container: &Container,
    facts: &Facts,
    services: &[Arc<Service>],
    fetched: &Fetches,
) -> Result<Vec<(String, String)>, Invalid> {
    let namespace = pod.metadata.namespace.as_deref().unwrap_or("default");
    let links = pod.spec.as_ref().and_then(|s| s.enable_service_links).unwrap_or(true);
    let services = self::services(namespace, links, services);
    let mut result = Ordered::default();
    for from in container.env_from.iter().flatten() {
        let prefix = from.prefix.as_deref().unwrap_or_default();
        let (kind, name, optional) = match (&from.config_map_ref, &from.secret_ref) {
            (Some(r), _) => (Kind::ConfigMap, &r.name, r.optional),
            (None, Some(r)) => (Kind::Secret, &r.name, r.optional),
            (None, None) => continue,
        };
        let key = Key { kind, namespace: namespace.to_owned(), name: name.clone() };
        match fetched.get(&key).and_then(Option::as_ref) {
            Some(data) => {
                for (k, v) in &data.entries {
                    result.set(format!("{prefix}{k}"), String::from_utf8_lossy(v).into_owned());
                }
            }
            None if optional == Some(true) => {}
            None => return Err(missing(&key)),
        }
    }
    let mut own = BTreeMap::new();
    for var in container.env.iter().flatten() {
        if let Some(value) = value(pod, container, facts, namespace, fetched, var, &own, &result, &services)? {
            own.insert(var.name.clone(), value.clone());
            result.set(var.name.clone(), value);
        }
    }
    // A pod's own variable goes before a service's of that name.
    for (name, value) in services {
        if !result.values.contains_key(&name) {
            result.set(name, value);
        }
    }
    Ok(result.list())
}

#[derive(Default)]
struct Ordered {
    order: Vec<String>,
    values: HashMap<String, String>,
}

impl Ordered {
    fn set(&mut self, name: String, value: String) {
        if self.values.insert(name.clone(), value).is_none() {
            self.order.push(name);
        }
    }

    fn list(mut self) -> Vec<(String, String)> {
        self.order.into_iter().filter_map(|n| self.values.remove(&n).map(|v| (n, v))).collect()
    }
}

fn missing(key: &Key) -> Invalid {
    Invalid(format!("{} \"{}\" not found", key.kind.noun(), key.name))
}

#[expect(clippy::too_many_arguments, reason = "the sources of one variable, each of another kind")]
fn value(
    pod: &Pod,
    container: &Container,
    facts: &Facts,
    namespace: &str,
    fetched: &Fetches,
    var: &EnvVar,
    own: &BTreeMap<String, String>,
    from: &Ordered,
    services: &BTreeMap<String, String>,
) -> Result<Option<String>, Invalid> {
    let Some(source) = &var.value_from else {
        let text = var.value.as_deref().unwrap_or_default();
        let lookup = |name: &str| own.get(name).or_else(|| from.values.get(name)).or_else(|| services.get(name));
        return Ok(Some(expand(text, |name| lookup(name).cloned())));
    };
    if let Some(selector) = &source.field_ref {
        return fields::field(pod, facts, selector).map(Some);
    }
    if let Some(selector) = &source.resource_field_ref {
        return fields::resource(pod, Some(container), facts, selector).map(Some);
    }
    by_key(namespace, fetched, source)
}

fn by_key(namespace: &str, fetched: &Fetches, source: &EnvVarSource) -> Result<Option<String>, Invalid> {
    let (kind, name, key, optional) = match (&source.config_map_key_ref, &source.secret_key_ref) {
        (Some(r), _) => (Kind::ConfigMap, &r.name, &r.key, r.optional),
        (None, Some(r)) => (Kind::Secret, &r.name, &r.key, r.optional),
        (None, None) => {
            return Err(Invalid("an env entry takes its value from a source that this kubelet does not offer".into()));
        }
    };
    let object = Key { kind, namespace: namespace.to_owned(), name: name.clone() };
    let optional = optional == Some(true);
    let Some(data) = fetched.get(&object).and_then(Option::as_ref) else {
        return if optional { Ok(None) } else { Err(missing(&object)) };
    };
    match data.entries.get(key) {
        Some(v) => Ok(Some(String::from_utf8_lossy(v).into_owned())),
        None if optional => Ok(None),
        None => {
            let noun = if kind == Kind::ConfigMap { "ConfigMap" } else { "Secret" };
            Err(Invalid(format!("couldn't find key {key} in {noun} {namespace}/{name}")))
        }
    }
}

/// `$(NAME)` becomes its value where it has one and stays as it is where not; `$$` is a plain `$`.
pub fn expand(text: &str, lookup: impl Fn(&str) -> Option<String>) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('$') {
        out.push_str(&rest[..at]);
        rest = &rest[at + 1..];
        if let Some(after) = rest.strip_prefix('$') {
            out.push('$');
            rest = after;
        } else if let Some((name, after)) = rest.strip_prefix('(').and_then(|r| r.split_once(')')) {
            out.push_str(&lookup(name).unwrap_or_else(|| format!("$({name})")));
            rest = after;
        } else {
            out.push('$');
        }
    }
    out.push_str(rest);
    out
}

/// Variables of the services of the pod's namespace, and of `kubernetes` in `default`.
fn services(namespace: &str, links: bool, all: &[Arc<Service>]) -> BTreeMap<String, String> {
    let mut vars = BTreeMap::new();
    let master = |s: &Service| s.metadata.name.as_deref() == Some("kubernetes") && of(s, "default");
    for service in all.iter().filter(|s| master(s)) {
        service_vars(service, &mut vars);
    }
    for service in all.iter().filter(|s| links && of(s, namespace)) {
        service_vars(service, &mut vars);
    }
    vars
}

fn of(service: &Service, namespace: &str) -> bool {
    service.metadata.namespace.as_deref() == Some(namespace)
}

fn service_vars(service: &Service, vars: &mut BTreeMap<String, String>) {
    let Some(spec) = &service.spec else { return };
    let ip = spec.cluster_ip.as_deref().unwrap_or_default();
    let ports = spec.ports.as_deref().unwrap_or_default();
    let (Some(first), false) = (ports.first(), matches!(ip, "" | "None")) else { return };
    let name = upper(service.metadata.name.as_deref().unwrap_or_default());
    vars.insert(format!("{name}_SERVICE_HOST"), ip.to_owned());
    vars.insert(format!("{name}_SERVICE_PORT"), first.port.to_string());
    let host = if ip.contains(':') { format!("[{ip}]") } else { ip.to_owned() };
    for (i, port) in ports.iter().enumerate() {
        let protocol = port.protocol.as_deref().unwrap_or("TCP");
        let url = format!("{}://{host}:{}", protocol.to_lowercase(), port.port);
        if let Some(n) = port.name.as_deref().filter(|n| !n.is_empty()) {
            vars.insert(format!("{name}_SERVICE_PORT_{}", upper(n)), port.port.to_string());
        }
        if i == 0 {
            vars.insert(format!("{name}_PORT"), url.clone());
        }
        let prefix = format!("{name}_PORT_{}_{protocol}", port.port);
        vars.insert(prefix.clone(), url);
        vars.insert(format!("{prefix}_PROTO"), protocol.to_lowercase());
        vars.insert(format!("{prefix}_PORT"), port.port.to_string());
        vars.insert(format!("{prefix}_ADDR"), ip.to_owned());
    }
}

fn upper(name: &str) -> String {
    name.to_uppercase().replace('-', "_")
}

#[cfg(test)]
mod tests {
    use super::expand;

    #[test]
    fn references_expand_as_upstream_says() {
        let lookup = |n: &str| (n == "A").then(|| "1".to_owned());
        for (text, expected) in [
            ("$(A)-$(B)", "1-$(B)"),
            ("$$(A)", "$(A)"),
            ("$$$(A)", "$1"),
            ("$A $ $(", "$A $ $("),
            ("$(A", "$(A"),
            ("", ""),
        ] {
            assert_eq!(expand(text, lookup), expected, "{text}");
        }
    }
}
