//! How every role reaches the apiserver: informers, the work queue, [`Plan`] and its executor, the controller driver.
//!
//! Everything stands on a [`kube::Client`] that is handed in; whether it goes over TLS or straight into the apiserver's
//! router is not known here. Nothing here knows what any particular controller does.

pub mod backoff;
pub mod informer;
mod object;

pub use backoff::Backoff;
pub use informer::{Change, Changes, Informer, Informers};
pub use object::{Key, Meta, Object};
