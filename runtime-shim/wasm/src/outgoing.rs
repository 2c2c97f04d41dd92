//! Requests that a guest sends (`wasi:http/outgoing-handler`): name lookup and connection are the pod's own.

use crate::resolve::{Failure, Resolver};
use crate::timed::Timed;
use crate::tls::Trust;
use http::{HeaderName, Request, Response, Uri, uri::Scheme};
use http_body_util::BodyExt;
use hyper_util::rt::TokioIo;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;
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
    pub trust: Arc<Trust>,
}

type Sent = Result<(Response<WasiBody>, Box<dyn Future<Output = Result<(), Error>> + Send>), Error>;

impl WasiHttpHooks for Outgoing {
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
        Box::new(send(self.resolver.clone(), self.trust.clone(), request, options.unwrap_or_default()))
    }
}

async fn send(resolver: Arc<Resolver>, trust: Arc<Trust>, request: Request<WasiBody>, options: RequestOptions) -> Sent {
    let uri = request.uri().clone();
    let tls = uri.scheme() == Some(&Scheme::HTTPS);
    let limit = options.connect_timeout.unwrap_or(TIMEOUT);
    let connected = async {
        let stream = connect(&resolver, &uri, if tls { 443 } else { 80 }).await?;
        if !tls {
            return Ok(Stream::Plain(stream));
        }
        let host = uri.host().ok_or(Error::HttpRequestUriInvalid)?;
        trust.connect(host, stream).await.map(|stream| Stream::Tls(Box::new(stream)))
    };
    match tokio::time::timeout(limit, connected).await.map_err(|_| Error::ConnectionTimeout)?? {
        Stream::Plain(stream) => exchange(stream, request, options).await,
        Stream::Tls(stream) => exchange(stream, request, options).await,
    }
}

enum Stream {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

async fn exchange<S>(stream: S, mut request: Request<WasiBody>, options: RequestOptions) -> Sent
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
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

async fn connect(resolver: &Resolver, uri: &Uri, port: u16) -> Result<TcpStream, Error> {
    let host = uri.host().ok_or(Error::HttpRequestUriInvalid)?;
    let port = uri.port_u16().unwrap_or(port);
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

    /// A resolver that knows the name `backend`.
    fn resolver(dir: &std::path::Path) -> Arc<Resolver> {
        let hosts = dir.join("hosts");
        std::fs::write(&hosts, "127.0.0.1 backend\n").unwrap();
        Arc::new(Resolver::new(&Sandbox::default(), None, Some(hosts)))
    }

    fn request(uri: String) -> Request<WasiBody> {
        let body = Empty::new().map_err(|never: std::convert::Infallible| match never {}).boxed_unsync();
        Request::get(uri).header("host", "backend").body(body).unwrap()
    }

    /// Answers one request and gives its head.
    async fn answer(mut stream: impl AsyncRead + AsyncWrite + Unpin) -> std::io::Result<String> {
        let mut request = Vec::new();
        while !request.ends_with(b"\r\n\r\n") {
            request.push(stream.read_u8().await?);
        }
        stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi").await?;
        stream.shutdown().await?;
        Ok(String::from_utf8(request).unwrap())
    }

    async fn text(sent: Sent) -> Result<String, Error> {
        let (answer, connection) = sent?;
        let connection = tokio::spawn(Pin::from(connection));
        let text = answer.into_body().collect().await?.to_bytes();
        let _ = connection.await.unwrap();
        Ok(String::from_utf8(text.to_vec()).unwrap())
    }

    #[tokio::test]
    async fn a_request_goes_to_the_name_that_the_pods_hosts_file_gives() {
        let dir = tempfile::tempdir().unwrap();
        let (resolver, trust) = (resolver(dir.path()), Arc::new(Trust::default()));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let server = tokio::spawn(async move { answer(listener.accept().await.unwrap().0).await.unwrap() });
        let uri = format!("http://backend:{port}/a?b");
        let sent = send(resolver.clone(), trust.clone(), request(uri.clone()), RequestOptions::default()).await;
        assert_eq!(text(sent).await.unwrap(), "hi");
        assert!(server.await.unwrap().starts_with("GET /a?b HTTP/1.1\r\nhost: backend\r\n"));
        let refused = send(resolver, trust, request(uri), RequestOptions::default()).await;
        assert!(matches!(refused, Err(Error::ConnectionRefused)));
    }

    #[tokio::test]
    async fn tls_trusts_the_cluster_where_its_ca_is_mounted_and_no_stranger() {
        let dir = tempfile::tempdir().unwrap();
        let resolver = resolver(dir.path());
        let made = rcgen::generate_simple_self_signed(["backend".to_owned()]).unwrap();
        std::fs::write(dir.path().join("ca.crt"), made.cert.pem()).unwrap();
        let key = rustls_pki_types::PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
        let config = rustls::ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![made.cert.der().clone()], key)
            .unwrap();
        let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let server = tokio::spawn(async move {
            loop {
                // A client that does not trust us ends the handshake.
                if let Ok(stream) = acceptor.accept(listener.accept().await.unwrap().0).await {
                    let _ = answer(stream).await;
                }
            }
        });
        let ask = async |trust: Trust| {
            let request = request(format!("https://backend:{port}/"));
            text(send(resolver.clone(), Arc::new(trust), request, RequestOptions::default()).await).await
        };
        assert_eq!(ask(Trust::new(Some(dir.path().to_owned()))).await.unwrap(), "hi");
        assert!(matches!(ask(Trust::default()).await, Err(Error::TlsCertificateError)));
        server.abort();
    }
}
