//! ResourceQuota: what a namespace may hold. Counts are raised here, in the quota's status, before the object is
//! written; the quota controller sets them right afterwards, and a quota whose status is still empty limits nothing.

use super::{Admission, Operation, fields};
use crate::ctx::Ctx;
use crate::lookup;
use api::quantity::Format;
use api::{Object, Quantity, Status, Value};
use std::collections::BTreeMap;

/// Two writers of the same quota meet at most so often before one is told to try again.
const TRIES: usize = 8;
/// Kinds that have a name of their own in a quota besides `count/`.
const COUNTED: [&str; 7] =
    ["pods", "services", "configmaps", "secrets", "persistentvolumeclaims", "replicationcontrollers", "resourcequotas"];

type Usage = BTreeMap<String, Quantity>;

pub(super) async fn validate(ctx: &Ctx, admission: &Admission<'_>) -> Result<(), Status> {
    let info = admission.info;
    let applies = admission.operation == Operation::Create && info.subresource.is_empty() && !info.namespace.is_empty();
    let Some(object) = admission.object.as_ref().filter(|_| applies) else { return Ok(()) };
    let mut quotas = ctx.registry.all(lookup::RESOURCE_QUOTAS, Some(&info.namespace)).await?;
    if quotas.is_empty() {
        return Ok(());
    }
    let usage = usage_of(&info.group, &info.resource, object);
    quotas.sort_by(|a, b| a.name().cmp(b.name()));
    let quotas: Vec<Object> = quotas.into_iter().filter(|q| in_scope(q, &info.resource, object)).collect();
    for quota in &quotas {
        charge(quota, &usage).map_err(|why| admission.forbid(&why))?;
    }
    if admission.dry_run {
        return Ok(());
    }
    for quota in quotas {
        take(ctx, admission, quota, &usage).await?;
    }
    Ok(())
}

async fn take(ctx: &Ctx, admission: &Admission<'_>, mut quota: Object, usage: &Usage) -> Result<(), Status> {
    let kind = ctx.registry.known(lookup::RESOURCE_QUOTAS)?;
    for _ in 0..TRIES {
        let Some(charged) = charge(&quota, usage).map_err(|why| admission.forbid(&why))? else { return Ok(()) };
        match ctx.registry.update(&kind, charged, "status").await {
            Ok(_) => return Ok(()),
            Err(status) if status.code == 409 => {}
            Err(status) => return Err(status),
        }
        let name = quota.name().to_owned();
        match ctx.registry.find(lookup::RESOURCE_QUOTAS, &admission.info.namespace, &name).await? {
            Some(fresh) => quota = fresh,
            None => return Ok(()),
        }
    }
    Err(Status::conflict("", "resourcequotas", quota.name(), "the quota is written by many at once; try again"))
}

fn amounts(quota: &Object, key: &str) -> Usage {
    let pairs = quota.at(&["status", key]).and_then(Value::as_map).into_iter().flat_map(|m| m.iter());
    pairs.filter_map(|(k, v)| Some((k.to_string(), Quantity::parse(v.as_str()?).ok()?))).collect()
}

/// The quota with the usage added, `None` where it does not limit any of it; an error where it would be exceeded.
pub(super) fn charge(quota: &Object, usage: &Usage) -> Result<Option<Object>, String> {
    let (hard, used) = (amounts(quota, "hard"), amounts(quota, "used"));
    let asked: Usage = usage.iter().filter(|(k, _)| hard.contains_key(*k)).map(|(k, v)| (k.clone(), *v)).collect();
    if asked.is_empty() {
        return Ok(None);
    }
    let shown = |of: &Usage, keys: &[&String]| {
        let part = |k: &&String| of.get(*k).map(|v| format!("{k}={v}"));
        keys.iter().filter_map(part).collect::<Vec<_>>().join(",")
    };
    let unknown: Vec<&str> = asked.keys().filter(|k| !used.contains_key(*k)).map(String::as_str).collect();
    if !unknown.is_empty() {
        return Err(format!("status unknown for quota: {}, resources: {}", quota.name(), unknown.join(",")));
    }
    let over: Vec<&String> =
        asked.iter().filter(|(k, v)| used[*k].nanos() + v.nanos() > hard[*k].nanos()).map(|(k, _)| k).collect();
    if !over.is_empty() {
        return Err(format!(
            "exceeded quota: {}, requested: {}, used: {}, limited: {}",
            quota.name(),
            shown(&asked, &over),
            shown(&used, &over),
            shown(&hard, &over)
        ));
    }
    let mut charged = quota.clone();
    for (key, amount) in &asked {
        charged.set(&["status", "used", key], used[key].add(*amount).to_string());
    }
    Ok(Some(charged))
}

fn one() -> Quantity {
    Quantity::from_int(1)
}

/// What one new object uses, by the names that quotas have for it.
pub(super) fn usage_of(group: &str, resource: &str, object: &Object) -> Usage {
    let counted = if group.is_empty() { format!("count/{resource}") } else { format!("count/{resource}.{group}") };
    let mut usage = Usage::from([(counted, one())]);
    if group.is_empty() && COUNTED.contains(&resource) {
        usage.insert(resource.to_owned(), one());
    }
    match (group, resource) {
        ("", "pods") => pod_usage(object, &mut usage),
        ("", "services") => service_usage(object, &mut usage),
        ("", "persistentvolumeclaims") => claim_usage(object, &mut usage),
        _ => {}
    }
    usage
}

fn pod_usage(pod: &Object, usage: &mut Usage) {
    let spec = pod.at(&["spec"]).cloned().unwrap_or_default();
    for (what, prefix) in [("requests", "requests."), ("limits", "limits.")] {
        let of = |containers: &str, join: fn(Quantity, Quantity) -> Quantity| {
            let mut total = Usage::new();
            for container in fields::list(&spec, &[containers]) {
                let pairs = container.at(&["resources", what]).and_then(Value::as_map);
                for (key, value) in pairs.into_iter().flat_map(|m| m.iter()) {
                    let Some(value) = value.as_str().and_then(|t| Quantity::parse(t).ok()) else { continue };
                    total.entry(key.to_string()).and_modify(|t| *t = join(*t, value)).or_insert(value);
                }
            }
            total
        };
        let most = |a: Quantity, b: Quantity| if a.nanos() < b.nanos() { b } else { a };
        let mut total = of("containers", Quantity::add);
        for (key, value) in of("initContainers", most) {
            total.entry(key).and_modify(|t| *t = most(*t, value)).or_insert(value);
        }
        for (key, value) in total {
            if what == "requests" && matches!(key.as_str(), "cpu" | "memory" | "ephemeral-storage") {
                usage.insert(key.clone(), value);
            }
            usage.insert(format!("{prefix}{key}"), value);
        }
    }
}

fn service_usage(service: &Object, usage: &mut Usage) {
    let ports = service.at(&["spec", "ports"]).and_then(Value::as_list).map_or(0, <[Value]>::len);
    let ports = Quantity::from_int(i64::try_from(ports).unwrap_or(i64::MAX));
    match service.str_at(&["spec", "type"]) {
        "NodePort" => drop(usage.insert("services.nodeports".into(), ports)),
        "LoadBalancer" => {
            usage.insert("services.loadbalancers".into(), one());
            if service.bool_at(&["spec", "allocateLoadBalancerNodePorts"]) != Some(false) {
                usage.insert("services.nodeports".into(), ports);
            }
        }
        _ => {}
    }
}

fn claim_usage(claim: &Object, usage: &mut Usage) {
    let size = Quantity::parse(claim.str_at(&["spec", "resources", "requests", "storage"]));
    let size = size.unwrap_or(Quantity::from_nanos(0, Format::BinarySi));
    usage.insert("requests.storage".into(), size);
    let class = claim.str_at(&["spec", "storageClassName"]);
    if !class.is_empty() {
        usage.insert(format!("{class}.storageclass.storage.k8s.io/requests.storage"), size);
        usage.insert(format!("{class}.storageclass.storage.k8s.io/persistentvolumeclaims"), one());
    }
}

/// Whether the quota's scopes hold for the object; only pods have scopes.
fn in_scope(quota: &Object, resource: &str, object: &Object) -> bool {
    let scopes = quota.at(&["spec", "scopes"]).and_then(Value::as_list).unwrap_or(&[]);
    let selectors = quota.at(&["spec", "scopeSelector", "matchExpressions"]).and_then(Value::as_list).unwrap_or(&[]);
    if scopes.is_empty() && selectors.is_empty() {
        return true;
    }
    let holds = |scope: &str| match scope {
        "Terminating" => object.at(&["spec", "activeDeadlineSeconds"]).is_some(),
        "NotTerminating" => object.at(&["spec", "activeDeadlineSeconds"]).is_none(),
        "BestEffort" => best_effort(object),
        "NotBestEffort" => !best_effort(object),
        "PriorityClass" => !object.str_at(&["spec", "priorityClassName"]).is_empty(),
        _ => false,
    };
    let selected = |expression: &Value| {
        let scope = fields::text(expression, &["scopeName"]);
        let class = object.str_at(&["spec", "priorityClassName"]);
        let listed = fields::list(expression, &["values"]).iter().any(|v| v.as_str() == Some(class));
        match fields::text(expression, &["operator"]) {
            "In" => scope == "PriorityClass" && listed,
            "NotIn" => scope == "PriorityClass" && !listed,
            "DoesNotExist" => !holds(scope),
            _ => holds(scope),
        }
    };
    resource == "pods" && scopes.iter().filter_map(Value::as_str).all(holds) && selectors.iter().all(selected)
}

fn best_effort(pod: &Object) -> bool {
    let mut usage = Usage::new();
    pod_usage(pod, &mut usage);
    usage.is_empty()
}
