//! `pods/eviction`: a pod is deleted, unless a disruption budget needs it.

use super::{Call, change, put_condition};
use crate::ctx::Ctx;
use crate::lookup;
use crate::registry::deletion::{self, DeleteOptions};
use crate::registry::preconditions;
use crate::server::Body;
use api::managed::Writer;
use api::selector::LabelSelector;
use api::{Cause, Map, Object, Status, Value};
use http::Response;

const TYPE: &str = "io.k8s.api.policy.v1.Eviction";
/// A budget whose controller has not yet seen its newest spec is asked again after this.
const RETRY_SECONDS: u32 = 10;
/// More than this many pods on their way out at once: the controller is not keeping up (upstream's number).
const DISRUPTED_MAX: usize = 2000;

pub(super) async fn create(call: &Call<'_>, body: Body) -> Result<Response<Body>, Status> {
    let eviction = call.object(body, "policy/v1", "Eviction", TYPE).await?;
    let info = call.info;
    if eviction.name() != info.name {
        return Err(Status::bad_request("name in URL does not match name in Eviction object"));
    }
    let pod = super::pod(call.ctx, info).await?;
    let mut options = options(call, &eviction)?;
    let (kind, at) = (call.ctx.registry.known(lookup::PODS)?, super::now());
    // Before anything is charged for a pod that is not meant.
    preconditions(&kind, &pod, &options)?;
    if !goes_freely(&pod) {
        charge(call.ctx, &pod, options.dry_run).await?;
    }
    if !options.dry_run {
        change(call.ctx, lookup::PODS, &info.namespace, &info.name, |pod| {
            preconditions(&kind, pod, &options)?;
            Ok(Some(mark(pod, &at)))
        })
        .await?;
        // The mark is a version of its own; that it followed the wanted one is known.
        options.resource_version = None;
    }
    call.ctx.registry.delete_with(&kind, &info.namespace, &info.name, &options, |_| Ok(())).await?;
    call.done()
}

/// How the pod goes. As upstream, options that a delete would refuse are not judged here.
fn options(call: &Call<'_>, eviction: &Object) -> Result<DeleteOptions, Status> {
    let asked = eviction.at(&["deleteOptions"]).filter(|v| !v.is_null()).cloned();
    let (mut options, _) = deletion::read(&asked.unwrap_or_else(|| Map::new().into()), &call.info.query)?;
    let text = |list: Vec<&str>| format!("[{}]", list.join(" "));
    let given: Vec<&str> = call.info.query.all("dryRun").collect();
    let inner = eviction.at(&["deleteOptions", "dryRun"]).and_then(Value::as_list).unwrap_or(&[]);
    let inner: Vec<&str> = inner.iter().filter_map(Value::as_str).collect();
    if !given.is_empty() && !inner.is_empty() && given != inner {
        let (given, inner) = (text(given), text(inner));
        let why = format!("Non-matching dry-run options in request and content: {given} and {inner}");
        return Err(Status::new(500, "", why));
    }
    options.dry_run |= call.dry_run();
    Ok(options)
}

/// A pod that has ended, not begun or is leaving disturbs nobody.
fn goes_freely(pod: &Object) -> bool {
    let phase = pod.str_at(&["status", "phase"]);
    matches!(phase, "Succeeded" | "Failed" | "Pending") || pod.deletion_timestamp().is_some()
}

fn ready(pod: &Object) -> bool {
    let conditions = pod.at(&["status", "conditions"]).and_then(Value::as_list).unwrap_or(&[]);
    let text = |c: &Value, key| c.get(key).and_then(Value::as_str).unwrap_or("").to_owned();
    conditions.iter().any(|c| text(c, "type") == "Ready" && text(c, "status") == "True")
}

async fn charge(ctx: &Ctx, pod: &Object, dry_run: bool) -> Result<(), Status> {
    let budgets = ctx.registry.all(lookup::POD_DISRUPTION_BUDGETS, Some(pod.namespace())).await?;
    let selects = |b: &&Object| {
        let selector = b.at(&["spec", "selector"]).map(LabelSelector::from_value);
        selector.is_some_and(|s| s.is_ok_and(|s| s.matches_object(pod)))
    };
    let budgets: Vec<&Object> = budgets.iter().filter(selects).collect();
    let budget = match budgets.as_slice() {
        [] => return Ok(()),
        [one] => one,
        _ => {
            let why =
                "This pod has more than one PodDisruptionBudget, which the eviction subresource does not support.";
            return Err(Status::new(500, "", why));
        }
    };
    let kind = ctx.registry.known(lookup::POD_DISRUPTION_BUDGETS)?;
    let at = super::now();
    let ready = ready(pod);
    change(ctx, lookup::POD_DISRUPTION_BUDGETS, budget.namespace(), budget.name(), |budget| {
        let mut charged = disrupt(budget, pod.name(), ready, &at)?;
        if let Some(charged) = &mut charged {
            let writer = Writer { manager: "kube-apiserver", now: &at, subresource: "status" };
            api::managed::update(&kind, Some(budget), charged, writer);
        }
        Ok(charged.filter(|_| !dry_run))
    })
    .await
    .map(drop)
}

/// The budget with one disruption less; `None` where an unready pod may go without one.
pub(super) fn disrupt(budget: &Object, pod: &str, ready: bool, now: &str) -> Result<Option<Object>, Status> {
    let number = |key| budget.i64_at(&["status", key]).unwrap_or(0);
    let name = budget.name();
    let (allowed, healthy, desired) =
        (number("disruptionsAllowed"), number("currentHealthy"), number("desiredHealthy"));
    let unhealthy = budget.str_at(&["spec", "unhealthyPodEvictionPolicy"]);
    if !ready && (unhealthy == "AlwaysAllow" || (healthy >= desired && desired > 0)) {
        return Ok(None);
    }
    if number("observedGeneration") < budget.generation() {
        return Err(refused(
            &format!("The disruption budget {name} is still being processed by the server."),
            RETRY_SECONDS,
        ));
    }
    let disrupted = budget.at(&["status", "disruptedPods"]).and_then(Value::as_map).map_or(0, Map::len);
    if allowed < 0 {
        return Err(Status::forbidden("policy", "poddisruptionbudgets", name, "pdb disruptions allowed is negative"));
    }
    if disrupted > DISRUPTED_MAX {
        return Err(Status::forbidden(
            "policy",
            "poddisruptionbudgets",
            name,
            "DisruptedPods map too big - too many evictions not confirmed by PDB controller",
        ));
    }
    if allowed == 0 {
        let why = format!("The disruption budget {name} needs {desired} healthy pods and has {healthy} currently");
        return Err(refused(&why, 0));
    }
    let mut charged = budget.clone();
    charged.set(&["status", "disruptionsAllowed"], allowed - 1);
    charged.set(&["status", "disruptedPods", pod], now);
    set_condition(&mut charged, allowed > 1, now);
    Ok(Some(charged))
}

/// Says whether the budget allows another disruption.
fn set_condition(budget: &mut Object, allowed: bool, now: &str) {
    let (status, reason) = if allowed { ("True", "SufficientPods") } else { ("False", "InsufficientPods") };
    let conditions = budget.at(&["status", "conditions"]).and_then(Value::as_list).unwrap_or(&[]);
    let text = |c: &Value, key| c.get(key).and_then(Value::as_str).unwrap_or("").to_owned();
    let there = conditions.iter().find(|c| text(c, "type") == "DisruptionAllowed");
    let since = there.filter(|c| text(c, "status") == status);
    let since = since.map_or_else(|| now.to_owned(), |c| text(c, "lastTransitionTime"));
    let condition: Map = [
        ("type", Value::from("DisruptionAllowed")),
        ("status", status.into()),
        ("reason", reason.into()),
        ("message", "".into()),
        ("lastTransitionTime", since.into()),
        ("observedGeneration", budget.generation().into()),
    ]
    .into_iter()
    .collect();
    put_condition(budget, condition);
}

/// Says on the pod why it goes, for whoever judges its end.
pub(super) fn mark(pod: &Object, now: &str) -> Object {
    let condition: Map = [
        ("type", Value::from("DisruptionTarget")),
        ("status", "True".into()),
        ("reason", "EvictionByEvictionAPI".into()),
        ("message", "Eviction API: evicting".into()),
        ("lastProbeTime", Value::Null),
        ("lastTransitionTime", now.into()),
    ]
    .into_iter()
    .collect();
    let mut marked = pod.clone();
    put_condition(&mut marked, condition);
    marked
}

fn refused(why: &str, retry_seconds: u32) -> Status {
    let message = "Cannot evict pod as it would violate the pod's disruption budget.";
    let mut status = Status::too_many_requests(message, retry_seconds);
    status.details.get_or_insert_default().causes =
        vec![Cause { reason: "DisruptionBudget".into(), message: why.to_owned(), field: String::new() }];
    status
}
