//! The tables as they are, for who saves them from outside: block by block, one taker at a time.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::{Mutex, mpsc};

use crate::clock::{self, Instant};
use crate::contract::{Error, Result, Revision};

/// Who has not asked for this long has gone. Until then the rows that were there at the beginning cannot be dropped.
const GONE: Duration = Duration::from_secs(30);

#[derive(Default)]
pub struct Outgoing(Arc<Mutex<Option<Taking>>>);

struct Taking {
    taker: u64,
    next: u64,
    revision: Revision,
    blocks: mpsc::Receiver<Result<Bytes>>,
    asked: Instant,
}

impl Outgoing {
    /// Begins anew for a taker, who has chosen a number by chance.
    pub async fn begin(&self, taker: u64, revision: Revision, blocks: mpsc::Receiver<Result<Bytes>>) -> Result<()> {
        let mut taking = self.0.lock().await;
        if taking.is_some() {
            return Err(Error::Unavailable("somebody else saves this member at the moment; try again".into()));
        }
        *taking = Some(Taking { taker, next: 0, revision, blocks, asked: Instant::now() });
        let place = self.0.clone();
        clock::spawn(async move {
            loop {
                let until = match &*place.lock().await {
                    Some(taking) if taking.taker == taker => taking.asked + GONE,
                    Some(_) | None => return,
                };
                if until <= Instant::now() {
                    *place.lock().await = None;
                    return;
                }
                clock::sleep_until(until).await;
            }
        });
        Ok(())
    }

    /// The block of this number, `None` after the last, and the revision that all are of.
    pub async fn block(&self, taker: u64, number: u64) -> Result<(Option<Bytes>, Revision)> {
        let mut place = self.0.lock().await;
        let Some(taking) = place.as_mut().filter(|taking| taking.taker == taker && taking.next == number) else {
            return Err(Error::Unavailable(format!("block {number} was asked for out of turn or too late")));
        };
        (taking.next, taking.asked) = (number + 1, Instant::now());
        let (block, revision) = (taking.blocks.recv().await.transpose(), taking.revision);
        if !matches!(block, Ok(Some(_))) {
            *place = None;
        }
        Ok((block?, revision))
    }
}
