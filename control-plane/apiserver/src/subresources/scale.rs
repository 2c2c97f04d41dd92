//! `scale` of Deployments, ReplicaSets, StatefulSets and ReplicationControllers: their replicas as a `Scale` object.

use super::Call;
use crate::lookup::{self, Resource};
use crate::registry::{modified, now_text, rules};
use crate::resource;
use crate::server::Body;
use api::codec::json;
use api::kind::custom::Scale;
use api::patch;
use api::selector::LabelSelector;
use api::status::FieldReason;
use api::{FieldError, Kind, Map, Object, Status, Value};
use http::Response;

const TYPE: &str = "io.k8s.api.autoscaling.v1.Scale";
const VERSION: &str = "autoscaling/v1";

const fn apps(plural: &'static str) -> Resource {
    Resource { group: "apps", version: "v1", plural }
}

/// The resources that have this subresource here.
pub(super) fn target(group: &str, plural: &str) -> Option<Resource> {
    match (group, plural) {
        ("apps", "deployments") => Some(apps("deployments")),
        ("apps", "replicasets") => Some(apps("replicasets")),
        ("apps", "statefulsets") => Some(apps("statefulsets")),
        ("", "replicationcontrollers") => Some(lookup::REPLICATION_CONTROLLERS),
        _ => None,
    }
}

pub(super) async fn handle(call: &Call<'_>, body: Body) -> Result<Response<Body>, Status> {
    let info = call.info;
    let kind = call.ctx.registry.kind(&info.group, &info.version, &info.resource).ok_or_else(resource::no_route)?;
    if info.verb == "get" {
        let object = call.ctx.registry.get(&kind, &info.namespace, &info.name).await?;
        return call.reply(200, shown(&kind, &object)?);
    }
    let given = Given::read(call, body).await?;
    for _ in 0..super::ROUNDS {
        let old = call.ctx.registry.get(&kind, &info.namespace, &info.name).await?;
        let wanted = given.over(call, &scale_of(&kind, &old))?;
        let replicas = check(&wanted, &info.name)?;
        let version = wanted.resource_version();
        if (!version.is_empty() && version != old.resource_version())
            || (!wanted.uid().is_empty() && wanted.uid() != old.uid())
        {
            return Err(modified(&kind, &info.name));
        }
        let mut new = old.clone();
        match &kind.custom.as_ref().and_then(|c| c.scale.as_ref()) {
            Some(paths) => new.set(&paths.spec.iter().map(String::as_str).collect::<Vec<_>>(), replicas),
            None => new.set(&["spec", "replicas"], replicas),
        }
        rules::update(&kind, &mut new, &old, "", &now_text())?;
        if call.dry_run() {
            return call.reply(200, scale_of(&kind, &new));
        }
        if let Some(stored) = call.ctx.registry.replace(&kind, new, &old).await? {
            return call.reply(200, scale_of(&kind, &stored));
        }
    }
    Err(modified(&kind, &info.name))
}

/// What the client sent.
enum Given {
    Whole(Object),
    Json(Value),
    Merge(Value),
}

impl Given {
    async fn read(call: &Call<'_>, body: Body) -> Result<Given, Status> {
        if call.info.verb == "update" {
            let scale = call.object(body, VERSION, "Scale", TYPE).await?;
            let (given, name) = (scale.name(), &call.info.name);
            if given != name {
                return Err(Status::bad_request(match given {
                    "" => format!(
                        "the name of the object ({name} based on URL) was undeterminable: name must be provided"
                    ),
                    _ => format!("the name of the object ({given}) does not match the name on the URL ({name})"),
                }));
            }
            return Ok(Given::Whole(scale));
        }
        let bytes = resource::body::read(body).await?;
        let decoded =
            json::decode(&bytes).map_err(|e| Status::bad_request(format!("error decoding patch: {e}")))?.value;
        match crate::negotiate::content_type(&call.parts.headers) {
            "application/json-patch+json" => Ok(Given::Json(decoded)),
            // A Scale has no lists, so that a strategic merge is a merge.
            "application/merge-patch+json" | "application/strategic-merge-patch+json" => Ok(Given::Merge(decoded)),
            _ => Err(Status::unsupported_media_type(
                "application/json-patch+json, application/merge-patch+json, application/strategic-merge-patch+json",
            )),
        }
    }

    fn over(&self, call: &Call<'_>, current: &Object) -> Result<Object, Status> {
        let current = Value::Map(current.0.clone());
        let patched = match self {
            Given::Whole(scale) => return Ok(scale.clone()),
            Given::Json(ops) => patch::json::apply(&current, ops).map_err(|e| e.status())?,
            Given::Merge(merge) => {
                patch::merge::check(merge).map_err(|e| e.status())?;
                patch::merge::apply(&current, merge)
            }
        };
        match patched {
            Value::Map(map) => call.typed(Object(map), VERSION, "Scale", TYPE),
            _ => Err(Status::bad_request("the patch makes no Scale")),
        }
    }
}

fn check(scale: &Object, name: &str) -> Result<i64, Status> {
    let replicas = scale.i64_at(&["spec", "replicas"]).unwrap_or(0);
    if replicas >= 0 {
        return Ok(replicas);
    }
    let why = format!("Invalid value: {replicas}: must be greater than or equal to 0");
    let error = FieldError::new(FieldReason::Invalid, "spec.replicas", why);
    Err(Status::invalid("autoscaling", "Scale", name, &[error]))
}

/// The Scale to show: of a custom kind only where the replicas are said.
fn shown(kind: &Kind, object: &Object) -> Result<Object, Status> {
    match kind.custom.as_ref().and_then(|c| c.scale.as_ref()) {
        Some(paths) if Scale::at(object, &paths.spec).is_none() => {
            Err(Status::internal(format!("the spec replicas field {:?} does not exist", paths.spec.join("."))))
        }
        _ => Ok(scale_of(kind, object)),
    }
}

/// The Scale of a workload, or of an object of a custom kind.
pub(super) fn scale_of(kind: &Kind, object: &Object) -> Object {
    let mut scale = Object::default();
    scale.set_type(VERSION, "Scale");
    for key in ["name", "namespace", "uid", "resourceVersion", "creationTimestamp"] {
        let text = object.meta_text(key);
        if !text.is_empty() {
            scale.set(&["metadata", key], text);
        }
    }
    scale.set(&["spec"], Map::new());
    let number = |value: Option<&Value>| value.and_then(Value::as_i64).unwrap_or(0);
    let (replicas, current, selector) = match kind.custom.as_ref().and_then(|c| c.scale.as_ref()) {
        Some(paths) => (
            number(Scale::at(object, &paths.spec)),
            number(Scale::at(object, &paths.status)),
            paths.selector.as_ref().and_then(|p| Scale::at(object, p)?.as_str().map(str::to_owned)).unwrap_or_default(),
        ),
        None => (
            number(object.at(&["spec", "replicas"])),
            number(object.at(&["status", "replicas"])),
            selector_text(object.at(&["spec", "selector"])),
        ),
    };
    if replicas != 0 {
        scale.set(&["spec", "replicas"], replicas);
    }
    scale.set(&["status", "replicas"], current);
    if !selector.is_empty() {
        scale.set(&["status", "selector"], selector);
    }
    scale
}

/// The selector as the text that a list takes.
fn selector_text(selector: Option<&Value>) -> String {
    let Some(Value::Map(map)) = selector else { return String::new() };
    let pairs =
        |m: &Map| LabelSelector::from_labels(m.iter().filter_map(|(k, v)| Some((k.as_str(), v.as_str()?)))).to_string();
    if !map.contains_key("matchLabels") && !map.contains_key("matchExpressions") {
        return pairs(map);
    }
    let labels = map.get("matchLabels").and_then(Value::as_map).map(pairs);
    let expressions = map.get("matchExpressions").and_then(|list| {
        let only: Map = [("matchExpressions", list.clone())].into_iter().collect();
        LabelSelector::from_value(&Value::Map(only)).ok().map(|s| s.to_string())
    });
    let parts: Vec<String> = labels.into_iter().chain(expressions).filter(|part| !part.is_empty()).collect();
    parts.join(",")
}
