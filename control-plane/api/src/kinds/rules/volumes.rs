//! Volumes of pods, and the sources that PersistentVolumes share with them.

use super::at::{At, Errors};
use super::volume_sources::{Owner, source};
use crate::names;
use crate::value::Value;
use std::collections::BTreeMap;

/// Every source of a pod's volume, in the order in which they are looked at, with what a second one is called.
const OF_PODS: &[(&str, &str)] = &[
    ("emptyDir", "emptyDir"),
    ("hostPath", "hostPath"),
    ("gitRepo", "gitRepo"),
    ("gcePersistentDisk", "gcePersistentDisk"),
    ("awsElasticBlockStore", "awsElasticBlockStore"),
    ("secret", "secret"),
    ("nfs", "nfs"),
    ("iscsi", "iscsi"),
    ("glusterfs", "glusterfs"),
    ("flocker", "flocker"),
    ("persistentVolumeClaim", "persistentVolumeClaim"),
    ("rbd", "rbd"),
    ("cinder", "cinder"),
    ("cephfs", "cephFS"),
    ("quobyte", "quobyte"),
    ("downwardAPI", "downwarAPI"),
    ("fc", "fc"),
    ("flexVolume", "flexVolume"),
    ("configMap", "configMap"),
    ("azureFile", "azureFile"),
    ("vsphereVolume", "vsphereVolume"),
    ("photonPersistentDisk", "photonPersistentDisk"),
    ("portworxVolume", "portworxVolume"),
    ("azureDisk", "azureDisk"),
    ("storageos", "storageos"),
    ("projected", "projected"),
    ("scaleIO", "scaleIO"),
    ("csi", "csi"),
    ("ephemeral", "ephemeral"),
    ("image", "image"),
];

/// The same of PersistentVolumes, of which one counts for itself.
const OF_VOLUMES: &[(&str, &str)] = &[
    ("hostPath", "hostPath"),
    ("gcePersistentDisk", "gcePersistentDisk"),
    ("awsElasticBlockStore", "awsElasticBlockStore"),
    ("glusterfs", "glusterfs"),
    ("flocker", "flocker"),
    ("nfs", "nfs"),
    ("rbd", "rbd"),
    ("quobyte", "quobyte"),
    ("cephfs", "cephFS"),
    ("iscsi", "iscsi"),
    ("cinder", "cinder"),
    ("fc", "fc"),
    ("flexVolume", "flexVolume"),
    ("azureFile", "azureFile"),
    ("vsphereVolume", "vsphereVolume"),
    ("photonPersistentDisk", "photonPersistentDisk"),
    ("portworxVolume", "portworxVolume"),
    ("azureDisk", "azureDisk"),
    ("scaleIO", "scaleIO"),
    ("local", "local"),
    ("storageos", "storageos"),
    ("csi", "csi"),
];

/// Whether a field of a PersistentVolume's spec is one of its sources.
pub(super) fn is_source(field: &str) -> bool {
    OF_VOLUMES.iter().any(|(name, _)| *name == field)
}

const ONE: &str = "may not specify more than 1 volume type";

/// The volumes of a pod, or of a template where there is no `pod`. Returns the good ones, with whether a block device
/// may be made of them.
pub(super) fn volumes<'a>(list: &At<'a>, counter: &Errors, pod: Option<&At<'_>>) -> BTreeMap<&'a str, bool> {
    let mut good = BTreeMap::new();
    let pod_name = pod.map_or("", |meta| meta.get("name"));
    let ephemeral = |volume: &At<'_>| format!("{pod_name}-{}", volume.get("name"));
    let made: Vec<String> =
        list.items().filter(|v| !pod_name.is_empty() && v.has("ephemeral")).map(|v| ephemeral(&v)).collect();
    for one in list.items() {
        let before = counter.count();
        sources(&one, pod);
        let name = one.field("name");
        name.required_matches(names::dns1123_label);
        if good.contains_key(name.text()) {
            name.duplicate();
        }
        if counter.count() == before {
            good.insert(name.text(), one.has("persistentVolumeClaim") || one.has("ephemeral"));
        }
        let claim = one.fields(&["persistentVolumeClaim", "claimName"]);
        if claim.is() && made.iter().any(|m| m == claim.text()) {
            claim.invalid("must not reference a PVC that gets created for an ephemeral volume");
        }
    }
    good
}

/// Exactly one source, and that one good.
fn sources(volume: &At<'_>, pod: Option<&At<'_>>) {
    let name = volume.field("name");
    let mut set = 0;
    for (field, shown) in OF_PODS.iter().filter(|(field, _)| volume.has(field)) {
        set += 1;
        match set {
            1 => source(volume, field, Owner::Pod { whole: pod.is_some() }),
            _ => volume.field(shown).forbidden(ONE),
        }
        if *field == "iscsi" {
            long_portal(&name, &volume.field("iscsi"));
        }
        let pod_name = pod.map_or("", |meta| meta.get("name"));
        if *field == "ephemeral" && set == 1 && !pod_name.is_empty() && !name.text().is_empty() {
            let claim = format!("{pod_name}-{}", name.text());
            for why in names::dns1123_subdomain(&claim) {
                name.invalid_text(name.text(), &format!("PVC name {claim:?}: {why}"));
            }
        }
    }
    if set == 0 {
        volume.required("must specify a volume type");
    }
}

/// What an initiator of its own name is called by, volume and portal, has a limit.
const MAX_PORTAL: usize = 64;
pub(super) const LONG_PORTAL: &str = "Total length of <volume name>:<iscsi.targetPortal> must be under 64 characters if iscsi.initiatorName is specified.";

/// Whether the name of a volume and its portal are too long together.
pub(super) fn is_long_portal(name: &str, iscsi: &At<'_>) -> bool {
    iscsi.has("initiatorName") && name.len() + 1 + iscsi.get("targetPortal").len() > MAX_PORTAL
}

fn long_portal(name: &At<'_>, iscsi: &At<'_>) {
    if is_long_portal(name.text(), iscsi) {
        name.invalid_text(name.text(), LONG_PORTAL);
    }
}

/// The same of a PersistentVolume of this name. `affine` tells whether it says where it may be used.
pub(super) fn sources_of_volume(at: &At<'_>, name: &str, affine: bool) {
    let mut set = 0;
    for (field, shown) in OF_VOLUMES.iter().filter(|(field, _)| at.has(field)) {
        if set > 0 && *field != "flexVolume" {
            at.field(shown).forbidden(ONE);
            continue;
        }
        set += 1;
        source(at, field, Owner::Volume { name });
        if *field == "local" && !affine {
            at.field("nodeAffinity").required("Local volume requires node affinity");
        }
    }
    if set == 0 {
        at.required("must specify a volume type");
    }
}

/// Old kinds of volumes that are only kept for what is stored: name, how the warning calls it, what it says.
pub(super) const DEPRECATED: &[(&str, &str, &str)] = &[
    ("photonPersistentDisk", "photonPersistentDisk", "deprecated in v1.11, non-functional in v1.16+"),
    ("gitRepo", "gitRepo", "deprecated in v1.11, and disabled by default in v1.33+"),
    ("scaleIO", "scaleIO", "deprecated in v1.16, non-functional in v1.22+"),
    ("flocker", "flocker", "deprecated in v1.22, non-functional in v1.25+"),
    ("storageos", "storageOS", "deprecated in v1.22, non-functional in v1.25+"),
    ("quobyte", "quobyte", "deprecated in v1.22, non-functional in v1.25+"),
    ("glusterfs", "glusterfs", "deprecated in v1.25, non-functional in v1.26+"),
    ("cephfs", "cephfs", "deprecated in v1.28, non-functional in v1.31+"),
    ("rbd", "rbd", "deprecated in v1.28, non-functional in v1.31+"),
];

/// Warnings of sources; `path` is where the volume stands.
pub(super) fn warnings(volume: &Value, path: &str, out: &mut Vec<String>) {
    for (field, shown, what) in DEPRECATED {
        if volume.get(field).is_some_and(|v| !v.is_null()) {
            out.push(format!("{path}.{shown}: {what}"));
        }
    }
}
