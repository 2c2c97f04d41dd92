//! `bindings` and `pods/binding`: a pod gets its node, once.

use super::{Call, change, now, put_condition};
use crate::lookup;
use crate::resource;
use crate::server::Body;
use api::{Kind, Map, Object, Status, Value};
use http::Response;

const TYPE: &str = "io.k8s.api.core.v1.Binding";

pub(super) async fn create(call: &Call<'_>, body: Body) -> Result<Response<Body>, Status> {
    if call.info.namespace.is_empty() {
        return Err(resource::no_route());
    }
    let mut binding = call.object(body, "v1", "Binding", TYPE).await?;
    let uid = binding.uid().to_owned();
    call.place(&mut binding);
    if !uid.is_empty() && !call.info.name.is_empty() {
        // A binding at a pod says of which pod it is.
        binding.meta_mut().insert("uid", uid);
    }
    let name = match call.info.name.as_str() {
        "" => binding.name(),
        name if binding.name() != name => {
            return Err(Status::bad_request("name in URL does not match name in Binding object"));
        }
        name => name,
    };
    check(&binding)?;
    if name.is_empty() {
        return Err(Status::bad_request("Name parameter required."));
    }
    let kind = call.ctx.registry.known(lookup::PODS)?;
    let dry_run = call.dry_run();
    let at = now();
    change(call.ctx, lookup::PODS, &call.info.namespace, name, |pod| {
        meets(&kind, pod, &binding)?;
        let bound = bind(pod, &binding, &at)?;
        Ok(Some(bound).filter(|_| !dry_run))
    })
    .await?;
    call.done()
}

/// Upstream lets these errors out as they are, without a reason.
fn check(binding: &Object) -> Result<(), Status> {
    let kind = binding.str_at(&["target", "kind"]);
    let mut errors = Vec::new();
    if !matches!(kind, "" | "Node") {
        errors.push(format!("target.kind: Unsupported value: {kind:?}: supported values: \"Node\", \"<empty>\""));
    }
    if binding.str_at(&["target", "name"]).is_empty() {
        errors.push("target.name: Required value".to_owned());
    }
    match errors.as_slice() {
        [] => Ok(()),
        [one] => Err(Status::new(500, "", one.as_str())),
        many => Err(Status::new(500, "", format!("[{}]", many.join(", ")))),
    }
}

/// Whether the pod is the one that the binding is for.
fn meets(kind: &Kind, pod: &Object, binding: &Object) -> Result<(), Status> {
    for (key, what) in [("uid", "UID"), ("resourceVersion", "ResourceVersion")] {
        let (asked, has) = (binding.meta_text(key), pod.meta_text(key));
        if !asked.is_empty() && asked != has {
            return Err(super::unmet(kind, pod, what, asked, has));
        }
    }
    Ok(())
}

/// The pod on its node.
pub(super) fn bind(pod: &Object, binding: &Object, now: &str) -> Result<Object, Status> {
    let name = pod.name();
    let conflict = |why: String| Err(Status::conflict("", "pods/binding", name, &why));
    if pod.deletion_timestamp().is_some() {
        return conflict(format!("pod {name} is being deleted, cannot be assigned to a host"));
    }
    let there = pod.str_at(&["spec", "nodeName"]);
    if !there.is_empty() {
        return conflict(format!("pod {name} is already assigned to node {there:?}"));
    }
    if pod.at(&["spec", "schedulingGates"]).and_then(Value::as_list).is_some_and(|l| !l.is_empty()) {
        return conflict(format!("pod {name} has non-empty .spec.schedulingGates"));
    }
    let mut bound = pod.clone();
    bound.set(&["spec", "nodeName"], binding.str_at(&["target", "name"]));
    for key in ["annotations", "labels"] {
        for (name, value) in binding.meta_pairs(key) {
            bound.set(&["metadata", key, name], value);
        }
    }
    // It was where the pod might go: now it is known.
    bound.unset(&["status", "nominatedNodeName"]);
    scheduled(&mut bound, now);
    Ok(bound)
}

fn scheduled(pod: &mut Object, now: &str) {
    let condition: Map = [
        ("type", Value::from("PodScheduled")),
        ("status", "True".into()),
        ("lastProbeTime", Value::Null),
        ("lastTransitionTime", now.into()),
    ]
    .into_iter()
    .collect();
    put_condition(pod, condition);
}
