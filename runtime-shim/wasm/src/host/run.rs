//! Starting containers: a command runs to its end, a `wasi:http` guest is served until it is told to stop.

use super::Host;
use super::container::{Container, Live, now};
use super::http;
use crate::guest::{Given, Streams};
use crate::stdio::Sink;
use crate::worlds::{Command, End, World};
use container::log::Stream;
use container::{Error, Event, Exit};
use std::sync::Arc;

/// The exit code of a trap, as a process that aborts has it.
pub const TRAP: i32 = 134;
pub const OUT_OF_MEMORY: i32 = 137;

/// The longest message of an exit: as much as a termination message may have.
const MESSAGE_LIMIT: usize = 4096;

impl Host {
    pub async fn start(self: &Arc<Self>, id: &str) -> Result<(), Error> {
        let container = self.table.get(id)?;
        let live = container.live()?;
        // The listener is made first: a port that is taken is an error of the start, not an end of the container.
        let server = match &*live.world {
            World::Http { proxy, .. } => Some((http::listen(&container, live).await?, proxy.clone())),
            World::Command(_) | World::CommandP1(_) => None,
        };
        container.on(Event::Started { at: now(), pid: 0 })?;
        self.table.write(&container)?;
        let host = self.clone();
        match server {
            Some((listener, proxy)) => {
                tokio::spawn(http::Server { host, container: container.clone(), proxy }.serve(listener));
            }
            None => {
                let command =
                    live.world.command().ok_or_else(|| Error::Unsupported("the guest has no command world".into()))?;
                self.guests.spawn(host.run(container.clone(), command));
            }
        }
        Ok(())
    }

    async fn run(self: Arc<Self>, container: Arc<Container>, command: Command) {
        // INVARIANT: `start` found the container alive.
        let Ok(live) = container.live() else { return };
        let stderr = if container.spec.tty { Stream::Stdout } else { Stream::Stderr };
        let sink = |stream| Sink::Whole { output: live.output.clone(), stream, terminal: container.spec.tty };
        let streams = Streams { stdin: live.stdin.clone(), stdout: sink(Stream::Stdout), stderr: sink(stderr) };
        let exit = tokio::select! {
            biased;
            end = self.confined(live, command, live.given.clone(), streams) => exit(live, end),
            () = live.drain.cancelled() => live.killed(),
        };
        self.ended(&container, exit);
    }

    /// Runs a command behind the container's walls.
    pub async fn confined(&self, live: &Live, command: Command, given: Given, streams: Streams) -> End {
        match live.walls.around(command.run(self.engine.clone(), given, streams)).await {
            Ok(end) => end,
            Err(err) => End::Trap(format!("entering the pod's network namespace: {err}")),
        }
    }
}

/// The exit that an end means; a trap is told in the log too, where its author looks.
fn exit(live: &Live, end: End) -> Exit {
    let (code, reason, message) = match end {
        End::Code(0) => (0, "Completed", String::new()),
        End::Code(code) => (code, "Error", String::new()),
        End::OutOfMemory(message) => (OUT_OF_MEMORY, "OOMKilled", message),
        End::Trap(message) => (TRAP, "WasmTrap", message),
    };
    if !message.is_empty() {
        live.output.finish();
        live.output.say(&message);
    }
    Exit { code, finished_at: now(), reason: reason.into(), message: shorten(message) }
}

fn shorten(mut message: String) -> String {
    if message.len() > MESSAGE_LIMIT {
        let end = (0..=MESSAGE_LIMIT).rev().find(|end| message.is_char_boundary(*end)).unwrap_or(0);
        message.truncate(end);
    }
    message
}
