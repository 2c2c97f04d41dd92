//! Volumes of pods, and the sources that PersistentVolumes share with them.

use super::at::At;
use super::{claims, environment, words};
use crate::names;
use crate::value::Value;
use std::collections::BTreeMap;

/// Every source of a volume, in the order in which they are told apart.
pub(super) const SOURCES: &[&str] = &[
    "emptyDir",
    "hostPath",
    "gitRepo",
    "gcePersistentDisk",
    "awsElasticBlockStore",
    "secret",
    "nfs",
    "iscsi",
    "glusterfs",
    "flexVolume",
    "configMap",
    "rbd",
    "persistentVolumeClaim",
    "cephfs",
    "quobyte",
    "downwardAPI",
    "fc",
    "flocker",
    "azureFile",
    "azureDisk",
    "storageos",
    "photonPersistentDisk",
    "cinder",
    "vsphereVolume",
    "portworxVolume",
    "scaleIO",
    "projected",
    "csi",
    "local",
    "ephemeral",
    "image",
];

/// The volumes of a pod. Returns the good ones, with whether a block device may be made of them.
pub(super) fn volumes<'a>(list: &At<'a>, counter: &super::at::Errors) -> BTreeMap<&'a str, bool> {
    let mut good = BTreeMap::new();
    let mut seen: Vec<&str> = Vec::new();
    for one in list.items() {
        let before = counter.count();
        sources(&one);
        let name = one.field("name");
        name.required_matches(names::dns1123_label);
        if !name.text().is_empty() && seen.contains(&name.text()) {
            name.duplicate();
        }
        seen.push(name.text());
        if counter.count() == before {
            good.insert(name.text(), one.has("persistentVolumeClaim") || one.has("ephemeral"));
        }
    }
    good
}

/// Exactly one source, and that one good.
pub(super) fn sources(at: &At<'_>) {
    let mut set = 0;
    for name in SOURCES.iter().filter(|s| at.has(s)) {
        set += 1;
        let source = at.field(name);
        match set {
            1 => one_source(&source, name),
            _ => source.forbidden("may not specify more than 1 volume type"),
        }
    }
    if set == 0 {
        at.required("must specify a volume type");
    }
}

/// The same of a PersistentVolume, whose sources are looked at in another order, and of which one counts for itself.
/// Returns the one that counts.
pub(super) fn sources_of_volume(at: &At<'_>) -> Option<&'static str> {
    let mut first = None;
    for name in OF_VOLUMES.iter().copied().filter(|s| at.has(s)) {
        let source = at.field(name);
        match first {
            Some(_) if name != "flexVolume" => {
                let shown = if name == "cephfs" { "cephFS" } else { name };
                source.named(format!("{}.{shown}", at.path)).forbidden("may not specify more than 1 volume type");
            }
            _ => one_source(&source, name),
        }
        first.get_or_insert(name);
    }
    if first.is_none() {
        at.required("must specify a volume type");
    }
    first
}

const OF_VOLUMES: &[&str] = &[
    "hostPath",
    "gcePersistentDisk",
    "awsElasticBlockStore",
    "glusterfs",
    "flocker",
    "nfs",
    "rbd",
    "quobyte",
    "cephfs",
    "iscsi",
    "cinder",
    "fc",
    "flexVolume",
    "azureFile",
    "vsphereVolume",
    "photonPersistentDisk",
    "portworxVolume",
    "azureDisk",
    "scaleIO",
    "local",
    "storageos",
    "csi",
];

const HOST_PATHS: &[&str] =
    &["", "BlockDevice", "CharDevice", "Directory", "DirectoryOrCreate", "File", "FileOrCreate", "Socket"];

fn one_source(at: &At<'_>, name: &str) {
    match name {
        "emptyDir" => {
            if words::amount(&at.field("sizeLimit")).is_some_and(|q| q.signum() < 0) {
                at.field("sizeLimit").forbidden("SizeLimit field must be a valid resource quantity");
            }
        }
        "hostPath" => {
            at.field("path").not_empty();
            words::no_steps_up(&at.field("path"));
            at.field("type").maybe_one_of(HOST_PATHS);
        }
        "gitRepo" => {
            at.field("repository").not_empty();
            words::strict_local_path(&at.field("directory"));
        }
        "secret" => {
            at.field("secretName").not_empty();
            files(at);
        }
        "configMap" => {
            at.field("name").not_empty();
            files(at);
        }
        "nfs" => nfs(at),
        "iscsi" => iscsi(at),
        "persistentVolumeClaim" => at.field("claimName").not_empty(),
        "downwardAPI" => {
            mode(&at.field("defaultMode"));
            at.field("items").items().for_each(|i| downward_file(at, &i));
        }
        "projected" => projected(at),
        "csi" => csi(at),
        "local" => {
            at.field("path").not_empty();
            words::no_steps_up(&at.field("path"));
        }
        "ephemeral" => ephemeral(at),
        "image" => at.field("pullPolicy").maybe_one_of(&["Always", "IfNotPresent", "Never"]),
        "azureDisk" => azure_disk(at),
        "quobyte" => quobyte(at),
        "storageos" => storageos(at),
        _ => required_fields(at, name),
    }
}

/// What the sources of other makers must say at least.
fn required_fields(at: &At<'_>, name: &str) {
    let fields: &[&str] = match name {
        "gcePersistentDisk" => &["pdName"],
        "awsElasticBlockStore" | "cinder" | "portworxVolume" => &["volumeID"],
        "glusterfs" => &["endpoints", "path"],
        "flexVolume" => &["driver"],
        "rbd" => &["monitors", "image"],
        "cephfs" => &["monitors"],
        "azureFile" => &["secretName", "shareName"],
        "photonPersistentDisk" => &["pdID"],
        "vsphereVolume" => &["volumePath"],
        "scaleIO" => &["gateway", "system", "volumeName"],
        _ => &[],
    };
    fields.iter().for_each(|f| at.field(f).not_empty());
}

fn quobyte(at: &At<'_>) {
    const PAIRS: &str = "must be a host:port pair or multiple pairs separated by commas";
    let (registry, tenant) = (at.field("registry"), at.field("tenant"));
    if registry.is_empty() {
        registry.required(PAIRS);
    } else if tenant.text().len() >= 65 {
        tenant.required("must be a UUID and may not exceed a length of 64 characters");
    } else {
        for pair in registry.text().split(',').filter(|p| p.rsplit_once(':').is_none_or(|(host, _)| host.contains(':')))
        {
            if !pair.starts_with('[') {
                registry.invalid(PAIRS);
            }
        }
    }
    at.field("volume").not_empty();
}

fn storageos(at: &At<'_>) {
    at.field("volumeName").required_matches(names::dns1123_label);
    if !at.get("volumeNamespace").is_empty() {
        at.field("volumeNamespace").matches(names::dns1123_label);
    }
    let secret = at.field("secretRef");
    if secret.is() {
        secret.field("name").not_empty();
    }
}

fn nfs(at: &At<'_>) {
    at.field("server").not_empty();
    let path = at.field("path");
    match path.text() {
        "" => path.required(""),
        text if !text.starts_with('/') => path.invalid("must be an absolute path"),
        _ => {}
    }
}

fn iscsi(at: &At<'_>) {
    at.field("targetPortal").not_empty();
    let iqn = at.field("iqn");
    match iqn.text() {
        "" => iqn.required(""),
        text if !["iqn", "eui", "naa"].iter().any(|p| text.starts_with(p)) => {
            iqn.invalid("must be valid format starting with iqn, eui, or naa");
        }
        _ => {}
    }
    if at.field("lun").is() {
        at.field("lun").between(0, 255);
    }
    if (at.field("chapAuthDiscovery").truth() || at.field("chapAuthSession").truth()) && !at.has("secretRef") {
        at.field("secretRef").required("");
    }
    let initiator = at.field("initiatorName").named(format!("{}.initiatorname", at.path));
    if initiator.is() && !["iqn", "eui", "naa"].iter().any(|p| initiator.text().starts_with(p)) {
        initiator.invalid("must be valid format starting with iqn, eui, or naa");
    }
}

fn csi(at: &At<'_>) {
    at.field("driver").not_empty();
    // A PersistentVolume's source names the volume; a pod's does not have one.
    if at.path.starts_with("spec.csi") {
        at.field("volumeHandle").not_empty();
    }
}

fn azure_disk(at: &At<'_>) {
    at.field("diskName").not_empty();
    let uri = at.field("diskURI");
    let managed = at.get("kind") == "Managed";
    match uri.text() {
        "" => uri.required(""),
        text if managed && !text.starts_with("/subscriptions/") => uri.unsupported(&[
            "/subscriptions/{sub-id}/resourcegroups/{group-name}/providers/microsoft.compute/disks/{disk-id}",
        ]),
        text if !managed && !text.starts_with("https://") => {
            uri.unsupported(&["https://{account-name}.blob.core.windows.net/{container-name}/{disk-name}.vhd"]);
        }
        _ => {}
    }
}

fn mode(at: &At<'_>) {
    if at.int().is_some_and(|m| !(0..=0o777).contains(&m)) {
        at.invalid("must be a number between 0 and 0777 (octal), both inclusive");
    }
}

fn files(at: &At<'_>) {
    mode(&at.field("defaultMode"));
    at.field("items").items().for_each(|i| key_to_path(&i));
}

fn key_to_path(at: &At<'_>) {
    at.field("key").not_empty();
    at.field("path").not_empty();
    words::strict_local_path(&at.field("path"));
    mode(&at.field("mode"));
}

/// `list` is where complaints about the file are said to stand.
fn downward_file(list: &At<'_>, file: &At<'_>) {
    let place = |key: &str| file.field(key).named(format!("{}.{key}", list.path));
    match file.get("path") {
        "" => place("path").required(""),
        _ => words::strict_local_path(&place("path")),
    }
    match (file.has("fieldRef"), file.has("resourceFieldRef")) {
        (true, both) => {
            environment::field_ref(&place("fieldRef"), environment::FILE_FIELDS);
            if both {
                list.invalid_text("resource", "fieldRef and resourceFieldRef can not be specified simultaneously");
            }
        }
        (false, true) => environment::resource_ref(&place("resourceFieldRef"), true),
        (false, false) => list.required("one of fieldRef and resourceFieldRef is required"),
    }
    mode(&place("mode"));
}

const PROJECTED: &[&str] =
    &["secret", "configMap", "downwardAPI", "serviceAccountToken", "clusterTrustBundle", "podCertificate"];

fn projected(at: &At<'_>) {
    let mut paths: Vec<&str> = Vec::new();
    for source in at.field("sources").items() {
        let mut set = 0;
        for name in PROJECTED.iter().filter(|p| source.has(p)) {
            set += 1;
            let one = source.field(name);
            match set {
                1 => projection(at, &one, name, &mut paths),
                _ => one.forbidden("may not specify more than 1 volume type per source"),
            }
        }
    }
    mode(&at.field("defaultMode"));
}

fn projection<'a>(volume: &At<'_>, at: &At<'a>, name: &str, paths: &mut Vec<&'a str>) {
    let mut take = |path: &'a str| {
        if !path.is_empty() && paths.contains(&path) {
            volume.invalid_text(at.get("name"), "conflicting duplicate paths");
        }
        paths.push(path);
    };
    match name {
        "secret" | "configMap" => {
            at.field("name").not_empty();
            for item in at.field("items").items() {
                key_to_path(&item);
                take(item.get("path"));
            }
        }
        "downwardAPI" => {
            for item in at.field("items").items() {
                downward_file(at, &item);
                take(item.get("path"));
            }
        }
        "serviceAccountToken" => {
            token(volume, at);
            take(at.get("path"));
        }
        _ => {}
    }
}

fn token(volume: &At<'_>, at: &At<'_>) {
    let seconds = at.field("expirationSeconds");
    match seconds.int() {
        Some(s) if s < 600 => seconds.invalid("may not specify a duration less than 10 minutes"),
        Some(s) if s > 1 << 32 => seconds.invalid("may not specify a duration larger than 2^32 seconds"),
        _ => {}
    }
    let path = at.field("path").named(format!("{}.path", volume.path));
    match path.text() {
        "" => path.required(""),
        _ => words::strict_local_path(&path),
    }
}

fn ephemeral(at: &At<'_>) {
    let template = at.field("volumeClaimTemplate");
    if !template.is() {
        return template.required("");
    }
    super::metadata::labels(&template.fields(&["metadata", "labels"]));
    super::metadata::annotations(&template.fields(&["metadata", "annotations"]));
    claims::claim_spec(&template.field("spec"));
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
