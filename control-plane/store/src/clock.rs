//! The time that a member lives in: timers, deadlines, and the tasks that wait for them. Everything here takes it from
//! this module, so that in the proofs each member has a clock of its own, which runs wrong.

#[cfg(not(test))]
pub use tokio::{
    task::spawn,
    time::{Instant, sleep, sleep_until, timeout},
};

#[cfg(test)]
pub use crate::proof::clock::{Instant, sleep, sleep_until, spawn, timeout};
