//! Nodes that have the pod's images already are better, the more so the larger these are.

use super::{BEST, Context, Plugin, Point, Score};
use crate::node::NodeInfo;

/// Below, fetching costs next to nothing; above (per container), more makes no difference any more. As upstream.
const LEAST: i64 = 23 << 20;
const MOST: i64 = 1000 << 20;

#[derive(Debug)]
pub(super) struct ImageLocality;

struct Images {
    /// The pod's images that some nodes have, with the share of nodes: what is on few shall not draw every pod to these.
    wanted: Vec<(String, f64)>,
    most: i64,
}

impl Plugin for ImageLocality {
    fn name(&self) -> &'static str {
        "ImageLocality"
    }

    fn points(&self) -> &'static [Point] {
        &[Point::Score]
    }

    fn weight(&self) -> i64 {
        1
    }

    fn score<'a>(&self, cx: Context<'a>, _: &[&'a NodeInfo]) -> Option<Box<dyn Score + 'a>> {
        let spec = cx.pod.pod.spec.as_ref()?;
        let containers = spec.init_containers.iter().flatten().chain(&spec.containers);
        let most = MOST * containers.clone().count().max(1) as i64;
        let mounted = spec.volumes.iter().flatten().filter_map(|volume| volume.image.as_ref()?.reference.as_deref());
        let images: Vec<String> =
            containers.filter_map(|c| c.image.as_deref()).chain(mounted).map(normalized).collect();
        let nodes = cx.snapshot.order().len().max(1) as f64;
        let share = |name: String| {
            let having = cx.snapshot.nodes_with_image(&name);
            (having > 0).then(|| (name, having as f64 / nodes))
        };
        let wanted: Vec<_> = images.into_iter().filter_map(share).collect();
        (!wanted.is_empty()).then(|| Box::new(Images { wanted, most }) as Box<dyn Score>)
    }
}

impl Score for Images {
    fn of(&self, node: &NodeInfo) -> i64 {
        let here = self.wanted.iter().filter_map(|(name, share)| Some((*node.facts.images.get(name)?, share)));
        let sum: i64 = here.map(|(size, share)| (size as f64 * share) as i64).sum();
        BEST * (sum.clamp(LEAST, self.most) - LEAST) / (self.most - LEAST)
    }
}

/// An image without a tag is its latest.
fn normalized(image: &str) -> String {
    let last = image.rsplit('/').next().unwrap_or(image);
    if last.contains(':') || last.contains('@') { image.to_owned() } else { format!("{image}:latest") }
}
