//! Import of an OCI image layout: a directory, or the same in a tar archive.

use super::manifest::{self, Document, Index, hex};
use super::{Error, Progress, Report, Result, Store};
use std::fs::{self, File};
use std::path::{Path, PathBuf};

/// Imports every image of a layout. Those without a name of their own get `name`. Returns the names.
pub fn import(store: &Store, source: &Path, name: Option<&str>, report: Report<'_>) -> Result<Vec<String>> {
    let metadata = fs::metadata(source).map_err(Error::io(format!("read {}", source.display())))?;
    if metadata.is_dir() {
        return import_directory(store, source, name, report);
    }
    let unpacked = store.temporary();
    fs::create_dir_all(&unpacked).map_err(Error::io(format!("make {}", unpacked.display())))?;
    let result = File::open(source)
        .and_then(|file| tar::Archive::new(file).unpack(&unpacked))
        .map_err(Error::io(format!("unpack {}", source.display())))
        .and_then(|()| import_directory(store, &unpacked, name, report));
    let _ = fs::remove_dir_all(&unpacked);
    result
}

fn import_directory(store: &Store, layout: &Path, name: Option<&str>, report: Report<'_>) -> Result<Vec<String>> {
    let path = layout.join("index.json");
    let bytes = fs::read(&path).map_err(|_| {
        Error::Invalid(format!("{} is not an OCI image layout: it has no index.json", layout.display()))
    })?;
    let index: Index = serde_json::from_slice(&bytes)
        .map_err(|e| Error::Invalid(format!("{} cannot be read: {e}", path.display())))?;
    let mut names = Vec::new();
    for image in &index.manifests {
        let own = ["io.containerd.image.name", "org.opencontainers.image.ref.name"];
        let own = own.iter().find_map(|key| image.annotations.get(*key)).map(String::as_str);
        let name = name
            .or(own)
            .ok_or_else(|| Error::Invalid(format!("an image of {} has no name: give it one", layout.display())))?;
        report(Progress::Step(format!("importing {name}")));
        copy_tree(store, layout, &image.digest)?;
        names.push(store.name(name, &image.digest)?);
    }
    Ok(names)
}

fn copy_tree(store: &Store, layout: &Path, digest: &str) -> Result<()> {
    copy(store, layout, digest)?;
    match manifest::parse(&store.document(digest)?)? {
        Document::Manifest(manifest) => {
            for blob in manifest.layers.iter().chain([&manifest.config]) {
                copy(store, layout, &blob.digest)?;
            }
            Ok(())
        }
        Document::Index(index) => {
            let chosen = manifest::choose(&index)?;
            copy(store, layout, &chosen.digest)?;
            match manifest::parse(&store.document(&chosen.digest)?)? {
                Document::Manifest(_) => copy_tree(store, layout, &chosen.digest),
                Document::Index(_) => Err(Error::Invalid("an image index points to another index".into())),
            }
        }
    }
}

fn copy(store: &Store, layout: &Path, digest: &str) -> Result<()> {
    if store.has(digest) {
        return Ok(());
    }
    let from: PathBuf = layout.join("blobs/sha256").join(hex(digest)?);
    let file = store.temporary();
    fs::copy(&from, &file).map_err(Error::io(format!("copy {}", from.display())))?;
    store.adopt(&file, Some(digest)).map(drop)
}
