//! The documents of the OCI image specification, as far as a node reads them.

use super::{Error, Result};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

pub const INDEX: &str = "application/vnd.oci.image.index.v1+json";
pub const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
pub const DOCKER_LIST: &str = "application/vnd.docker.distribution.manifest.list.v2+json";
pub const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";
pub const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
pub const LAYER_TAR: &str = "application/vnd.oci.image.layer.v1.tar";
pub const WASM_CONFIG: &str = "application/vnd.wasm.config.v0+json";
pub const WASM_LAYER: &str = "application/wasm";

/// Layers of one image. Docker's own limit is 127.
const LAYERS_LIMIT: usize = 127;

#[derive(Debug, Clone, Serialize, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct Descriptor {
    #[serde(default)]
    pub media_type: String,
    pub digest: String,
    pub size: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub platform: Option<Platform>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
}

#[derive(Debug, Clone, Serialize, Deserialize, PartialEq, Eq)]
pub struct Platform {
    pub architecture: String,
    #[serde(default)]
    pub os: String,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Manifest {
    pub schema_version: u32,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub media_type: String,
    pub config: Descriptor,
    pub layers: Vec<Descriptor>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Index {
    pub manifests: Vec<Descriptor>,
}

/// The configuration of a container image.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Config {
    #[serde(default)]
    pub architecture: String,
    #[serde(default)]
    pub os: String,
    #[serde(default)]
    pub config: Process,
}

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Process {
    pub user: String,
    pub env: Option<Vec<String>>,
    pub entrypoint: Option<Vec<String>>,
    pub cmd: Option<Vec<String>>,
    pub working_dir: String,
    pub stop_signal: String,
}

/// A document that a name points to: one image, or one for each platform.
pub enum Document {
    Manifest(Manifest),
    Index(Index),
}

/// Reads a manifest or an index.
pub fn parse(bytes: &[u8]) -> Result<Document> {
    let bad = |error: serde_json::Error| Error::Invalid(format!("the image's manifest cannot be read: {error}"));
    let value: serde_json::Value = serde_json::from_slice(bytes).map_err(bad)?;
    if value.get("manifests").is_some() {
        return serde_json::from_value(value).map(Document::Index).map_err(bad);
    }
    if value.get("fsLayers").is_some() {
        return Err(Error::Invalid(
            "the image has a manifest of Docker's schema 1, which is obsolete: push it anew".into(),
        ));
    }
    let manifest: Manifest = serde_json::from_value(value).map_err(bad)?;
    if manifest.layers.len() > LAYERS_LIMIT {
        return Err(Error::Invalid(format!(
            "the image has {} layers; at most {LAYERS_LIMIT} are taken",
            manifest.layers.len()
        )));
    }
    Ok(Document::Manifest(manifest))
}

/// The image of an index that fits this machine: its own architecture, else WebAssembly, which fits any.
pub fn choose(index: &Index) -> Result<&Descriptor> {
    let own = match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    };
    let of = |architecture: &str| {
        index
            .manifests
            .iter()
            .find(|d| d.platform.as_ref().is_some_and(|p| p.architecture == architecture && p.os != "windows"))
    };
    of(own)
        .or_else(|| of("wasm"))
        .or(if index.manifests.len() == 1 { index.manifests.first() } else { None })
        .ok_or_else(|| {
            let has: Vec<&str> =
                index.manifests.iter().filter_map(|d| Some(d.platform.as_ref()?.architecture.as_str())).collect();
            Error::Invalid(format!("the image is not made for {own} (it is for {})", has.join(", ")))
        })
}

/// `sha256:` and 64 hexadecimal digits, as part of a path.
pub fn hex(digest: &str) -> Result<&str> {
    let hex = digest.strip_prefix("sha256:").filter(|hex| hex.len() == 64);
    hex.filter(|hex| hex.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b)))
        .ok_or_else(|| Error::Invalid(format!("{digest:?} is not a SHA-256 digest")))
}
