//! The life of a container as a closed state machine: an illegal transition is an error value.

use serde::{Deserialize, Serialize};

/// Where a container stands. Times are nanoseconds since the Unix epoch, as CRI has them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum State {
    Created { created_at: i64 },
    Running { created_at: i64, started_at: i64, pid: u32 },
    Exited { created_at: i64, started_at: i64, exit: Exit },
}

/// How a container ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exit {
    /// The exit code; 128 + the signal for a process that a signal ended.
    pub code: i32,
    pub finished_at: i64,
    /// `Completed`, `Error`, `OOMKilled`, or a reason of the executor's own (`WasmTrap`, `WasmHostExited`).
    pub reason: String,
    /// A sentence for people; may be empty.
    pub message: String,
}

/// What can happen to a container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    Started {
        at: i64,
        pid: u32,
    },
    Exited(Exit),
    /// Released; allowed unless it runs.
    Deleted,
}

/// An event that cannot happen in this state.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the container is {state} and cannot be {event}")]
pub struct Illegal {
    pub state: &'static str,
    pub event: &'static str,
}

impl State {
    /// The state after `event`; `None` when the container is gone.
    pub fn on(self, event: Event) -> Result<Option<State>, Illegal> {
        let illegal = Illegal { state: self.name(), event: event.name() };
        match (self, event) {
            (State::Created { created_at }, Event::Started { at, pid }) => {
                Ok(Some(State::Running { created_at, started_at: at, pid }))
            }
            // A container whose start failed half-way ends without having run.
            (State::Created { created_at }, Event::Exited(exit)) => {
                Ok(Some(State::Exited { created_at, started_at: 0, exit }))
            }
            (State::Running { created_at, started_at, .. }, Event::Exited(exit)) => {
                Ok(Some(State::Exited { created_at, started_at, exit }))
            }
            (State::Created { .. } | State::Exited { .. }, Event::Deleted) => Ok(None),
            (State::Running { .. } | State::Exited { .. }, Event::Started { .. })
            | (State::Exited { .. }, Event::Exited(_))
            | (State::Running { .. }, Event::Deleted) => Err(illegal),
        }
    }

    /// The state's name in a sentence.
    pub fn name(&self) -> &'static str {
        match self {
            State::Created { .. } => "created",
            State::Running { .. } => "running",
            State::Exited { .. } => "exited",
        }
    }
}

impl Event {
    fn name(&self) -> &'static str {
        match self {
            Event::Started { .. } => "started",
            Event::Exited(_) => "ended",
            Event::Deleted => "deleted",
        }
    }
}
