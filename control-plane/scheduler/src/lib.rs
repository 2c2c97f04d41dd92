//! Which node a pod runs on: the scheduling framework and its plugins.
//!
//! [`schedule`] decides and does nothing else; [`run`] watches, keeps the queue and carries decisions out.

pub mod plugins;
mod preempt;
pub mod queue;
mod resources;
mod run;
mod schedule;
mod selectors;
pub mod snapshot;

pub use run::{Config, run};
pub use schedule::{Nowhere, Placement, Preemption, schedule};
pub use snapshot::Snapshot;
