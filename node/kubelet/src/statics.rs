//! Static pods: manifests in a directory of the node, which run whether or not the apiserver answers, and the mirror
//! objects that show them in the API.

use crate::identity::{self, PodId, hex};
use k8s_openapi::api::core::v1::{Pod, Toleration};
use kube::Api;
use kube::api::{DeleteParams, PostParams};
use std::collections::BTreeMap;
use std::path::Path;

/// More is no manifest of a pod.
const MOST_BYTES: u64 = 1 << 20;

/// Reads every manifest; one that is wrong is logged and left out.
pub fn read(dir: &Path, node: &str) -> Vec<Pod> {
    let entries = match std::fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(error) => {
            tracing::warn!(dir = %dir.display(), %error, "reading static pods");
            return Vec::new();
        }
    };
    let mut paths: Vec<_> = entries.flatten().map(|e| e.path()).collect();
    paths.sort();
    let visible = |p: &&std::path::PathBuf| p.file_name().is_some_and(|n| !n.to_string_lossy().starts_with('.'));
    let mut pods = Vec::new();
    for path in paths.iter().filter(visible) {
        match one(path, node) {
            Ok(pod) => pods.push(pod),
            Err(error) => tracing::warn!(path = %path.display(), error, "a static pod is left out"),
        }
    }
    pods
}

fn one(path: &Path, node: &str) -> Result<Pod, String> {
    let size = std::fs::metadata(path).map_err(|e| e.to_string())?.len();
    if size > MOST_BYTES {
        return Err(format!("the file has {size} bytes, more than {MOST_BYTES}"));
    }
    let text = std::fs::read_to_string(path).map_err(|e| e.to_string())?;
    let pod: Pod = serde_saphyr::from_str(&text).map_err(|e| e.to_string())?;
    let spec = pod.spec.as_ref().ok_or("the pod has no spec")?;
    if spec.containers.is_empty() || pod.metadata.name.as_deref().unwrap_or_default().is_empty() {
        return Err("the pod needs a name and a container".into());
    }
    Ok(complete(pod, &text, node))
}

/// What the apiserver would have filled in, and the identity that the file gives it.
fn complete(mut pod: Pod, text: &str, node: &str) -> Pod {
    let digest = ring::digest::digest(&ring::digest::SHA256, format!("{node}\0{text}").as_bytes());
    let uid = hex(&digest.as_ref()[..16]);
    let meta = &mut pod.metadata;
    meta.namespace.get_or_insert_with(|| "default".into());
    meta.name = meta.name.take().map(|n| format!("{n}-{node}"));
    let notes = meta.annotations.get_or_insert_with(BTreeMap::new);
    notes.insert(identity::CONFIG_HASH.into(), uid.clone());
    notes.insert(identity::SOURCE.into(), "file".into());
    meta.uid = Some(uid);
    if let Some(spec) = &mut pod.spec {
        spec.node_name = Some(node.to_owned());
        spec.restart_policy.get_or_insert_with(|| "Always".into());
        spec.dns_policy.get_or_insert_with(|| "ClusterFirst".into());
        let everything =
            Toleration { operator: Some("Exists".into()), effect: Some("NoExecute".into()), ..Toleration::default() };
        spec.tolerations.get_or_insert_with(Vec::new).push(everything);
        for c in spec.containers.iter_mut().chain(spec.init_containers.iter_mut().flatten()) {
            c.termination_message_path.get_or_insert_with(|| "/dev/termination-log".into());
            c.termination_message_policy.get_or_insert_with(|| "File".into());
            let latest = c
                .image
                .as_deref()
                .is_some_and(|i| i.ends_with(":latest") || !i.rsplit('/').next().unwrap_or(i).contains([':', '@']));
            c.image_pull_policy.get_or_insert_with(|| if latest { "Always" } else { "IfNotPresent" }.into());
        }
    }
    pod
}

/// Whether an object of the API only shows a pod from a file.
pub fn is_mirror(pod: &Pod) -> bool {
    pod.metadata.annotations.as_ref().is_some_and(|a| a.contains_key(identity::MIRROR))
}

/// Makes the mirror of `pod` what it should be. `node_uid` owns it.
pub async fn mirror(client: &kube::Client, pod: &Pod, node: &str, node_uid: &str) -> Result<(), kube::Error> {
    let id = PodId::of(pod);
    let api: Api<Pod> = Api::namespaced(client.clone(), &id.namespace);
    let found = match api.get_opt(&id.name).await {
        // A node may not even ask for pods that are not its own, and an absent one is nobody's.
        Err(kube::Error::Api(s)) if s.code == 403 => None,
        other => other?,
    };
    if let Some(old) = found {
        let same = old.metadata.annotations.as_ref().and_then(|a| a.get(identity::MIRROR)) == Some(&id.uid);
        if same && old.metadata.deletion_timestamp.is_none() {
            return Ok(());
        }
        unmirror(client, &id).await?;
    }
    let mut object = pod.clone();
    object.metadata.uid = None;
    let notes = object.metadata.annotations.get_or_insert_with(BTreeMap::new);
    notes.insert(identity::MIRROR.into(), id.uid.clone());
    object.metadata.owner_references = Some(vec![k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference {
        api_version: "v1".into(),
        kind: "Node".into(),
        name: node.to_owned(),
        uid: node_uid.to_owned(),
        controller: Some(true),
        block_owner_deletion: None,
    }]);
    api.create(&PostParams::default(), &object).await.map(drop)
}

pub async fn unmirror(client: &kube::Client, id: &PodId) -> Result<(), kube::Error> {
    let api: Api<Pod> = Api::namespaced(client.clone(), &id.namespace);
    match api.delete(&id.name, &DeleteParams::default().grace_period(0)).await {
        Ok(_) => Ok(()),
        Err(kube::Error::Api(s)) if s.code == 404 => Ok(()),
        Err(e) => Err(e),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_manifest_becomes_a_pod_of_this_node() {
        let dir = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| std::fs::write(dir.path().join(name), text).unwrap();
        write(
            "a.yaml",
            "apiVersion: v1\nkind: Pod\nmetadata: {name: web}\nspec: {containers: [{name: c, image: x}]}\n",
        );
        write("b.yaml", "not: [a pod");
        write(".hidden", "x");
        let pods = read(dir.path(), "n1");
        assert_eq!(pods.len(), 1);
        let id = PodId::of(&pods[0]);
        assert_eq!((id.name.as_str(), id.namespace.as_str(), id.uid.len()), ("web-n1", "default", 32));
        assert!(identity::from_file(&pods[0]));
        assert_eq!(pods[0].spec.as_ref().unwrap().containers[0].image_pull_policy.as_deref(), Some("Always"));
        write(
            "a.yaml",
            "apiVersion: v1\nkind: Pod\nmetadata: {name: web}\nspec: {containers: [{name: c, image: y}]}\n",
        );
        assert_ne!(PodId::of(&read(dir.path(), "n1")[0]).uid, id.uid, "another file is another pod");
    }
}
