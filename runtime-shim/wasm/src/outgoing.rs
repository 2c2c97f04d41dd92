//! Requests that a guest sends (`wasi:http/outgoing-handler`): name lookup and connection are the pod's own.

use crate::resolve::{Failure, Resolver};
use crate::timed::Timed;
use http::{HeaderName, Request, Response, Uri, uri::Scheme};
use http_body_util::BodyExt;
use hyper_util::rt::TokioIo;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;
use wasmtime_wasi_http::{Error, RequestOptions, WasiBody, WasiHttpHooks};

/// How long a request may take to connect, to its first byte, and between bytes, where the guest does not say.
const TIMEOUT: Duration = Duration::from_secs(600);

/// Chunks of a body that wait for the network: with more than one a guest's small answer needs no second poll.
const BODY_CHUNKS: usize = 4;

/// The most bytes of one chunk: with the chunks above, what an instance's answer may hold of the host's memory.
const BODY_CHUNK: usize = 64 << 10;

/// The hooks of `wasi:http`.
pub struct Outgoing {
    pub resolver: Arc<Resolver>,
}

type Sent = Result<(Response<WasiBody>, Box<dyn Future<Output = Result<(), Error>> + Send>), Error>;

impl WasiHttpHooks for Outgoing {
    fn is_supported_scheme(&mut self, scheme: &Scheme) -> bool {
        *scheme == Scheme::HTTP
    }

    fn default_scheme(&mut self) -> Option<Scheme> {
        Some(Scheme::HTTP)
    }

    fn is_forbidden_header(&mut self, name: &HeaderName) -> bool {
        wasmtime_wasi_http::DEFAULT_FORBIDDEN_HEADERS.contains(name)
    }

    fn p2_outgoing_body_buffer_chunks(&mut self) -> usize {
        BODY_CHUNKS
    }

    fn p2_outgoing_body_chunk_size(&mut self) -> usize {
        BODY_CHUNK
    }

    fn send_request(
        &mut self,
        request: Request<WasiBody>,
        options: Option<RequestOptions>,
        _sent: Box<dyn Future<Output = Result<(), Error>> + Send>,
    ) -> Box<dyn Future<Output = Sent> + Send> {
        Box::new(send(self.resolver.clone(), request, options.unwrap_or_default()))
    }
}

async fn send(resolver: Arc<Resolver>, mut request: Request<WasiBody>, options: RequestOptions) -> Sent {
    let stream = tokio::time::timeout(options.connect_timeout.unwrap_or(TIMEOUT), connect(&resolver, request.uri()))
        .await
        .map_err(|_| Error::ConnectionTimeout)??;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    // A server is asked for a path; only a proxy is asked for a whole URI.
    let path = request.uri().path_and_query().map_or("/", |path| path.as_str());
    *request.uri_mut() = path.parse::<Uri>().map_err(|_| Error::HttpRequestUriInvalid)?;
    let first_byte = options.first_byte_timeout.unwrap_or(TIMEOUT);
    let mut connection = Box::pin(connection);
    let answer = tokio::time::timeout(first_byte, async {
        let answer = sender.send_request(request);
        tokio::pin!(answer);
        let ended = tokio::select! {
            biased;
            answer = &mut answer => return answer,
            ended = &mut connection => ended,
        };
        ended?;
        answer.await
    })
    .await
    .map_err(|_| Error::ConnectionReadTimeout)??;
    let between = options.between_bytes_timeout.unwrap_or(TIMEOUT);
    let body = |incoming| Timed::new(incoming, between).boxed_unsync();
    Ok((answer.map(body), Box::new(async move { Ok(connection.await?) })))
}

async fn connect(resolver: &Resolver, uri: &Uri) -> Result<tokio::net::TcpStream, Error> {
    let host = uri.host().ok_or(Error::HttpRequestUriInvalid)?;
    let port = uri.port_u16().unwrap_or(80);
    let addresses = resolver.lookup(host).await.map_err(|failure| match failure {
        Failure::Timeout => Error::DnsTimeout,
        Failure::Invalid => Error::HttpRequestUriInvalid,
        Failure::NoSuchName => Error::DnsError { rcode: Some("NXDOMAIN".into()), info_code: None },
        Failure::Refused => Error::DnsError { rcode: Some("SERVFAIL".into()), info_code: None },
    })?;
    let mut last = Error::DestinationNotFound;
    for address in addresses {
        match resolver.connect((address, port).into()).await {
            Ok(stream) => return Ok(stream),
            Err(err) => {
                last = match err.kind() {
                    std::io::ErrorKind::ConnectionRefused => Error::ConnectionRefused,
                    std::io::ErrorKind::NetworkUnreachable | std::io::ErrorKind::HostUnreachable => {
                        Error::DestinationIpUnroutable
                    }
                    std::io::ErrorKind::TimedOut => Error::ConnectionTimeout,
                    _ => Error::Connect(err),
                }
            }
        }
    }
    Err(last)
}

#[cfg(test)]
mod tests {
    use super::*;
    use container::Sandbox;
    use http_body_util::Empty;
    use std::pin::Pin;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    #[tokio::test]
    async fn a_request_goes_to_the_name_that_the_pods_hosts_file_gives() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let server = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = Vec::new();
            while !request.ends_with(b"\r\n\r\n") {
                request.push(stream.read_u8().await.unwrap());
            }
            stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi").await.unwrap();
            String::from_utf8(request).unwrap()
        });
        let dir = tempfile::tempdir().unwrap();
        let hosts = dir.path().join("hosts");
        std::fs::write(&hosts, "127.0.0.1 backend\n").unwrap();
        let resolver = Arc::new(Resolver::new(&Sandbox::default(), None, Some(hosts)));
        let body = || Empty::new().map_err(|never: std::convert::Infallible| match never {}).boxed_unsync();
        let request = |uri: String| Request::get(uri).header("host", "backend").body(body()).unwrap();
        let (answer, connection) =
            send(resolver.clone(), request(format!("http://backend:{port}/a?b")), RequestOptions::default())
                .await
                .unwrap();
        let connection = tokio::spawn(Pin::from(connection));
        let text = answer.into_body().collect().await.unwrap().to_bytes();
        assert_eq!(text, "hi");
        connection.await.unwrap().unwrap();
        assert!(server.await.unwrap().starts_with("GET /a?b HTTP/1.1\r\nhost: backend\r\n"));
        let refused = send(resolver, request(format!("http://backend:{port}/")), RequestOptions::default()).await;
        assert!(matches!(refused, Err(Error::ConnectionRefused)));
    }
}
