//! What happens to containers, told to whoever listens (CRI `GetContainerEvents`).

use rpc::cri::ContainerEventType;
use tokio::sync::broadcast;

/// Events that a slow listener may lag behind before it is cut off and lists anew.
const EVENTS_LIMIT: usize = 1024;

#[derive(Debug, Clone)]
pub struct Event {
    pub container_id: String,
    pub sandbox_id: String,
    pub kind: ContainerEventType,
    pub at: i64,
}

#[derive(Debug, Clone)]
pub struct Events(broadcast::Sender<Event>);

impl Default for Events {
    fn default() -> Events {
        Events(broadcast::channel(EVENTS_LIMIT).0)
    }
}

impl Events {
    pub fn tell(&self, container_id: &str, sandbox_id: &str, kind: ContainerEventType) {
        // Nobody listening is no failure.
        let _ =
            self.0.send(Event { container_id: container_id.into(), sandbox_id: sandbox_id.into(), kind, at: now_ns() });
    }

    pub fn listen(&self) -> broadcast::Receiver<Event> {
        self.0.subscribe()
    }
}

/// Nanoseconds since the Unix epoch.
pub fn now_ns() -> i64 {
    i64::try_from(jiff::Timestamp::now().as_nanosecond()).unwrap_or(i64::MAX)
}
