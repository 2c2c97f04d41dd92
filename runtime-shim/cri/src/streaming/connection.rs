//! What every streaming connection has, whatever it speaks: an end. It is over when the client is gone, when all is said
//! and the client has had time to take it, when nothing moved for hours, or when the server stops.

use std::future::Future;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// How long things may take.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    /// No byte moved in either direction: upstream's `streamingConnectionIdleTimeout`.
    pub idle: Duration,
    /// Until the client of an upgraded connection has opened its streams: upstream's `DefaultStreamCreationTimeout`.
    pub opening: Duration,
    /// After our last byte, until the client closes. A close with unread input would reset the connection and
    /// take from the client what it has not read yet.
    pub linger: Duration,
    /// After a command has ended, for output of what it left behind.
    pub quiet: Duration,
    /// After an attached client is gone, for the executor to notice and end by itself.
    pub parting: Duration,
    /// Until a port of a pod answers. It is on the same machine.
    pub dial: Duration,
    /// After a forwarded client said its last, for the pod's next byte.
    pub half_closed: Duration,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            idle: Duration::from_secs(4 * 60 * 60),
            opening: Duration::from_secs(30),
            linger: Duration::from_secs(5),
            quiet: Duration::from_secs(1),
            parting: Duration::from_secs(5),
            dial: Duration::from_secs(10),
            half_closed: Duration::from_secs(5 * 60),
        }
    }
}

/// The client takes no more: it left, or it reset the stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Gone;

/// When a connection last moved a byte.
#[derive(Clone)]
pub(super) struct Idle(Arc<Mutex<Instant>>);

impl Idle {
    pub(super) fn new() -> Idle {
        Idle(Arc::new(Mutex::new(Instant::now())))
    }

    pub(super) fn touch(&self) {
        *self.0.lock() = Instant::now();
    }

    /// Returns once nothing has moved for `limit`.
    async fn expired(&self, limit: Duration) {
        loop {
            let at = *self.0.lock() + limit;
            if at <= Instant::now() {
                return;
            }
            tokio::time::sleep_until(at).await;
        }
    }
}

/// Runs both directions of a connection to its end, and cancels `gone` then. `write` ends well after our last byte.
pub(super) async fn drive(
    read: impl Future<Output = ()>,
    write: impl Future<Output = io::Result<()>>,
    idle: Idle,
    limits: Limits,
    stop: &CancellationToken,
    gone: CancellationToken,
) {
    // Also when this future is dropped.
    let _guard = gone.drop_guard();
    tokio::pin!(read, write);
    tokio::select! {
        () = &mut read => {}
        written = &mut write => {
            if written.is_ok() {
                // Nothing more to say; what still arrives is read and dropped, until the client closes.
                let _ = tokio::time::timeout(limits.linger, read).await;
            }
        }
        () = idle.expired(limits.idle) => tracing::debug!("an idle streaming connection is closed"),
        () = stop.cancelled() => {}
    }
}
