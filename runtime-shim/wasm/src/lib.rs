//! Executor on wasmtime: one host process per node runs the guests of every pod.
//!
//! [`Executor`] is the shim's side; it starts the host (this binary once more, with [`HOST_COMMAND`]) when the first guest
//! comes and finds it again after a restart. [`host_main`] is the host's side. A guest has no process, no cgroup and no
//! root file system of its own: it has its pod's network namespace, its mounts, and limits that the host keeps.

mod cache;
mod compile;
mod confine;
mod dns;
mod engine;
mod executor;
mod guest;
mod host;
mod launch;
mod lookup;
mod memory;
mod meter;
mod netns;
mod outgoing;
mod resolve;
mod stdio;
mod timed;
mod tls;
mod view;
mod wire;
mod worlds;

pub use executor::{Config, Executor};
pub use host::host_main;

/// The first argument that makes the binary a Wasm host: `wherry wasm-host --root DIR`.
pub const HOST_COMMAND: &str = "wasm-host";
