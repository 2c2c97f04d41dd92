//! Generated stubs of every gRPC contract Wherry speaks, and nothing else.
//!
//! Everyone who speaks gRPC takes tonic and prost from here, so that one version of them exists.

pub use {prost, tonic, tonic_prost};

/// The Container Runtime Interface, version 1 (`runtime.v1`).
#[expect(clippy::allow_attributes_without_reason, reason = "the generator writes allow attributes without one")]
pub mod cri {
    tonic::include_proto!("runtime.v1");
}
