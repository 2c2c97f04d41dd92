//! Whether a pod fits a node: resources, host ports, node affinity and taints, for those who choose a node (the scheduler) and
//! for those who run the pod there (the kubelet). One pod and one node at a time; nothing here knows a cluster, waits or reads
//! a clock.

pub mod nodes;
pub mod ports;
pub mod resources;
pub mod taints;

pub use ports::HostPort;
pub use resources::{Amounts, Lack, Resource};
