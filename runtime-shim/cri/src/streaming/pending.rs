//! What was asked for over gRPC and waits for its client: each is taken once, by an unguessable token.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rpc::cri::{AttachRequest, ExecRequest, PortForwardRequest};
use std::collections::HashMap;
use std::time::Duration;
use tokio::time::Instant;

/// The client is on its way when the gRPC call returns: upstream waits as long.
const LIFETIME: Duration = Duration::from_secs(60);
/// Requests that nobody came for; upstream's number.
const MOST: usize = 1000;

#[derive(Debug, Clone, PartialEq)]
pub(super) enum Task {
    Exec(ExecRequest),
    Attach(AttachRequest),
    Forward(PortForwardRequest),
}

#[derive(Default)]
pub(super) struct Pending(HashMap<String, (Instant, Task)>);

impl Pending {
    /// Keeps a task and gives its token; `None` if too many wait.
    pub(super) fn add(&mut self, task: Task, now: Instant) -> Option<String> {
        self.0.retain(|_, (since, _)| now.duration_since(*since) < LIFETIME);
        if self.0.len() >= MOST {
            return None;
        }
        let token = URL_SAFE_NO_PAD.encode(rand::random::<[u8; 16]>());
        self.0.insert(token.clone(), (now, task));
        Some(token)
    }

    /// The task of a token, which is worth nothing from here on.
    pub(super) fn take(&mut self, token: &str, now: Instant) -> Option<Task> {
        let (since, task) = self.0.remove(token)?;
        (now.duration_since(since) < LIFETIME).then_some(task)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn task() -> Task {
        Task::Forward(PortForwardRequest { pod_sandbox_id: "s".into(), port: vec![80] })
    }

    #[test]
    fn a_token_works_once_and_for_a_minute() {
        let (mut pending, now) = (Pending::default(), Instant::now());
        let token = pending.add(task(), now).expect("room");
        assert_eq!(pending.take("another", now), None);
        assert_eq!(pending.take(&token, now), Some(task()));
        assert_eq!(pending.take(&token, now), None);
        let token = pending.add(task(), now).expect("room");
        assert_eq!(pending.take(&token, now + LIFETIME), None);
    }

    #[test]
    fn the_number_is_bounded_and_time_makes_room() {
        let (mut pending, now) = (Pending::default(), Instant::now());
        let tokens: std::collections::HashSet<_> = (0..MOST).filter_map(|_| pending.add(task(), now)).collect();
        assert_eq!(tokens.len(), MOST);
        assert_eq!(pending.add(task(), now), None);
        assert!(pending.add(task(), now + LIFETIME).is_some());
    }
}
