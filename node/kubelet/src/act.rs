//! Carries out the steps of a plan. Each is one task that ends in an event for the pod's worker; none decides anything.

mod image;
mod kill;
mod remove;
mod resize;
mod sandbox;
mod start;

pub use kill::kill;
pub use remove::{remove, unmount};
pub use resize::resize;
pub use sandbox::{run, stop};
pub use start::start;

use crate::node::Node;
use crate::observed::RuntimeStatus;
use k8s_openapi::api::core::v1::Pod;
use std::sync::Arc;

/// What a step is carried out with.
#[derive(Clone)]
pub struct Job {
    pub node: Arc<Node>,
    pub pod: Arc<Pod>,
    /// What was known when the step was planned.
    pub rt: Arc<RuntimeStatus>,
}

/// Why a container did not start: a reason for the status, and the text.
#[derive(Debug)]
pub struct Failed {
    pub reason: &'static str,
    pub message: String,
    /// The image could not be had: waiting grows with the image's own back-off.
    pub pull: bool,
}

impl Failed {
    fn new(reason: &'static str, message: impl ToString) -> Failed {
        Failed { reason, message: message.to_string(), pull: false }
    }
}
