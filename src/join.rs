//! What a cluster offers to machines that want to become its nodes: a token, the rights that go with it, what a node must
//! know beforehand, and cluster DNS.

use crate::control_plane::Api;
use crate::data_dir::{self, DataDir};
use anyhow::Context;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ipnet::IpNet;
use k8s_openapi::api::core::v1::{ConfigMap, Secret, Service};
use k8s_openapi::api::rbac::v1::{ClusterRole, ClusterRoleBinding, Role, RoleBinding};
use kube::api::{Api as Objects, PostParams};
use kube::config::Kubeconfig;
use rand::Rng;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};

const SYSTEM: &str = "kube-system";
/// The ConfigMap that tells a node of the cluster's ranges.
const SETTINGS: &str = "wherry-cluster";
const BOOTSTRAPPERS: &str = "system:bootstrappers";
const NODES: &str = "system:nodes";
const RBAC: &str = "rbac.authorization.k8s.io";

/// Publishes it, and writes the file that a machine joins with. Returns the file's path.
pub async fn publish(client: &kube::Client, dir: &DataDir, api: &Api) -> anyhow::Result<PathBuf> {
    let file = dir.path.join("join.kubeconfig");
    let result = async {
        rights(client).await?;
        let settings = &dir.settings;
        let data = json!({"serviceCIDR": settings.service_cidr, "podCIDR": settings.pod_cidr});
        ensure::<ConfigMap>(&system(client), json!({"metadata": {"name": SETTINGS}, "data": data})).await?;
        ensure::<Service>(&system(client), dns(dir)).await?;
        let token = token(&system(client), &file).await?;
        let url = format!("https://{}", std::net::SocketAddr::new(api.advertise, api.server.local_addr().port()));
        let ca = api.server.pki().authority.cert_pem();
        data_dir::write_private(&file, kubeconfig(&url, ca, &token).to_string().as_bytes())
    };
    result.await.context("publishing what nodes join with")?;
    Ok(file)
}

fn system<K: kube::Resource<Scope = k8s_openapi::NamespaceResourceScope>>(client: &kube::Client) -> Objects<K>
where
    K::DynamicType: Default,
{
    Objects::namespaced(client.clone(), SYSTEM)
}

/// The Service of cluster DNS. Every node answers its own pods; where, a controller says per node.
fn dns(dir: &DataDir) -> Value {
    let port = |name: &str, protocol: &str| json!({"name": name, "protocol": protocol, "port": 53});
    json!({
        "metadata": {"name": "kube-dns", "labels": {"k8s-app": "kube-dns"}},
        "spec": {
            "clusterIP": dir.settings.dns_address(), "internalTrafficPolicy": "Local",
            "ports": [port("dns", "UDP"), port("dns-tcp", "TCP")],
        },
    })
}

/// A bootstrap token asks for the certificates of nodes, a node for its own again; and a node reads what its proxy and
/// its DNS serve from.
async fn rights(client: &kube::Client) -> anyhow::Result<()> {
    let requests = "system:certificates.k8s.io:certificatesigningrequests";
    let approver = "system:certificates.k8s.io:kubelet-serving-approver";
    let own_server = "wherry:node-serving-certificates";
    let account = json!({"kind": "ServiceAccount", "namespace": SYSTEM, "name": "certificate-controller"});
    let group = |name: &str| json!({"apiGroup": RBAC, "kind": "Group", "name": name});
    let rule = json!({
        "apiGroups": ["certificates.k8s.io"], "resources": ["certificatesigningrequests/selfnodeserver"],
        "verbs": ["create"],
    });
    ensure::<ClusterRole>(&Objects::all(client.clone()), json!({"metadata": {"name": own_server}, "rules": [rule]}))
        .await?;
    let bindings = [
        ("wherry:node-bootstrap", "system:node-bootstrapper".to_owned(), group(BOOTSTRAPPERS)),
        ("wherry:node-client-certificates", format!("{requests}:nodeclient"), group(BOOTSTRAPPERS)),
        ("wherry:node-certificate-rotation", format!("{requests}:selfnodeclient"), group(NODES)),
        (own_server, own_server.to_owned(), group(NODES)),
        ("wherry:kubelet-serving-approver", approver.to_owned(), account),
        ("wherry:node-proxier", "system:node-proxier".to_owned(), group(NODES)),
    ];
    for (name, role, subject) in bindings {
        let binding = binding("ClusterRole", name, &role, vec![subject]);
        ensure::<ClusterRoleBinding>(&Objects::all(client.clone()), binding).await?;
    }
    let rule = json!({"apiGroups": [""], "resources": ["configmaps"], "resourceNames": [SETTINGS], "verbs": ["get"]});
    ensure::<Role>(&system(client), json!({"metadata": {"name": SETTINGS}, "rules": [rule]})).await?;
    let subjects = vec![group(BOOTSTRAPPERS), group(NODES)];
    ensure::<RoleBinding>(&system(client), binding("Role", SETTINGS, SETTINGS, subjects)).await
}

fn binding(kind: &str, name: &str, role: &str, subjects: Vec<Value>) -> Value {
    json!({
        "metadata": {"name": name}, "roleRef": {"apiGroup": RBAC, "kind": kind, "name": role}, "subjects": subjects,
    })
}

/// Creates an object unless it is there: what somebody changed since stays changed.
async fn ensure<K>(api: &Objects<K>, value: Value) -> anyhow::Result<()>
where
    K: Clone + serde::de::DeserializeOwned + serde::Serialize + std::fmt::Debug,
{
    let name = value["metadata"]["name"].as_str().unwrap_or_default().to_owned();
    if api.get_opt(&name).await?.is_some() {
        return Ok(());
    }
    match api.create(&PostParams::default(), &serde_json::from_value(value)?).await {
        Err(kube::Error::Api(status)) if status.code == 409 => Ok(()),
        made => made.map(drop).with_context(|| format!("creating {name}")),
    }
}

/// The token in the file, if the cluster still knows it; else a new one. Deleting its Secret revokes it.
async fn token(secrets: &Objects<Secret>, file: &Path) -> anyhow::Result<String> {
    if let Some(token) = Kubeconfig::read_from(file).ok().as_ref().and_then(token_of) {
        let id = token.split('.').next().unwrap_or_default();
        if secrets.get_opt(&format!("bootstrap-token-{id}")).await?.is_some() {
            return Ok(token);
        }
    }
    let (id, secret) = (random(6), random(16));
    let value = json!({
        "metadata": {"name": format!("bootstrap-token-{id}")},
        "type": "bootstrap.kubernetes.io/token",
        "stringData": {
            "description": "Lets machines join as nodes; made by wherry. Without it none can.",
            "token-id": id, "token-secret": secret, "usage-bootstrap-authentication": "true",
        },
    });
    ensure(secrets, value).await?;
    Ok(format!("{id}.{secret}"))
}

fn token_of(config: &Kubeconfig) -> Option<String> {
    let user = config.auth_infos.first()?.auth_info.as_ref()?;
    // The secret's own type shows nothing; its serialised form does.
    serde_json::to_value(user).ok()?["token"].as_str().map(str::to_owned)
}

/// Characters of a bootstrap token, from a generator seeded by the operating system, as keys are.
fn random(len: usize) -> String {
    const CHARACTERS: &[u8; 36] = b"abcdefghijklmnopqrstuvwxyz0123456789";
    let mut generator = rand::rng();
    (0..len).map(|_| char::from(CHARACTERS[generator.random_range(0..CHARACTERS.len())])).collect()
}

/// A kubeconfig, as JSON: every reader of kubeconfigs takes it.
fn kubeconfig(server: &str, ca: &str, token: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Config",
        "clusters": [{"name": "wherry", "cluster": {"server": server, "certificate-authority-data": STANDARD.encode(ca)}}],
        "users": [{"name": "join", "user": {"token": token}}],
        "contexts": [{"name": "join", "context": {"cluster": "wherry", "user": "join"}}],
        "current-context": "join",
    })
}

/// The ranges of a cluster that a node joins: its Services' and its pods'.
pub async fn ranges(client: &kube::Client) -> anyhow::Result<(IpNet, IpNet)> {
    let map = system::<ConfigMap>(client).get(SETTINGS).await.context("reading the cluster's settings")?;
    let range = |key: &str| {
        let text = map.data.as_ref().and_then(|data| data.get(key));
        let text = text.with_context(|| format!("the cluster's settings have no {key}"))?;
        text.parse::<IpNet>().with_context(|| format!("{key} in the cluster's settings is {text:?}"))
    };
    Ok((range("serviceCIDR")?, range("podCIDR")?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_read_back_from_its_file() {
        let text = kubeconfig("https://192.0.2.1:6443", "PEM", "abcdef.0123456789abcdef").to_string();
        let config = Kubeconfig::from_yaml(&text).expect("a kubeconfig");
        assert_eq!(token_of(&config).as_deref(), Some("abcdef.0123456789abcdef"));
        let random = random(16);
        assert!(random.len() == 16 && random.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit()), "{random}");
    }
}
