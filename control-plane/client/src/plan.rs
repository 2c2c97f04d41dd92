//! What a controller decides: an ordered list of writes as plain data, or the reads it needs first.
//!
//! A plan is the same data whoever carries it out, so a test compares plans and never talks to a server.

use std::collections::HashMap;
use std::time::Duration;

use k8s_openapi::api::core::v1::ObjectReference;
use kube::Resource;
use kube::core::{ApiResource, DynamicObject};
use serde::{Serialize, Serializer};
use serde_json::{Value, json};

use crate::object::Key;

/// The most actions carried out in one go; a controller is planned again right after and finds what is left.
pub const ACTION_LIMIT: usize = 500;

/// Ordered writes. Execution stops at the first that fails.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Plan {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub actions: Vec<Action>,
    /// Plan this key again after this long, even if nothing changes.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "seconds")]
    pub again_after: Option<Duration>,
    /// What this key's next plan is told, as long as this process lives: what no object says. None forgets.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory: Option<Value>,
    /// Recorded, with the error appended to its message, if an action fails.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub if_refused: Option<Box<Note>>,
    /// Written, if an action is refused, with the server's words in place of [`REFUSAL`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub when_refused: Option<Box<Action>>,
}

/// Stands for what the server said when it refused an action.
pub const REFUSAL: &str = "{refusal}";

/// What `plan()` answers.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Decision {
    Do(Plan),
    /// Live reads without which nothing can be decided; the driver reads and plans again.
    Need(Vec<Read>),
}

/// One write.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Action {
    Create {
        at: Target,
        object: Value,
    },
    /// Replaces an object or one of its subresources; a resourceVersion in the object is the precondition.
    Update {
        at: Target,
        object: Value,
    },
    /// A merge patch; `metadata.uid` and `metadata.resourceVersion` within it are preconditions.
    Patch {
        at: Target,
        patch: Value,
    },
    Delete {
        at: Target,
        options: DeleteOptions,
    },
    Event(Note),
}

/// The place a write goes to.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Target {
    #[serde(serialize_with = "resource_name")]
    pub resource: ApiResource,
    #[serde(flatten)]
    pub key: Key,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub subresource: Option<&'static str>,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct DeleteOptions {
    #[serde(skip_serializing_if = "Preconditions::is_empty")]
    pub preconditions: Preconditions,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub propagation_policy: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub grace_period_seconds: Option<i64>,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Preconditions {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub uid: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resource_version: Option<String>,
}

impl Preconditions {
    fn is_empty(&self) -> bool {
        self.uid.is_none() && self.resource_version.is_none()
    }
}

/// An Event to record: repeated ones are counted, too frequent ones dropped.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Note {
    #[serde(skip)]
    pub regarding: ObjectReference,
    #[serde(rename = "type")]
    pub severity: Severity,
    pub reason: String,
    pub message: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
pub enum Severity {
    Normal,
    Warning,
}

impl Plan {
    pub fn done() -> Plan {
        Plan::default()
    }

    pub fn create<K: Resource<DynamicType = ()> + Serialize>(&mut self, object: &K) {
        self.actions.push(Action::Create { at: Target::of(object, None), object: value(object) });
    }

    /// Replaces the object, if it is still at the revision it was read at.
    pub fn update<K: Resource<DynamicType = ()> + Serialize>(&mut self, object: &K) {
        self.actions.push(Action::Update { at: Target::of(object, None), object: value(object) });
    }

    /// Replaces the object's status, if the object is still at the revision it was read at.
    pub fn status<K: Resource<DynamicType = ()> + Serialize>(&mut self, object: &K) {
        self.actions.push(Action::Update { at: Target::of(object, Some("status")), object: value(object) });
    }

    /// Replaces another subresource of the object, if the object is still at the revision it was read at.
    pub fn write<K: Resource<DynamicType = ()> + Serialize>(&mut self, object: &K, subresource: &'static str) {
        self.actions.push(Action::Update { at: Target::of(object, Some(subresource)), object: value(object) });
    }

    /// A merge patch of this very object: its uid is a precondition.
    pub fn patch<K: Resource<DynamicType = ()>>(
        &mut self,
        object: &K,
        subresource: Option<&'static str>,
        patch: Value,
    ) {
        self.actions.push(Action::patch(Target::of(object, subresource), object.meta().uid.as_deref(), patch));
    }

    pub fn delete<K: Resource<DynamicType = ()>>(&mut self, object: &K) {
        self.delete_with(object, DeleteOptions::default());
    }

    /// Deletes this very object: its uid is a precondition.
    pub fn delete_with<K: Resource<DynamicType = ()>>(&mut self, object: &K, mut options: DeleteOptions) {
        options.preconditions.uid = object.meta().uid.clone();
        self.actions.push(Action::Delete { at: Target::of(object, None), options });
    }

    pub fn event<K: Resource<DynamicType = ()>>(
        &mut self,
        regarding: &K,
        severity: Severity,
        reason: &str,
        message: impl Into<String>,
    ) {
        let regarding = regarding.object_ref(&());
        self.actions.push(Action::Event(Note { regarding, severity, reason: reason.into(), message: message.into() }));
    }

    /// What to record about `regarding` if the server refuses an action.
    pub fn if_refused<K: Resource<DynamicType = ()>>(&mut self, regarding: &K, reason: &str, doing: &str) {
        let (regarding, severity) = (regarding.object_ref(&()), Severity::Warning);
        let note = Note { regarding, severity, reason: reason.into(), message: doing.into() };
        self.if_refused = Some(Box::new(note));
    }

    /// The status that an object has if the server refuses an action.
    pub fn status_if_refused<K: Resource<DynamicType = ()> + Serialize>(&mut self, object: &K) {
        let action = Action::Update { at: Target::of(object, Some("status")), object: value(object) };
        self.when_refused = Some(Box::new(action));
    }

    /// Asks to be planned again, at the earliest of all times asked for.
    pub fn again(&mut self, after: Duration) {
        self.again_after = Some(self.again_after.map_or(after, |known| known.min(after)));
    }
}

impl From<Plan> for Decision {
    fn from(plan: Plan) -> Decision {
        Decision::Do(plan)
    }
}

impl Action {
    pub fn patch(at: Target, uid: Option<&str>, mut patch: Value) -> Action {
        if let Some(uid) = uid {
            patch["metadata"]["uid"] = json!(uid);
        }
        Action::Patch { at, patch }
    }

    /// Where this action writes; none for an event.
    pub fn target(&self) -> Option<&Target> {
        match self {
            Action::Create { at, .. } | Action::Update { at, .. } | Action::Patch { at, .. } => Some(at),
            Action::Delete { at, .. } => Some(at),
            Action::Event(_) => None,
        }
    }

    /// The same with the server's words where [`REFUSAL`] stands.
    pub(crate) fn with_refusal(&self, words: &str) -> Action {
        let mut action = self.clone();
        if let Action::Update { object, .. } = &mut action {
            replace(object, words);
        }
        action
    }

    pub(crate) fn verb(&self) -> &'static str {
        match self {
            Action::Create { .. } => "create",
            Action::Update { .. } => "update",
            Action::Patch { .. } => "patch",
            Action::Delete { .. } => "delete",
            Action::Event(_) => "record an event on",
        }
    }
}

fn replace(value: &mut Value, words: &str) {
    match value {
        Value::String(text) if text.contains(REFUSAL) => *text = text.replace(REFUSAL, words),
        Value::Array(items) => items.iter_mut().for_each(|item| replace(item, words)),
        Value::Object(fields) => fields.values_mut().for_each(|field| replace(field, words)),
        _ => {}
    }
}

impl Target {
    pub fn of<K: Resource<DynamicType = ()>>(object: &K, subresource: Option<&'static str>) -> Target {
        Target { resource: ApiResource::erase::<K>(&()), key: Key::of(object), subresource }
    }

    /// The path of the object, or of its collection where it has no name yet.
    pub fn path(&self, with_name: bool) -> String {
        let mut path = collection(&self.resource, &self.key.namespace);
        if with_name {
            path.push('/');
            path.push_str(&self.key.name);
        }
        if let Some(subresource) = self.subresource {
            path.push('/');
            path.push_str(subresource);
        }
        path
    }
}

impl std::fmt::Display for Target {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}", self.resource.plural, self.key)?;
        self.subresource.map_or(Ok(()), |subresource| write!(f, "/{subresource}"))
    }
}

fn collection(resource: &ApiResource, namespace: &str) -> String {
    DynamicObject::url_path(resource, (!namespace.is_empty()).then_some(namespace))
}

/// A live read: a path below the API's root, and whether metadata is enough.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize)]
pub struct Read {
    pub path: String,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub metadata_only: bool,
    /// What is asked, as JSON: such a read is a review, posted and answered and never stored.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub review: Option<String>,
    /// The answer is a list: its metadata has another name than that of one object.
    #[serde(skip)]
    pub of_many: bool,
}

impl Read {
    pub fn object(resource: &ApiResource, key: &Key) -> Read {
        Read::path(format!("{}/{}", collection(resource, &key.namespace), key.name))
    }

    pub fn list(resource: &ApiResource, namespace: &str) -> Read {
        Read { of_many: true, ..Read::path(collection(resource, namespace)) }
    }

    pub fn path(path: impl Into<String>) -> Read {
        Read { path: path.into(), metadata_only: false, review: None, of_many: false }
    }

    /// A review (of an access, say), posted to its collection.
    pub fn review(path: impl Into<String>, review: &Value) -> Read {
        Read { review: Some(review.to_string()), ..Read::path(path) }
    }

    pub fn metadata(mut self) -> Read {
        self.metadata_only = true;
        self
    }
}

/// What live reads answered. None for something that is not there.
pub type Answers = HashMap<Read, Option<Value>>;

fn value<K: Serialize>(object: &K) -> Value {
    serde_json::to_value(object).expect("k8s-openapi types have string keys and no failing Serialize")
}

fn resource_name<S: Serializer>(resource: &ApiResource, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&format_args!("{}/{}", resource.api_version, resource.plural))
}

fn seconds<S: Serializer>(after: &Option<Duration>, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_f64(after.unwrap_or_default().as_secs_f64())
}
