//! The sources of volumes, one by one: what a pod's volume or a PersistentVolume is made of.

use super::at::At;
use super::volumes::{LONG_PORTAL, is_long_portal};
use super::{claims, metadata, projections, words};
use crate::names;

/// Whose source it is.
#[derive(Debug, Clone, Copy)]
pub(super) enum Owner<'a> {
    /// A pod's; `whole` of a pod itself, and not of a template.
    Pod { whole: bool },
    /// A PersistentVolume's.
    Volume { name: &'a str },
}

const HOST_PATHS: &[&str] =
    &["", "BlockDevice", "CharDevice", "Directory", "DirectoryOrCreate", "File", "FileOrCreate", "Socket"];

/// The source that a volume has under this name.
pub(super) fn source(volume: &At<'_>, name: &str, owner: Owner<'_>) {
    let at = &volume.field(name);
    let is_volume = matches!(owner, Owner::Volume { .. });
    match name {
        "emptyDir" => {
            if words::amount(&at.field("sizeLimit")).is_some_and(|q| q.signum() < 0) {
                at.field("sizeLimit").forbidden("SizeLimit field must be a valid resource quantity");
            }
        }
        "hostPath" => host_path(at),
        "gitRepo" => {
            at.field("repository").not_empty();
            words::local_path(&at.field("directory"));
        }
        "gcePersistentDisk" => partition(&at.named(volume.field("persistentDisk").path), "pdName"),
        "awsElasticBlockStore" => partition(at, "volumeID"),
        "secret" => projections::files(at, "secretName"),
        "configMap" => projections::files(at, "name"),
        "nfs" => nfs(at),
        "iscsi" => iscsi(at, owner),
        "flocker" => flocker(at),
        "fc" => fibre(at),
        "downwardAPI" => projections::downward(at),
        "projected" => projections::projected(at),
        "csi" => csi(at, is_volume),
        "local" => match at.get("path") {
            "" => at.field("path").required(""),
            _ => words::no_steps_up(&at.field("path")),
        },
        "ephemeral" => ephemeral(at),
        "image" => image(at, matches!(owner, Owner::Pod { whole: true })),
        "azureDisk" => azure_disk(at),
        "quobyte" => quobyte(at),
        "storageos" => storageos(at, is_volume),
        "flexVolume" => flex(at),
        _ => required_fields(at, name, is_volume),
    }
}

/// What the sources of other makers must say at least.
fn required_fields(at: &At<'_>, name: &str, is_volume: bool) {
    let fields: &[&str] = match name {
        "persistentVolumeClaim" => &["claimName"],
        "cinder" | "portworxVolume" => &["volumeID"],
        "glusterfs" => &["endpoints", "path"],
        "rbd" => &["monitors", "image"],
        "cephfs" => &["monitors"],
        "azureFile" => &["secretName", "shareName"],
        "photonPersistentDisk" => &["pdID"],
        "vsphereVolume" => &["volumePath"],
        "scaleIO" => &["gateway", "system", "volumeName"],
        _ => &[],
    };
    fields.iter().for_each(|f| at.field(f).not_empty());
    match name {
        "cinder" => secret(&at.field("secretRef"), is_volume),
        "glusterfs" if is_volume && at.has("endpointsNamespace") => {
            let namespace = at.field("endpointsNamespace");
            match namespace.text() {
                "" => namespace.invalid("if the endpointnamespace is set, it must be a valid namespace name"),
                _ => namespace.matches(names::dns1123_label),
            }
        }
        "azureFile" if is_volume && at.has("secretNamespace") => at.field("secretNamespace").not_empty(),
        _ => {}
    }
}

/// A reference to a Secret that says its name, and of a PersistentVolume its namespace.
fn secret(at: &At<'_>, is_volume: bool) {
    if !at.is() {
        return;
    }
    at.field("name").not_empty();
    if is_volume {
        at.field("namespace").not_empty();
    }
}

fn host_path(at: &At<'_>) {
    if at.get("path").is_empty() {
        return at.field("path").required("");
    }
    words::no_steps_up(&at.field("path"));
    at.field("type").maybe_one_of(HOST_PATHS);
}

fn partition(at: &At<'_>, id: &str) {
    at.field(id).not_empty();
    let partition = at.field("partition");
    if partition.int().is_some_and(|p| !(0..=255).contains(&p)) {
        partition.invalid("must be between 1 and 255, inclusive");
    }
}

fn nfs(at: &At<'_>) {
    at.field("server").not_empty();
    let path = at.field("path");
    path.not_empty();
    if !path.text().starts_with('/') {
        path.invalid_text(path.text(), "must be an absolute path");
    }
}

fn iscsi(at: &At<'_>, owner: Owner<'_>) {
    at.field("targetPortal").not_empty();
    let wrong_start = match owner {
        Owner::Pod { .. } => "must be valid format starting with iqn, eui, or naa",
        Owner::Volume { name } => {
            if is_long_portal(name, at) {
                let portal = at.field("targetPortal").named(format!("{}.targetportal", at.path));
                portal.invalid_text(portal.text(), LONG_PORTAL);
            }
            "must be valid format"
        }
    };
    let iqn = at.field("iqn");
    match iqn.text() {
        "" => iqn.required(""),
        _ => qualified(&iqn, wrong_start),
    }
    if at.has("lun") {
        at.field("lun").between(0, 255);
    }
    let secret = at.field("secretRef");
    if (at.field("chapAuthDiscovery").truth() || at.field("chapAuthSession").truth()) && !secret.is() {
        secret.required("");
    }
    if secret.is() && matches!(owner, Owner::Volume { .. }) {
        secret.field("name").not_empty();
    }
    let initiator = at.field("initiatorName").named(format!("{}.initiatorname", at.path));
    if initiator.is() {
        qualified(&initiator, wrong_start);
    }
}

/// A name of one of the three kinds that iSCSI has.
fn qualified(at: &At<'_>, wrong_start: &str) {
    let text = at.text();
    let letters = |tail: &str, count| tail.len() == count && tail.bytes().all(|b| b.is_ascii_alphanumeric());
    // Behind the kind stands any character, then the rest.
    let rest = |text: &str| text.get(3..).and_then(|t| t.char_indices().nth(1).map(|(i, _)| t[i..].to_owned()));
    let good = match text.get(..3) {
        Some("iqn") => text.match_indices("iqn.").any(|(i, _)| is_iqn(&text[i + 4..])),
        Some("eui") => rest(text).is_some_and(|r| letters(&r, 16)),
        Some("naa") => rest(text).is_some_and(|r| letters(&r, 32)),
        _ => return at.invalid_text(text, wrong_start),
    };
    if !good {
        at.invalid_text(text, "must be valid format");
    }
}

/// `2020-01.com.example:disk`, the part behind `iqn.`.
fn is_iqn(text: &str) -> bool {
    let digits = |part: Option<&str>| part.is_some_and(|p| p.bytes().all(|b| b.is_ascii_digit()));
    let shaped =
        digits(text.get(..4)) && text.get(4..5) == Some("-") && digits(text.get(5..7)) && text.get(7..8) == Some(".");
    let Some((authority, name)) = text.get(8..).filter(|_| shaped).and_then(|rest| rest.split_once(':')) else {
        return false;
    };
    let in_authority = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.');
    let in_name = |c: char| !matches!(c, ',' | ';' | '*' | '&' | '$' | '|') && !c.is_ascii_whitespace();
    !authority.is_empty() && authority.bytes().all(in_authority) && !name.is_empty() && name.chars().all(in_name)
}

fn flocker(at: &At<'_>) {
    let name = at.field("datasetName");
    match (name.is_empty(), at.field("datasetUUID").is_empty()) {
        (true, true) => at.required("one of datasetName and datasetUUID is required"),
        (false, false) => {
            at.invalid_text("resource", "datasetName and datasetUUID can not be specified simultaneously")
        }
        _ => {}
    }
    if name.text().contains('/') {
        name.invalid("must not contain '/'");
    }
}

fn fibre(at: &At<'_>) {
    let (targets, lun) = (at.field("targetWWNs"), at.field("lun"));
    match (targets.is_empty(), at.field("wwids").is_empty()) {
        (true, true) => targets.required("must specify either targetWWNs or wwids, but not both"),
        (false, false) => targets.invalid("targetWWNs and wwids can not be specified simultaneously"),
        _ => {}
    }
    if targets.is_empty() {
        return;
    }
    match lun.is() {
        true => lun.between(0, 255),
        false => lun.required("lun is required if targetWWNs is specified"),
    }
}

fn flex(at: &At<'_>) {
    at.field("driver").not_empty();
    for (key, option) in at.field("options").pairs() {
        let namespace = key.split_once('/').map_or(key, |(namespace, _)| namespace);
        let domain = format!(".{}", namespace.to_lowercase());
        if domain.ends_with(".kubernetes.io") || domain.ends_with(".k8s.io") {
            option.invalid_text(key, "kubernetes.io and k8s.io namespaces are reserved");
        }
    }
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

fn storageos(at: &At<'_>, is_volume: bool) {
    at.field("volumeName").required_matches(names::dns1123_label);
    if !at.get("volumeNamespace").is_empty() {
        at.field("volumeNamespace").matches(names::dns1123_label);
    }
    secret(&at.field("secretRef"), is_volume);
}

fn csi(at: &At<'_>, is_volume: bool) {
    driver_name(&at.field("driver"));
    if !is_volume {
        let name = at.fields(&["nodePublishSecretRef", "name"]);
        if at.has("nodePublishSecretRef") && name.is_empty() {
            name.required("");
        } else if !name.is_empty() {
            name.named(at.field("name").path).matches(names::dns1123_subdomain);
        }
        return;
    }
    at.field("volumeHandle").not_empty();
    for which in ["controllerPublish", "controllerExpand", "nodePublish", "nodeExpand"] {
        let secret = at.field(&format!("{which}SecretRef"));
        if secret.is() {
            secret.field("name").required_matches(names::dns1123_subdomain);
            secret.field("namespace").required_matches(names::dns1123_label);
        }
    }
}

/// As upstream's.
const MAX_DRIVER: usize = 63;

/// The name of a driver, whose letters may be large.
fn driver_name(at: &At<'_>) {
    if at.is_empty() {
        return at.required("");
    }
    if at.text().len() > MAX_DRIVER {
        at.too_long(MAX_DRIVER);
    }
    names::dns1123_subdomain(&at.text().to_lowercase()).iter().for_each(|why| at.invalid(why));
}

fn azure_disk(at: &At<'_>) {
    at.field("diskName").not_empty();
    let (uri, kind) = (at.field("diskURI"), at.field("kind"));
    uri.not_empty();
    at.field("cachingMode").maybe_one_of(&["None", "ReadOnly", "ReadWrite"]);
    kind.maybe_one_of(&["Dedicated", "Managed", "Shared"]);
    let (start, example) = match kind.text() {
        "Managed" => (
            "/subscriptions/",
            "/subscriptions/{sub-id}/resourcegroups/{group-name}/providers/microsoft.compute/disks/{disk-id}",
        ),
        _ => ("https://", "https://{account-name}.blob.core.windows.net/{container-name}/{disk-name}.vhd"),
    };
    if kind.is() && !uri.text().starts_with(start) {
        uri.unsupported(&[example]);
    }
}

fn image(at: &At<'_>, of_pod: bool) {
    if of_pod {
        at.field("reference").not_empty();
    }
    let policy = at.field("pullPolicy");
    match policy.text() {
        "" => policy.required(""),
        _ => policy.one_of(&["Always", "IfNotPresent", "Never"]),
    }
}

/// What the metadata of a template of claims may not say, by the names that messages have.
const NOT_IN_TEMPLATES: &[(&str, &str)] = &[
    ("name", "name"),
    ("generateName", "generateName"),
    ("namespace", "namespace"),
    ("selfLink", "selfLink"),
    ("uid", "uID"),
    ("resourceVersion", "resourceVersion"),
    ("generation", "generation"),
    ("creationTimestamp", "creationTimestamp"),
    ("deletionTimestamp", "deletionTimestamp"),
    ("deletionGracePeriodSeconds", "deletionGracePeriodSeconds"),
    ("ownerReferences", "ownerReferences"),
    ("finalizers", "finalizers"),
    ("managedFields", "managedFields"),
];

fn ephemeral(at: &At<'_>) {
    let template = at.field("volumeClaimTemplate");
    if !template.is() {
        return template.required("");
    }
    let meta = template.field("metadata");
    metadata::annotations(&meta.field("annotations"));
    metadata::labels(&meta.field("labels"));
    for (field, shown) in NOT_IN_TEMPLATES {
        let set = meta.field(field);
        let counts = set.int().is_some_and(|i| i != 0) || set.int().is_none() && !set.is_empty();
        if counts || *field == "deletionGracePeriodSeconds" && set.is() {
            meta.field(shown).forbidden("cannot be set");
        }
    }
    claims::claim_spec(&template.field("spec"));
}
