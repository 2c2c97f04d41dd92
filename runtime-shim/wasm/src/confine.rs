//! The future that a guest runs in: each poll is inside its pod's network namespace, on its container's CPU account.

use crate::engine::Ticker;
use crate::meter::{Meter, thread_cpu};
use crate::netns::{Netns, within};
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Instant;
use tokio::time::Sleep;

/// What a container's guests are confined by.
#[derive(Debug, Clone)]
pub struct Walls {
    pub netns: Option<Arc<Netns>>,
    pub meter: Arc<Meter>,
    pub ticker: Arc<Ticker>,
}

impl Walls {
    pub fn around<T>(&self, guest: impl Future<Output = T> + Send + 'static) -> Confined<T> {
        Confined { walls: self.clone(), guest: Box::pin(guest), nap: None }
    }
}

/// A guest's future behind its walls. It may move between threads and runtimes between polls.
pub struct Confined<T> {
    walls: Walls,
    guest: Pin<Box<dyn Future<Output = T> + Send>>,
    nap: Option<Pin<Box<Sleep>>>,
}

impl<T> Future for Confined<T> {
    type Output = std::io::Result<T>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        loop {
            if let Some(nap) = &mut this.nap {
                std::task::ready!(nap.as_mut().poll(cx));
                this.nap = None;
            }
            match this.walls.meter.wait(Instant::now()) {
                Some(wait) => this.nap = Some(Box::pin(tokio::time::sleep(wait))),
                None => break,
            }
        }
        let _running = this.walls.ticker.running();
        let before = thread_cpu();
        let polled = within(this.walls.netns.as_deref(), || this.guest.as_mut().poll(cx));
        this.walls.meter.charge(thread_cpu().saturating_sub(before));
        match polled {
            Ok(Poll::Pending) => Poll::Pending,
            Ok(Poll::Ready(out)) => Poll::Ready(Ok(out)),
            Err(err) => Poll::Ready(Err(err)),
        }
    }
}
