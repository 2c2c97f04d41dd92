//! How many pods the owners of the chosen pods are to have, all together.

use std::collections::BTreeMap;
use std::sync::Arc;

use client::{Read, View};
use k8s_openapi::api::apps::v1::{Deployment, ReplicaSet, StatefulSet};
use k8s_openapi::api::core::v1::{Pod, ReplicationController};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use serde_json::Value;

use crate::pods;

/// Why the number is not known.
pub(super) enum Unknown {
    Reads(Vec<Read>),
    Failed(String),
}

/// The sum of the owners' replicas, and whether a pod without an owner is among the pods.
pub(super) fn of(view: &View, chosen: &[Arc<Pod>]) -> Result<(i32, bool), Unknown> {
    let mut scales: BTreeMap<String, i32> = BTreeMap::new();
    let (mut reads, mut unmanaged) = (Vec::new(), false);
    for pod in chosen {
        let Some(owner) = pods::controller_of(pod.as_ref()) else {
            unmanaged = true;
            continue;
        };
        if scales.contains_key(&owner.uid) {
            continue;
        }
        match find(view, owner, pod.metadata.namespace.as_deref().unwrap_or_default()) {
            Ok(Some((uid, replicas))) => {
                scales.insert(uid, replicas);
            }
            Ok(None) => {
                let name = pod.metadata.name.as_deref().unwrap_or_default();
                return Err(Unknown::Failed(format!("found no controllers for pod {name:?}")));
            }
            Err(Unknown::Reads(more)) => reads.extend(more),
            Err(failed) => return Err(failed),
        }
    }
    if !reads.is_empty() {
        reads.sort_by(|a, b| a.path.cmp(&b.path));
        reads.dedup();
        return Err(Unknown::Reads(reads));
    }
    Ok((scales.values().fold(0, |sum: i32, replicas| sum.saturating_add(*replicas)), unmanaged))
}

type Found = Option<(String, i32)>;

/// The owner's uid and replicas: of a deployment's set, the deployment's.
fn find(view: &View, owner: &OwnerReference, namespace: &str) -> Result<Found, Unknown> {
    let group = owner.api_version.split_once('/').map_or("", |(group, _)| group);
    let same = |uid: &Option<String>| uid.as_deref() == Some(&owner.uid);
    let found = |replicas: Option<i32>| Some((owner.uid.clone(), replicas.unwrap_or(1)));
    match (group, owner.kind.as_str()) {
        ("apps", "ReplicaSet") => {
            let set = view.of::<ReplicaSet>().get(namespace, &owner.name).filter(|set| same(&set.metadata.uid));
            let Some(set) = set else { return Ok(None) };
            let above = pods::controller_of(set.as_ref()).filter(|above| above.kind == "Deployment");
            let Some(above) = above else { return Ok(found(set.spec.as_ref().and_then(|spec| spec.replicas))) };
            let deployment = view.of::<Deployment>().get(namespace, &above.name);
            let deployment = deployment.filter(|d| d.metadata.uid.as_deref() == Some(&above.uid));
            let replicas = |d: Arc<Deployment>| d.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or(1);
            Ok(deployment.map(|deployment| (above.uid.clone(), replicas(deployment))))
        }
        ("apps", "StatefulSet") => {
            let set = view.of::<StatefulSet>().get(namespace, &owner.name).filter(|set| same(&set.metadata.uid));
            Ok(set.and_then(|set| found(set.spec.as_ref().and_then(|spec| spec.replicas))))
        }
        ("", "ReplicationController") => {
            let controllers = view.of::<ReplicationController>();
            let set = controllers.get(namespace, &owner.name).filter(|set| same(&set.metadata.uid));
            Ok(set.and_then(|set| found(set.spec.as_ref().and_then(|spec| spec.replicas))))
        }
        _ => asked(view, owner, namespace),
    }
}

/// Any other owner is asked through its scale.
fn asked(view: &View, owner: &OwnerReference, namespace: &str) -> Result<Found, Unknown> {
    let root = if owner.api_version.contains('/') { "/apis" } else { "/api" };
    let version = format!("{root}/{}", owner.api_version);
    let resources = answer(view, Read::path(version.clone()))?;
    let all = || resources.and_then(|list| list["resources"].as_array()).into_iter().flatten();
    let plural =
        all().find(|r| r["kind"] == owner.kind.as_str() && r["name"].as_str().is_some_and(|n| !n.contains('/')));
    let Some(plural) = plural.and_then(|resource| resource["name"].as_str()) else { return Ok(None) };
    let scale = format!("{plural}/scale");
    if !all().any(|resource| resource["name"] == scale.as_str()) {
        let group = owner.api_version.split_once('/').map_or(String::new(), |(group, _)| format!(".{group}"));
        return Err(Unknown::Failed(format!("{plural}{group} does not implement the scale subresource")));
    }
    let path = format!("{version}/namespaces/{namespace}/{plural}/{}/scale", owner.name);
    let Some(scale) = answer(view, Read::path(path))? else { return Ok(None) };
    let replicas = scale["spec"]["replicas"].as_i64().and_then(|n| i32::try_from(n).ok()).unwrap_or(0);
    Ok((scale["metadata"]["uid"] == owner.uid.as_str()).then(|| (owner.uid.clone(), replicas)))
}

fn answer(view: &View, read: Read) -> Result<Option<&Value>, Unknown> {
    match view.answer(&read) {
        Some(answer) => Ok(answer),
        None => Err(Unknown::Reads(vec![read])),
    }
}
