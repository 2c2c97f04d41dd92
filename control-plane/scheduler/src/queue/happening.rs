//! What happens in the cluster, as far as pods that wait may be helped by it.

use std::sync::Arc;

use crate::node::NodeInfo;
use crate::pod::PodInfo;

/// What happens in the cluster that may let a waiting pod through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Happening {
    NodeAdded,
    /// More of some resource.
    NodeGrew,
    NodeRelabelled,
    /// Fewer taints, or no longer cordoned.
    NodeOpened,
    NodeRemoved,
    /// A pod ended or left its node.
    PodLeft,
    /// A pod came to a node or changed its labels there.
    PodCame,
    /// A pod on a node had these labels and has others now.
    PodRelabelled,
}

impl Happening {
    pub const ALL: &'static [Happening] = &[
        Happening::NodeAdded,
        Happening::NodeGrew,
        Happening::NodeRelabelled,
        Happening::NodeOpened,
        Happening::NodeRemoved,
        Happening::PodLeft,
        Happening::PodCame,
        Happening::PodRelabelled,
    ];

    /// Upstream's name for it, as metrics tell.
    pub(crate) fn label(self) -> &'static str {
        match self {
            Happening::NodeAdded => "NodeAdd",
            Happening::NodeGrew => "NodeUpdateNodeAllocatable",
            Happening::NodeRelabelled => "NodeUpdateNodeLabel",
            Happening::NodeOpened => "NodeUpdateNodeTaint",
            Happening::NodeRemoved => "NodeDelete",
            Happening::PodLeft => "AssignedPodDelete",
            Happening::PodCame => "AssignedPodAdd",
            Happening::PodRelabelled => "AssignedPodUpdatePodLabel",
        }
    }
}

/// What happened, with the object it happened to.
#[derive(Debug, Clone, Copy)]
pub enum Event<'a> {
    Node(Happening, &'a NodeInfo),
    Pod(Happening, &'a Arc<PodInfo>),
}

impl<'a> Event<'a> {
    pub fn happening(&self) -> Happening {
        match self {
            Event::Node(happening, _) | Event::Pod(happening, _) => *happening,
        }
    }

    pub fn node(&self) -> Option<&'a NodeInfo> {
        match self {
            Event::Node(_, node) => Some(node),
            Event::Pod(..) => None,
        }
    }

    pub fn pod(&self) -> Option<&'a PodInfo> {
        match self {
            Event::Pod(_, pod) => Some(pod),
            Event::Node(..) => None,
        }
    }
}
