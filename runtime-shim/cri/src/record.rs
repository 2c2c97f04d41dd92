//! What the shim remembers of sandboxes and containers, as files.

use container::{Sandbox, Spec, State};
use rpc::cri;
use rpc::prost::Message;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::path::{Path, PathBuf};

/// The name of the file in each sandbox's and container's directory.
pub const FILE: &str = "record.json";

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct SandboxRecord {
    pub spec: std::sync::Arc<Sandbox>,
    pub created_at: i64,
    pub ready: bool,
    /// The RuntimeClass handler, empty without one.
    pub handler: String,
    /// Names of the executors that have this sandbox open.
    pub executors: Vec<String>,
    pub config: Wire<cri::PodSandboxConfig>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ContainerRecord {
    pub spec: Spec,
    pub executor: String,
    pub state: State,
    pub config: Wire<cri::ContainerConfig>,
}

impl SandboxRecord {
    pub fn metadata(&self) -> cri::PodSandboxMetadata {
        self.config.0.metadata.clone().unwrap_or_default()
    }

    pub fn save(&self) -> std::io::Result<()> {
        container::persist::write(&self.spec.state_dir.join(FILE), self)
    }
}

impl ContainerRecord {
    pub fn metadata(&self) -> cri::ContainerMetadata {
        self.config.0.metadata.clone().unwrap_or_default()
    }

    pub fn running(&self) -> bool {
        matches!(self.state, State::Running { .. })
    }

    pub fn save(&self) -> std::io::Result<()> {
        container::persist::write(&self.spec.state_dir.join(FILE), self)
    }
}

/// Every record below `directory`. What cannot be read is left alone and told.
pub fn read_all<T: serde::de::DeserializeOwned>(directory: &Path) -> Vec<T> {
    let entries = std::fs::read_dir(directory).into_iter().flatten().flatten();
    let files = entries.map(|entry| entry.path().join(FILE)).filter(|file: &PathBuf| file.exists());
    files
        .filter_map(|file| match container::persist::read(&file) {
            Ok(record) => Some(record),
            Err(error) => {
                tracing::error!(%error, "a record cannot be read and is left out");
                None
            }
        })
        .collect()
}

/// A protobuf message kept in a JSON file.
#[derive(Debug, Clone, Default)]
pub struct Wire<M>(pub M);

impl<M: Message> Serialize for Wire<M> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        use base64::Engine;
        serializer.serialize_str(&base64::engine::general_purpose::STANDARD.encode(self.0.encode_to_vec()))
    }
}

impl<'de, M: Message + Default> Deserialize<'de> for Wire<M> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        use base64::Engine;
        use serde::de::Error;
        let text = String::deserialize(deserializer)?;
        let bytes = base64::engine::general_purpose::STANDARD.decode(text).map_err(D::Error::custom)?;
        M::decode(bytes.as_slice()).map(Wire).map_err(D::Error::custom)
    }
}
