//! Which node a pod runs on: the scheduling framework and its plugins.
//!
//! [`schedule`] decides and does nothing else; [`run`] watches, keeps the queue and carries decisions out.

mod budget;
mod config;
mod extender;
pub mod framework;
mod index;
mod metrics;
mod node;
mod order;
mod owners;
pub mod plugins;
mod pod;
mod preempt;
pub mod profile;
pub mod queue;
mod refusals;
mod run;
mod schedule;
mod selectors;
pub mod snapshot;
mod topology;

pub use config::{Config, Refused};
pub use metrics::Metrics;
pub use node::NodeInfo;
pub use pod::PodInfo;
pub use preempt::{Candidate, Found};
pub use profile::Profile;
pub use refusals::{Refusal, Refusals};
pub use run::run;
pub use schedule::{Attempt, Nowhere, Placement, Preemption, schedule};
pub use snapshot::Snapshot;
