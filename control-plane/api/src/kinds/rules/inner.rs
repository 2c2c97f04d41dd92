//! Objects as the server's inner types show them in messages: every field under its Go name, in the type's order, and
//! how two of them differ, line by line.

use crate::codec::json;
use crate::schema::{self, Field, Presence, Schema, Type};
use crate::value::Value;

/// The orders of inner types that differ from the published ones. `name=text` is a field that the published type has
/// elsewhere, with how it shows when it is not set.
const ORDERS: &[(&str, &str)] = &[
    (
        "Volume",
        "Name HostPath EmptyDir GCEPersistentDisk AWSElasticBlockStore GitRepo Secret NFS ISCSI Glusterfs PersistentVolumeClaim RBD Quobyte FlexVolume Cinder CephFS Flocker DownwardAPI FC AzureFile ConfigMap VsphereVolume AzureDisk PhotonPersistentDisk Projected PortworxVolume ScaleIO StorageOS CSI Ephemeral Image",
    ),
    (
        "PersistentVolumeSource",
        "GCEPersistentDisk AWSElasticBlockStore HostPath Glusterfs NFS RBD Quobyte ISCSI FlexVolume Cinder CephFS FC Flocker AzureFile VsphereVolume AzureDisk PhotonPersistentDisk PortworxVolume ScaleIO Local StorageOS CSI",
    ),
    (
        "PersistentVolumeSpec",
        "Capacity GCEPersistentDisk AWSElasticBlockStore HostPath Glusterfs NFS RBD Quobyte ISCSI FlexVolume Cinder CephFS FC Flocker AzureFile VsphereVolume AzureDisk PhotonPersistentDisk PortworxVolume ScaleIO Local StorageOS CSI AccessModes ClaimRef PersistentVolumeReclaimPolicy StorageClassName MountOptions VolumeMode NodeAffinity VolumeAttributesClassName",
    ),
    (
        "ISCSIVolumeSource ISCSIPersistentVolumeSource",
        "TargetPortal IQN Lun ISCSIInterface FSType ReadOnly Portals DiscoveryCHAPAuth SessionCHAPAuth SecretRef InitiatorName",
    ),
    ("AzureDiskVolumeSource", "DiskName DataDiskURI CachingMode FSType ReadOnly Kind"),
    (
        "SecurityContext",
        "Capabilities Privileged SELinuxOptions WindowsOptions RunAsUser RunAsGroup RunAsNonRoot ReadOnlyRootFilesystem AllowPrivilegeEscalation ProcMount SeccompProfile AppArmorProfile",
    ),
    ("ServicePort", "Name Protocol AppProtocol Port TargetPort NodePort"),
    ("Probe", "Exec HTTPGet TCPSocket GRPC"),
    ("ObjectReference", "Kind Namespace Name UID APIVersion ResourceVersion FieldPath"),
    ("VolumeMount", "Name ReadOnly RecursiveReadOnly MountPath SubPath MountPropagation SubPathExpr"),
    ("DeviceClaimConfiguration", "Requests Opaque"),
    ("DeviceSelector", "CEL"),
    ("VolumeProjection", "Secret DownwardAPI ConfigMap ServiceAccountToken ClusterTrustBundle PodCertificate"),
    ("ObjectFieldSelector", "APIVersion FieldPath"),
    (
        "PodSpec",
        "Volumes InitContainers Containers EphemeralContainers RestartPolicy TerminationGracePeriodSeconds ActiveDeadlineSeconds DNSPolicy NodeSelector ServiceAccountName AutomountServiceAccountToken NodeName SecurityContext ImagePullSecrets Hostname Subdomain SetHostnameAsFQDN Affinity SchedulerName Tolerations HostAliases PriorityClassName Priority PreemptionPolicy DNSConfig ReadinessGates RuntimeClassName Overhead EnableServiceLinks TopologySpreadConstraints OS SchedulingGates ResourceClaims Resources HostnameOverride SchedulingGroup",
    ),
    (
        "PodSecurityContext",
        "HostNetwork=false HostPID=false HostIPC=false ShareProcessNamespace=null HostUsers=null SELinuxOptions WindowsOptions RunAsUser RunAsGroup RunAsNonRoot SupplementalGroups SupplementalGroupsPolicy FSGroup FSGroupChangePolicy Sysctls SeccompProfile AppArmorProfile SELinuxChangePolicy",
    ),
    (
        "PersistentVolumeClaimSpec",
        "AccessModes Selector Resources VolumeName StorageClassName VolumeMode DataSource DataSourceRef VolumeAttributesClassName",
    ),
];

/// The fields of a pod that its inner type keeps in the security context.
const HOST_FIELDS: &[&str] = &["hostNetwork", "hostPID", "hostIPC", "shareProcessNamespace", "hostUsers"];
/// Fields that the inner type calls otherwise than by its own letters: type, published name, inner name.
const RENAMED: &[(&str, &str, &str)] = &[
    ("AWSElasticBlockStoreVolumeSource", "volumeID", "VolumeID"),
    ("AzureDiskVolumeSource", "diskURI", "DataDiskURI"),
    ("DeviceAttribute", "bool", "BoolValue"),
    ("DeviceAttribute", "bools", "BoolValues"),
    ("DeviceAttribute", "int", "IntValue"),
    ("DeviceAttribute", "ints", "IntValues"),
    ("DeviceAttribute", "string", "StringValue"),
    ("DeviceAttribute", "strings", "StringValues"),
    ("DeviceAttribute", "version", "VersionValue"),
    ("DeviceAttribute", "versions", "VersionValues"),
    ("FCVolumeSource", "wwids", "WWIDs"),
    ("GCEPersistentDiskVolumeSource", "pdName", "PDName"),
    ("GlusterfsPersistentVolumeSource", "endpoints", "EndpointsName"),
    ("GlusterfsVolumeSource", "endpoints", "EndpointsName"),
    ("ISCSIPersistentVolumeSource", "chapAuthDiscovery", "DiscoveryCHAPAuth"),
    ("ISCSIPersistentVolumeSource", "chapAuthSession", "SessionCHAPAuth"),
    ("ISCSIVolumeSource", "chapAuthDiscovery", "DiscoveryCHAPAuth"),
    ("ISCSIVolumeSource", "chapAuthSession", "SessionCHAPAuth"),
    ("RBDPersistentVolumeSource", "image", "RBDImage"),
    ("RBDPersistentVolumeSource", "monitors", "CephMonitors"),
    ("RBDPersistentVolumeSource", "pool", "RBDPool"),
    ("RBDPersistentVolumeSource", "user", "RadosUser"),
    ("RBDVolumeSource", "image", "RBDImage"),
    ("RBDVolumeSource", "monitors", "CephMonitors"),
    ("RBDVolumeSource", "pool", "RBDPool"),
    ("RBDVolumeSource", "user", "RadosUser"),
    ("ScaleIOPersistentVolumeSource", "sslEnabled", "SSLEnabled"),
    ("ScaleIOVolumeSource", "sslEnabled", "SSLEnabled"),
    ("SecurityContext", "seLinuxOptions", "SELinuxOptions"),
    ("WindowsSecurityContextOptions", "gmsaCredentialSpec", "GMSACredentialSpec"),
    ("WindowsSecurityContextOptions", "gmsaCredentialSpecName", "GMSACredentialSpecName"),
];
/// What the published pod has and the inner one has not.
const DROPPED: &[(&str, &str)] = &[("PodSpec", "serviceAccount")];

/// A value as it is shown.
enum Shown {
    Text(String),
    List(Vec<Shown>),
    Map(Vec<(String, Shown)>),
}

/// JSON of the inner type: every field, under its Go name.
pub(super) fn inner(value: Option<&Value>, schema: Option<&'static Schema>) -> String {
    let mut out = String::new();
    show(value, schema, None).compact(&mut out);
    out
}

/// What differs between two values of a type, as `diff -u` says it, with what `order` names as the inner type.
pub(super) fn changes(old: Option<&Value>, new: Option<&Value>, type_name: &str, order: Option<&str>) -> String {
    let lines = |value: Option<&Value>| {
        let mut out = String::new();
        show(value, schema::find(type_name), order).indented(0, &mut out);
        out.lines().map(str::to_owned).collect::<Vec<_>>()
    };
    super::lines::unified(&lines(old), &lines(new))
}

/// The same of two lists.
pub(super) fn list_changes(old: &[&Value], new: &[&Value], type_name: &str) -> String {
    let lines = |list: &[&Value]| {
        let mut out = String::new();
        Shown::List(list.iter().map(|v| show(Some(v), schema::find(type_name), None)).collect()).indented(0, &mut out);
        out.lines().map(str::to_owned).collect::<Vec<_>>()
    };
    super::lines::unified(&lines(old), &lines(new))
}

/// `only` names an order whose fields alone are shown.
fn show(value: Option<&Value>, schema: Option<&'static Schema>, only: Option<&str>) -> Shown {
    let Some(schema) = schema else { return Shown::Text(value.map_or_else(|| "null".into(), json_text)) };
    if schema.package.contains("apimachinery") {
        return published(value, Some(schema));
    }
    let lifted;
    let value = match value {
        Some(value) if schema.name == "PodSpec" => {
            lifted = lift(value);
            Some(&lifted)
        }
        other => other,
    };
    let order = ORDERS
        .iter()
        .find(|(names, _)| names.split(' ').any(|n| n == only.unwrap_or(schema.name)))
        .map_or("", |(_, order)| *order);
    let mut fields: Vec<&Field> = schema.fields.iter().filter(|f| !f.hidden).collect();
    let host = |name| schema.name == "PodSpec" && HOST_FIELDS.contains(&name);
    fields.retain(|f| !DROPPED.contains(&(schema.name, f.name)) && !host(f.name));
    fields.sort_by_key(|f| schema::position(schema, f.name));
    let mut out = Vec::new();
    for word in order.split_whitespace() {
        let (go, unset) = word.split_once('=').map_or((word, None), |(go, unset)| (go, Some(unset)));
        match fields.iter().position(|f| f.name.eq_ignore_ascii_case(go) || inner_name(schema, f.name) == go) {
            Some(i) => out.push((go.to_owned(), field(value, fields.remove(i)))),
            None => out.extend(unset.map(|unset| (go.to_owned(), elsewhere(value, go, unset)))),
        }
    }
    if only.is_none() {
        for f in fields {
            match f.ty.schema().filter(|s| s.name == "ObjectMeta") {
                // Embedded: its fields stand among the others.
                Some(of) => out.extend(embedded(value.and_then(|v| v.get(f.name)), of)),
                None => out.push((inner_name(schema, f.name), field(value, f))),
            }
        }
    }
    Shown::Map(out)
}

/// A value of a type that is the same within and without: only what is set, in the type's order.
fn published(value: Option<&Value>, schema: Option<&'static Schema>) -> Shown {
    let below = |key: &str| schema.and_then(|s| s.field(key)).and_then(|f| f.ty.schema());
    match value {
        Some(Value::Map(map)) => {
            let mut pairs: Vec<_> = map.iter().collect();
            pairs.sort_by_key(|(key, _)| schema.map_or(0, |s| schema::position(s, key)));
            Shown::Map(pairs.into_iter().map(|(k, v)| (k.to_string(), published(Some(v), below(k)))).collect())
        }
        Some(Value::List(items)) => Shown::List(items.iter().map(|v| published(Some(v), schema)).collect()),
        other => Shown::Text(other.map_or_else(|| "null".into(), json_text)),
    }
}

/// The published names, in the type's order.
fn embedded(meta: Option<&Value>, schema: &'static Schema) -> Vec<(String, Shown)> {
    let pairs = meta.and_then(Value::as_map).into_iter().flat_map(|m| m.iter());
    let mut pairs: Vec<_> = pairs.filter(|(_, v)| !v.is_null()).collect();
    pairs.sort_by_key(|(k, _)| schema::position(schema, k));
    let of = |k: &str| schema.field(k).and_then(|f| f.ty.schema());
    pairs.into_iter().map(|(k, v)| (k.to_string(), published(Some(v), of(k)))).collect()
}

fn elsewhere(value: Option<&Value>, go: &str, unset: &str) -> Shown {
    let held = value.and_then(Value::as_map).and_then(|m| m.iter().find(|(k, _)| k.eq_ignore_ascii_case(go)));
    Shown::Text(held.map_or_else(|| unset.to_owned(), |(_, v)| json_text(v)))
}

/// A pod with what its inner type keeps in the security context there.
fn lift(spec: &Value) -> Value {
    let mut spec = spec.clone();
    let Some(map) = spec.as_map_mut() else { return spec };
    for key in HOST_FIELDS {
        if let Some(value) = map.remove(key) {
            map.entry("securityContext").make_map().insert(*key, value);
        }
    }
    spec
}

fn field(value: Option<&Value>, field: &Field) -> Shown {
    one(value.and_then(|v| v.get(field.name)).filter(|v| !v.is_null()), &field.ty, field.presence)
}

fn one(value: Option<&Value>, ty: &Type, presence: Presence) -> Shown {
    let pointer = !matches!(presence, Presence::Value | Presence::ValueAlways);
    let text = match (ty, value) {
        (Type::Struct(s), value) if value.is_some() || !pointer => return show(value, Some(s.get()), None),
        (Type::List(item), Some(Value::List(items))) => {
            return Shown::List(items.iter().map(|v| one(Some(v), item, Presence::Value)).collect());
        }
        (Type::Map(item), Some(Value::Map(map))) => {
            let pairs = map.iter().map(|(k, v)| (k.to_string(), one(Some(v), item, Presence::Value)));
            return Shown::Map(pairs.collect());
        }
        (_, Some(value)) => json_text(value),
        (_, None) if pointer => "null".into(),
        (Type::String | Type::Bytes, None) => "\"\"".into(),
        (Type::Bool, None) => "false".into(),
        (Type::Int32 | Type::Int64 | Type::Double, None) => "0".into(),
        (_, None) => "null".into(),
    };
    Shown::Text(text)
}

fn json_text(value: &Value) -> String {
    String::from_utf8_lossy(&json::encode(value)).into_owned()
}

/// Names whose first letters are a word of their own in Go.
const GO_NAMES: &[(&str, &str)] = &[
    ("apiGroup", "APIGroup"),
    ("apiGroups", "APIGroups"),
    ("apiVersion", "APIVersion"),
    ("chapAuthDiscovery", "DiscoveryCHAPAuth"),
    ("chapAuthSession", "SessionCHAPAuth"),
    ("cidr", "CIDR"),
    ("cidrs", "CIDRs"),
    ("diskURI", "DataDiskURI"),
    ("fsGroupPolicy", "FSGroupPolicy"),
    ("fsType", "FSType"),
    ("gmsaCredentialSpec", "GMSACredentialSpec"),
    ("gmsaCredentialSpecName", "GMSACredentialSpecName"),
    ("grpc", "GRPC"),
    ("httpGet", "HTTPGet"),
    ("httpHeaders", "HTTPHeaders"),
    ("ip", "IP"),
    ("ipBlock", "IPBlock"),
    ("ips", "IPs"),
    ("iqn", "IQN"),
    ("iscsiInterface", "ISCSIInterface"),
    ("seLinuxMount", "SELinuxMount"),
    ("seLinuxOptions", "SELinuxOptions"),
    ("sslEnabled", "SSLEnabled"),
    ("tcpSocket", "TCPSocket"),
    ("tls", "TLS"),
    ("ttlSecondsAfterFinished", "TTLSecondsAfterFinished"),
    ("tty", "TTY"),
    ("uid", "UID"),
    ("wwids", "WWIDs"),
];

fn inner_name(schema: &Schema, name: &str) -> String {
    let renamed = RENAMED.iter().find(|(of, published, _)| *of == schema.name && *published == name);
    renamed.map_or_else(|| go_name(name), |(.., own)| (*own).to_owned())
}

fn go_name(name: &str) -> String {
    if let Some((_, go)) = GO_NAMES.iter().find(|(own, _)| *own == name) {
        return (*go).to_owned();
    }
    let mut chars = name.chars();
    chars.next().map_or_else(String::new, |c| c.to_uppercase().chain(chars).collect())
}

impl Shown {
    fn compact(&self, out: &mut String) {
        match self {
            Shown::Text(text) => out.push_str(text),
            Shown::List(items) => wrap(out, ['[', ']'], items, |item, out| item.compact(out)),
            Shown::Map(pairs) => wrap(out, ['{', '}'], pairs, |(key, value), out| {
                out.push_str(&format!("{key:?}:"));
                value.compact(out);
            }),
        }
    }

    /// One line per scalar, one space per level.
    fn indented(&self, depth: usize, out: &mut String) {
        match self {
            Shown::Text(text) => out.push_str(text),
            Shown::List(items) if items.is_empty() => out.push_str("[]"),
            Shown::Map(pairs) if pairs.is_empty() => out.push_str("{}"),
            Shown::List(items) => wrap(out, ['[', ']'], items.iter().enumerate(), |(i, item), out| {
                line(out, depth + 1);
                item.indented(depth + 1, out);
                if i + 1 == items.len() {
                    line(out, depth);
                }
            }),
            Shown::Map(pairs) => wrap(out, ['{', '}'], pairs.iter().enumerate(), |(i, (key, value)), out| {
                line(out, depth + 1);
                out.push_str(&format!("{key:?}: "));
                value.indented(depth + 1, out);
                if i + 1 == pairs.len() {
                    line(out, depth);
                }
            }),
        }
    }
}

fn line(out: &mut String, depth: usize) {
    out.push('\n');
    out.extend(std::iter::repeat_n(' ', depth));
}

fn wrap<T>(
    out: &mut String,
    [open, close]: [char; 2],
    items: impl IntoIterator<Item = T>,
    mut put: impl FnMut(T, &mut String),
) {
    out.push(open);
    for (i, item) in items.into_iter().enumerate() {
        if i > 0 {
            out.push(',');
        }
        put(item, out);
    }
    out.push(close);
}
