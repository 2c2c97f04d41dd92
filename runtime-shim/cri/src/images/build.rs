//! Makes images without a build daemon: a WebAssembly artifact in the CNCF's form, or a container image of one layer.

use super::manifest::{self, Descriptor, Manifest};
use super::store::check_wasm;
use super::{Error, Progress, Report, Result, Store};
use serde_json::json;
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::Path;

/// The largest WebAssembly file. Components of several languages in one have some tens of MiB.
const WASM_LIMIT: u64 = 512 * 1024 * 1024;

/// Makes a WebAssembly artifact from a `.wat` text or a `.wasm` file, and names it. Returns the digest of its manifest.
pub fn build_wasm(store: &Store, source: &Path, name: &str, report: Report<'_>) -> Result<String> {
    let length = fs::metadata(source).map_err(Error::io(format!("read {}", source.display())))?.len();
    if length > WASM_LIMIT {
        return Err(Error::Invalid(format!("{} has {length} bytes; at most {WASM_LIMIT} are taken", source.display())));
    }
    let bytes = if source.extension().is_some_and(|extension| extension == "wat") {
        report(Progress::Step(format!("translating {}", source.display())));
        wat::parse_file(source)
            .map_err(|e| Error::Invalid(format!("{} is not WebAssembly text: {e}", source.display())))?
    } else {
        check_wasm(&source.display().to_string(), source)?;
        fs::read(source).map_err(Error::io(format!("read {}", source.display())))?
    };
    // The fourth byte of the version tells a component from a module.
    let component = bytes.get(6) == Some(&1);
    let layer = descriptor(store, &bytes, manifest::WASM_LAYER)?;
    let config = json!({
        "architecture": "wasm",
        "os": if component { "wasip2" } else { "wasip1" },
        "layerDigests": [layer.digest],
    });
    finish(store, &config, manifest::WASM_CONFIG, vec![layer], name)
}

/// Makes a container image from a static binary or a directory, and names it. Without `entrypoint` a binary is its own.
pub fn build_oci(
    store: &Store,
    source: &Path,
    entrypoint: &[String],
    name: &str,
    report: Report<'_>,
) -> Result<String> {
    let doing = || format!("read {}", source.display());
    let metadata = fs::metadata(source).map_err(Error::io(doing()))?;
    report(Progress::Step(format!("packing {}", source.display())));
    let archive = store.temporary();
    let file = File::create(&archive).map_err(Error::io(format!("write {}", archive.display())))?;
    let mut builder = tar::Builder::new(file);
    builder.mode(tar::HeaderMode::Deterministic);
    builder.follow_symlinks(false);
    let mut entry = entrypoint.to_vec();
    let packed = if metadata.is_dir() {
        builder.append_dir_all(".", source)
    } else {
        let own = source.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if entry.is_empty() {
            entry = vec![format!("/{own}")];
        }
        builder.append_path_with_name(source, &own)
    };
    packed.and_then(|()| builder.into_inner()).map_err(Error::io(format!("pack {}", source.display())))?;
    if entry.is_empty() {
        let _ = fs::remove_file(&archive);
        return Err(Error::Invalid(format!("{} is a directory: say what to run with --entrypoint", source.display())));
    }
    let size = fs::metadata(&archive).map_err(Error::io("read the packed layer"))?.len();
    let digest = store.adopt(&archive, None)?;
    let architecture = if std::env::consts::ARCH == "aarch64" { "arm64" } else { "amd64" };
    let config = json!({
        "architecture": architecture,
        "os": "linux",
        "config": { "Entrypoint": entry },
        "rootfs": { "type": "layers", "diff_ids": [digest] },
    });
    let layer = plain(manifest::LAYER_TAR, digest, size);
    finish(store, &config, manifest::CONFIG, vec![layer], name)
}

fn finish(
    store: &Store,
    config: &serde_json::Value,
    kind: &str,
    layers: Vec<Descriptor>,
    name: &str,
) -> Result<String> {
    let config = descriptor(store, config.to_string().as_bytes(), kind)?;
    let manifest = Manifest {
        schema_version: 2,
        media_type: manifest::MANIFEST.to_owned(),
        config,
        layers,
        annotations: BTreeMap::new(),
    };
    let bytes = serde_json::to_vec(&manifest).map_err(|e| Error::Invalid(format!("write the manifest: {e}")))?;
    let digest = store.put(&bytes)?;
    store.name(name, &digest)?;
    Ok(digest)
}

fn descriptor(store: &Store, bytes: &[u8], kind: &str) -> Result<Descriptor> {
    Ok(plain(kind, store.put(bytes)?, bytes.len() as u64))
}

fn plain(kind: &str, digest: String, size: u64) -> Descriptor {
    Descriptor { media_type: kind.to_owned(), digest, size, platform: None, annotations: BTreeMap::new() }
}
