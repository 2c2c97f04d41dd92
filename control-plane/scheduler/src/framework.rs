//! The points at which plugins have a say, in the order a pod passes them, and what they may say there.
//!
//! Up to the choice of a node everything is a pure function of snapshot, pod and seed. The points after it belong to the driver:
//! Reserve and Permit are asked at once and must not wait; PreBind and Bind may take their time beside other decisions.

mod waiting;

use std::time::Duration;

use client::Executor;
use k8s_openapi::api::core::v1::Pod;

use crate::pod::PodInfo;

pub(crate) use waiting::Verdict;
pub use waiting::{Waiting, WaitingPods};

/// No plugin holds a pod back for longer. As upstream.
pub(crate) const PERMIT_MOST: Duration = Duration::from_secs(15 * 60);

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Point {
    PreEnqueue,
    QueueSort,
    PreFilter,
    Filter,
    PostFilter,
    PreScore,
    Score,
    Reserve,
    Permit,
    PreBind,
    Bind,
    PostBind,
    /// No point of its own: what is undone where a later point fails. Part of Reserve.
    Unreserve,
}

impl Point {
    /// Those that a configuration names.
    pub const ALL: [Point; 12] = [
        Point::PreEnqueue,
        Point::QueueSort,
        Point::PreFilter,
        Point::Filter,
        Point::PostFilter,
        Point::PreScore,
        Point::Score,
        Point::Reserve,
        Point::Permit,
        Point::PreBind,
        Point::Bind,
        Point::PostBind,
    ];

    /// Upstream's name.
    pub fn name(self) -> &'static str {
        match self {
            Point::PreEnqueue => "PreEnqueue",
            Point::QueueSort => "QueueSort",
            Point::PreFilter => "PreFilter",
            Point::Filter => "Filter",
            Point::PostFilter => "PostFilter",
            Point::PreScore => "PreScore",
            Point::Score => "Score",
            Point::Reserve => "Reserve",
            Point::Permit => "Permit",
            Point::PreBind => "PreBind",
            Point::Bind => "Bind",
            Point::PostBind => "PostBind",
            Point::Unreserve => "Unreserve",
        }
    }
}

/// Why a plugin does not let a pod go where it was to go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Objection {
    /// The pod waits until something happens that may help the plugin.
    Unschedulable(String),
    /// It is tried again after a while.
    Failed(String),
}

/// What a plugin answers at Permit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Permission {
    Granted,
    /// Somebody will allow or refuse it within this time, through [`WaitingPods`]; otherwise it is refused.
    Wait(Duration),
}

/// What a plugin answers at Bind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bound {
    Done,
    /// The next plugin shall bind it.
    Skipped,
}

/// A pod on its way to a node, for plugins that do something about it.
#[derive(Clone, Copy)]
pub struct Binding<'a> {
    pub pod: &'a PodInfo,
    pub node: &'a str,
    pub executor: &'a Executor,
}

impl Binding<'_> {
    pub fn object(&self) -> &Pod {
        &self.pod.pod
    }
}
