//! The one thread that writes and syncs the log. Whatever was queued while it was busy goes out with its next sync.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;

use parking_lot::{Condvar, Mutex};

use crate::segment::Segment;

pub type Done = Box<dyn FnOnce(io::Result<()>) + Send>;

/// Bytes for one place, and who waits for them.
struct Job {
    segment: Arc<Segment>,
    offset: u64,
    bytes: Vec<u8>,
    /// Whether somebody waits for the disk, and not only for the system, to have it.
    durable: bool,
    done: Vec<Done>,
}

#[derive(Default)]
struct Queue {
    jobs: Vec<Job>,
    failed: Option<String>,
    stop: bool,
}

#[derive(Default)]
struct Shared {
    queue: Mutex<Queue>,
    wake: Condvar,
    syncs: AtomicU64,
    /// What was written since its last sync.
    dirty: Mutex<Vec<Arc<Segment>>>,
}

pub struct Flusher {
    shared: Arc<Shared>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Flusher {
    pub fn start() -> io::Result<Self> {
        let shared = Arc::new(Shared::default());
        #[cfg(test)]
        if crate::proof::is_simulated() {
            return Ok(Self { shared, thread: Mutex::default() });
        }
        let run = shared.clone();
        let thread = std::thread::Builder::new().name("store-log".into()).spawn(move || work(&run))?;
        Ok(Self { shared, thread: Mutex::new(Some(thread)) })
    }

    /// Queues bytes; `done` hears when they are on the disk, or for what is not durable, written.
    pub fn push(&self, segment: &Arc<Segment>, offset: u64, bytes: Vec<u8>, durable: bool, done: Done) {
        let mut queue = self.shared.queue.lock();
        let refused = if queue.stop { Some("the store is closed".to_owned()) } else { queue.failed.clone() };
        if let Some(why) = refused {
            drop(queue);
            return done(Err(io::Error::other(why)));
        }
        match queue.jobs.last_mut() {
            Some(last) if Arc::ptr_eq(&last.segment, segment) && last.offset + last.bytes.len() as u64 == offset => {
                last.bytes.extend_from_slice(&bytes);
                last.durable |= durable;
                last.done.push(done);
            }
            _ => queue.jobs.push(Job { segment: segment.clone(), offset, bytes, durable, done: vec![done] }),
        }
        drop(queue);
        #[cfg(test)]
        if crate::proof::is_simulated() {
            return self.round_in_a_while();
        }
        self.shared.wake.notify_one();
    }

    /// What the thread does, in a simulation that has no other thread.
    #[cfg(test)]
    fn round_in_a_while(&self) {
        let shared = self.shared.clone();
        crate::clock::spawn(async move {
            crate::proof::disk_time().await;
            let jobs = std::mem::take(&mut shared.queue.lock().jobs);
            if !jobs.is_empty() {
                round(&shared, jobs, false);
            }
        });
    }

    /// Does at once what is done in a while, in a simulation; otherwise the thread is at it.
    pub fn hurry(&self) {
        #[cfg(test)]
        if crate::proof::is_simulated() {
            let jobs = std::mem::take(&mut self.shared.queue.lock().jobs);
            round(&self.shared, jobs, false);
        }
    }

    /// Why nothing can be written any more.
    pub fn failure(&self) -> Option<String> {
        self.shared.queue.lock().failed.clone()
    }

    /// Syncs of the log so far.
    pub fn syncs(&self) -> u64 {
        self.shared.syncs.load(Ordering::Relaxed)
    }

    /// Writes and syncs what is queued, and ends the thread.
    pub fn stop(&self) {
        self.shared.queue.lock().stop = true;
        self.shared.wake.notify_one();
        if let Some(thread) = self.thread.lock().take()
            && thread.join().is_err()
        {
            tracing::error!("the thread that writes the log panicked");
        }
        #[cfg(test)]
        if crate::proof::is_simulated() {
            let jobs = std::mem::take(&mut self.shared.queue.lock().jobs);
            round(&self.shared, jobs, true);
        }
    }
}

impl Drop for Flusher {
    fn drop(&mut self) {
        self.stop();
    }
}

fn work(shared: &Shared) {
    loop {
        let (jobs, stop) = {
            let mut queue = shared.queue.lock();
            while queue.jobs.is_empty() && !queue.stop {
                shared.wake.wait(&mut queue);
            }
            (std::mem::take(&mut queue.jobs), queue.stop)
        };
        round(shared, jobs, stop);
        if stop {
            return;
        }
    }
}

/// Writes and syncs what had been queued, and tells who waited.
fn round(shared: &Shared, jobs: Vec<Job>, stop: bool) {
    // Never tried again: after a failed write or sync nobody knows what the disk has.
    let failed = shared.queue.lock().failed.clone();
    let written = match failed {
        Some(why) => Err(io::Error::other(why)),
        None => write(&jobs, &mut shared.dirty.lock(), stop, &shared.syncs),
    };
    if let Err(error) = &written {
        tracing::error!(%error, "the log cannot be written; the store serves reads only");
        shared.queue.lock().failed.get_or_insert_with(|| error.to_string());
    }
    for done in jobs.into_iter().flat_map(|job| job.done) {
        done(match &written {
            Ok(()) => Ok(()),
            Err(error) => Err(io::Error::new(error.kind(), error.to_string())),
        });
    }
}

fn write(jobs: &[Job], dirty: &mut Vec<Arc<Segment>>, stop: bool, syncs: &AtomicU64) -> io::Result<()> {
    for job in jobs {
        // INVARIANT: a segment is whole on the disk before the next one gets a record; a start takes an end that is
        // torn anywhere but in the last segment for damage.
        if dirty.iter().any(|known| known.sequence < job.segment.sequence) {
            sync(dirty, syncs)?;
        }
        if !job.bytes.is_empty() {
            job.segment.write(job.offset, &job.bytes).map_err(|error| named("write", &job.segment, &error))?;
        }
        if !dirty.iter().any(|known| Arc::ptr_eq(known, &job.segment)) {
            dirty.push(job.segment.clone());
        }
    }
    if stop || jobs.iter().any(|job| job.durable) {
        sync(dirty, syncs)?;
    }
    Ok(())
}

fn sync(dirty: &mut Vec<Arc<Segment>>, syncs: &AtomicU64) -> io::Result<()> {
    for segment in dirty.drain(..) {
        segment.sync().map_err(|error| named("sync", &segment, &error))?;
        syncs.fetch_add(1, Ordering::Relaxed);
    }
    Ok(())
}

fn named(what: &str, segment: &Segment, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{what} {}: {error}", segment.path.display()))
}
