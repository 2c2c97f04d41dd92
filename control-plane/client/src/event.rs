//! Records Events: what repeats is counted on one Event, what comes too often is dropped, and nobody ever waits for it.

use std::collections::{HashMap, VecDeque};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Event, EventSource, ObjectReference};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};
use kube::api::{Api, Patch, PatchParams, PostParams};
use serde_json::json;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::plan::{Note, Severity};

/// Notes that wait to be written. More means that the apiserver is away, and then events are the least of it.
const WAITING: usize = 1024;
/// Events that may still be repeated: client-go's cache has the same size.
const REMEMBERED: usize = 4096;
/// A repetition later than this begins a new Event, as upstream's.
const REPEAT_WITHIN: Duration = Duration::from_secs(600);
/// Per object: this many events at once, then one every five minutes: client-go's spam filter.
const BURST: f64 = 25.0;
const REFILL_PER_SECOND: f64 = 1.0 / 300.0;
/// What the API allows in an Event's message.
const MESSAGE_BYTES: usize = 1024;

/// One component's way to record events. Cloning it shares the queue.
#[derive(Clone)]
pub struct Recorder {
    notes: mpsc::Sender<Note>,
}

impl Recorder {
    /// Starts recording in the name of `component`, until stopped.
    pub fn start(client: kube::Client, component: &str, stop: CancellationToken) -> Recorder {
        Recorder::on_host(client, component, "", stop)
    }

    /// The same for a component that runs on a node.
    pub fn on_host(client: kube::Client, component: &str, host: &str, stop: CancellationToken) -> Recorder {
        let (notes, incoming) = mpsc::channel(WAITING);
        let source =
            EventSource { component: Some(component.to_owned()), host: (!host.is_empty()).then(|| host.to_owned()) };
        let writer = Writer { client, source, recent: HashMap::new(), order: VecDeque::new(), spam: HashMap::new() };
        tokio::spawn(async move { stop.run_until_cancelled(writer.run(incoming)).await });
        Recorder { notes }
    }

    /// Takes the note; never waits. When too many wait already, it is dropped.
    pub fn record(&self, note: Note) {
        if let Err(error) = self.notes.try_send(note) {
            tracing::debug!("an event was dropped: {error}");
        }
    }

    pub fn about(&self, regarding: ObjectReference, severity: Severity, reason: &str, message: impl Into<String>) {
        self.record(Note { regarding, severity, reason: reason.to_owned(), message: message.into() });
    }
}

struct Writer {
    client: kube::Client,
    source: EventSource,
    recent: HashMap<Sameness, Known>,
    order: VecDeque<Sameness>,
    spam: HashMap<String, (f64, Instant)>,
}

/// What makes two notes the same event.
#[derive(Clone, PartialEq, Eq, Hash)]
struct Sameness {
    object: String,
    severity: Severity,
    reason: String,
    message: String,
}

struct Known {
    namespace: String,
    name: String,
    count: i32,
    last: Instant,
}

impl Writer {
    async fn run(mut self, mut incoming: mpsc::Receiver<Note>) {
        while let Some(note) = incoming.recv().await {
            let object = format!("{}/{}", note.regarding.kind.as_deref().unwrap_or_default(), place(&note.regarding));
            if !self.allowed(&object, Instant::now()) {
                tracing::debug!(object, reason = note.reason, "too many events");
                continue;
            }
            if let Err(error) = self.write(object, note).await {
                tracing::debug!("an event was not written: {error}");
            }
        }
    }

    fn allowed(&mut self, object: &str, now: Instant) -> bool {
        if self.spam.len() >= REMEMBERED {
            self.spam.retain(|_, (_, last)| now.duration_since(*last) < REPEAT_WITHIN);
        }
        if self.spam.len() >= REMEMBERED {
            self.spam.clear();
        }
        let (tokens, last) = self.spam.entry(object.to_owned()).or_insert((BURST, now));
        *tokens = (*tokens + now.duration_since(*last).as_secs_f64() * REFILL_PER_SECOND).min(BURST);
        *last = now;
        let allowed = *tokens >= 1.0;
        if allowed {
            *tokens -= 1.0;
        }
        allowed
    }

    async fn write(&mut self, object: String, note: Note) -> Result<(), kube::Error> {
        let same =
            Sameness { object, severity: note.severity, reason: note.reason.clone(), message: note.message.clone() };
        if let Some(known) = self.recent.get_mut(&same).filter(|known| known.last.elapsed() < REPEAT_WITHIN) {
            let patch = json!({"count": known.count + 1, "lastTimestamp": Time(Timestamp::now())});
            let api: Api<Event> = Api::namespaced(self.client.clone(), &known.namespace);
            match api.patch(&known.name, &PatchParams::default(), &Patch::Merge(patch)).await {
                Ok(_) => {
                    known.count += 1;
                    known.last = Instant::now();
                    return Ok(());
                }
                Err(kube::Error::Api(status)) if status.code == 404 => {}
                Err(error) => return Err(error),
            }
        }
        let event = self.event(note);
        let (namespace, name) = (event.metadata.namespace.clone(), event.metadata.name.clone());
        let known = Known {
            namespace: namespace.unwrap_or_default(),
            name: name.unwrap_or_default(),
            count: 1,
            last: Instant::now(),
        };
        let api: Api<Event> = Api::namespaced(self.client.clone(), &known.namespace);
        api.create(&PostParams::default(), &event).await?;
        self.remember(same, known);
        Ok(())
    }

    fn remember(&mut self, same: Sameness, known: Known) {
        if self.recent.insert(same.clone(), known).is_none() {
            self.order.push_back(same);
        }
        while self.order.len() > REMEMBERED {
            if let Some(oldest) = self.order.pop_front() {
                self.recent.remove(&oldest);
            }
        }
    }

    fn event(&self, note: Note) -> Event {
        let now = Timestamp::now();
        // Events about objects without a namespace live in "default".
        let namespace = note.regarding.namespace.clone().unwrap_or_else(|| "default".to_owned());
        let subject = note.regarding.name.as_deref().unwrap_or_default();
        Event {
            metadata: ObjectMeta {
                name: Some(format!("{subject}.{:x}", now.as_nanosecond())),
                namespace: Some(namespace),
                ..ObjectMeta::default()
            },
            count: Some(1),
            first_timestamp: Some(Time(now)),
            last_timestamp: Some(Time(now)),
            message: Some(cut(note.message)),
            reason: Some(note.reason),
            reporting_component: self.source.component.clone(),
            reporting_instance: self.source.host.clone(),
            source: Some(self.source.clone()),
            type_: Some(match note.severity {
                Severity::Normal => "Normal".to_owned(),
                Severity::Warning => "Warning".to_owned(),
            }),
            involved_object: note.regarding,
            ..Event::default()
        }
    }
}

fn place(object: &ObjectReference) -> String {
    let part = |part: &Option<String>| part.clone().unwrap_or_default();
    format!("{}/{}/{}/{}", part(&object.namespace), part(&object.name), part(&object.uid), part(&object.field_path))
}

fn cut(mut message: String) -> String {
    if message.len() > MESSAGE_BYTES {
        let end = (0..=MESSAGE_BYTES - 3).rev().find(|at| message.is_char_boundary(*at)).unwrap_or(0);
        message.truncate(end);
        message.push_str("...");
    }
    message
}
