//! The CNI executable: reads a network configuration from standard input and `CNI_*` from the environment, as the CNI
//! specification (version 1.1.0) has it.

use crate::{Attachment, Config, Error};
use serde::Deserialize;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};

/// The versions of the specification whose result is the one written here.
const VERSIONS: [&str; 3] = ["1.0.0", "1.1.0", "0.4.0"];

/// A network configuration, as far as this plugin reads it.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct NetConf {
    cni_version: String,
    name: String,
    bridge: String,
    pod_cidr: ipnet::IpNet,
    #[serde(default = "mtu")]
    mtu: u32,
    #[serde(default)]
    data_dir: Option<PathBuf>,
}

fn mtu() -> u32 {
    1500
}

/// Answers one call. `command`, `container` and `netns` are `CNI_COMMAND`, `CNI_CONTAINERID` and `CNI_NETNS`.
/// The value is what goes to standard output; an error goes there too, with a non-zero exit code.
pub async fn call(command: &str, container: &str, netns: &str, input: &[u8]) -> Result<Value, Value> {
    if command == "VERSION" {
        return Ok(json!({ "cniVersion": "1.1.0", "supportedVersions": VERSIONS }));
    }
    let conf: NetConf = serde_json::from_slice(input)
        .map_err(|e| failure(6, "the network configuration cannot be read", &e.to_string()))?;
    if !VERSIONS.contains(&conf.cni_version.as_str()) {
        return Err(failure(1, "incompatible CNI version", &conf.cni_version));
    }
    let state = conf.data_dir.clone().unwrap_or_else(|| Path::new("/var/lib/cni/networks").join(&conf.name));
    let config = Config { bridge: conf.bridge.clone(), pod_cidr: conf.pod_cidr, state_dir: state, mtu: conf.mtu };
    let answer = match command {
        "ADD" => crate::add(&config, container, Path::new(netns)).await.map(|a| result(&conf, netns, &a)),
        "DEL" => crate::del(&config, container, Path::new(netns)).await.map(|()| Value::Null),
        "CHECK" => crate::check(&config, container, Path::new(netns)).await.map(|()| Value::Null),
        other => return Err(failure(4, "CNI_COMMAND is not one of ADD, DEL, CHECK, VERSION", other)),
    };
    answer.map_err(|e| failure(if matches!(e, Error::Exhausted(_)) { 11 } else { 5 }, &e.to_string(), ""))
}

fn failure(code: u32, message: &str, details: &str) -> Value {
    json!({ "cniVersion": "1.1.0", "code": code, "msg": message, "details": details })
}

fn result(conf: &NetConf, netns: &str, attachment: &Attachment) -> Value {
    let ips: Vec<Value> = attachment
        .ips
        .iter()
        .map(|ip| {
            let prefix = if ip.is_ipv4() { 32 } else { 128 };
            json!({ "address": format!("{ip}/{prefix}"), "gateway": attachment.gateway, "interface": 0 })
        })
        .collect();
    json!({
        "cniVersion": conf.cni_version,
        "interfaces": [{ "name": crate::POD_LINK, "mac": attachment.mac, "sandbox": netns }],
        "ips": ips,
        "routes": [{ "dst": if attachment.gateway.is_ipv4() { "0.0.0.0/0" } else { "::/0" }, "gw": attachment.gateway }],
        "dns": {},
    })
}
