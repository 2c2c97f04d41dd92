//! Carries plans out. It decides nothing: order, targets and preconditions are the plan's.

use std::time::Duration;

use http::{Method, Request};
use kube::core::ApiResource;
use serde_json::Value;

use crate::backoff;
use crate::event::Recorder;
use crate::object::Key;
use crate::plan::{ACTION_LIMIT, Action, Answers, Note, Plan, Read, Target};

/// No write or read takes longer in a healthy cluster: the server itself gives up after a minute.
const REQUEST_LIMIT: Duration = Duration::from_secs(60);
/// How often a request that the server refused to begin (429) is tried again before the key backs off.
const REFUSED_TRIES: u32 = 5;
const REFUSED_FIRST: Duration = Duration::from_millis(200);
const REFUSED_MOST: Duration = Duration::from_secs(10);

/// One identity's way to write.
#[derive(Clone)]
pub struct Executor {
    client: kube::Client,
    recorder: Recorder,
}

/// What is known of a write.
#[derive(Debug, Clone)]
pub enum Written {
    At {
        resource: ApiResource,
        revision: u64,
    },
    Deleted {
        resource: ApiResource,
        key: Key,
        uid: String,
    },
    /// The request broke off: it may have happened or not.
    Unknown {
        resource: ApiResource,
        namespace: String,
    },
}

/// What happened to a plan: the writes made, and the failure that ended it.
#[derive(Debug, Default)]
pub struct Outcome {
    pub written: Vec<Written>,
    pub failure: Option<Failure>,
    /// More actions were planned than are carried out at once.
    pub cut: bool,
}

#[derive(Debug, thiserror::Error)]
#[error("cannot {doing}: {source}")]
pub struct Failure {
    doing: String,
    source: RequestError,
}

#[derive(Debug, thiserror::Error)]
pub enum RequestError {
    #[error(transparent)]
    Client(#[from] kube::Error),
    #[error("no answer within {} s", REQUEST_LIMIT.as_secs())]
    TimedOut,
    #[error("the request could not be built: {0}")]
    Build(#[from] http::Error),
    #[error("the body could not be encoded: {0}")]
    Encode(#[from] serde_json::Error),
}

impl RequestError {
    pub fn status(&self) -> Option<&kube::core::Status> {
        match self {
            RequestError::Client(kube::Error::Api(status)) => Some(status),
            _ => None,
        }
    }

    /// The server may have acted on the request.
    fn outcome_unknown(&self) -> bool {
        match self {
            RequestError::Client(kube::Error::Api(status)) => status.code == 504,
            RequestError::Client(_) | RequestError::TimedOut => true,
            RequestError::Build(_) | RequestError::Encode(_) => false,
        }
    }
}

impl Failure {
    /// Somebody else wrote first, or the object is not what the plan took it for: planning again is the answer.
    pub fn is_conflict(&self) -> bool {
        let gone = |status: &kube::core::Status| status.code == 404 && !self.doing.starts_with("create");
        self.source.status().is_some_and(|status| status.reason == "Conflict" || gone(status))
    }

    pub fn status(&self) -> Option<&kube::core::Status> {
        self.source.status()
    }
}

impl Executor {
    pub fn new(client: kube::Client, recorder: Recorder) -> Executor {
        Executor { client, recorder }
    }

    pub fn recorder(&self) -> &Recorder {
        &self.recorder
    }

    pub async fn act(&self, plan: &Plan) -> Outcome {
        let mut outcome = Outcome { cut: plan.actions.len() > ACTION_LIMIT, ..Outcome::default() };
        for action in plan.actions.iter().take(ACTION_LIMIT) {
            let Some(at) = action.target() else {
                self.note(action);
                continue;
            };
            match self.write(action, at).await {
                Ok(answer) => outcome.written.extend(written(action, at, &answer)),
                Err(source) => {
                    if source.outcome_unknown() {
                        let namespace = at.key.namespace.clone();
                        outcome.written.push(Written::Unknown { resource: at.resource.clone(), namespace });
                    }
                    let failure = Failure { doing: format!("{} {at}", action.verb()), source };
                    self.refused(plan, &failure, &mut outcome).await;
                    outcome.failure = Some(failure);
                    return outcome;
                }
            }
        }
        outcome
    }

    /// Tells of a refusal what the plan wants told: as an event, in a status.
    async fn refused(&self, plan: &Plan, failure: &Failure, outcome: &mut Outcome) {
        let Some(status) = failure.status().filter(|_| !failure.is_conflict()) else { return };
        if let Some(note) = &plan.if_refused {
            let message = format!("{}: {}", note.message, status.message);
            self.recorder.record(Note { message, ..Note::clone(note) });
        }
        let Some(action) = plan.when_refused.as_ref().map(|action| action.with_refusal(&status.message)) else {
            return;
        };
        let Some(at) = action.target() else { return };
        match self.write(&action, at).await {
            Ok(answer) => outcome.written.extend(written(&action, at, &answer)),
            // The key is tried again because of the refusal, and this with it.
            Err(error) => tracing::debug!("cannot tell of a refusal on {at}: {error}"),
        }
    }

    fn note(&self, action: &Action) {
        if let Action::Event(note) = action {
            self.recorder.record(note.clone());
        }
    }

    async fn write(&self, action: &Action, at: &Target) -> Result<Value, RequestError> {
        const JSON: &str = "application/json";
        let (method, path, kind, body) = match action {
            Action::Create { object, .. } => (Method::POST, at.path(at.subresource.is_some()), JSON, object.clone()),
            Action::Update { object, .. } => (Method::PUT, at.path(true), JSON, object.clone()),
            Action::Patch { patch, .. } => {
                (Method::PATCH, at.path(true), "application/merge-patch+json", patch.clone())
            }
            Action::Delete { options, .. } => (Method::DELETE, at.path(true), JSON, serde_json::to_value(options)?),
            Action::Event(_) => return Ok(Value::Null),
        };
        let body = serde_json::to_vec(&body)?;
        let answer = self.send(&method, &path, kind, &body).await;
        match (&answer, &method) {
            // What was to be deleted is gone: that is what was asked for.
            (Err(error), &Method::DELETE) if error.status().is_some_and(|s| s.code == 404) => Ok(Value::Null),
            _ => answer,
        }
    }

    /// Carries out a plan's live reads; something that is not there is an answer, not a failure.
    pub async fn read(&self, reads: &[Read], answers: &mut Answers) -> Result<(), Failure> {
        for read in reads {
            match self.get(read).await {
                Ok(answer) => answers.insert(read.clone(), Some(answer)),
                Err(error) if error.status().is_some_and(|s| s.code == 404) => answers.insert(read.clone(), None),
                Err(source) => return Err(Failure { doing: format!("read {}", read.path), source }),
            };
        }
        Ok(())
    }

    async fn get(&self, read: &Read) -> Result<Value, RequestError> {
        let accept = match (read.metadata_only, read.of_many) {
            (true, true) => "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1,application/json",
            (true, false) => "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1,application/json",
            (false, _) => "application/json",
        };
        if let Some(review) = &read.review {
            return self.send(&Method::POST, &read.path, "application/json", review.as_bytes()).await;
        }
        let request = Request::get(&read.path).header(http::header::ACCEPT, accept).body(Vec::new())?;
        limited(self.client.request(request)).await
    }

    /// The newest revision of a kind, read past every cache.
    pub(crate) async fn revision(&self, resource: &ApiResource, namespace: &str) -> Result<u64, Failure> {
        let read = Read::list(resource, namespace);
        let read = Read { path: format!("{}?limit=1", read.path), ..read.metadata() };
        let answer = self.get(&read).await;
        let answer = answer.map_err(|source| Failure { doing: format!("read {}", read.path), source })?;
        Ok(revision_of(&answer))
    }

    async fn send(&self, method: &Method, path: &str, kind: &str, body: &[u8]) -> Result<Value, RequestError> {
        let mut tries = 0;
        loop {
            let request = Request::builder().method(method).uri(path).header(http::header::CONTENT_TYPE, kind);
            let answer = limited(self.client.request(request.body(body.to_vec())?)).await;
            let refused = answer.as_ref().err().and_then(RequestError::status).filter(|status| status.code == 429);
            let Some(status) = refused.filter(|_| tries < REFUSED_TRIES) else { return answer };
            let asked = status.details.as_ref().map_or(0, |details| details.retry_after_seconds);
            let wait = backoff::delay(REFUSED_FIRST, REFUSED_MOST, tries);
            tokio::time::sleep(wait.max(Duration::from_secs(asked.into())).min(REFUSED_MOST)).await;
            tries += 1;
        }
    }
}

async fn limited<T>(work: impl Future<Output = Result<T, kube::Error>>) -> Result<T, RequestError> {
    tokio::time::timeout(REQUEST_LIMIT, work).await.map_err(|_| RequestError::TimedOut)?.map_err(Into::into)
}

fn written(action: &Action, at: &Target, answer: &Value) -> Option<Written> {
    if let Action::Delete { options, .. } = action {
        let uid = options.preconditions.uid.clone()?;
        return Some(Written::Deleted { resource: at.resource.clone(), key: at.key.clone(), uid });
    }
    Some(Written::At { resource: at.resource.clone(), revision: revision_of(answer) })
}

fn revision_of(answer: &Value) -> u64 {
    answer["metadata"]["resourceVersion"].as_str().and_then(|text| text.parse().ok()).unwrap_or(0)
}
