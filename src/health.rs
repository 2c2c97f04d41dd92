//! Health and metrics of the controllers and the scheduler, where upstream's have them: `/healthz`, `/livez`, `/readyz` and
//! `/metrics` over TLS. Nothing else is answered, and nothing that is asked changes anything.
//!
//! Anybody may ask for health. For the rest the API is asked whose token a request bears (TokenReview) and whether he may
//! (SubjectAccessReview), as upstream's components do it; certificates of clients are not looked at.

use anyhow::Context;
use http::{HeaderMap, Method, Request, Response, StatusCode};
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use k8s_openapi::api::authentication::v1::{TokenReview, TokenReviewSpec, UserInfo};
use k8s_openapi::api::authorization::v1::{NonResourceAttributes, SubjectAccessReview, SubjectAccessReviewSpec};
use kube::Api;
use kube::api::PostParams;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

/// Upstream's ports.
pub const CONTROLLER_MANAGER: u16 = 10257;
pub const SCHEDULER: u16 = 10259;
/// Probes and scrapers are few; who opens more connections waits.
const CONNECTIONS: usize = 32;
/// A connection is for one scrape or a few probes: one that is slower or longer is none.
const PATIENCE: Duration = Duration::from_secs(30);

/// What a role tells about itself besides that it lives.
pub type Tell = Arc<dyn Fn() -> String + Send + Sync>;

/// Serves a role's health and metrics until stopped, unless the port is 0. Without them the role works all the same.
pub async fn serve(at: SocketAddr, tell: Tell, client: kube::Client, stop: CancellationToken) {
    if at.port() == 0 {
        return;
    }
    match Port::open_or_other(at).await {
        Ok(port) => port.serve(Role { tell, client }, stop).await,
        Err(error) => tracing::warn!("{error:#}"),
    }
}

/// The role that is asked.
#[derive(Clone)]
struct Role {
    tell: Tell,
    /// Reviews are made with the role's own rights, which upstream's bootstrap roles give it.
    client: kube::Client,
}

/// A port that answers when it is served.
struct Port {
    listener: TcpListener,
    tls: TlsAcceptor,
}

impl Port {
    /// Listens, with a certificate of its own making, as upstream's components without one.
    async fn open(at: SocketAddr) -> anyhow::Result<Port> {
        let names = [at.ip().to_string(), "localhost".to_owned(), "127.0.0.1".to_owned()];
        let credential = apiserver::pki::self_signed("localhost", &names).context("the certificate of health")?;
        let (chain, key) = credential.to_rustls().map_err(anyhow::Error::msg)?;
        let mut config = rustls::ServerConfig::builder().with_no_client_auth().with_single_cert(chain, key)?;
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        let listener = TcpListener::bind(at).await.with_context(|| format!("listening for health at {at}"))?;
        Ok(Port { listener, tls: TlsAcceptor::from(Arc::new(config)) })
    }

    /// The same at any port, where another of this machine has this one.
    async fn open_or_other(at: SocketAddr) -> anyhow::Result<Port> {
        match Port::open(at).await {
            Ok(port) => Ok(port),
            Err(error) => {
                let port = Port::open((at.ip(), 0).into()).await?;
                tracing::warn!("{error:#}; it is at {} instead", port.address());
                Ok(port)
            }
        }
    }

    fn address(&self) -> String {
        self.listener.local_addr().map(|address| address.to_string()).unwrap_or_default()
    }

    /// Answers until stopped.
    async fn serve(self, role: Role, stop: CancellationToken) {
        let connections = Arc::new(Semaphore::new(CONNECTIONS));
        let accepting = async {
            loop {
                let Ok(permit) = connections.clone().acquire_owned().await else { return };
                let Ok((stream, _)) = self.listener.accept().await else { continue };
                let (tls, role) = (self.tls.clone(), role.clone());
                tokio::spawn(async move {
                    let _permit = permit;
                    let _ = tokio::time::timeout(PATIENCE, converse(tls, stream, role)).await;
                });
            }
        };
        stop.run_until_cancelled(accepting).await;
    }
}

async fn converse(tls: TlsAcceptor, stream: TcpStream, role: Role) {
    let Ok(stream) = tls.accept(stream).await else { return };
    let answering = hyper::service::service_fn(move |request: Request<Incoming>| {
        let role = role.clone();
        async move { Ok::<_, std::convert::Infallible>(role.answer(&request).await) }
    });
    let mut server = hyper_util::server::conn::auto::Builder::new(TokioExecutor::new());
    server.http1().timer(TokioTimer::new());
    // A connection that breaks off concerns nobody else.
    let _ = server.serve_connection(TokioIo::new(stream), answering).await;
}

impl Role {
    async fn answer<B>(&self, request: &Request<B>) -> Response<String> {
        let (method, path) = (request.method(), request.uri().path());
        let reads = method == Method::GET || method == Method::HEAD;
        if matches!(path, "/healthz" | "/livez" | "/readyz") && reads {
            return text(StatusCode::OK, "ok".to_owned());
        }
        if let Err((status, why)) = self.admits(method, path, request.headers()).await {
            return text(status, why);
        }
        match path {
            _ if !reads => text(StatusCode::METHOD_NOT_ALLOWED, String::new()),
            "/metrics" => {
                let mut response = text(StatusCode::OK, (self.tell)());
                let kind = http::HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
                response.headers_mut().insert(http::header::CONTENT_TYPE, kind);
                response
            }
            _ => text(StatusCode::NOT_FOUND, "404 page not found\n".to_owned()),
        }
    }

    /// Whether the API lets who asks do this.
    async fn admits(&self, method: &Method, path: &str, headers: &HeaderMap) -> Result<(), (StatusCode, String)> {
        let unauthorized = || (StatusCode::UNAUTHORIZED, "Unauthorized\n".to_owned());
        let user = match headers.get(http::header::AUTHORIZATION) {
            None => anonymous(),
            Some(value) => {
                let token =
                    value.to_str().ok().and_then(|value| value.strip_prefix("Bearer ")).ok_or_else(unauthorized)?;
                self.whose(token.trim()).await.ok_or_else(unauthorized)?
            }
        };
        let name = user.username.clone().unwrap_or_default();
        let verb = method.as_str().to_ascii_lowercase();
        if self.allows(user, &verb, path).await {
            return Ok(());
        }
        Err((StatusCode::FORBIDDEN, format!("forbidden: User {name:?} cannot {verb} path {path:?}\n")))
    }

    async fn whose(&self, token: &str) -> Option<UserInfo> {
        let spec = TokenReviewSpec { token: token.to_owned(), ..TokenReviewSpec::default() };
        let review = TokenReview { spec, ..TokenReview::default() };
        let answer = Api::all(self.client.clone()).create(&PostParams::default(), &review).await;
        let answer: TokenReview = answer.inspect_err(|error| tracing::warn!("reviewing a token: {error}")).ok()?;
        answer.status.filter(|status| status.authenticated == Some(true))?.user
    }

    async fn allows(&self, user: UserInfo, verb: &str, path: &str) -> bool {
        let attributes = NonResourceAttributes { path: Some(path.to_owned()), verb: Some(verb.to_owned()) };
        let spec = SubjectAccessReviewSpec {
            user: user.username,
            uid: user.uid,
            groups: user.groups,
            extra: user.extra,
            non_resource_attributes: Some(attributes),
            ..SubjectAccessReviewSpec::default()
        };
        let review = SubjectAccessReview { spec, ..SubjectAccessReview::default() };
        let answer = Api::all(self.client.clone()).create(&PostParams::default(), &review).await;
        let answer: Result<SubjectAccessReview, _> =
            answer.inspect_err(|error| tracing::warn!("reviewing an access: {error}"));
        answer.is_ok_and(|review| review.status.is_some_and(|status| status.allowed))
    }
}

fn anonymous() -> UserInfo {
    UserInfo {
        username: Some("system:anonymous".to_owned()),
        groups: Some(vec!["system:unauthenticated".to_owned()]),
        ..UserInfo::default()
    }
}

fn text(status: StatusCode, text: String) -> Response<String> {
    let mut response = Response::new(text);
    *response.status_mut() = status;
    let kind = http::HeaderValue::from_static("text/plain; charset=utf-8");
    response.headers_mut().insert(http::header::CONTENT_TYPE, kind);
    response
}

#[cfg(test)]
mod tests {
    use super::*;
    use kube::client::Body;
    use serde_json::{Value, json};

    /// An API that knows one token, and lets its owner read metrics.
    fn role() -> Role {
        let api = tower::service_fn(|request: Request<Body>| async move {
            let path = request.uri().path().to_owned();
            let sent = http_body_util::BodyExt::collect(request.into_body()).await.unwrap().to_bytes();
            let mut review: Value = serde_json::from_slice(&sent).unwrap();
            review["status"] = match path.rsplit('/').next().unwrap() {
                "tokenreviews" if review["spec"]["token"] == "good" => {
                    json!({"authenticated": true, "user": {"username": "scraper", "groups": ["monitoring"]}})
                }
                "tokenreviews" => json!({"authenticated": false}),
                _ => {
                    let asked = &review["spec"];
                    let may = asked["groups"] == json!(["monitoring"]);
                    json!({"allowed": may && asked["nonResourceAttributes"] == json!({"path": "/metrics", "verb": "get"})})
                }
            };
            Ok::<_, std::convert::Infallible>(Response::new(Body::from(review.to_string().into_bytes())))
        });
        Role { tell: Arc::new(|| "up 1\n".to_owned()), client: kube::Client::new(api, "default") }
    }

    async fn got(method: Method, path: &str, token: Option<&str>) -> (u16, String) {
        let mut request = Request::builder().method(method).uri(path);
        if let Some(token) = token {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        let response = role().answer(&request.body(()).unwrap()).await;
        (response.status().as_u16(), response.into_body())
    }

    #[tokio::test]
    async fn health_is_for_all_and_metrics_for_those_who_may() {
        for path in ["/healthz", "/livez", "/readyz"] {
            assert_eq!(got(Method::GET, path, None).await, (200, "ok".to_owned()));
        }
        assert_eq!(got(Method::GET, "/metrics", Some("good")).await, (200, "up 1\n".to_owned()));
        let nobody = "forbidden: User \"system:anonymous\" cannot get path \"/metrics\"\n";
        assert_eq!(got(Method::GET, "/metrics", None).await, (403, nobody.to_owned()));
        assert_eq!(got(Method::GET, "/metrics", Some("forged")).await.0, 401);
        assert_eq!(got(Method::GET, "/configz", Some("good")).await.0, 403);
        assert_eq!(got(Method::POST, "/metrics", Some("good")).await.0, 403);
        assert_eq!(got(Method::POST, "/healthz", None).await.0, 403);
    }
}
