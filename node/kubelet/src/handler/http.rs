//! HTTP GET of probes and hooks. TLS certificates are not verified, as upstream says; redirects count as success.

use super::{Target, excerpt, port, tcp};
use bytes::Bytes;
use http_body_util::{BodyExt, Empty, Limited};
use hyper_util::rt::TokioIo;
use k8s_openapi::api::core::v1::HTTPGetAction;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use std::sync::Arc;

/// Upstream's limit for the body of an answer.
const BODY_BYTES: usize = 10 << 10;

pub(super) async fn get(target: &Target, action: &HTTPGetAction) -> Result<(), String> {
    let port = port(&action.port, &target.container)?;
    let host = action.host.as_deref().filter(|h| !h.is_empty()).unwrap_or(&target.ip);
    let tls = action.scheme.as_deref() == Some("HTTPS");
    let path = action.path.as_deref().filter(|p| !p.is_empty()).unwrap_or("/");
    let shown = if host.contains(':') { format!("[{host}]") } else { host.to_owned() };
    let url = format!("{}://{shown}:{port}{path}", if tls { "https" } else { "http" });
    let request = request(action, path, &format!("{shown}:{port}")).map_err(|e| format!("Get \"{url}\": {e}"))?;
    let stream = tcp(host, port).await.map_err(|e| format!("Get \"{url}\": {e}"))?;
    let (status, body) = match tls {
        false => send(TokioIo::new(stream), request).await,
        true => match secure(stream, host).await {
            Ok(stream) => send(TokioIo::new(stream), request).await,
            Err(e) => Err(e),
        },
    }
    .map_err(|e| format!("Get \"{url}\": {e}"))?;
    match (200..400).contains(&status) {
        true => Ok(()),
        false => Err(format!("HTTP probe failed with statuscode: {status}{}", tail(&body))),
    }
}

fn tail(body: &[u8]) -> String {
    if body.is_empty() { String::new() } else { format!(" ({})", excerpt(body).trim_end()) }
}

fn request(action: &HTTPGetAction, path: &str, host: &str) -> Result<http::Request<Empty<Bytes>>, http::Error> {
    let path = if path.starts_with('/') { path.to_owned() } else { format!("/{path}") };
    let mut builder = http::Request::get(path);
    let own = |name: &str| action.http_headers.iter().flatten().any(|h| h.name.eq_ignore_ascii_case(name));
    if !own("host") {
        builder = builder.header("Host", host);
    }
    if !own("user-agent") {
        builder = builder.header("User-Agent", "kube-probe/1.36");
    }
    if !own("accept") {
        builder = builder.header("Accept", "*/*");
    }
    for header in action.http_headers.iter().flatten() {
        builder = builder.header(&header.name, &header.value);
    }
    builder.header("Connection", "close").body(Empty::new())
}

async fn send<T>(io: TokioIo<T>, request: http::Request<Empty<Bytes>>) -> Result<(u16, Bytes), String>
where
    T: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static,
{
    let (mut sender, connection) = hyper::client::conn::http1::handshake(io).await.map_err(|e| e.to_string())?;
    let connection = tokio::spawn(connection);
    let result = async {
        let answer = sender.send_request(request).await.map_err(|e| e.to_string())?;
        let status = answer.status().as_u16();
        // A longer body is fine; only its beginning would be shown.
        let body = Limited::new(answer.into_body(), BODY_BYTES).collect().await.map(|b| b.to_bytes());
        Ok((status, body.unwrap_or_default()))
    }
    .await;
    connection.abort();
    result
}

async fn secure(
    stream: tokio::net::TcpStream,
    host: &str,
) -> Result<tokio_rustls::client::TlsStream<tokio::net::TcpStream>, String> {
    let config = rustls::ClientConfig::builder()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(AnyCertificate))
        .with_no_client_auth();
    let name = ServerName::try_from(host.to_owned()).map_err(|e| e.to_string())?;
    tokio_rustls::TlsConnector::from(Arc::new(config)).connect(name, stream).await.map_err(|e| e.to_string())
}

/// A probe asks whether the container answers, not who it is.
#[derive(Debug)]
struct AnyCertificate;

impl ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &rustls::DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &rustls::DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<rustls::SignatureScheme> {
        rustls::crypto::ring::default_provider().signature_verification_algorithms.supported_schemes()
    }
}
