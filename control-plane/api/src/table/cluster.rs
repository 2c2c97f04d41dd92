//! Rows of what a cluster is made of: nodes, storage, configuration, access, extensions.

use super::age::{age, human_duration};
use super::text::{NONE, UNSET, condition, flag, go_selector, int, items, or, part, texts};
use super::{default_name, row};
use crate::kind::Kind;
use crate::object::Object;
use crate::value::Value;

/// A function of rows from the cells it names.
macro_rules! rows {
    ($(fn $name:ident($object:ident, $now:ident) { $($column:pat => $cell:expr),* $(,)? })*) => {
        $(pub(crate) fn $name(kind: &Kind, $object: &Object, $now: i64) -> Vec<Value> {
            row(kind, $object, $now, |column| Some(match column {
                $($column => $cell,)*
                _ => return None,
            }))
        })*
    };
}

fn count(object: &Object, path: &[&str]) -> i64 {
    object.at(path).map_or(0, |v| v.as_list().map_or(v.as_map().map_or(0, |m| m.len()), <[Value]>::len) as i64)
}

fn text(object: &Object, path: &[&str]) -> Value {
    Value::from(object.str_at(path))
}

/// Which StorageClass is the default, now and long ago.
const DEFAULT_CLASS: [&str; 2] =
    ["storageclass.kubernetes.io/is-default-class", "storageclass.beta.kubernetes.io/is-default-class"];

rows! {
    fn config_maps(o, now) {
        "Data" => Value::from(count(o, &["data"]) + count(o, &["binaryData"])),
    }
    fn secrets(o, now) {
        "Type" => text(o, &["type"]),
        "Data" => Value::from(count(o, &["data"])),
    }
    fn namespaces(o, now) {
        "Status" => text(o, &["status", "phase"]),
    }
    fn component_statuses(o, now) {
        "Status" => Value::from(match healthy(o) { Some("True") => "Healthy", Some("False") => "Unhealthy", _ => "Unknown" }),
        "Message" => Value::from(items(o, &["conditions"]).first().map_or("", |c| part(c, &["message"]))),
        "Error" => Value::from(items(o, &["conditions"]).first().map_or("", |c| part(c, &["error"]))),
    }
    fn events(o, now) {
        "Last Seen" => event_time(o, now, true),
        "Type" => text(o, &["type"]),
        "Reason" => text(o, &["reason"]),
        "Object" => event_object(o),
        "Subobject" => either(o, &["involvedObject", "fieldPath"], &["regarding", "fieldPath"]),
        "Source" => event_source(o),
        "Message" => Value::from(either(o, &["message"], &["note"]).as_str().unwrap_or("").trim()),
        "First Seen" => event_time(o, now, false),
        "Count" => event_count(o),
        "Name" => Value::from(o.name()),
    }
    fn nodes(o, now) {
        "Status" => Value::from(node_status(o)),
        "Roles" => or(&node_roles(o), NONE),
        "Version" => text(o, &["status", "nodeInfo", "kubeletVersion"]),
        "Internal-IP" => or(node_address(o, "InternalIP"), NONE),
        "External-IP" => or(node_address(o, "ExternalIP"), NONE),
        "OS-Image" => or(o.str_at(&["status", "nodeInfo", "osImage"]), "<unknown>"),
        "Kernel-Version" => Value::from(kernel(o)),
        "Container-Runtime" => or(o.str_at(&["status", "nodeInfo", "containerRuntimeVersion"]), "<unknown>"),
    }
    fn volumes(o, now) {
        "Capacity" => text(o, &["spec", "capacity", "storage"]),
        "Access Modes" => Value::from(modes(&texts(o, &["spec", "accessModes"]))),
        "Reclaim Policy" => text(o, &["spec", "persistentVolumeReclaimPolicy"]),
        "Status" => phase(o),
        "Claim" => match o.at(&["spec", "claimRef"]) {
            Some(claim) => Value::from(format!("{}/{}", part(claim, &["namespace"]), part(claim, &["name"]))),
            None => Value::from(""),
        },
        "StorageClass" => storage_class(o),
        "VolumeAttributesClass" => or(o.str_at(&["spec", "volumeAttributesClassName"]), UNSET),
        "Reason" => text(o, &["status", "reason"]),
        "VolumeMode" => or(o.str_at(&["spec", "volumeMode"]), UNSET),
    }
    fn claims(o, now) {
        "Status" => phase(o),
        "Volume" => text(o, &["spec", "volumeName"]),
        "Capacity" => bound(o, or(o.str_at(&["status", "capacity", "storage"]), "0")),
        "Access Modes" => bound(o, Value::from(modes(&texts(o, &["status", "accessModes"])))),
        "StorageClass" => storage_class(o),
        "VolumeAttributesClass" => or(o.str_at(&["spec", "volumeAttributesClassName"]), UNSET),
        "VolumeMode" => or(o.str_at(&["spec", "volumeMode"]), UNSET),
    }
    fn quotas(o, now) {
        "Request" => Value::from(quota(o, false)),
        "Limit" => Value::from(quota(o, true)),
    }
    fn webhooks(o, now) {
        "Webhooks" => Value::from(count(o, &["webhooks"])),
    }
    fn policies(o, now) {
        "Validations" => Value::from(count(o, &["spec", "validations"])),
        "Mutations" => Value::from(count(o, &["spec", "mutations"])),
        "ParamKind" => match o.at(&["spec", "paramKind"]) {
            Some(p) => Value::from(format!("{}/{}", part(p, &["apiVersion"]), part(p, &["kind"]))),
            None => Value::from(UNSET),
        },
    }
    fn policy_bindings(o, now) {
        "PolicyName" => text(o, &["spec", "policyName"]),
        "ParamRef" => match o.at(&["spec", "paramRef"]) {
            Some(p) if part(p, &["name"]).is_empty() => Value::from(p.get("selector").map_or(UNSET.into(), go_selector)),
            Some(p) if part(p, &["namespace"]).is_empty() => Value::from(format!("*/{}", part(p, &["name"]))),
            Some(p) => Value::from(format!("{}/{}", part(p, &["namespace"]), part(p, &["name"]))),
            None => Value::from(UNSET),
        },
    }
    fn api_services(o, now) {
        "Service" => match o.at(&["spec", "service"]) {
            Some(s) => Value::from(format!("{}/{}", part(s, &["namespace"]), part(s, &["name"]))),
            None => Value::from("Local"),
        },
        "Available" => Value::from(available(o)),
    }
    fn certificate_requests(o, now) {
        "SignerName" => or(o.str_at(&["spec", "signerName"]), NONE),
        "Requestor" => text(o, &["spec", "username"]),
        "RequestedDuration" => match o.i64_at(&["spec", "expirationSeconds"]) {
            Some(seconds) => Value::from(human_duration(seconds)),
            None => Value::from(NONE),
        },
        "Condition" => Value::from(certificate_status(o)),
    }
    fn leases(o, now) {
        "Holder" => text(o, &["spec", "holderIdentity"]),
    }
    fn flow_schemas(o, now) {
        "PriorityLevel" => or(o.str_at(&["spec", "priorityLevelConfiguration", "name"]), NONE),
        "MatchingPrecedence" => int(o, &["spec", "matchingPrecedence"]),
        "DistinguisherMethod" => or(o.str_at(&["spec", "distinguisherMethod", "type"]), NONE),
        "MissingPL" => or(condition(o, "Dangling"), "?"),
    }
    fn priority_levels(o, now) {
        "Type" => text(o, &["spec", "type"]),
        "NominalConcurrencyShares" => limit(o, &["nominalConcurrencyShares"]),
        "Queues" => limit(o, &["limitResponse", "queuing", "queues"]),
        "HandSize" => limit(o, &["limitResponse", "queuing", "handSize"]),
        "QueueLengthLimit" => limit(o, &["limitResponse", "queuing", "queueLengthLimit"]),
    }
    fn runtime_classes(o, now) {
        "Handler" => text(o, &["handler"]),
    }
    fn role_bindings(o, now) {
        "Role" => Value::from(format!("{}/{}", o.str_at(&["roleRef", "kind"]), o.str_at(&["roleRef", "name"]))),
        "Users" => subjects(o, "User"),
        "Groups" => subjects(o, "Group"),
        "ServiceAccounts" => subjects(o, "ServiceAccount"),
    }
    fn resource_claims(o, now) {
        "State" => Value::from(claim_state(o)),
    }
    fn resource_slices(o, now) {
        "Node" => text(o, &["spec", "nodeName"]),
        "Driver" => text(o, &["spec", "driver"]),
        "Pool" => text(o, &["spec", "pool", "name"]),
    }
    fn priority_classes(o, now) {
        "Value" => int(o, &["value"]),
        "Global-Default" => flag(o, &["globalDefault"]),
        "PreemptionPolicy" => text(o, &["preemptionPolicy"]),
    }
    fn csi_drivers(o, now) {
        "AttachRequired" => Value::from(o.bool_at(&["spec", "attachRequired"]).unwrap_or(true)),
        "PodInfoOnMount" => flag(o, &["spec", "podInfoOnMount"]),
        "StorageCapacity" => flag(o, &["spec", "storageCapacity"]),
        "TokenRequests" => {
            let all: Vec<&str> = items(o, &["spec", "tokenRequests"]).iter().map(|t| part(t, &["audience"])).collect();
            Value::from(if all.is_empty() { UNSET.to_owned() } else { all.join(",") })
        },
        "RequiresRepublish" => flag(o, &["spec", "requiresRepublish"]),
        "Modes" => or(&texts(o, &["spec", "volumeLifecycleModes"]).join(","), "<none>"),
    }
    fn csi_nodes(o, now) {
        "Drivers" => Value::from(count(o, &["spec", "drivers"])),
    }
    fn storage_classes(o, now) {
        "Name" => default_name(o, &DEFAULT_CLASS),
        "Provisioner" => text(o, &["provisioner"]),
        "ReclaimPolicy" => text(o, &["reclaimPolicy"]),
        "VolumeBindingMode" => or(o.str_at(&["volumeBindingMode"]), UNSET),
        "AllowVolumeExpansion" => flag(o, &["allowVolumeExpansion"]),
    }
    fn volume_attachments(o, now) {
        "Attacher" => text(o, &["spec", "attacher"]),
        "PV" => text(o, &["spec", "source", "persistentVolumeName"]),
        "Node" => text(o, &["spec", "nodeName"]),
        "Attached" => flag(o, &["status", "attached"]),
    }
    fn attributes_classes(o, now) {
        "DriverName" => text(o, &["driverName"]),
    }
}

fn healthy(o: &Object) -> Option<&str> {
    items(o, &["conditions"]).iter().find(|c| part(c, &["type"]) == "Healthy").map(|c| part(c, &["status"]))
}

fn either(o: &Object, first: &[&str], second: &[&str]) -> Value {
    let text = o.str_at(first);
    Value::from(if text.is_empty() { o.str_at(second) } else { text })
}

/// When an event was seen, in the words of either of its two kinds.
fn event_time(o: &Object, now: i64, last: bool) -> Value {
    let series = o.str_at(&["series", "lastObservedTime"]);
    let ends: &[&str] = match last {
        true => &["lastTimestamp", "deprecatedLastTimestamp"],
        false => &[],
    };
    let starts = ["firstTimestamp", "deprecatedFirstTimestamp", "eventTime"];
    let times = ends.iter().chain(&starts).map(|f| o.str_at(&[f]));
    let found = Some(series).filter(|_| last).into_iter().chain(times).find(|t| !t.is_empty());
    age(found.unwrap_or(""), now)
}

fn event_object(o: &Object) -> Value {
    let about = o.at(&["involvedObject"]).or_else(|| o.at(&["regarding"])).unwrap_or(&Value::Null);
    let kind = part(about, &["kind"]).to_lowercase();
    match part(about, &["name"]) {
        "" => Value::from(kind),
        name => Value::from(format!("{kind}/{name}")),
    }
}

fn event_source(o: &Object) -> Value {
    let first = |paths: &[&[&str]]| paths.iter().map(|p| o.str_at(p)).find(|t| !t.is_empty()).unwrap_or("").to_owned();
    let component = first(&[
        &["source", "component"],
        &["deprecatedSource", "component"],
        &["reportingComponent"],
        &["reportingController"],
    ]);
    let host = first(&[&["source", "host"], &["deprecatedSource", "host"], &["reportingInstance"]]);
    match host.is_empty() {
        true => Value::from(component),
        false => Value::from(format!("{component}, {host}")),
    }
}

fn event_count(o: &Object) -> Value {
    let counts = [&["series", "count"][..], &["count"], &["deprecatedCount"]];
    Value::from(counts.iter().filter_map(|p| o.i64_at(p)).find(|c| *c > 0).unwrap_or(1))
}

fn node_status(o: &Object) -> String {
    let mut status = match condition(o, "Ready") {
        "" => "Unknown".to_owned(),
        "True" => "Ready".to_owned(),
        _ => "NotReady".to_owned(),
    };
    if o.bool_at(&["spec", "unschedulable"]).unwrap_or(false) {
        status.push_str(",SchedulingDisabled");
    }
    status
}

fn kernel(o: &Object) -> String {
    let info = |field| o.str_at(&["status", "nodeInfo", field]);
    let version = Some(info("kernelVersion")).filter(|v| !v.is_empty()).unwrap_or("<unknown>");
    match info("architecture") {
        "" => version.to_owned(),
        architecture => format!("{version} ({architecture})"),
    }
}

fn node_roles(o: &Object) -> String {
    let role = |(key, value): (&str, &str)| match key.strip_prefix("node-role.kubernetes.io/") {
        Some(role) if !role.is_empty() => Some(role.to_owned()),
        _ if key == "kubernetes.io/role" && !value.is_empty() => Some(value.to_owned()),
        _ => None,
    };
    let roles: std::collections::BTreeSet<String> = o.meta_pairs("labels").filter_map(role).collect();
    roles.into_iter().collect::<Vec<_>>().join(",")
}

fn node_address<'a>(o: &'a Object, kind: &str) -> &'a str {
    let addresses = items(o, &["status", "addresses"]);
    addresses.iter().find(|a| part(a, &["type"]) == kind).map_or("", |a| part(a, &["address"]))
}

/// Access modes by their short names, in a fixed order, each once.
fn modes(list: &[&str]) -> String {
    let known =
        [("ReadWriteOnce", "RWO"), ("ReadOnlyMany", "ROX"), ("ReadWriteMany", "RWX"), ("ReadWriteOncePod", "RWOP")];
    known.iter().filter(|(mode, _)| list.contains(mode)).map(|(_, short)| *short).collect::<Vec<_>>().join(",")
}

fn phase(o: &Object) -> Value {
    match o.deletion_timestamp() {
        Some(_) => Value::from("Terminating"),
        None => text(o, &["status", "phase"]),
    }
}

fn bound(o: &Object, value: Value) -> Value {
    if o.str_at(&["spec", "volumeName"]).is_empty() { Value::from("") } else { value }
}

fn storage_class(o: &Object) -> Value {
    match o.annotation("volume.beta.kubernetes.io/storage-class") {
        Some(class) => Value::from(class),
        None => text(o, &["spec", "storageClassName"]),
    }
}

/// `cpu: 1/2, memory: 1Gi/2Gi`, of limits or of all else.
fn quota(o: &Object, limits: bool) -> String {
    let hard = o.at(&["status", "hard"]).and_then(Value::as_map).into_iter().flat_map(|m| m.iter());
    let used = |name: &str| o.at(&["status", "used", name]).and_then(Value::as_str).unwrap_or("0").to_owned();
    let chosen = hard.filter(|(name, _)| name.starts_with("limits") == limits);
    chosen
        .map(|(name, hard)| format!("{name}: {}/{}", used(name), hard.as_str().unwrap_or("")))
        .collect::<Vec<_>>()
        .join(", ")
}

fn available(o: &Object) -> String {
    let conditions = items(o, &["status", "conditions"]);
    match conditions.iter().find(|c| part(c, &["type"]) == "Available") {
        None => "Unknown".into(),
        Some(c) if part(c, &["status"]) == "True" => "True".into(),
        Some(c) => format!("{} ({})", part(c, &["status"]), part(c, &["reason"])),
    }
}

fn certificate_status(o: &Object) -> String {
    let has = |kind: &str| items(o, &["status", "conditions"]).iter().any(|c| part(c, &["type"]) == kind);
    let mut status = match (has("Denied"), has("Approved")) {
        (true, _) => "Denied".to_owned(),
        (false, true) => "Approved".to_owned(),
        (false, false) => "Pending".to_owned(),
    };
    if has("Failed") {
        status.push_str(",Failed");
    }
    if !o.str_at(&["status", "certificate"]).is_empty() {
        status.push_str(",Issued");
    }
    status
}

/// Of what is exempt, upstream shows no figures.
fn limit(o: &Object, path: &[&str]) -> Value {
    let full: Vec<&str> = ["spec", "limited"].into_iter().chain(path.iter().copied()).collect();
    o.at(&full).cloned().unwrap_or_else(|| Value::from(NONE))
}

fn subjects(o: &Object, kind: &str) -> Value {
    let one = |s: &Value| match kind {
        "ServiceAccount" => format!("{}/{}", part(s, &["namespace"]), part(s, &["name"])),
        _ => part(s, &["name"]).to_owned(),
    };
    let chosen = items(o, &["subjects"]).iter().filter(|s| part(s, &["kind"]) == kind);
    Value::from(chosen.map(one).collect::<Vec<_>>().join(", "))
}

fn claim_state(o: &Object) -> String {
    let mut states = Vec::new();
    let deleted = o.deletion_timestamp().is_some();
    if deleted {
        states.push("deleted");
    }
    if o.at(&["status", "allocation"]).is_none() {
        if !deleted {
            states.push("pending");
        }
    } else {
        states.push("allocated");
        if count(o, &["status", "reservedFor"]) > 0 {
            states.push("reserved");
        }
    }
    states.join(",")
}
