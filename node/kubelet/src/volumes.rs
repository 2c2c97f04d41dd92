//! The volumes of a pod. A volume type is one file here and one line in [`kind`].
//!
//! Volumes that are files (ConfigMaps, Secrets, tokens, the downward API) live in one tmpfs of the node, never on disk,
//! and are rewritten atomically while the pod runs.

pub mod atomic;
mod config_map;
mod downward;
mod empty_dir;
mod host_path;
mod memory;
mod mounts;
mod projected;
mod secret;
mod sub_path;
mod token;

pub use memory::{Memory, unmount_below};
pub use mounts::mounts;
pub use token::Tokens;

use crate::node::Node;
use crate::sources::{Fetched, Key, Kind as SourceKind};
use crate::translate::fields::Facts;
use atomic::Payload;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{
    ConfigMapVolumeSource, DownwardAPIVolumeSource, EmptyDirVolumeSource, HostPathVolumeSource, KeyToPath, Pod,
    ProjectedVolumeSource, SecretVolumeSource, Volume,
};
use std::path::{Path, PathBuf};

#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The manifest asks for what is not there (yet), or for what this kubelet does not do.
    #[error("{0}")]
    Refused(String),
    #[error("{doing}: {source}")]
    Io {
        doing: String,
        #[source]
        source: std::io::Error,
    },
    #[error("{doing}: {source}")]
    Api {
        doing: String,
        #[source]
        source: Box<kube::Error>,
    },
}

impl Error {
    pub fn io(doing: impl Into<String>) -> impl FnOnce(std::io::Error) -> Error {
        move |source| Error::Io { doing: doing.into(), source }
    }

    fn api(doing: impl Into<String>) -> impl FnOnce(kube::Error) -> Error {
        move |source| Error::Api { doing: doing.into(), source: Box::new(source) }
    }
}

enum Kind<'a> {
    EmptyDir(&'a EmptyDirVolumeSource),
    HostPath(&'a HostPathVolumeSource),
    ConfigMap(&'a ConfigMapVolumeSource),
    Secret(&'a SecretVolumeSource),
    DownwardApi(&'a DownwardAPIVolumeSource),
    Projected(&'a ProjectedVolumeSource),
    Unsupported(&'static str),
}

fn kind(volume: &Volume) -> Kind<'_> {
    let v = volume;
    None.or(v.empty_dir.as_ref().map(Kind::EmptyDir))
        .or(v.host_path.as_ref().map(Kind::HostPath))
        .or(v.config_map.as_ref().map(Kind::ConfigMap))
        .or(v.secret.as_ref().map(Kind::Secret))
        .or(v.downward_api.as_ref().map(Kind::DownwardApi))
        .or(v.projected.as_ref().map(Kind::Projected))
        .or(v.persistent_volume_claim.as_ref().map(|_| Kind::Unsupported("persistentVolumeClaim")))
        .or(v.csi.as_ref().map(|_| Kind::Unsupported("csi")))
        .or(v.ephemeral.as_ref().map(|_| Kind::Unsupported("ephemeral")))
        .or(v.nfs.as_ref().map(|_| Kind::Unsupported("nfs")))
        .or(v.image.as_ref().map(|_| Kind::Unsupported("image")))
        .or(v.iscsi.as_ref().map(|_| Kind::Unsupported("iscsi")))
        .unwrap_or(Kind::Unsupported("of an unknown type"))
}

/// What the volume types need to do their work.
pub struct Context<'a> {
    pub node: &'a Node,
    pub pod: &'a Pod,
    pub facts: Facts,
}

impl<'a> Context<'a> {
    pub fn new(node: &'a Node, pod: &'a Pod) -> Context<'a> {
        Context { node, pod, facts: node.facts(Vec::new()) }
    }

    fn uid(&self) -> &str {
        self.pod.metadata.uid.as_deref().unwrap_or_default()
    }

    fn namespace(&self) -> &str {
        self.pod.metadata.namespace.as_deref().unwrap_or("default")
    }

    fn fs_group(&self) -> Option<u32> {
        let context = self.pod.spec.as_ref()?.security_context.as_ref()?;
        context.fs_group.and_then(|g| u32::try_from(g).ok())
    }

    async fn fetch(&self, kind: SourceKind, name: &str) -> Result<Fetched, Error> {
        let key = Key { kind, namespace: self.namespace().to_owned(), name: name.to_owned() };
        let got = self.node.sources.get(&key, self.uid()).await;
        got.map_err(Error::api(format!("reading {} \"{}/{name}\"", kind.noun(), self.namespace())))
    }

    /// The entries of an object, chosen by `items`, with their modes.
    async fn entries(
        &self,
        kind: SourceKind,
        name: &str,
        items: Option<&[KeyToPath]>,
        mode: u32,
        optional: bool,
    ) -> Result<Payload, Error> {
        let Some(data) = self.fetch(kind, name).await? else {
            return match optional {
                true => Ok(Payload::new()),
                false => Err(Error::Refused(format!("{} \"{name}\" not found", kind.noun()))),
            };
        };
        let Some(items) = items.filter(|i| !i.is_empty()) else {
            return Ok(data.entries.iter().map(|(k, v)| (k.clone(), (v.clone(), mode))).collect());
        };
        let mut payload = Payload::new();
        for item in items {
            match data.entries.get(&item.key) {
                Some(bytes) => {
                    let mode = item.mode.and_then(|m| u32::try_from(m).ok()).unwrap_or(mode);
                    payload.insert(item.path.clone(), (bytes.clone(), mode));
                }
                None if optional => {}
                None => {
                    let text = format!("{} references non-existent config key: {}", kind.noun(), item.key);
                    return Err(Error::Refused(text));
                }
            }
        }
        Ok(payload)
    }
}

/// The directory of a pod on this node.
pub fn pod_dir(root: &Path, uid: &str) -> PathBuf {
    root.join("pods").join(uid)
}

/// Where a volume is on this node. `None` for an unsupported one.
fn place(node: &Node, uid: &str, volume: &Volume) -> Option<PathBuf> {
    let disk = |kind: &str| pod_dir(&node.config.root_dir, uid).join("volumes").join(kind).join(&volume.name);
    let memory = |kind: &str| node.memory.dir().join(uid).join(kind).join(&volume.name);
    Some(match kind(volume) {
        Kind::EmptyDir(_) => disk("kubernetes.io~empty-dir"),
        Kind::HostPath(source) => PathBuf::from(&source.path),
        Kind::ConfigMap(_) => memory("kubernetes.io~configmap"),
        Kind::Secret(_) => memory("kubernetes.io~secret"),
        Kind::DownwardApi(_) => memory("kubernetes.io~downward-api"),
        Kind::Projected(_) => memory("kubernetes.io~projected"),
        Kind::Unsupported(_) => return None,
    })
}

/// Prepares every volume, or writes anew what has changed in those that are files.
/// Returns when that has to be done again at the latest (a token grows old).
pub async fn mount(node: &Node, pod: &Pod) -> Result<Option<Timestamp>, Error> {
    let context = Context::new(node, pod);
    let mut again: Option<Timestamp> = None;
    let volumes = pod.spec.as_ref().and_then(|s| s.volumes.as_deref()).unwrap_or_default();
    for volume in volumes {
        let next = one(&context, volume).await.map_err(|e| named(volume, e))?;
        again = [again, next].into_iter().flatten().min();
    }
    Ok(again)
}

fn named(volume: &Volume, error: Error) -> Error {
    Error::Refused(format!("MountVolume.SetUp failed for volume \"{}\" : {error}", volume.name))
}

async fn one(context: &Context<'_>, volume: &Volume) -> Result<Option<Timestamp>, Error> {
    let Some(dir) = place(context.node, context.uid(), volume) else {
        let Kind::Unsupported(what) = kind(volume) else { return Ok(None) };
        return Err(Error::Refused(format!("volumes {what} are not supported by this kubelet")));
    };
    let (payload, again) = match kind(volume) {
        Kind::EmptyDir(source) => return empty_dir::mount(context, source, &dir).map(|()| None),
        Kind::HostPath(source) => return host_path::mount(source).map(|()| None),
        Kind::ConfigMap(source) => (config_map::payload(context, source).await?, None),
        Kind::Secret(source) => (secret::payload(context, source).await?, None),
        Kind::DownwardApi(source) => (downward::payload(context, source)?, None),
        Kind::Projected(source) => projected::payload(context, source).await?,
        Kind::Unsupported(_) => return Ok(None),
    };
    context.node.memory.ready()?;
    let group = context.fs_group();
    let write = tokio::task::spawn_blocking(move || atomic::write(&dir, &payload, group));
    write.await.map_err(|e| Error::Refused(format!("writing files: {e}")))??;
    Ok(again)
}

/// Releases everything that `mount` made for a pod, and forgets its directory. Idempotent.
pub fn unmount(node: &Node, uid: &str) -> Result<(), Error> {
    node.sources.release(uid);
    node.tokens.forget(uid);
    let dir = pod_dir(&node.config.root_dir, uid);
    memory::unmount_below(&dir)?;
    for dir in [dir, node.memory.dir().join(uid)] {
        match std::fs::remove_dir_all(&dir) {
            Ok(()) => {}
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => {}
            Err(e) => return Err(Error::Io { doing: format!("removing {}", dir.display()), source: e }),
        }
    }
    Ok(())
}
