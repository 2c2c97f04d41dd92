//! The gRPC side: CRI's two services on a unix socket.

mod image;
mod resolve;
mod runtime;

use crate::shim::Shim;
use crate::streaming::Streaming;
use crate::{Error, Result};
use rpc::cri::image_service_server::ImageServiceServer;
use rpc::cri::runtime_service_server::RuntimeServiceServer;
use rpc::tonic::transport::Server;
use std::future::Future;
use std::sync::Arc;
use tokio_stream::wrappers::UnixListenerStream;
use tokio_util::sync::CancellationToken;

/// The kubelet's own limit on messages: a list of many pods is long.
const MESSAGE_LIMIT: usize = 16 * 1024 * 1024;

pub async fn serve(
    shim: Arc<Shim>,
    listener: tokio::net::UnixListener,
    stop: impl Future<Output = ()> + Send + 'static,
) -> Result<()> {
    let ended = CancellationToken::new();
    let streaming =
        Streaming::start(shim.clone(), ended.clone()).await.map_err(Error::failed("listen for streams on loopback"))?;
    // Also when this call is dropped.
    let _ended = ended.drop_guard();
    let runtime = RuntimeServiceServer::new(runtime::Runtime(shim.clone(), streaming));
    let images = ImageServiceServer::new(image::Images(shim));
    let server = Server::builder()
        .add_service(runtime.max_decoding_message_size(MESSAGE_LIMIT).max_encoding_message_size(MESSAGE_LIMIT))
        .add_service(images.max_decoding_message_size(MESSAGE_LIMIT).max_encoding_message_size(MESSAGE_LIMIT))
        .serve_with_incoming(UnixListenerStream::new(listener));
    // Streams of events have no end of their own: stopping drops them, and clients connect anew.
    tokio::select! {
        served = server => served.map_err(Error::failed("serve CRI")),
        () = stop => Ok(()),
    }
}
