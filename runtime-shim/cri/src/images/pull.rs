//! Between the store and registries, over HTTP(S).

use super::manifest::{self, Document, Manifest};
use super::store::{BLOB_LIMIT, DOCUMENT_LIMIT};
use super::{Error, Progress, Report, Result, Store, normalize};
use oci_client::client::{ClientConfig, ClientProtocol};
use oci_client::manifest::OciDescriptor;
use oci_client::secrets::RegistryAuth;
use oci_client::{Client, Reference};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::Path;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::AsyncWrite;

/// A registry that does not answer is given up after this long, and its next mirror tried.
const CONNECT_LIMIT: Duration = Duration::from_secs(10);
/// A download that stands still this long has failed.
const READ_LIMIT: Duration = Duration::from_secs(60);

/// Stands for every registry that is not named.
const EVERY: &str = "*";

/// Where to look for the images of a registry before that registry itself.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Mirrors {
    #[serde(default)]
    pub mirrors: BTreeMap<String, Mirror>,
}

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Mirror {
    /// `http://HOST:PORT` or `https://HOST`.
    #[serde(default)]
    pub endpoints: Vec<String>,
}

/// Who asks.
#[derive(Debug, Clone, Default)]
pub struct Auth {
    pub username: String,
    pub password: String,
    /// A token to use as it is, instead of name and password.
    pub token: String,
}

impl Auth {
    fn registry(&self) -> RegistryAuth {
        if !self.token.is_empty() {
            RegistryAuth::Bearer(self.token.clone())
        } else if self.username.is_empty() {
            RegistryAuth::Anonymous
        } else {
            RegistryAuth::Basic(self.username.clone(), self.password.clone())
        }
    }
}

struct Endpoint {
    client: Client,
    reference: Reference,
    shown: String,
}

/// Pulls an image and names it. Returns the digest of what the name points to.
pub async fn pull(store: &Store, name: &str, auth: &Auth, mirrors: &Mirrors, report: Report<'_>) -> Result<String> {
    let reference = normalize(name)?;
    let mut failures = Vec::new();
    for endpoint in endpoints(&reference, mirrors)? {
        match pull_from(store, &endpoint, auth, report).await {
            Ok(digest) => {
                store.name(name, &digest)?;
                return Ok(digest);
            }
            Err(error) => failures.push(format!("{}: {error}", endpoint.shown)),
        }
    }
    Err(Error::NotFound(format!("image {} cannot be pulled: {}", reference.whole(), failures.join("; "))))
}

/// Pushes an image of the store under its own name.
pub async fn push(store: &Store, name: &str, auth: &Auth, report: Report<'_>) -> Result<()> {
    let reference = normalize(name)?;
    let image = store.find(name)?.ok_or_else(|| Error::NotFound(format!("no image is named {}", reference.whole())))?;
    let (digest, manifest) = store.manifest(&image.digest)?;
    let endpoint = endpoint(&reference, None)?;
    let failed = |doing: &str| {
        let doing = format!("{doing} to {}", endpoint.shown);
        move |error: oci_client::errors::OciDistributionError| Error::Registry { doing, reason: error.to_string() }
    };
    endpoint
        .client
        .auth(&endpoint.reference, &auth.registry(), oci_client::RegistryOperation::Push)
        .await
        .map_err(failed("log in"))?;
    for blob in manifest.layers.iter().chain([&manifest.config]) {
        report(Progress::Blob { digest: blob.digest.clone(), done: 0, total: blob.size });
        let path = store.blob(&blob.digest)?;
        let bytes = tokio::fs::read(&path).await.map_err(Error::io(format!("read {}", path.display())))?;
        endpoint.client.push_blob(&endpoint.reference, bytes, &blob.digest).await.map_err(failed("push a layer"))?;
        report(Progress::Blob { digest: blob.digest.clone(), done: blob.size, total: blob.size });
    }
    let kind = if manifest.media_type.is_empty() { manifest::MANIFEST } else { manifest.media_type.as_str() };
    let kind = kind.parse().map_err(|_| Error::Invalid(format!("{kind:?} is not a media type")))?;
    let body = store.document(&digest)?;
    endpoint.client.push_manifest_raw(&endpoint.reference, body, kind).await.map_err(failed("push the manifest"))?;
    Ok(())
}

fn endpoints(reference: &Reference, mirrors: &Mirrors) -> Result<Vec<Endpoint>> {
    let mut all = Vec::new();
    let own = mirrors.mirrors.get(reference.registry()).or_else(|| mirrors.mirrors.get(EVERY));
    for url in own.into_iter().flat_map(|mirror| &mirror.endpoints) {
        all.push(endpoint(reference, Some(url))?);
    }
    all.push(endpoint(reference, None)?);
    Ok(all)
}

fn endpoint(reference: &Reference, mirror: Option<&str>) -> Result<Endpoint> {
    let (plain, host) = match mirror {
        None => (on_loopback(reference.registry()), reference.registry().to_owned()),
        Some(url) => match url.split_once("://") {
            Some(("http", host)) => (true, host.trim_end_matches('/').to_owned()),
            Some(("https", host)) => (false, host.trim_end_matches('/').to_owned()),
            _ => return Err(Error::Invalid(format!("the mirror {url:?} is not an http:// or https:// address"))),
        },
    };
    let repository = reference.repository().to_owned();
    let target = match (reference.digest(), mirror) {
        (_, None) => reference.clone(),
        (Some(digest), Some(_)) => Reference::with_digest(host.clone(), repository, digest.to_owned()),
        (None, Some(_)) => {
            Reference::with_tag(host.clone(), repository, reference.tag().unwrap_or("latest").to_owned())
        }
    };
    let config = ClientConfig {
        protocol: if plain { ClientProtocol::Http } else { ClientProtocol::Https },
        connect_timeout: Some(CONNECT_LIMIT),
        read_timeout: Some(READ_LIMIT),
        user_agent: "wherry",
        ..ClientConfig::default()
    };
    let client = Client::try_from(config)
        .map_err(|e| Error::Registry { doing: "set up the registry's client".into(), reason: e.to_string() })?;
    Ok(Endpoint { client, reference: target, shown: host })
}

/// A registry on this machine speaks plain HTTP, as for every other container tool.
fn on_loopback(registry: &str) -> bool {
    let host = registry.rsplit_once(':').map_or(registry, |(host, _)| host);
    host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

async fn pull_from(store: &Store, endpoint: &Endpoint, auth: &Auth, report: Report<'_>) -> Result<String> {
    let auth = auth.registry();
    let top = document(endpoint, &endpoint.reference, &auth).await?;
    let digest = store.put(&top)?;
    if endpoint.reference.digest().is_some_and(|wanted| wanted != digest) {
        return Err(Error::Invalid(format!("the registry sent {digest} for another digest")));
    }
    let manifest = match manifest::parse(&top)? {
        Document::Manifest(manifest) => manifest,
        Document::Index(index) => {
            let chosen = manifest::choose(&index)?;
            let reference = endpoint.reference.clone_with_digest(chosen.digest.clone());
            let bytes = document(endpoint, &reference, &auth).await?;
            if store.put(&bytes)? != chosen.digest {
                return Err(Error::Invalid("the registry sent another manifest than its index names".into()));
            }
            match manifest::parse(&bytes)? {
                Document::Manifest(manifest) => manifest,
                Document::Index(_) => return Err(Error::Invalid("an image index points to another index".into())),
            }
        }
    };
    blobs(store, endpoint, &manifest, report).await?;
    Ok(digest)
}

async fn document(endpoint: &Endpoint, reference: &Reference, auth: &RegistryAuth) -> Result<Vec<u8>> {
    let kinds = [manifest::INDEX, manifest::MANIFEST, manifest::DOCKER_LIST, manifest::DOCKER_MANIFEST];
    let (bytes, _) = endpoint
        .client
        .pull_manifest_raw(reference, auth, &kinds)
        .await
        .map_err(|e| Error::Registry { doing: "fetch the manifest".into(), reason: e.to_string() })?;
    if bytes.len() as u64 > DOCUMENT_LIMIT {
        return Err(Error::Invalid(format!(
            "the manifest has {} bytes; at most {DOCUMENT_LIMIT} are taken",
            bytes.len()
        )));
    }
    Ok(bytes.to_vec())
}

async fn blobs(store: &Store, endpoint: &Endpoint, manifest: &Manifest, report: Report<'_>) -> Result<()> {
    for blob in manifest.layers.iter().chain([&manifest.config]) {
        if store.has(&blob.digest) {
            report(Progress::Blob { digest: blob.digest.clone(), done: blob.size, total: blob.size });
            continue;
        }
        if blob.size > BLOB_LIMIT {
            return Err(Error::Invalid(format!("a layer has {} bytes; at most {BLOB_LIMIT} are taken", blob.size)));
        }
        let file = store.temporary();
        let result = download(endpoint, blob, &file, report).await;
        if let Err(error) = result {
            let _ = tokio::fs::remove_file(&file).await;
            return Err(error);
        }
        store.adopt(&file, Some(&blob.digest))?;
    }
    Ok(())
}

async fn download(endpoint: &Endpoint, blob: &manifest::Descriptor, file: &Path, report: Report<'_>) -> Result<()> {
    let descriptor = OciDescriptor {
        media_type: blob.media_type.clone(),
        digest: blob.digest.clone(),
        size: blob.size as i64,
        ..OciDescriptor::default()
    };
    let opened = tokio::fs::File::create(file).await.map_err(Error::io(format!("write {}", file.display())))?;
    let mut counted = Counted { inner: opened, done: 0, blob, report };
    endpoint
        .client
        .pull_blob(&endpoint.reference, &descriptor, &mut counted)
        .await
        .map_err(|e| Error::Registry { doing: format!("fetch layer {}", blob.digest), reason: e.to_string() })?;
    tokio::io::AsyncWriteExt::flush(&mut counted).await.map_err(Error::io(format!("write {}", file.display())))
}

/// A file that tells how much has come, and takes no more than was announced.
struct Counted<'a> {
    inner: tokio::fs::File,
    done: u64,
    blob: &'a manifest::Descriptor,
    report: Report<'a>,
}

impl AsyncWrite for Counted<'_> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<std::io::Result<usize>> {
        if self.done + bytes.len() as u64 > self.blob.size {
            return Poll::Ready(Err(std::io::Error::other("the registry sends more than it announced")));
        }
        let written = std::task::ready!(Pin::new(&mut self.inner).poll_write(cx, bytes))?;
        self.done += written as u64;
        (self.report)(Progress::Blob { digest: self.blob.digest.clone(), done: self.done, total: self.blob.size });
        Poll::Ready(Ok(written))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}
