//! How every role reaches the apiserver: informers, the work queue, [`Plan`] and its executor, the controller driver.
//!
//! Everything stands on a [`kube::Client`] that is handed in; whether it goes over TLS or straight into the apiserver's
//! router is not known here. Nothing here knows what any particular controller does.

pub mod backoff;
pub mod driver;
pub mod event;
pub mod execute;
mod fence;
pub mod informer;
pub mod lease;
pub mod metrics;
mod object;
pub mod plan;
pub mod queue;
pub mod view;
pub mod workqueue;

pub use backoff::Backoff;
pub use driver::{Controller, Driver};
pub use event::Recorder;
pub use execute::Executor;
pub use informer::{Change, Changes, Index, Informer, Informers, Tally};
pub use metrics::{Counts, Metrics};
pub use object::{Key, Meta, Object};
pub use plan::{Action, Decision, DeleteOptions, Note, Plan, Read, Severity, Target};
pub use view::{Moment, View, Watches};
