//! Events of this node and its pods, written in the background; the same event again is counted up.
//!
//! Events are lost rather than waited for: a full queue drops them.

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Event, EventSource, ObjectReference, Pod};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};
use kube::Api;
use kube::api::{Patch, PatchParams, PostParams};
use std::borrow::Cow;
use std::collections::HashMap;
use tokio::sync::mpsc;

/// A burst of pods that all start at once.
const QUEUE: usize = 4096;
/// Events that are counted up instead of written anew; the oldest half goes when it is full.
const REMEMBERED: usize = 4096;
/// The API refuses longer ones.
const MESSAGE_BYTES: usize = 1024;

#[derive(Clone)]
pub struct Events {
    queue: mpsc::Sender<Record>,
}

struct Record {
    about: ObjectReference,
    warning: bool,
    reason: Reason,
    message: String,
}

type Reason = Cow<'static, str>;

impl Events {
    pub fn start(client: kube::Client, node: String) -> Events {
        let (queue, records) = mpsc::channel(QUEUE);
        tokio::spawn(write(client, node, records));
        Events { queue }
    }

    pub fn normal(&self, pod: &Pod, container: Option<&str>, reason: impl Into<Reason>, message: impl Into<String>) {
        self.put(about(pod, container), false, reason.into(), message.into());
    }

    pub fn warning(&self, pod: &Pod, container: Option<&str>, reason: impl Into<Reason>, message: impl Into<String>) {
        self.put(about(pod, container), true, reason.into(), message.into());
    }

    pub fn node(&self, name: &str, reason: &'static str, message: impl Into<String>) {
        let about = ObjectReference {
            kind: Some("Node".into()),
            name: Some(name.into()),
            uid: Some(name.into()),
            ..ObjectReference::default()
        };
        self.put(about, false, reason.into(), message.into());
    }

    fn put(&self, about: ObjectReference, warning: bool, reason: Reason, mut message: String) {
        if message.len() > MESSAGE_BYTES {
            let end = (0..=MESSAGE_BYTES).rev().find(|i| message.is_char_boundary(*i)).unwrap_or(0);
            message.truncate(end);
        }
        if let Err(lost) = self.queue.try_send(Record { about, warning, reason, message }) {
            let reason = lost.into_inner().reason;
            tracing::debug!(%reason, "an event was dropped: too many are waiting");
        }
    }
}

fn about(pod: &Pod, container: Option<&str>) -> ObjectReference {
    let meta = &pod.metadata;
    let field = container.map(|name| {
        let inits = pod.spec.iter().flat_map(|s| s.init_containers.iter().flatten());
        let list = if inits.into_iter().any(|c| c.name == name) { "initContainers" } else { "containers" };
        format!("spec.{list}{{{name}}}")
    });
    ObjectReference {
        api_version: Some("v1".into()),
        kind: Some("Pod".into()),
        namespace: meta.namespace.clone(),
        name: meta.name.clone(),
        uid: meta.uid.clone(),
        resource_version: meta.resource_version.clone(),
        field_path: field,
    }
}

type Key = (String, String, String, Reason, String);

async fn write(client: kube::Client, node: String, mut records: mpsc::Receiver<Record>) {
    let mut seen: HashMap<Key, (String, i32, Timestamp)> = HashMap::new();
    while let Some(record) = records.recv().await {
        let now = Timestamp::now();
        let about = &record.about;
        let key = (
            about.uid.clone().unwrap_or_default(),
            about.name.clone().unwrap_or_default(),
            about.field_path.clone().unwrap_or_default(),
            record.reason.clone(),
            record.message.clone(),
        );
        let namespace = about.namespace.clone().unwrap_or_else(|| "default".into());
        let api: Api<Event> = Api::namespaced(client.clone(), &namespace);
        let again = seen.get_mut(&key).map(|entry| {
            entry.1 += 1;
            entry.2 = now;
            (entry.0.clone(), entry.1)
        });
        let result = match again {
            Some((name, count)) => count_up(&api, &name, count, now).await,
            None => Ok(false),
        };
        let result = match result {
            Ok(true) => Ok(()),
            Ok(false) => create(&api, &node, record, now).await.map(|name| {
                seen.insert(key, (name, 1, now));
            }),
            Err(e) => Err(e),
        };
        if let Err(error) = result {
            tracing::debug!(%error, "writing an event");
        }
        if seen.len() > REMEMBERED {
            let mut times: Vec<Timestamp> = seen.values().map(|v| v.2).collect();
            times.sort();
            let middle = times[times.len() / 2];
            seen.retain(|_, v| v.2 > middle);
        }
    }
}

/// `false` where the event is gone.
async fn count_up(api: &Api<Event>, name: &str, count: i32, now: Timestamp) -> Result<bool, kube::Error> {
    let patch = serde_json::json!({"count": count, "lastTimestamp": Time(crate::status::second(now))});
    match api.patch(name, &PatchParams::default(), &Patch::Merge(patch)).await {
        Ok(_) => Ok(true),
        Err(kube::Error::Api(status)) if status.code == 404 => Ok(false),
        Err(e) => Err(e),
    }
}

async fn create(api: &Api<Event>, node: &str, record: Record, now: Timestamp) -> Result<String, kube::Error> {
    let about = record.about.name.clone().unwrap_or_default();
    let name = format!("{about}.{:x}{:04x}", now.as_nanosecond(), rand::random::<u16>());
    let time = Some(Time(crate::status::second(now)));
    let event = Event {
        metadata: ObjectMeta {
            name: Some(name.clone()),
            namespace: Some(record.about.namespace.clone().unwrap_or_else(|| "default".into())),
            ..ObjectMeta::default()
        },
        involved_object: record.about,
        reason: Some(record.reason.into_owned()),
        message: Some(record.message),
        type_: Some(if record.warning { "Warning" } else { "Normal" }.into()),
        count: Some(1),
        first_timestamp: time.clone(),
        last_timestamp: time,
        source: Some(EventSource { component: Some("kubelet".into()), host: Some(node.into()) }),
        reporting_component: Some("kubelet".into()),
        reporting_instance: Some(node.into()),
        ..Event::default()
    };
    api.create(&PostParams::default(), &event).await?;
    Ok(name)
}
