//! A pod gets its node by the pod's `binding`.

use client::plan::{Action, Target};
use client::{Key, Plan};
use futures::future::BoxFuture;
use k8s_openapi::api::core::v1::Pod;
use kube::core::ApiResource;
use serde_json::json;

use super::{Plugin, Point};
use crate::framework::{Binding, Bound, Objection};
use crate::pod::uid;

#[derive(Debug)]
pub(super) struct DefaultBinder;

impl Plugin for DefaultBinder {
    fn name(&self) -> &'static str {
        "DefaultBinder"
    }

    fn points(&self) -> &'static [Point] {
        &[Point::Bind]
    }

    fn bind<'a>(&'a self, binding: Binding<'a>) -> BoxFuture<'a, Result<Bound, Objection>> {
        Box::pin(async move {
            let outcome = binding.executor.act(&plan(binding.object(), binding.node)).await;
            match outcome.failure {
                None => Ok(Bound::Done),
                Some(failure) => Err(Objection::Failed(failure.to_string())),
            }
        })
    }
}

fn plan(pod: &Pod, node: &str) -> Plan {
    let mut plan = Plan::done();
    let key = Key::of(pod);
    let binding = json!({
        "apiVersion": "v1",
        "kind": "Binding",
        "metadata": {"name": key.name, "namespace": key.namespace, "uid": uid(pod)},
        "target": {"apiVersion": "v1", "kind": "Node", "name": node},
    });
    let at = Target { resource: ApiResource::erase::<Pod>(&()), key, subresource: Some("binding") };
    plan.actions.push(Action::Create { at, object: binding });
    plan
}
