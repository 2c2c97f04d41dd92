//! Runs the pods of one node through CRI: watches its pods and the runtime, plans, and carries the plan out.
//!
//! It never touches the store, and knows no runtime but by CRI: everything it must remember beyond its own life is in the
//! API, or in labels and annotations of sandboxes and containers, but for the resources that a pod was given while its
//! manifest asks for others. It ends no container because it was restarted.

mod act;
mod admit;
mod allocation;
mod backoff;
mod board;
pub mod certificates;
mod config;
mod end;
mod events;
mod handler;
mod identity;
mod kubelet;
mod logs;
mod node;
mod observed;
mod plan;
mod probes;
mod quantity;
mod runtime;
mod server;
mod sources;
mod statics;
mod status;
mod sweep;
mod translate;
mod units;
mod volumes;
mod worker;

#[cfg(test)]
mod cases;

pub use config::{Config, Error};
pub use end::{release_mounts, stop_all_pods};
pub use kubelet::run;
