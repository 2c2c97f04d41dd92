//! How many requests run at once: a request above the limit is told to come back, so that a flood ends in 429s and not
//! in memory.

use crate::request::RequestInfo;
use api::Status;
use std::sync::Arc;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Requests that run at once, as many as upstream's 400 reading and 200 writing ones together.
const AT_ONCE: usize = 600;
/// Requests that may wait for a place; a place is free within milliseconds where the server is not stuck.
const WAITING: usize = 2000;
const WAIT: std::time::Duration = std::time::Duration::from_secs(15);

pub(crate) struct Flow {
    places: Arc<Semaphore>,
    queue: Arc<Semaphore>,
}

impl Flow {
    pub(crate) fn new() -> Flow {
        Flow { places: Arc::new(Semaphore::new(AT_ONCE)), queue: Arc::new(Semaphore::new(WAITING)) }
    }

    /// A place, held while the request is answered. Watches, streams and health checks need none.
    pub(crate) async fn enter(&self, info: &RequestInfo) -> Result<Option<OwnedSemaphorePermit>, Status> {
        if !info.is_resource || info.verb == "watch" || crate::metrics::is_stream(&info.subresource) {
            return Ok(None);
        }
        if let Ok(place) = self.places.clone().try_acquire_owned() {
            return Ok(Some(place));
        }
        let busy =
            || Status::too_many_requests("The apiserver has too many requests in flight, please try again later", 1);
        let _queued = self.queue.clone().try_acquire_owned().map_err(|_| busy())?;
        match tokio::time::timeout(WAIT, self.places.clone().acquire_owned()).await {
            Ok(Ok(place)) => Ok(Some(place)),
            Ok(Err(_)) | Err(_) => Err(busy()),
        }
    }
}
