//! Hears of exits: one task a pod, which reads what its pod process tells.

use super::{Inner, Pod, blocking, lock, lost, open_call};
use crate::cgroup::Cgroup;
use crate::process::Process;
use crate::wire::{self, Reply, Request};
use container::{Error, Exit, Result, State};
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};
use tokio::io::{AsyncBufReadExt, BufReader};

/// How long to wait for a process that was told to end. SIGKILL takes milliseconds unless the kernel is stuck.
const END_LIMIT: Duration = Duration::from_secs(10);

/// Starts listening to a pod process until it ends or its sandbox is closed.
pub(super) fn start(inner: &Arc<Inner>, pod: Arc<Pod>) {
    tokio::spawn(listen(Arc::downgrade(inner), pod));
}

async fn listen(inner: Weak<Inner>, pod: Arc<Pod>) {
    let mut known: Vec<String> = Vec::new();
    if pod.process.alive()
        && let Err(error) = follow(&inner, &pod, &mut known).await
    {
        tracing::debug!(pod = pod.id, %error, "the pod process no longer tells of exits");
    }
    let Some(inner) = inner.upgrade() else { return };
    if lock(&inner.pods).get(&pod.id).is_none_or(|current| current.process != pod.process) {
        return;
    }
    // It was not closed by us: it has died, and its containers with it.
    let orphans: Vec<_> = lock(&inner.containers)
        .iter()
        .filter(|(_, e)| e.pod.id == pod.id)
        .map(|(id, e)| (id.clone(), e.clone()))
        .collect();
    for (id, entry) in orphans {
        let before = super::read_state(&entry.dir);
        let after = blocking(move || lost(&entry.dir, &entry.group)).await;
        if let (Ok(State::Running { .. } | State::Created { .. }), Ok(State::Exited { exit, .. })) = (before, after) {
            let _ = inner.exits.send((id, exit));
        }
    }
}

async fn follow(inner: &Weak<Inner>, pod: &Arc<Pod>, known: &mut Vec<String>) -> Result<()> {
    let asked = pod.clone();
    let (reply, _, socket, _) = blocking(move || open_call(&asked, &Request::Watch, &[])).await?;
    if let Reply::States(states) = reply {
        for (id, state) in states {
            if let State::Exited { exit, .. } = state {
                tell(inner, known, id, exit);
            }
        }
    }
    let mut lines = lines(socket)?;
    while let Some(line) = lines.next_line().await.map_err(|e| Error::failed("read from the pod process", e))? {
        if let Ok(Reply::Exited { id, exit }) = serde_json::from_str(&line) {
            tell(inner, known, id, exit);
        }
    }
    Ok(())
}

fn tell(inner: &Weak<Inner>, known: &mut Vec<String>, id: String, exit: Exit) {
    let Some(inner) = inner.upgrade() else { return };
    if !known.contains(&id) {
        known.push(id.clone());
        let _ = inner.exits.send((id, exit));
    }
}

/// The rest of a connection as lines. Nothing may have been read beyond the first reply; the pod process sends the next
/// message only when something happens, and what came with the reply would still be in the socket's order.
pub(super) fn lines(socket: UnixStream) -> Result<tokio::io::Lines<BufReader<tokio::net::UnixStream>>> {
    let failed = |e: std::io::Error| Error::failed("listen to the pod process", e);
    socket.set_nonblocking(true).map_err(failed)?;
    Ok(BufReader::with_capacity(wire::MESSAGE_LIMIT / 64, tokio::net::UnixStream::from_std(socket).map_err(failed)?)
        .lines())
}

/// Waits until a process has ended.
pub(super) fn await_end(process: Process) {
    let until = Instant::now() + END_LIMIT;
    while process.alive() && Instant::now() < until {
        std::thread::sleep(Duration::from_millis(1));
    }
    process.end();
}

/// Ends every process of a group.
pub(super) fn end_group(group: &Cgroup) {
    let until = Instant::now() + END_LIMIT;
    loop {
        let processes: Vec<Process> = group.processes().into_iter().filter_map(Process::find).collect();
        if processes.is_empty() || Instant::now() > until {
            return;
        }
        processes.iter().for_each(Process::end);
        std::thread::sleep(Duration::from_millis(1));
    }
}
