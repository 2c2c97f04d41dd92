//! Sizes of a client's terminal, as its stream brings them: cut anywhere, they mean the same.
#![no_main]

#[path = "../../runtime-shim/cri/src/streaming/remote/resize.rs"]
mod resize;

use resize::Sizes;
use tokio::sync::mpsc::Receiver;

async fn last(mut seen: Receiver<(u16, u16)>) -> Option<(u16, u16)> {
    let mut last = None;
    while let Some(size) = seen.recv().await {
        last = Some(size);
    }
    last
}

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    runtime.block_on(async {
        let (sizes, seen) = Sizes::new();
        sizes.read(bytes).await;
        let whole = last(seen).await;
        let (mut sizes, seen) = Sizes::new();
        bytes.chunks(7).for_each(|piece| sizes.push(piece));
        drop(sizes);
        let pieces = last(seen).await;
        // A longer text is given up sooner or later, by its pieces.
        assert!(bytes.len() > 1000 || pieces == whole, "{pieces:?} and {whole:?}");
    });
});
