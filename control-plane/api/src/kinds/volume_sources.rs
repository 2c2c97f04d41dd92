//! The defaults of volumes, of pods and of the cluster.

use super::fill::{each, put, put_text, sub, text};
use super::pod_spec::pull_policy;
use crate::value::Map;

/// The mode of files in volumes that the kubelet writes: 0644.
const FILE_MODE: i64 = 0o644;
/// An hour, as upstream has it for projected tokens.
const TOKEN_SECONDS: i64 = 3600;

/// A volume of a pod.
pub(super) fn volume(v: &mut Map) {
    if v.len() <= usize::from(v.contains_key("name")) {
        v.insert("emptyDir", Map::new());
    }
    for name in ["secret", "configMap", "downwardAPI", "projected"] {
        if let Some(source) = sub(v, name) {
            put(source, "defaultMode", FILE_MODE);
        }
    }
    if let Some(source) = sub(v, "downwardAPI") {
        downward_items(source);
    }
    if let Some(source) = sub(v, "projected") {
        each(source, "sources", |s| {
            if let Some(token) = sub(s, "serviceAccountToken") {
                put(token, "expirationSeconds", TOKEN_SECONDS);
            }
            if let Some(downward) = sub(s, "downwardAPI") {
                downward_items(downward);
            }
        });
    }
    if let Some(image) = sub(v, "image") {
        let policy = pull_policy(text(image, "reference"));
        put_text(image, "pullPolicy", policy);
    }
    if let Some(claim) = sub(v, "ephemeral").and_then(|e| sub(e, "volumeClaimTemplate")).and_then(|t| sub(t, "spec")) {
        put(claim, "volumeMode", "Filesystem");
    }
    source(v);
}

fn downward_items(source: &mut Map) {
    each(source, "items", |item| {
        if let Some(field) = sub(item, "fieldRef") {
            put_text(field, "apiVersion", "v1");
        }
    });
}

/// The sources that pods and PersistentVolumes share.
pub(super) fn source(v: &mut Map) {
    if let Some(path) = sub(v, "hostPath") {
        put(path, "type", "");
    }
    if let Some(iscsi) = sub(v, "iscsi") {
        put_text(iscsi, "iscsiInterface", "default");
    }
    if let Some(rbd) = sub(v, "rbd") {
        put_text(rbd, "pool", "rbd");
        put_text(rbd, "user", "admin");
        put_text(rbd, "keyring", "/etc/ceph/keyring");
    }
    if let Some(disk) = sub(v, "azureDisk") {
        put(disk, "cachingMode", "ReadWrite");
        put(disk, "kind", "Shared");
        put(disk, "fsType", "ext4");
        put(disk, "readOnly", false);
    }
    if let Some(scale_io) = sub(v, "scaleIO") {
        put_text(scale_io, "storageMode", "ThinProvisioned");
        put_text(scale_io, "fsType", "xfs");
    }
}
