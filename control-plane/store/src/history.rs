//! When history is forgotten: by age, and earlier when it grows beyond its bounds.

use std::collections::VecDeque;
use std::sync::atomic::Ordering;
use std::time::Duration;

use crate::clock::{self, Instant};
use crate::command::{Command, Outcome};
use crate::contract::{Error, Result, Revision};
use crate::layers::Layers;
use crate::machine::Shared;
use crate::writer::Writer;

/// How much of the past is kept. Compaction drops the oldest first.
#[derive(Debug, Clone, Copy)]
pub struct Keep {
    /// Everything this young is kept, within the bounds below.
    pub age: Duration,
    /// Changes.
    pub changes: u64,
    /// Bytes of old versions, about.
    pub bytes: u64,
}

impl Default for Keep {
    /// etcd under Kubernetes keeps between 5 and 10 minutes; the bounds hold when something writes without end.
    fn default() -> Self {
        Self { age: Duration::from_secs(300), changes: 100_000, bytes: 64 << 20 }
    }
}

/// Looks of the clock per age.
const STEPS: u32 = 10;

/// When which revision was the newest; the oldest first.
#[derive(Debug, Default)]
struct Marks {
    marks: VecDeque<(Instant, Revision)>,
}

impl Marks {
    /// Notes the newest revision, and returns the one that is older than `age`.
    fn step(&mut self, now: Instant, newest: Revision, age: Duration) -> Option<Revision> {
        if self.marks.back().is_none_or(|(_, last)| *last < newest) {
            self.marks.push_back((now, newest));
        }
        let mut old = None;
        while let Some((since, revision)) = self.marks.front().copied() {
            if now.saturating_duration_since(since) < age {
                break;
            }
            old = Some(revision);
            self.marks.pop_front();
        }
        old
    }

    /// The revision half-way through what is remembered.
    fn middle(&mut self) -> Option<Revision> {
        let middle = self.marks.len() / 2;
        self.marks.drain(..middle);
        self.marks.front().map(|(_, revision)| *revision)
    }
}

/// The leader's business.
pub async fn run(shared: &Shared, writer: &Writer, leads: impl Fn() -> bool, keep: Keep) {
    let step = (keep.age / STEPS).max(Duration::from_millis(10));
    let mut marks = Marks::default();
    loop {
        let mut upto = marks.step(Instant::now(), shared.revision(), keep.age);
        let over = shared.history.load(Ordering::Relaxed) > keep.changes
            || shared.history_bytes.load(Ordering::Relaxed) > keep.bytes;
        if over {
            upto = upto.max(marks.middle());
        }
        if let Some(upto) = upto
            && leads()
            && let Err(error) = compact(&shared.layers, writer, upto).await
        {
            tracing::warn!(%error, "history could not be compacted");
        }
        clock::sleep(step).await;
    }
}

/// Compacts step by step, so that no write waits for all of it, nor for the tables to keep up with it.
pub async fn compact(layers: &Layers, writer: &Writer, upto: Revision) -> Result<()> {
    let mut reached = Revision(0);
    while reached < upto {
        layers.room_to_spare().await.map_err(|error| Error::Disk(error.to_string()))?;
        let Outcome::Compacted(now) = writer.write(Command::Compact(upto)).await? else {
            break;
        };
        if now <= reached {
            break;
        }
        reached = now;
    }
    Ok(())
}
