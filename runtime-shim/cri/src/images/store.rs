//! The files: `blobs/sha256/HEX`, `names/NAME` (one small file a name), `layers/HEX` (unpacked). Every file appears by a
//! rename, so that a shim and a command line may work on the same directory.

use super::manifest::{self, Config, Document, Manifest};
use super::{Error, Result, normalize, unpack};
use container::{Image, ImageContent, persist};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};

/// The largest manifest or configuration; registries refuse larger ones than 4 MiB.
pub const DOCUMENT_LIMIT: u64 = 4 * 1024 * 1024;
/// The largest blob. Larger images exist, but not on nodes of this kind; a broken registry must not fill the disk.
pub const BLOB_LIMIT: u64 = 16 * 1024 * 1024 * 1024;

#[derive(Debug, Clone)]
pub struct Store {
    root: PathBuf,
}

/// An image of the store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stored {
    /// `sha256:…` of the manifest; the image's id.
    pub digest: String,
    /// Full names, sorted.
    pub names: Vec<String>,
    /// Bytes of its blobs.
    pub size: u64,
    /// The user of its configuration.
    pub user: String,
}

#[derive(Debug, Serialize, Deserialize)]
struct Named {
    name: String,
    digest: String,
}

impl Store {
    /// Opens the store in `root`, making it where it is missing.
    pub fn open(root: impl Into<PathBuf>) -> Result<Store> {
        let root = root.into();
        for part in ["blobs/sha256", "names", "layers", "tmp"] {
            let path = root.join(part);
            fs::create_dir_all(&path).map_err(Error::io(format!("make {}", path.display())))?;
        }
        Ok(Store { root })
    }

    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Where a blob lies, whether it is there or not.
    pub fn blob(&self, digest: &str) -> Result<PathBuf> {
        Ok(self.root.join("blobs/sha256").join(manifest::hex(digest)?))
    }

    pub fn has(&self, digest: &str) -> bool {
        self.blob(digest).is_ok_and(|path| path.is_file())
    }

    /// A fresh name for a file that is still being written.
    pub fn temporary(&self) -> PathBuf {
        self.root.join("tmp").join(uuid::Uuid::new_v4().simple().to_string())
    }

    /// Stores bytes; returns their digest.
    pub fn put(&self, bytes: &[u8]) -> Result<String> {
        let file = self.temporary();
        let written = File::create(&file).and_then(|mut f| f.write_all(bytes));
        written.map_err(Error::io(format!("write {}", file.display())))?;
        self.adopt(&file, None)
    }

    /// Makes a written file a blob, after checking its digest where one is expected.
    pub fn adopt(&self, file: &Path, expected: Option<&str>) -> Result<String> {
        let digest = digest_of(file)?;
        if let Some(expected) = expected.filter(|expected| *expected != digest) {
            let _ = fs::remove_file(file);
            return Err(Error::Invalid(format!("a blob has digest {digest} where {expected} was announced")));
        }
        let path = self.blob(&digest)?;
        fs::rename(file, &path).map_err(Error::io(format!("store {}", path.display())))?;
        Ok(digest)
    }

    /// Reads a manifest or configuration.
    pub fn document(&self, digest: &str) -> Result<Vec<u8>> {
        let path = self.blob(digest)?;
        let file = File::open(&path).map_err(Error::io(format!("open blob {digest}")))?;
        let mut bytes = Vec::new();
        file.take(DOCUMENT_LIMIT).read_to_end(&mut bytes).map_err(Error::io(format!("read blob {digest}")))?;
        Ok(bytes)
    }

    /// The manifest of an image; of an index, the one that fits this machine.
    pub fn manifest(&self, digest: &str) -> Result<(String, Manifest)> {
        match manifest::parse(&self.document(digest)?)? {
            Document::Manifest(manifest) => Ok((digest.to_owned(), manifest)),
            Document::Index(index) => {
                let chosen = manifest::choose(&index)?.digest.clone();
                match manifest::parse(&self.document(&chosen)?)? {
                    Document::Manifest(manifest) => Ok((chosen, manifest)),
                    Document::Index(_) => Err(Error::Invalid("an image index points to another index".into())),
                }
            }
        }
    }

    /// Gives an image a name, taking it from another that had it.
    pub fn name(&self, name: &str, digest: &str) -> Result<String> {
        let name = normalize(name)?.whole();
        let named = Named { name: name.clone(), digest: digest.to_owned() };
        persist::write(&self.name_file(&name), &named).map_err(Error::io(format!("name image {name}")))?;
        Ok(name)
    }

    fn name_file(&self, name: &str) -> PathBuf {
        // A digest of the name: names have slashes and may be longer than a file's name.
        self.root.join("names").join(hex_of(Sha256::digest(name.as_bytes()).as_slice()))
    }

    fn names(&self) -> Result<Vec<Named>> {
        let directory = self.root.join("names");
        let entries = fs::read_dir(&directory).map_err(Error::io(format!("read {}", directory.display())))?;
        Ok(entries.flatten().filter_map(|entry| persist::read(&entry.path()).ok()).collect())
    }

    /// Every image, by digest.
    pub fn list(&self) -> Result<Vec<Stored>> {
        let mut images: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for Named { name, digest } in self.names()? {
            images.entry(digest).or_default().push(name);
        }
        let stored = images.into_iter().map(|(digest, mut names)| {
            names.sort();
            let (size, user) = self.facts(&digest).unwrap_or_default();
            Stored { digest, names, size, user }
        });
        Ok(stored.collect())
    }

    fn facts(&self, digest: &str) -> Result<(u64, String)> {
        let (_, manifest) = self.manifest(digest)?;
        let size = manifest.config.size + manifest.layers.iter().map(|layer| layer.size).sum::<u64>();
        let config: Config = serde_json::from_slice(&self.document(&manifest.config.digest)?).unwrap_or_default();
        Ok((size, config.config.user))
    }

    /// The image of that name, digest, or beginning of a digest.
    pub fn find(&self, wanted: &str) -> Result<Option<Stored>> {
        let images = self.list()?;
        let hex = wanted.strip_prefix("sha256:").unwrap_or(wanted);
        if hex.len() >= 12 && hex.bytes().all(|b| b.is_ascii_hexdigit()) {
            let found =
                images.iter().find(|image| image.digest.strip_prefix("sha256:").is_some_and(|d| d.starts_with(hex)));
            if found.is_some() {
                return Ok(found.cloned());
            }
        }
        let Ok(reference) = normalize(wanted) else { return Ok(None) };
        if let Some(digest) = reference.digest() {
            let same = |name: &String| {
                normalize(name)
                    .is_ok_and(|r| r.repository() == reference.repository() && r.registry() == reference.registry())
            };
            return Ok(images.into_iter().find(|image| image.digest == digest && image.names.iter().any(same)));
        }
        let name = reference.whole();
        Ok(images.into_iter().find(|image| image.names.contains(&name)))
    }

    /// Forgets a name, or with a digest the image with all its names, and removes what nothing needs any more.
    /// True if something was there.
    pub fn remove(&self, wanted: &str, in_use: &BTreeSet<String>) -> Result<bool> {
        let Some(image) = self.find(wanted)? else { return Ok(false) };
        let name = normalize(wanted).map(|r| r.whole()).unwrap_or_default();
        let by_name = image.names.contains(&name);
        for one in image.names.iter().filter(|one| !by_name || **one == name) {
            let file = self.name_file(one);
            fs::remove_file(&file).map_err(Error::io(format!("remove {}", file.display())))?;
        }
        self.collect(in_use)?;
        Ok(true)
    }

    /// Removes blobs and layers that no named image and none of `in_use` (digests of manifests) needs.
    pub fn collect(&self, in_use: &BTreeSet<String>) -> Result<()> {
        let mut needed = BTreeSet::new();
        let named = self.names()?.into_iter().map(|named| named.digest);
        for digest in named.chain(in_use.iter().cloned()) {
            needed.insert(digest.clone());
            let Ok((own, manifest)) = self.manifest(&digest) else { continue };
            needed.insert(own);
            needed.insert(manifest.config.digest);
            needed.extend(manifest.layers.into_iter().map(|layer| layer.digest));
        }
        let needed: BTreeSet<&str> = needed.iter().filter_map(|digest| manifest::hex(digest).ok()).collect();
        for part in ["blobs/sha256", "layers"] {
            for entry in fs::read_dir(self.root.join(part)).into_iter().flatten().flatten() {
                if entry.file_name().to_str().is_some_and(|name| !needed.contains(name)) {
                    let path = entry.path();
                    let removed = if path.is_dir() { fs::remove_dir_all(&path) } else { fs::remove_file(&path) };
                    removed.map_err(Error::io(format!("remove {}", path.display())))?;
                }
            }
        }
        Ok(())
    }

    /// The image ready to run under the name that was asked for: layers are unpacked where they are not yet.
    pub fn prepare(&self, reference: &str, digest: &str) -> Result<Image> {
        let (_, manifest) = self.manifest(digest)?;
        let config = self.document(&manifest.config.digest)?;
        let image = |content, process: manifest::Process| Image {
            reference: reference.to_owned(),
            digest: digest.to_owned(),
            content,
            entrypoint: process.entrypoint.unwrap_or_default(),
            cmd: process.cmd.unwrap_or_default(),
            env: process.env.unwrap_or_default(),
            working_dir: process.working_dir,
            user: process.user,
            stop_signal: signal(&process.stop_signal),
        };
        if let Some(layer) = manifest.layers.iter().find(|layer| is_wasm(&manifest, layer)) {
            let file = self.blob(&layer.digest)?;
            check_wasm(reference, &file)?;
            return Ok(image(ImageContent::Wasm { file, digest: layer.digest.clone() }, manifest::Process::default()));
        }
        let config: Config = serde_json::from_slice(&config)
            .map_err(|e| Error::Invalid(format!("the configuration of image {reference} cannot be read: {e}")))?;
        let mut layers = Vec::new();
        for layer in &manifest.layers {
            let path = self.root.join("layers").join(manifest::hex(&layer.digest)?);
            if !path.is_dir() {
                unpack::layer(&self.blob(&layer.digest)?, &self.temporary(), &path)?;
            }
            layers.insert(0, path);
        }
        let content = match wasm_entry(&config, &layers) {
            Some(file) => {
                check_wasm(reference, &file)?;
                ImageContent::Wasm { digest: digest_of(&file)?, file }
            }
            None => ImageContent::Layers(layers),
        };
        Ok(image(content, config.config))
    }
}

fn is_wasm(manifest: &Manifest, layer: &manifest::Descriptor) -> bool {
    layer.media_type == manifest::WASM_LAYER
        || layer.media_type == "application/vnd.wasm.content.layer.v1+wasm"
        || (manifest.config.media_type == manifest::WASM_CONFIG && manifest.layers.len() == 1)
}

/// The WebAssembly file of an image made for containers: by its platform, or by an entry point that names one.
fn wasm_entry(config: &Config, layers: &[PathBuf]) -> Option<PathBuf> {
    let process = &config.config;
    let entry = process.entrypoint.iter().flatten().chain(process.cmd.iter().flatten()).next()?;
    let platform = config.architecture.starts_with("wasm") || config.os.starts_with("wasi");
    let relative = Path::new(entry).strip_prefix("/").unwrap_or(Path::new(entry));
    let plain = relative.components().all(|part| matches!(part, std::path::Component::Normal(_)));
    if !(platform || entry.ends_with(".wasm")) || !plain {
        return None;
    }
    let candidates = layers.iter().map(|layer| layer.join(relative));
    candidates.into_iter().find(|file| file.symlink_metadata().is_ok_and(|m| m.is_file()))
}

/// Refuses a file that is not WebAssembly before anyone tries to compile it.
pub fn check_wasm(name: &str, file: &Path) -> Result<()> {
    let mut magic = [0u8; 4];
    let mut opened = File::open(file).map_err(Error::io(format!("open {}", file.display())))?;
    if opened.read_exact(&mut magic).is_err() || &magic != b"\0asm" {
        return Err(Error::Invalid(format!(
            "image {name} is not WebAssembly: its file starts with {magic:02x?}, not with \"\\0asm\" (build it with `wherry image build app.wasm`)"
        )));
    }
    Ok(())
}

pub fn digest_of(file: &Path) -> Result<String> {
    let mut opened = File::open(file).map_err(Error::io(format!("open {}", file.display())))?;
    let mut hasher = Sha256::new();
    std::io::copy(&mut opened, &mut hasher).map_err(Error::io(format!("read {}", file.display())))?;
    Ok(format!("sha256:{}", hex_of(hasher.finalize().as_slice())))
}

fn hex_of(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A signal by name or number, as image configurations have it.
pub fn signal(text: &str) -> Option<i32> {
    use nix::sys::signal::Signal;
    if text.is_empty() {
        return None;
    }
    let upper = text.to_ascii_uppercase();
    let name = if upper.starts_with("SIG") { upper } else { format!("SIG{upper}") };
    text.parse().ok().or_else(|| name.parse::<Signal>().ok().map(|signal| signal as i32))
}
