//! What a server that joins and the one that it asks read from one another.
#![no_main]

#[path = "../../src/servers/talk.rs"]
mod talk;

use serde::{Serialize, de::DeserializeOwned};
use talk::{Answer, Question, Token, receive, send};

/// What is read is sent, and read again as the same.
async fn both<T: Serialize + DeserializeOwned>(bytes: &[u8]) {
    let mut input = bytes;
    let Ok(message) = receive::<T>(&mut input).await else { return };
    let mut sent = Vec::new();
    send(&mut sent, &message).await.expect("what was read can be sent");
    let again = receive::<T>(&mut sent.as_slice()).await.expect("what was sent can be read");
    let text = |message: &T| serde_json::to_string(message).expect("JSON");
    assert_eq!(text(&message), text(&again));
}

/// The same with the length that belongs to it.
fn framed(bytes: &[u8]) -> Vec<u8> {
    let mut message = u32::try_from(bytes.len()).unwrap_or(talk::MAX_MESSAGE + 1).to_be_bytes().to_vec();
    message.extend_from_slice(bytes);
    message
}

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    runtime.block_on(async {
        for bytes in [bytes.to_vec(), framed(bytes)] {
            both::<Question>(&bytes).await;
            both::<Answer>(&bytes).await;
        }
    });
    if let Ok(token) = serde_json::from_slice::<Token>(bytes) {
        assert!(serde_json::to_vec(&token).is_ok_and(|text| serde_json::from_slice::<Token>(&text).is_ok()));
    }
});
