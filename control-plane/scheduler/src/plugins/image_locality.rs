//! Nodes that have the pod's images already are better, the more so the larger these are.

use std::collections::HashMap;

use k8s_openapi::api::core::v1::Pod;

use super::{BEST, Judge, Plugin};
use crate::snapshot::{NodeInfo, Snapshot};

/// Below, fetching costs next to nothing; above (per container), more makes no difference any more. As upstream.
const LEAST: i64 = 23 << 20;
const MOST: i64 = 1000 << 20;

pub(super) struct ImageLocality;

struct Images<'a> {
    wanted: Vec<String>,
    /// How many nodes have an image: what is on few nodes shall not draw every pod to these.
    spread: HashMap<&'a str, i64>,
    nodes: i64,
}

impl Plugin for ImageLocality {
    fn name(&self) -> &'static str {
        "ImageLocality"
    }

    fn begin<'a>(&self, snapshot: &'a Snapshot, pod: &'a Pod) -> Option<Box<dyn Judge + 'a>> {
        let spec = pod.spec.as_ref()?;
        let containers = spec.init_containers.iter().flatten().chain(&spec.containers);
        let wanted: Vec<String> = containers.filter_map(|c| c.image.as_deref().map(normalized)).collect();
        let mut spread: HashMap<&str, i64> = HashMap::new();
        for (name, _) in snapshot.nodes().flat_map(|node| images(node)) {
            *spread.entry(name).or_default() += 1;
        }
        let nodes = snapshot.nodes().count() as i64;
        (!spread.is_empty()).then(|| Box::new(Images { wanted, spread, nodes }) as Box<dyn Judge>)
    }
}

impl Judge for Images<'_> {
    fn score(&self, node: &NodeInfo) -> Option<i64> {
        let here: HashMap<&str, i64> = images(node).collect();
        let share = |name: &String| {
            let size = here.get(name.as_str())?;
            let nodes = self.spread.get(name.as_str()).copied().unwrap_or(1);
            Some((*size as f64 * nodes as f64 / self.nodes.max(1) as f64) as i64)
        };
        let sum: i64 = self.wanted.iter().filter_map(share).sum();
        let most = MOST * self.wanted.len().max(1) as i64;
        Some(BEST * (sum.clamp(LEAST, most) - LEAST) / (most - LEAST))
    }
}

fn images(node: &NodeInfo) -> impl Iterator<Item = (&str, i64)> {
    let status = node.node.as_ref().and_then(|node| node.status.as_ref());
    let images = status.into_iter().flat_map(|status| status.images.iter().flatten());
    images.flat_map(|image| image.names.iter().flatten().map(|name| (name.as_str(), image.size_bytes.unwrap_or(0))))
}

/// An image without a tag is its latest.
fn normalized(image: &str) -> String {
    let last = image.rsplit('/').next().unwrap_or(image);
    if last.contains(':') || last.contains('@') { image.to_owned() } else { format!("{image}:latest") }
}
