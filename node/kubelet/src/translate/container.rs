//! The CRI configuration of one container.

use super::{Invalid, env, resources, security};
use crate::identity::{self, PodId};
use crate::units::Unit;
use k8s_openapi::api::core::v1::Pod;
use rpc::cri::{ContainerConfig, ContainerMetadata, ImageSpec, KeyValue, LinuxContainerConfig, Mount, Signal};
use std::collections::HashMap;
use std::path::Path;

/// What was prepared for a container before its configuration is written.
pub struct Prepared<'a> {
    pub attempt: u32,
    pub image: ImageSpec,
    pub env: Vec<(String, String)>,
    pub mounts: Vec<Mount>,
    pub message_file: Option<&'a Path>,
    pub node_memory: i64,
    /// Id of the container whose processes are shared.
    pub target: Option<String>,
}

pub fn config(pod: &Pod, unit: &Unit<'_>, prepared: Prepared<'_>) -> Result<ContainerConfig, Invalid> {
    let spec = &unit.spec;
    let lookup: HashMap<&str, &str> = prepared.env.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
    let expand = |list: &Option<Vec<String>>| -> Vec<String> {
        list.iter().flatten().map(|t| env::expand(t, |n| lookup.get(n).map(|v| (*v).to_owned()))).collect()
    };
    let (command, args) = (expand(&spec.command), expand(&spec.args));
    let envs = prepared.env.iter().map(|(k, v)| KeyValue { key: k.clone(), value: v.clone().into_bytes() }).collect();
    Ok(ContainerConfig {
        metadata: Some(ContainerMetadata { name: spec.name.clone(), attempt: prepared.attempt }),
        image: Some(prepared.image.clone()),
        command,
        args,
        working_dir: spec.working_dir.clone().unwrap_or_default(),
        envs,
        labels: labels(pod, &spec.name),
        annotations: annotations(unit, &prepared)?,
        log_path: format!("{}/{}.log", spec.name, prepared.attempt),
        stdin: spec.stdin == Some(true),
        stdin_once: spec.stdin_once == Some(true),
        tty: spec.tty == Some(true),
        linux: Some(LinuxContainerConfig {
            resources: Some(resources::of_container(pod, spec, prepared.node_memory)),
            security_context: Some(security::of_container(pod, unit, prepared.target.as_deref())?),
        }),
        stop_signal: stop_signal(unit)?,
        mounts: prepared.mounts,
        ..ContainerConfig::default()
    })
}

fn labels(pod: &Pod, container: &str) -> HashMap<String, String> {
    let id = PodId::of(pod);
    HashMap::from([
        (identity::POD_NAME.to_owned(), id.name),
        (identity::POD_NAMESPACE.to_owned(), id.namespace),
        (identity::POD_UID.to_owned(), id.uid),
        (identity::CONTAINER_NAME.to_owned(), container.to_owned()),
    ])
}

fn annotations(unit: &Unit<'_>, prepared: &Prepared<'_>) -> Result<HashMap<String, String>, Invalid> {
    let spec = &unit.spec;
    let ports: Vec<serde_json::Value> = spec
        .ports
        .iter()
        .flatten()
        .map(|p| serde_json::json!({"port": p.container_port, "protocol": p.protocol.as_deref().unwrap_or("TCP")}))
        .collect();
    let mut map = HashMap::from([
        (identity::HASH.to_owned(), identity::hash(spec)),
        (identity::RESTART_COUNT.to_owned(), prepared.attempt.to_string()),
        (identity::MESSAGE_PATH.to_owned(), spec.termination_message_path.clone().unwrap_or_default()),
        (identity::MESSAGE_POLICY.to_owned(), spec.termination_message_policy.clone().unwrap_or_default()),
        (identity::PORTS.to_owned(), serde_json::Value::from(ports).to_string()),
    ]);
    if let Some(file) = prepared.message_file {
        map.insert(identity::MESSAGE_FILE.to_owned(), file.to_string_lossy().into_owned());
    }
    Ok(map)
}

/// `SIGUSR1` and the like; 0 leaves it to the image.
fn stop_signal(unit: &Unit<'_>) -> Result<i32, Invalid> {
    let Some(name) = unit.spec.lifecycle.as_ref().and_then(|l| l.stop_signal.as_deref()) else { return Ok(0) };
    let known = Signal::from_str_name(&name.replace('+', "PLUS").replace("RTMAX-", "RTMAXMINUS"));
    known.map(|s| s as i32).ok_or_else(|| Invalid(format!("stop signal {name:?} is not known")))
}
