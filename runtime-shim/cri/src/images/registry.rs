//! A small registry (OCI distribution specification) on top of a [`Store`]: enough to pull from and to push to. It asks
//! nobody who they are, so it must listen on loopback only, or change nothing.

use super::manifest::{self, hex};
use super::store::{BLOB_LIMIT, DOCUMENT_LIMIT};
use super::{Error, Store};
use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use futures::StreamExt;
use tokio::io::AsyncWriteExt;
use tokio_util::io::ReaderStream;

/// Serves the registry on a loopback listener, until the future is dropped.
pub async fn serve_on(listener: tokio::net::TcpListener, store: Store) -> std::io::Result<()> {
    axum::serve(listener, router(store)).await
}

/// The same for listeners that others reach too: they may read, and change nothing.
pub async fn serve_reading(listener: tokio::net::TcpListener, store: Store) -> std::io::Result<()> {
    axum::serve(listener, router(store).layer(axum::middleware::from_fn(only_reading))).await
}

async fn only_reading(request: Request, next: axum::middleware::Next) -> Response {
    match *request.method() {
        Method::GET | Method::HEAD => next.run(request).await,
        _ => refuse(StatusCode::METHOD_NOT_ALLOWED, "UNSUPPORTED", "this registry only answers"),
    }
}

/// The registry's routes. Images that are pushed are named `docker.io/REPOSITORY:TAG`, so that a mirror entry for
/// `docker.io` finds them; an image of the store is found by its repository and tag whatever its registry.
pub fn router(store: Store) -> Router {
    Router::new().fallback(serve).with_state(store)
}

/// A parsed path: `/v2/NAME/KIND/REST`.
#[derive(Debug, PartialEq, Eq)]
enum Route<'a> {
    Base,
    Manifest { name: &'a str, reference: &'a str },
    Blob { digest: &'a str },
    StartUpload { name: &'a str },
    Upload { name: &'a str, id: &'a str },
}

fn parse(path: &str) -> Option<Route<'_>> {
    let rest = path.strip_prefix("/v2")?.trim_start_matches('/');
    if rest.is_empty() {
        return Some(Route::Base);
    }
    if let Some((name, id)) = rest.split_once("/blobs/uploads") {
        let id = id.trim_start_matches('/');
        return Some(if id.is_empty() { Route::StartUpload { name } } else { Route::Upload { name, id } });
    }
    if let Some((name, reference)) = rest.rsplit_once("/manifests/") {
        return Some(Route::Manifest { name, reference });
    }
    rest.rsplit_once("/blobs/").map(|(_, digest)| Route::Blob { digest })
}

async fn serve(State(store): State<Store>, request: Request) -> Response {
    let path = request.uri().path().to_owned();
    let Some(route) = parse(&path) else { return refuse(StatusCode::NOT_FOUND, "NAME_UNKNOWN", "no such path") };
    let method = request.method().clone();
    let head = method == Method::HEAD;
    let answer = match (route, &method) {
        (Route::Base, &Method::GET | &Method::HEAD) => Ok(Body::empty().into_response()),
        (Route::Manifest { name, reference }, &Method::GET | &Method::HEAD) => {
            get_manifest(&store, name, reference, head)
        }
        (Route::Manifest { name, reference }, &Method::PUT) => {
            put_manifest(&store, name, reference, request.into_body()).await
        }
        (Route::Blob { digest }, &Method::GET | &Method::HEAD) => get_blob(&store, digest, head).await,
        (Route::StartUpload { name }, &Method::POST) => start_upload(&store, name, request).await,
        (Route::Upload { name, id }, &Method::PATCH) => append(&store, name, id, request.into_body()).await,
        (Route::Upload { name, id }, &Method::PUT) => end_upload(&store, name, id, request).await,
        _ => Ok(refuse(StatusCode::METHOD_NOT_ALLOWED, "UNSUPPORTED", "not offered by this registry")),
    };
    answer.unwrap_or_else(|error| match error {
        Error::NotFound(message) => refuse(StatusCode::NOT_FOUND, "MANIFEST_UNKNOWN", &message),
        Error::Invalid(message) => refuse(StatusCode::BAD_REQUEST, "MANIFEST_INVALID", &message),
        Error::Io { .. } | Error::Registry { .. } => {
            refuse(StatusCode::INTERNAL_SERVER_ERROR, "UNKNOWN", &error.to_string())
        }
    })
}

fn refuse(status: StatusCode, code: &str, message: &str) -> Response {
    let body = serde_json::json!({ "errors": [{ "code": code, "message": message }] });
    (status, [(header::CONTENT_TYPE, "application/json")], body.to_string()).into_response()
}

fn lookup(store: &Store, name: &str, reference: &str) -> Result<String, Error> {
    if hex(reference).is_ok() {
        return Ok(reference.to_owned());
    }
    for image in store.list()? {
        for full in &image.names {
            let same = super::normalize(full).is_ok_and(|r| r.repository() == name && r.tag() == Some(reference));
            if same {
                return Ok(image.digest);
            }
        }
    }
    Err(Error::NotFound(format!("no image is named {name}:{reference}")))
}

fn get_manifest(store: &Store, name: &str, reference: &str, head: bool) -> Result<Response, Error> {
    let digest = lookup(store, name, reference)?;
    if !store.has(&digest) {
        return Err(Error::NotFound(format!("{digest} is not here")));
    }
    let bytes = store.document(&digest)?;
    let kind = match manifest::parse(&bytes)? {
        manifest::Document::Manifest(m) if !m.media_type.is_empty() => m.media_type,
        manifest::Document::Manifest(_) => manifest::MANIFEST.to_owned(),
        manifest::Document::Index(_) => manifest::INDEX.to_owned(),
    };
    let length = bytes.len().to_string();
    let body = if head { Body::empty() } else { Body::from(bytes) };
    let mut response = body.into_response();
    set(&mut response, header::CONTENT_TYPE.as_str(), &kind);
    set(&mut response, header::CONTENT_LENGTH.as_str(), &length);
    set(&mut response, "docker-content-digest", &digest);
    Ok(response)
}

async fn get_blob(store: &Store, digest: &str, head: bool) -> Result<Response, Error> {
    let path = store.blob(digest)?;
    let file = tokio::fs::File::open(&path).await.map_err(|_| Error::NotFound(format!("{digest} is not here")))?;
    let length = file.metadata().await.map_err(Error::io(format!("read {digest}")))?.len();
    let body = if head { Body::empty() } else { Body::from_stream(ReaderStream::new(file)) };
    let mut response = body.into_response();
    set(&mut response, header::CONTENT_TYPE.as_str(), "application/octet-stream");
    set(&mut response, header::CONTENT_LENGTH.as_str(), &length.to_string());
    set(&mut response, "docker-content-digest", digest);
    Ok(response)
}

async fn put_manifest(store: &Store, name: &str, reference: &str, body: Body) -> Result<Response, Error> {
    let bytes = axum::body::to_bytes(body, DOCUMENT_LIMIT as usize)
        .await
        .map_err(|e| Error::Invalid(format!("the manifest cannot be read: {e}")))?;
    manifest::parse(&bytes)?;
    let digest = store.put(&bytes)?;
    if hex(reference).is_err() {
        store.name(&format!("docker.io/{name}:{reference}"), &digest)?;
    }
    created(&format!("/v2/{name}/manifests/{digest}"), &digest)
}

async fn start_upload(store: &Store, name: &str, request: Request) -> Result<Response, Error> {
    let file = store.temporary();
    let id = file.file_name().unwrap_or_default().to_string_lossy().into_owned();
    tokio::fs::File::create(&file).await.map_err(Error::io("start an upload"))?;
    if query(&request, "digest").is_some() {
        return end_upload(store, name, &id, request).await;
    }
    accepted(name, &id, 0)
}

async fn append(store: &Store, name: &str, id: &str, body: Body) -> Result<Response, Error> {
    let length = receive(store, id, body).await?;
    accepted(name, id, length)
}

async fn end_upload(store: &Store, name: &str, id: &str, request: Request) -> Result<Response, Error> {
    let digest = query(&request, "digest").ok_or_else(|| Error::Invalid("the upload names no digest".into()))?;
    hex(&digest)?;
    receive(store, id, request.into_body()).await?;
    let file = upload(store, id)?;
    let (own, expected) = (store.clone(), digest.clone());
    tokio::task::spawn_blocking(move || own.adopt(&file, Some(&expected)))
        .await
        .map_err(|e| Error::Invalid(e.to_string()))??;
    created(&format!("/v2/{name}/blobs/{digest}"), &digest)
}

/// The file of an upload in progress. Its id is one that we gave out.
fn upload(store: &Store, id: &str) -> Result<std::path::PathBuf, Error> {
    let known = id.len() == 32 && id.bytes().all(|b| b.is_ascii_hexdigit());
    let file = store.root().join("tmp").join(id);
    if known && file.is_file() { Ok(file) } else { Err(Error::NotFound(format!("no upload {id}"))) }
}

async fn receive(store: &Store, id: &str, body: Body) -> Result<u64, Error> {
    let path = upload(store, id)?;
    let doing = || format!("write upload {id}");
    let mut file = tokio::fs::OpenOptions::new().append(true).open(&path).await.map_err(Error::io(doing()))?;
    let mut length = file.metadata().await.map_err(Error::io(doing()))?.len();
    let mut stream = body.into_data_stream();
    while let Some(piece) = stream.next().await {
        let piece = piece.map_err(|e| Error::Invalid(format!("the upload broke off: {e}")))?;
        length += piece.len() as u64;
        if length > BLOB_LIMIT {
            return Err(Error::Invalid(format!("an upload of more than {BLOB_LIMIT} bytes")));
        }
        file.write_all(&piece).await.map_err(Error::io(doing()))?;
    }
    file.flush().await.map_err(Error::io(doing()))?;
    Ok(length)
}

fn accepted(name: &str, id: &str, length: u64) -> Result<Response, Error> {
    let mut response = StatusCode::ACCEPTED.into_response();
    set(&mut response, header::LOCATION.as_str(), &format!("/v2/{name}/blobs/uploads/{id}"));
    set(&mut response, header::RANGE.as_str(), &format!("0-{}", length.saturating_sub(1)));
    set(&mut response, "docker-upload-uuid", id);
    Ok(response)
}

fn created(location: &str, digest: &str) -> Result<Response, Error> {
    let mut response = StatusCode::CREATED.into_response();
    set(&mut response, header::LOCATION.as_str(), location);
    set(&mut response, "docker-content-digest", digest);
    Ok(response)
}

fn set(response: &mut Response, name: &'static str, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        response.headers_mut().insert(name, value);
    }
}

/// A parameter of the query. Digests have one character that clients escape: the colon.
fn query(request: &Request, name: &str) -> Option<String> {
    let query = request.uri().query()?;
    let value = query.split('&').find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='))?;
    Some(value.replace("%3A", ":").replace("%3a", ":"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_with_slashes_in_names() {
        let cases = [
            ("/v2/", Some(Route::Base)),
            (
                "/v2/library/nginx/manifests/latest",
                Some(Route::Manifest { name: "library/nginx", reference: "latest" }),
            ),
            ("/v2/a/blobs/sha256:x", Some(Route::Blob { digest: "sha256:x" })),
            ("/v2/a/b/blobs/uploads/", Some(Route::StartUpload { name: "a/b" })),
            ("/v2/a/b/blobs/uploads/7", Some(Route::Upload { name: "a/b", id: "7" })),
            ("/other", None),
        ];
        for (path, route) in cases {
            assert_eq!(parse(path), route, "for {path}");
        }
    }
}
