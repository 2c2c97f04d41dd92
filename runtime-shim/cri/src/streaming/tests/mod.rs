//! Clients of every protocol against the server, with an executor that stands in for real ones.

mod fake;
mod forwarding;
mod sessions;
mod speaker;

use super::connection::Limits;
use super::{Resolve, Streaming};
use container::Executor;
use fake::Fake;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::{CancellationToken, DropGuard};

/// A test that hangs fails.
const PATIENCE: Duration = Duration::from_secs(60);

struct Host(Arc<Fake>);

#[async_trait::async_trait]
impl Resolve for Host {
    async fn executor(&self, id: &str) -> container::Result<Arc<dyn Executor>> {
        if id == "c" { Ok(self.0.clone()) } else { Err(container::Error::NotFound(id.to_owned())) }
    }

    async fn sandbox_netns(&self, id: &str) -> container::Result<Option<PathBuf>> {
        match id {
            "host" => Ok(None),
            "broken" => Ok(Some("/nonexistent/netns".into())),
            _ => Err(container::Error::NotFound(id.to_owned())),
        }
    }
}

struct World {
    fake: Arc<Fake>,
    streaming: Streaming,
    _stop: DropGuard,
}

impl World {
    async fn new() -> World {
        World::with(Limits::default()).await
    }

    async fn with(limits: Limits) -> World {
        let (fake, stop) = (Arc::new(Fake::default()), CancellationToken::new());
        let host = Arc::new(Host(fake.clone()));
        let streaming = Streaming::start_with(host, limits, stop.clone()).await.expect("a server on loopback");
        World { fake, streaming, _stop: stop.drop_guard() }
    }
}

async fn patiently<T>(what: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, what).await.expect("this came to no end")
}
