//! The objects that a new cluster has: namespaces, roles and bindings, priority classes, flow schemas, runtime classes
//! and what lets pods find the API.
//!
//! Everything is read first and only what is missing or wrong is written, all at once, so that the store can group the
//! writes: a restart writes nothing.

mod roles;

use crate::lookup::{self, Resource};
use crate::{Error, allocators, ctx::Ctx, endpoints};
use api::{Object, Status, Value};
use futures::StreamExt;
use serde_json::json;

/// The flow schemas, priority levels and priority classes, one a line.
const OBJECTS: &str = include_str!("bootstrap/objects.jsonl");
const NAMESPACES: [&str; 4] = ["default", "kube-system", "kube-public", "kube-node-lease"];
/// As many writes at once as the store groups in one sync with room to spare; all of them are known beforehand.
const WRITES_AT_ONCE: usize = 256;

/// Creates what is missing, and repairs what must be as it was. Runs at every start.
pub(crate) async fn run(ctx: &Ctx) -> Result<(), Error> {
    let wanted = wanted(ctx).map_err(Error::Bootstrap)?;
    let writes = futures::stream::iter(wanted).map(|object| ensure(ctx, object)).buffer_unordered(WRITES_AT_ONCE);
    let results: Vec<Result<(), String>> = writes.collect().await;
    results.into_iter().collect::<Result<(), String>>().map_err(Error::Bootstrap)?;
    allocators::repair(ctx)
        .await
        .map_err(|status| Error::Bootstrap(format!("addresses of Services: {}", status.message)))
}

fn object(value: serde_json::Value) -> Result<Object, String> {
    Object::from_typed(&value).map_err(|e| e.to_string())
}

fn wanted(ctx: &Ctx) -> Result<Vec<Object>, String> {
    let mut wanted = Vec::new();
    for name in NAMESPACES {
        wanted.push(object(json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}))?);
    }
    wanted.extend(roles::all());
    for line in OBJECTS.lines() {
        let decoded = api::codec::json::decode(line.as_bytes()).map_err(|e| e.to_string())?;
        let Value::Map(map) = decoded.value else { return Err("bootstrap/objects.jsonl holds something else".into()) };
        wanted.push(Object(map));
    }
    for (name, handler) in [("wasm", "wasm"), ("oci", "oci")] {
        wanted.push(object(json!({
            "apiVersion": "node.k8s.io/v1", "kind": "RuntimeClass", "metadata": {"name": name}, "handler": handler,
        }))?);
    }
    wanted.push(object(json!({
        "apiVersion": "v1", "kind": "ConfigMap",
        "metadata": {"name": "extension-apiserver-authentication", "namespace": "kube-system"},
        "data": {"client-ca-file": ctx.pki.authority.cert_pem()},
    }))?);
    wanted.extend(own_service(ctx)?);
    Ok(wanted)
}

/// The Service `kubernetes`, the range that its address is of, and the endpoints of a server that is alone.
fn own_service(ctx: &Ctx) -> Result<Vec<Object>, String> {
    let config = &ctx.config;
    let address = config.service_cidr.hosts().next().ok_or("the Service range has no address")?.to_string();
    let family = if config.service_cidr.addr().is_ipv4() { "IPv4" } else { "IPv6" };
    let port = ctx.port;
    let values = [
        json!({
            "apiVersion": "networking.k8s.io/v1", "kind": "ServiceCIDR", "metadata": {"name": "kubernetes"},
            "spec": {"cidrs": config.service_cidrs().map(|range| range.trunc().to_string()).collect::<Vec<_>>()},
        }),
        json!({
            "apiVersion": "v1", "kind": "Service",
            "metadata": {
                "name": "kubernetes", "namespace": "default",
                "labels": {"component": "apiserver", "provider": "kubernetes"},
            },
            "spec": {
                "type": "ClusterIP", "clusterIP": address, "clusterIPs": [address], "ipFamilies": [family],
                "ipFamilyPolicy": "SingleStack", "sessionAffinity": "None", "internalTrafficPolicy": "Cluster",
                "ports": [{"name": "https", "protocol": "TCP", "port": 443, "targetPort": port}],
            },
        }),
    ];
    let mut own: Vec<Object> = values.into_iter().map(object).collect::<Result<_, _>>()?;
    if !config.several {
        own.extend(endpoints::objects(&[config.advertise], port)?);
    }
    Ok(own)
}

/// The resource of a bootstrap object's kind.
fn resource_of(kind: &str) -> Option<Resource> {
    Some(match kind {
        "Namespace" => lookup::NAMESPACES,
        "Role" => lookup::ROLES,
        "ClusterRole" => lookup::CLUSTER_ROLES,
        "RoleBinding" => lookup::ROLE_BINDINGS,
        "ClusterRoleBinding" => lookup::CLUSTER_ROLE_BINDINGS,
        "FlowSchema" => lookup::FLOW_SCHEMAS,
        "PriorityLevelConfiguration" => lookup::PRIORITY_LEVELS,
        "PriorityClass" => lookup::PRIORITY_CLASSES,
        "RuntimeClass" => lookup::RUNTIME_CLASSES,
        "ConfigMap" => lookup::CONFIG_MAPS,
        "ServiceCIDR" => lookup::SERVICE_CIDRS,
        "Service" => lookup::SERVICES,
        "Endpoints" => lookup::ENDPOINTS,
        "EndpointSlice" => lookup::ENDPOINT_SLICES,
        _ => return None,
    })
}

/// What to do about an object that is there already.
enum Repair {
    Nothing,
    Update(Object),
    Replace,
}

fn repair(wanted: &Object, found: &Object) -> Repair {
    match wanted.kind() {
        "RoleBinding" | "ClusterRoleBinding" if wanted.at(&["roleRef"]) != found.at(&["roleRef"]) => {
            let kept = found.annotation("rbac.authorization.kubernetes.io/autoupdate") == Some("false");
            if kept { Repair::Nothing } else { Repair::Replace }
        }
        "Role" | "ClusterRole" | "RoleBinding" | "ClusterRoleBinding" => {
            roles::reconciled(wanted, found).map_or(Repair::Nothing, Repair::Update)
        }
        "FlowSchema" | "PriorityLevelConfiguration" => {
            let auto = found.annotation("apf.kubernetes.io/autoupdate-spec") == Some("true");
            set(wanted, found, &["spec"]).filter(|_| auto).map_or(Repair::Nothing, Repair::Update)
        }
        "ConfigMap" => set(wanted, found, &["data"]).map_or(Repair::Nothing, Repair::Update),
        "Service" => set(wanted, found, &["spec", "ports"]).map_or(Repair::Nothing, Repair::Update),
        // A range of the other family may join.
        "ServiceCIDR" => {
            let ranges =
                |object: &Object| object.at(&["spec", "cidrs"]).and_then(Value::as_list).map_or(0, <[Value]>::len);
            let more = ranges(found) == 1 && ranges(wanted) == 2;
            set(wanted, found, &["spec", "cidrs"]).filter(|_| more).map_or(Repair::Nothing, Repair::Update)
        }
        "Endpoints" => set(wanted, found, &["subsets"]).map_or(Repair::Nothing, Repair::Update),
        "EndpointSlice" if wanted.at(&["addressType"]) != found.at(&["addressType"]) => Repair::Replace,
        "EndpointSlice" => {
            let endpoints = set(wanted, found, &["endpoints"]);
            let both = set(wanted, endpoints.as_ref().unwrap_or(found), &["ports"]).or(endpoints);
            both.map_or(Repair::Nothing, Repair::Update)
        }
        _ => Repair::Nothing,
    }
}

/// The found object with the wanted value at a path; `None` where it already holds all of it.
fn set(wanted: &Object, found: &Object, path: &[&str]) -> Option<Object> {
    let value = wanted.at(path)?;
    if found.at(path).is_some_and(|there| holds(there, value)) {
        return None;
    }
    let mut out = found.clone();
    out.set(path, value.clone());
    Some(out)
}

/// Whether `there` says everything that `wanted` says; defaults add to it.
fn holds(there: &Value, wanted: &Value) -> bool {
    match (there, wanted) {
        (Value::Map(there), Value::Map(wanted)) => {
            wanted.iter().all(|(k, w)| there.get(k).is_some_and(|t| holds(t, w)))
        }
        (Value::List(there), Value::List(wanted)) => {
            there.len() == wanted.len() && there.iter().zip(wanted).all(|(t, w)| holds(t, w))
        }
        (there, wanted) => there == wanted,
    }
}

async fn ensure(ctx: &Ctx, wanted: Object) -> Result<(), String> {
    let name = format!("{} {}/{}", wanted.kind(), wanted.namespace(), wanted.name());
    put(ctx, wanted).await.map_err(|status| format!("{name}: {}", status.message))
}

/// Creates an object, or repairs the one that is there.
pub(crate) async fn put(ctx: &Ctx, wanted: Object) -> Result<(), Status> {
    let at = resource_of(wanted.kind()).ok_or_else(|| Status::internal("no such bootstrap kind"))?;
    let kind = ctx.registry.known(at)?;
    let (namespace, name) = (wanted.namespace().to_owned(), wanted.name().to_owned());
    let written = match ctx.registry.find(at, &namespace, &name).await? {
        None => ctx.registry.create(&kind, wanted).await,
        Some(found) => match repair(&wanted, &found) {
            Repair::Nothing => return Ok(()),
            Repair::Update(object) => ctx.registry.update(&kind, object, "").await,
            Repair::Replace => {
                ctx.registry.delete(&kind, &namespace, &name).await?;
                ctx.registry.create(&kind, wanted).await
            }
        },
    };
    match written {
        // Another server of the cluster was faster; it writes the same.
        Err(status) if matches!(status.reason, "AlreadyExists" | "Conflict") => Ok(()),
        written => written.map(drop),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_embedded_object_is_read_and_has_a_resource() {
        for line in OBJECTS.lines() {
            let Value::Map(map) = api::codec::json::decode(line.as_bytes()).unwrap().value else { panic!("{line}") };
            assert!(resource_of(Object(map).kind()).is_some(), "{line}");
        }
        assert_eq!(OBJECTS.lines().count(), 21);
    }

    #[test]
    fn defaults_are_no_difference_and_another_port_is() {
        let wanted =
            object(json!({"kind": "Service", "spec": {"ports": [{"port": 443, "targetPort": 6443}]}})).unwrap();
        let cases = [
            (json!([{"port": 443, "targetPort": 6443, "nodePort": 0}]), false),
            (json!([{"port": 443}]), true),
            (json!([]), true),
        ];
        for (ports, differs) in cases {
            let found = object(json!({"kind": "Service", "spec": {"ports": ports, "clusterIP": "10.96.0.1"}})).unwrap();
            match repair(&wanted, &found) {
                Repair::Update(new) => {
                    assert!(differs, "{ports}");
                    assert_eq!(new.str_at(&["spec", "clusterIP"]), "10.96.0.1");
                }
                _ => assert!(!differs, "{ports}"),
            }
        }
    }
}
