//! What the queues of all controllers of this process count, for a `/metrics` that they share with the apiserver.

use std::sync::{Arc, LazyLock};

use crate::metrics::{Counts, Metrics};

static PROCESS: LazyLock<Metrics> = LazyLock::new(Metrics::default);

pub(crate) fn known(name: &'static str, counts: &Arc<Counts>) {
    PROCESS.add(name, counts.clone());
}

/// All of them in the text form of Prometheus.
pub fn text() -> String {
    PROCESS.text()
}
