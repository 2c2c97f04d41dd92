//! JSON in the order of a type's fields, as upstream's encoder writes it: messages show objects so.

use super::Schema;
use crate::codec::json;
use crate::value::{Key, Value};

/// Types whose fields do not stand in the order of their numbers, because some came later.
const ORDERS: &[(&str, &str)] = &[
    (
        "Container EphemeralContainer",
        "name image command args workingDir ports envFrom env resources resizePolicy restartPolicy restartPolicyRules \
         volumeMounts volumeDevices livenessProbe readinessProbe startupProbe lifecycle terminationMessagePath \
         terminationMessagePolicy imagePullPolicy securityContext stdin stdinOnce tty targetContainerName",
    ),
    (
        "PodSpec",
        "volumes initContainers containers ephemeralContainers restartPolicy terminationGracePeriodSeconds \
         activeDeadlineSeconds dnsPolicy nodeSelector serviceAccountName serviceAccount automountServiceAccountToken \
         nodeName hostNetwork hostPID hostIPC shareProcessNamespace securityContext imagePullSecrets hostname subdomain \
         affinity schedulerName tolerations hostAliases priorityClassName priority dnsConfig readinessGates \
         runtimeClassName enableServiceLinks preemptionPolicy overhead topologySpreadConstraints setHostnameAsFQDN os \
         hostUsers schedulingGates resourceClaims resources hostnameOverride",
    ),
    // What is inlined stands under numbers of its own.
    ("Volume", "name"),
    ("OwnerReference ObjectReference", "apiVersion kind namespace name uid resourceVersion fieldPath"),
];

/// Where a type has a field; those that it does not have come last.
pub fn position(schema: &Schema, key: &str) -> u32 {
    let order = ORDERS.iter().find(|(names, _)| names.split(' ').any(|n| n == schema.name));
    let listed = order.and_then(|(_, fields)| fields.split_whitespace().position(|f| f == key));
    match listed.and_then(|at| u32::try_from(at).ok()) {
        Some(at) => at,
        None => schema.field(key).map_or(u32::MAX, |f| f.proto_number.saturating_add(LISTED_AT_MOST)),
    }
}

/// More fields than any list above has.
const LISTED_AT_MOST: u32 = 1000;

fn rank(schema: Option<&Schema>, key: &str) -> u32 {
    match schema {
        Some(schema) => position(schema, key),
        None if key == "apiVersion" => 0,
        None => u32::MAX,
    }
}

fn below(schema: Option<&'static Schema>, key: &str) -> Option<&'static Schema> {
    schema.and_then(|s| s.field(key)).and_then(|f| f.ty.schema())
}

fn list(items: impl Iterator<Item = String>) -> String {
    format!("[{}]", items.collect::<Vec<_>>().join(","))
}

fn map<'a>(entries: impl Iterator<Item = (&'a Key, String)>) -> String {
    let pairs: Vec<String> = entries.map(|(k, text)| format!("{:?}:{text}", k.as_str())).collect();
    format!("{{{}}}", pairs.join(","))
}

/// JSON in the order of the type's fields.
pub fn ordered(value: Option<&Value>, schema: Option<&'static Schema>) -> String {
    match value {
        None => "null".into(),
        Some(Value::Map(fields)) => {
            let mut entries: Vec<_> = fields.iter().collect();
            entries.sort_by_key(|(k, _)| rank(schema, k));
            map(entries.into_iter().map(|(k, v)| (k, ordered(Some(v), below(schema, k)))))
        }
        Some(Value::List(items)) => list(items.iter().map(|v| ordered(Some(v), schema))),
        Some(other) => String::from_utf8_lossy(&json::encode(other)).into_owned(),
    }
}
