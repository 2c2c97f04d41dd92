//! What expressions cost: they are compiled and run where no server is at hand, so the process counts them.

use super::text::{Histogram, Text};
use parking_lot::Mutex;
use std::sync::LazyLock;
use std::time::Instant;

/// Upper bounds of the times, in seconds: upstream's.
const SECONDS: [f64; 11] = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];

pub(crate) static COMPILATION: Timed = Timed::new();
pub(crate) static EVALUATION: Timed = Timed::new();

/// How long something took each time.
pub(crate) struct Timed(LazyLock<Mutex<Histogram>>);

impl Timed {
    const fn new() -> Timed {
        Timed(LazyLock::new(Mutex::default))
    }

    pub(crate) fn run<R>(&self, what: impl FnOnce() -> R) -> R {
        let begun = Instant::now();
        let done = what();
        self.0.lock().observe(&SECONDS, begun.elapsed().as_secs_f64());
        done
    }
}

pub(super) fn write(text: &mut Text) {
    for (name, help, timed) in [
        ("apiserver_cel_compilation_duration_seconds", "[BETA] CEL compilation time in seconds.", &COMPILATION),
        ("apiserver_cel_evaluation_duration_seconds", "[BETA] CEL evaluation time in seconds.", &EVALUATION),
    ] {
        text.family(name, "histogram", help);
        text.histogram(name, "", &SECONDS, &timed.0.lock());
    }
}
