//! ServiceAccount: a pod runs as an account that is there, with a token mounted where the account allows it.

use super::{Admission, Operation, fields};
use crate::ctx::Ctx;
use crate::lookup;
use api::{Object, Status, Value};
use rand::seq::IndexedRandom;
use serde_json::json;
use std::time::Duration;

const MOUNT_PATH: &str = "/var/run/secrets/kubernetes.io/serviceaccount";
const VOLUME_PREFIX: &str = "kube-api-access-";
/// An hour and the seven seconds by which upstream marks these tokens.
const TOKEN_SECONDS: i64 = 3607;
/// The letters of generated names: none that make words or look alike.
const LETTERS: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";
/// A new namespace gets its account `default` a moment later: a pod that comes at once waits for it this long.
const DEFAULT_ACCOUNT_TRIES: usize = 10;
const DEFAULT_ACCOUNT_PAUSE: Duration = Duration::from_millis(100);

pub(super) async fn mutate(ctx: &Ctx, admission: &mut Admission<'_>) -> Result<(), Status> {
    if !admission.writes(lookup::PODS, "", &[Operation::Create]) {
        return Ok(());
    }
    let namespace = admission.info.namespace.clone();
    let Some(pod) = admission.object.as_mut() else { return Ok(()) };
    if pod.annotation("kubernetes.io/config.mirror").is_some() {
        return mirror_refusal(pod).map_or(Ok(()), |why| Err(admission.forbid(why)));
    }
    if pod.str_at(&["spec", "serviceAccountName"]).is_empty() {
        pod.set(&["spec", "serviceAccountName"], "default");
    }
    let name = pod.str_at(&["spec", "serviceAccountName"]).to_owned();
    pod.set(&["spec", "serviceAccount"], name.as_str());
    let Some(account) = account(ctx, &namespace, &name).await? else {
        let why = format!("error looking up service account {namespace}/{name}: serviceaccount {name:?} not found");
        return Err(admission.forbid(&why));
    };
    let suffix: String = {
        let mut rng = rand::rng();
        (0..5).filter_map(|_| LETTERS.choose(&mut rng)).map(|b| char::from(*b)).collect()
    };
    if let Some(pod) = admission.object.as_mut() {
        equip(pod, &account, &suffix);
    }
    Ok(())
}

async fn account(ctx: &Ctx, namespace: &str, name: &str) -> Result<Option<Object>, Status> {
    let tries = if name == "default" { DEFAULT_ACCOUNT_TRIES } else { 1 };
    for attempt in 0..tries {
        if attempt > 0 {
            tokio::time::sleep(DEFAULT_ACCOUNT_PAUSE).await;
        }
        if let Some(account) = ctx.registry.find(lookup::SERVICE_ACCOUNTS, namespace, name).await? {
            return Ok(Some(account));
        }
    }
    Ok(None)
}

/// Why a mirror pod is refused: it is the kubelet's own word, and may not open anything that the API guards.
fn mirror_refusal(pod: &Object) -> Option<&'static str> {
    if !pod.str_at(&["spec", "serviceAccountName"]).is_empty() {
        return Some("a mirror pod may not reference service accounts");
    }
    let volumes = pod.at(&["spec", "volumes"]).and_then(Value::as_list).unwrap_or(&[]);
    let sources = || volumes.iter().filter_map(|v| v.at(&["projected", "sources"])?.as_list()).flatten();
    let secrets = volumes.iter().any(|v| v.get("secret").is_some()) || sources().any(|s| s.get("secret").is_some());
    if secrets || pod.at(&["spec", "imagePullSecrets"]).and_then(Value::as_list).is_some_and(|l| !l.is_empty()) {
        return Some("a mirror pod may not reference secrets");
    }
    let token = sources().any(|s| s.get("serviceAccountToken").is_some());
    token.then_some("a mirror pod may not use ServiceAccountToken volume projections")
}

/// Adds the account's pull secrets and the token to a pod.
fn equip(pod: &mut Object, account: &Object, suffix: &str) {
    let wanted = pod.bool_at(&["spec", "automountServiceAccountToken"]);
    if wanted.or(account.bool_at(&["automountServiceAccountToken"])).unwrap_or(true) {
        mount_token(pod, suffix);
    }
    let has_secrets = pod.at(&["spec", "imagePullSecrets"]).and_then(Value::as_list).is_some_and(|l| !l.is_empty());
    if let Some(secrets) =
        account.at(&["imagePullSecrets"]).and_then(Value::as_list).filter(|l| !l.is_empty() && !has_secrets)
    {
        let secrets = secrets.to_vec();
        pod.set(&["spec", "imagePullSecrets"], Value::List(secrets));
    }
}

fn mount_token(pod: &mut Object, suffix: &str) {
    let volumes = pod.at(&["spec", "volumes"]).and_then(Value::as_list).unwrap_or(&[]);
    let mut names = volumes.iter().filter_map(|v| v.get("name")?.as_str());
    let there = names.find(|n| n.starts_with(VOLUME_PREFIX)).map(str::to_owned);
    let name = there.clone().unwrap_or_else(|| format!("{VOLUME_PREFIX}{suffix}"));
    let mut mounted = false;
    for key in ["initContainers", "containers"] {
        let containers = pod.at_mut(&["spec", key]).and_then(Value::as_list_mut);
        for container in containers.into_iter().flatten() {
            let mounts = fields::list_mut(container, "volumeMounts");
            if mounts.iter().any(|m| m.get("mountPath").and_then(Value::as_str) == Some(MOUNT_PATH)) {
                continue;
            }
            mounts.push(fields::value(&json!({"name": name, "readOnly": true, "mountPath": MOUNT_PATH})));
            mounted = true;
        }
    }
    if mounted && there.is_none() {
        let spec = pod.0.entry("spec");
        fields::list_mut(spec, "volumes").push(volume(&name));
    }
}

fn volume(name: &str) -> Value {
    fields::value(&json!({
        "name": name,
        "projected": {
            "defaultMode": 420,
            "sources": [
                {"serviceAccountToken": {"expirationSeconds": TOKEN_SECONDS, "path": "token"}},
                {"configMap": {"name": "kube-root-ca.crt", "items": [{"key": "ca.crt", "path": "ca.crt"}]}},
                {"downwardAPI": {"items": [
                    {"path": "namespace", "fieldRef": {"apiVersion": "v1", "fieldPath": "metadata.namespace"}},
                ]}},
            ],
        },
    }))
}

/// For the cases in tests: the pure part.
#[cfg(test)]
pub(super) fn planned(pod: &mut Object, account: &Object) {
    equip(pod, account, "abcde");
}
