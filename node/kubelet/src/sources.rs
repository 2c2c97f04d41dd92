//! ConfigMaps and Secrets that pods of this node use: each is read once, then watched by name for as long as a pod
//! refers to it. (The Node authorizer allows a node exactly that: objects by name.)

use futures::StreamExt;
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use kube::Api;
use kube::runtime::{WatchStreamExt, watcher};
use parking_lot::Mutex;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;
use tokio::sync::{broadcast, watch};

/// Changes that a slow pod worker may miss before it looks at everything anyway.
const MISSABLE: usize = 256;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    ConfigMap,
    Secret,
}

impl Kind {
    pub fn noun(self) -> &'static str {
        match self {
            Kind::ConfigMap => "configmap",
            Kind::Secret => "secret",
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Key {
    pub kind: Kind,
    pub namespace: String,
    pub name: String,
}

/// The data of either kind; text and binary keys together.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Data {
    pub entries: BTreeMap<String, Vec<u8>>,
    /// A Secret's `type`.
    pub kind: String,
}

pub type Fetched = Option<Arc<Data>>;

struct Entry {
    users: HashSet<String>,
    value: watch::Receiver<Option<Fetched>>,
    task: tokio::task::JoinHandle<()>,
}

pub struct Sources {
    client: kube::Client,
    entries: Mutex<HashMap<Key, Entry>>,
    changes: broadcast::Sender<Key>,
}

impl Sources {
    pub fn new(client: kube::Client) -> Arc<Sources> {
        let (changes, _) = broadcast::channel(MISSABLE);
        Arc::new(Sources { client, entries: Mutex::default(), changes })
    }

    /// What changed, from now on.
    pub fn changes(&self) -> broadcast::Receiver<Key> {
        self.changes.subscribe()
    }

    /// The present data, `None` where the object does not exist. Watched for `user` (a pod's uid) from now on.
    pub async fn get(&self, key: &Key, user: &str) -> Result<Fetched, kube::Error> {
        let value = self.watched(key, user);
        let known = value.borrow().clone();
        match known {
            Some(fetched) => Ok(fetched),
            None => fetch(&self.client, key).await,
        }
    }

    fn watched(&self, key: &Key, user: &str) -> watch::Receiver<Option<Fetched>> {
        let mut entries = self.entries.lock();
        let entry = entries.entry(key.clone()).or_insert_with(|| {
            let (tx, value) = watch::channel(None);
            let task = tokio::spawn(follow(self.client.clone(), key.clone(), tx, self.changes.clone()));
            Entry { users: HashSet::new(), value, task }
        });
        entry.users.insert(user.to_owned());
        entry.value.clone()
    }

    /// The pods that refer to an object.
    pub fn users(&self, key: &Key) -> Vec<String> {
        self.entries.lock().get(key).map(|e| e.users.iter().cloned().collect()).unwrap_or_default()
    }

    /// The pod is gone: stop watching what only it used.
    pub fn release(&self, user: &str) {
        self.entries.lock().retain(|_, e| {
            e.users.remove(user);
            if e.users.is_empty() {
                e.task.abort();
            }
            !e.users.is_empty()
        });
    }
}

impl Drop for Sources {
    fn drop(&mut self) {
        for entry in self.entries.lock().values() {
            entry.task.abort();
        }
    }
}

async fn fetch(client: &kube::Client, key: &Key) -> Result<Fetched, kube::Error> {
    Ok(match key.kind {
        Kind::ConfigMap => {
            let api: Api<ConfigMap> = Api::namespaced(client.clone(), &key.namespace);
            api.get_opt(&key.name).await?.map(of_config_map)
        }
        Kind::Secret => {
            let api: Api<Secret> = Api::namespaced(client.clone(), &key.namespace);
            api.get_opt(&key.name).await?.map(of_secret)
        }
    })
}

fn of_config_map(object: ConfigMap) -> Arc<Data> {
    let text = object.data.into_iter().flatten().map(|(k, v)| (k, v.into_bytes()));
    let binary = object.binary_data.into_iter().flatten().map(|(k, v)| (k, v.0));
    Arc::new(Data { entries: text.chain(binary).collect(), kind: String::new() })
}

fn of_secret(object: Secret) -> Arc<Data> {
    let entries = object.data.into_iter().flatten().map(|(k, v)| (k, v.0)).collect();
    Arc::new(Data { entries, kind: object.type_.unwrap_or_default() })
}

type Sink = watch::Sender<Option<Fetched>>;

async fn follow(client: kube::Client, key: Key, sink: Sink, changes: broadcast::Sender<Key>) {
    match key.kind {
        Kind::ConfigMap => {
            let api: Api<ConfigMap> = Api::namespaced(client, &key.namespace);
            follow_with(api, key, sink, changes, of_config_map).await;
        }
        Kind::Secret => {
            let api: Api<Secret> = Api::namespaced(client, &key.namespace);
            follow_with(api, key, sink, changes, of_secret).await;
        }
    }
}

async fn follow_with<K>(api: Api<K>, key: Key, sink: Sink, changes: broadcast::Sender<Key>, data: fn(K) -> Arc<Data>)
where
    K: kube::Resource + Clone + std::fmt::Debug + serde::de::DeserializeOwned + Send + 'static,
    K::DynamicType: Default,
{
    let config = watcher::Config::default().fields(&format!("metadata.name={}", key.name));
    let mut stream = std::pin::pin!(watcher(api, config).default_backoff());
    let mut listed: Fetched = None;
    while let Some(event) = stream.next().await {
        let value = match event {
            Ok(watcher::Event::Init) => {
                listed = None;
                continue;
            }
            Ok(watcher::Event::InitApply(object)) => {
                listed = Some(data(object));
                continue;
            }
            Ok(watcher::Event::InitDone) => listed.take(),
            Ok(watcher::Event::Apply(object)) => Some(data(object)),
            Ok(watcher::Event::Delete(_)) => None,
            Err(error) => {
                tracing::debug!(kind = key.kind.noun(), namespace = key.namespace, name = key.name, %error, "watching");
                continue;
            }
        };
        let changed = sink.send_if_modified(|old| {
            let changed = old.as_ref() != Some(&value);
            *old = Some(value);
            changed
        });
        if changed {
            // Nobody listening is fine: every worker reads again when it next mounts.
            let _ = changes.send(key.clone());
        }
    }
}
