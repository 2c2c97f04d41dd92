//! Executor on namespaces and cgroups, and the pod process.
//!
//! The shim's side ([`Oci`]) asks; one small pod process per pod does, and outlives the shim. The OCI library forks, which a
//! process with threads must not do: it runs only in short-lived children of the single-threaded pod process, which itself
//! is forked from a zygote. So the binary must call [`reexec`] before anything else.

mod bundle;
mod capabilities;
pub mod cgroup;
mod executor;
mod notes;
mod pod;
pub mod process;
mod runtime;
mod users;
mod wire;
mod zygote;

pub use executor::{Oci, reset};

/// To be called first thing in `main`. Returns unless this process was started as the zygote.
pub fn reexec() {
    if std::env::args_os().nth(1).is_some_and(|argument| argument == zygote::ARGUMENT) {
        zygote::run();
    }
}
