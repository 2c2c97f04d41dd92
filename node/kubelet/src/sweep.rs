//! Garbage: dead containers beyond the last one of each name, dead sandboxes, directories of pods that are gone, and
//! images that nobody uses once the disk is nearly full.

use crate::node::Node;
use crate::node::object::short_of_disk;
use rpc::cri;
use std::collections::{HashMap, HashSet};

/// Unused images go before the node is out of disk: upstream begins at 85 % use, where 90 % is the limit for pods.
const IMAGES_AT_PERCENT: u64 = 150;

/// Once over everything. `known` are the uids of pods that have a worker: theirs is left to them, but for what is superfluous.
pub async fn sweep(node: &Node, known: &HashSet<String>) {
    if let Err(error) = containers(node).await {
        tracing::warn!(%error, "removing dead containers");
    }
    if let Err(error) = directories(node, known) {
        tracing::warn!(%error, "removing directories of pods that are gone");
    }
    if short_of_disk(&node.config.root_dir, IMAGES_AT_PERCENT)
        && let Err(error) = images(node).await
    {
        tracing::warn!(%error, "removing unused images");
    }
}

/// Of each pod's container name the newest two stay: the present one, and the last that ended, for `logs --previous`.
async fn containers(node: &Node) -> crate::runtime::Result<()> {
    let mut by_name: HashMap<(String, String), Vec<cri::Container>> = HashMap::new();
    for c in node.runtime.all_containers().await? {
        let label = |key: &str| c.labels.get(key).cloned().unwrap_or_default();
        let key = (label(crate::identity::POD_UID), label(crate::identity::CONTAINER_NAME));
        if !key.0.is_empty() {
            by_name.entry(key).or_default().push(c);
        }
    }
    for list in by_name.values_mut() {
        list.sort_by_key(|c| std::cmp::Reverse(c.created_at));
        for c in list.iter().skip(2).filter(|c| c.state == cri::ContainerState::ContainerExited as i32) {
            node.runtime.remove(&c.id).await?;
        }
    }
    let used: HashSet<String> = node.runtime.all_containers().await?.into_iter().map(|c| c.pod_sandbox_id).collect();
    let mut newest: HashMap<String, (i64, String)> = HashMap::new();
    let sandboxes = node.runtime.pods().await?;
    for (id, s) in &sandboxes {
        let entry = newest.entry(id.uid.clone()).or_default();
        if s.created_at >= entry.0 {
            *entry = (s.created_at, s.id.clone());
        }
    }
    for (id, s) in sandboxes {
        let dead = s.state == cri::PodSandboxState::SandboxNotready as i32;
        if dead && !used.contains(&s.id) && newest.get(&id.uid).is_some_and(|n| n.1 != s.id) {
            node.runtime.remove_sandbox(&s.id).await?;
        }
    }
    Ok(())
}

fn directories(node: &Node, known: &HashSet<String>) -> std::io::Result<()> {
    let entries = match std::fs::read_dir(node.config.root_dir.join("pods")) {
        Ok(entries) => entries,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        Err(e) => return Err(e),
    };
    for entry in entries.flatten() {
        let uid = entry.file_name().to_string_lossy().into_owned();
        if !known.contains(&uid)
            && let Err(error) = crate::volumes::unmount(node, &uid)
        {
            tracing::warn!(uid, %error, "removing a pod's directory");
        }
    }
    Ok(())
}

async fn images(node: &Node) -> crate::runtime::Result<()> {
    let containers = node.runtime.all_containers().await?;
    let used: HashSet<String> = containers.into_iter().flat_map(|c| [c.image_id, c.image_ref]).collect();
    for image in node.runtime.images().await?.into_iter().filter(|i| !i.pinned) {
        if used.contains(&image.id) || image.repo_digests.iter().any(|d| used.contains(d)) {
            continue;
        }
        node.runtime.remove_image(&image.id).await?;
        if !short_of_disk(&node.config.root_dir, IMAGES_AT_PERCENT) {
            break;
        }
    }
    Ok(())
}
