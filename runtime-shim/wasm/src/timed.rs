//! A body from the network that may not pause for too long: who sends it would hold an instance without working on it.

use bytes::Bytes;
use hyper::body::{Frame, Incoming, SizeHint};
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::time::{Instant, Sleep};
use wasmtime_wasi_http::Error;

/// A received body with a limit between its frames.
pub struct Timed {
    incoming: Incoming,
    between: Duration,
    /// Made when a frame has to be waited for: most bodies are there at once.
    timer: Option<Pin<Box<Sleep>>>,
}

impl Timed {
    pub fn new(incoming: Incoming, between: Duration) -> Timed {
        Timed { incoming, between, timer: None }
    }
}

impl http_body::Body for Timed {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        let this = &mut *self;
        match Pin::new(&mut this.incoming).poll_frame(cx) {
            Poll::Ready(frame) => {
                if let Some(timer) = &mut this.timer {
                    timer.as_mut().reset(Instant::now() + this.between);
                }
                Poll::Ready(frame.map(|frame| frame.map_err(Error::from)))
            }
            Poll::Pending => {
                let between = this.between;
                let timer = this.timer.get_or_insert_with(|| Box::pin(tokio::time::sleep(between)));
                std::task::ready!(timer.as_mut().poll(cx));
                Poll::Ready(Some(Err(Error::ConnectionReadTimeout)))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.incoming.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.incoming.size_hint()
    }
}
