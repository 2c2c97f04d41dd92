//! New sizes of the client's terminal: JSON documents `{"Width":80,"Height":24}`, one after the other, cut anywhere.

use serde::Deserialize;
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::sync::{mpsc, watch};

/// The longest text that is still awaited to become a size.
const LONGEST: usize = 1024;

#[derive(Deserialize)]
struct Size {
    #[serde(rename = "Width")]
    width: u16,
    #[serde(rename = "Height")]
    height: u16,
}

/// Collects text into sizes. Only the latest one matters, so a slow executor skips those between.
pub(super) struct Sizes {
    text: Vec<u8>,
    latest: watch::Sender<(u16, u16)>,
    broken: bool,
}

impl Sizes {
    /// The collector, and what it collects as (columns, rows).
    pub(super) fn new() -> (Sizes, mpsc::Receiver<(u16, u16)>) {
        let (latest, mut news) = watch::channel((0, 0));
        let (send, receive) = mpsc::channel(1);
        tokio::spawn(async move {
            while news.changed().await.is_ok() {
                let size = *news.borrow_and_update();
                if send.send(size).await.is_err() {
                    return;
                }
            }
        });
        (Sizes { text: Vec::new(), latest, broken: false }, receive)
    }

    /// Takes in what arrived. Nonsense ends the sizes and nothing else.
    pub(super) fn push(&mut self, bytes: &[u8]) {
        if self.broken {
            return;
        }
        self.text.extend_from_slice(bytes);
        let mut documents = serde_json::Deserializer::from_slice(&self.text).into_iter::<Size>();
        let mut whole = 0;
        loop {
            match documents.next() {
                Some(Ok(size)) => {
                    self.latest.send_replace((size.width, size.height));
                    whole = documents.byte_offset();
                }
                Some(Err(error)) if !error.is_eof() => {
                    tracing::debug!(%error, "the client's terminal sizes are not understood");
                    self.broken = true;
                    return;
                }
                Some(Err(_)) | None => break,
            }
        }
        self.text.drain(..whole);
        self.broken = self.text.len() > LONGEST;
    }

    /// Takes in a whole stream.
    pub(super) async fn read(mut self, mut from: impl AsyncRead + Unpin) {
        let mut buffer = [0; 256];
        while let Ok(count @ 1..) = from.read(&mut buffer).await {
            self.push(&buffer[..count]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn sizes_are_read_however_they_are_cut() {
        let text = b"{\"Width\":80,\"Height\":24}\n{\"Width\":132,\"Height\":43}\n";
        for cut in [1, 5, 24, 25, text.len()] {
            let (mut sizes, mut seen) = Sizes::new();
            text.chunks(cut).for_each(|piece| sizes.push(piece));
            drop(sizes);
            let mut last = None;
            while let Some(size) = seen.recv().await {
                last = Some(size);
            }
            assert_eq!(last, Some((132, 43)), "cut at {cut}");
        }
    }

    #[tokio::test]
    async fn nonsense_ends_the_sizes() {
        for nonsense in [&b"{\"Width\":-1,\"Height\":1}"[..], b"hello", &[b' '; 5000]] {
            let (mut sizes, mut seen) = Sizes::new();
            sizes.push(nonsense);
            sizes.push(b"{\"Width\":1,\"Height\":1}");
            assert!(sizes.text.len() <= LONGEST + nonsense.len());
            let broken = sizes.broken;
            drop(sizes);
            assert_eq!(seen.recv().await.is_none(), broken);
        }
    }
}
