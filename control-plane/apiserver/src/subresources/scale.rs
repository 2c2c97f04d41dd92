//! `scale` of Deployments, ReplicaSets, StatefulSets and ReplicationControllers: their replicas as a `Scale` object.

use super::Call;
use crate::admission::{self, Admission, Operation};
use crate::lookup::{self, Resource};
use crate::negotiate::Sent;
use crate::registry::options::{self, FieldValidation};
use crate::registry::{modified, now_text, rules};
use crate::resource;
use crate::resource::patch::{Form, Patch};
use crate::respond;
use crate::server::Body;
use api::kind::Names;
use api::kind::custom::Scale;
use api::managed::{self, Writer};
use api::selector::LabelSelector;
use api::status::FieldReason;
use api::{FieldError, Kind, Map, Object, Status, Value};
use http::Response;
use std::borrow::Cow;

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
    let options = options::write(&info.query, "UpdateOptions")?;
    let given = Given::read(call, body, options.field_validation).await?;
    let manager = options::manager(&info.query, &call.parts.headers);
    if manager.is_empty() && matches!(given, Given::Applied(_)) {
        return Err(options::needs_manager());
    }
    // Upstream keeps no times of those who scale.
    let writer = Writer { manager: &manager, now: "", subresource: "scale" };
    for _ in 0..super::ROUNDS {
        let old = call.ctx.registry.get(&kind, &info.namespace, &info.name).await?;
        let old_scale = scale_of(&kind, &old);
        let mut warnings = Vec::new();
        let wanted = given.over(call, &old_scale, options.field_validation, &mut warnings)?;
        let (wanted, admitted) = admitted(call, wanted, &old_scale, given.options(), options.dry_run).await?;
        warnings.extend(admitted);
        let replicas = check(&wanted, &info.name)?;
        let version = wanted.resource_version();
        if !wanted.uid().is_empty() && wanted.uid() != old.uid() {
            return Err(super::unmet(&kind, &old, "UID", wanted.uid(), old.uid()));
        }
        if !version.is_empty() && version != old.resource_version() {
            return Err(modified(&kind, &info.name));
        }
        let mut new = match given {
            Given::Applied(_) => applied(&kind, &old, replicas, writer, info.query.is("force"))?,
            Given::Whole(_) | Given::Patched(_) => old.clone(),
        };
        set_replicas(&kind, &mut new, replicas);
        if !matches!(given, Given::Applied(_)) {
            managed::update(&kind, Some(&old), &mut new, writer);
        }
        managed::part_scale(&mut new, &replicas_path(&kind));
        rules::update(&kind, &mut new, &old, "", &now_text())?;
        if options.dry_run {
            return reply(call, scale_of(&kind, &new), &warnings);
        }
        if let Some(stored) = call.ctx.registry.replace(&kind, new, &old).await? {
            return reply(call, scale_of(&kind, &stored), &warnings);
        }
    }
    Err(modified(&kind, &info.name))
}

fn reply(call: &Call<'_>, scale: Object, warnings: &[String]) -> Result<Response<Body>, Status> {
    let mut response = call.reply(200, scale)?;
    respond::warn(&mut response, warnings);
    Ok(response)
}

/// What admission makes of a Scale, and what it warns of.
async fn admitted(
    call: &Call<'_>,
    wanted: Object,
    old: &Object,
    options: &'static str,
    dry_run: bool,
) -> Result<(Object, Vec<String>), Status> {
    let mut asked = Map::new();
    asked.insert("kind", options);
    asked.insert("apiVersion", "meta.k8s.io/v1");
    if dry_run {
        asked.insert("dryRun", vec!["All"]);
    }
    let asked = Value::Map(asked);
    let mut admission = Admission {
        kind: &SCALE,
        info: call.info,
        operation: Operation::Update,
        user: call.identity.user(),
        old: Some(old),
        object: Some(wanted),
        dry_run,
        options: &asked,
        warnings: Vec::new(),
        charge: None,
    };
    admission::mutate(call.ctx, &mut admission).await?;
    admission::validate(call.ctx, &mut admission).await?;
    Ok((admission.object.take().unwrap_or_default(), admission.warnings))
}

/// The object with its replicas applied; conflicts speak of the Scale.
fn applied(kind: &Kind, old: &Object, replicas: i64, writer: Writer<'_>, force: bool) -> Result<Object, Status> {
    let mut configuration = Object::default();
    configuration.set_type(&kind.api_version(), &kind.names.kind);
    set_replicas(kind, &mut configuration, replicas);
    let (version, shown) = (format!(" using {}", kind.api_version()), format!(" using {VERSION}"));
    let mut object = managed::apply(kind, Some(old), &configuration, writer, force).map_err(|mut status| {
        status.message = status.message.replace(&version, &shown);
        for cause in status.details.iter_mut().flat_map(|d| &mut d.causes) {
            cause.message = cause.message.replace(&version, &shown);
        }
        status
    })?;
    object.set_type(&kind.api_version(), &kind.names.kind);
    Ok(object)
}

/// Where the kind keeps them.
fn replicas_path(kind: &Kind) -> Vec<&str> {
    match kind.custom.as_ref().and_then(|c| c.scale.as_ref()) {
        Some(paths) => paths.spec.iter().map(String::as_str).collect(),
        None => vec!["spec", "replicas"],
    }
}

fn set_replicas(kind: &Kind, object: &mut Object, replicas: i64) {
    object.set(&replicas_path(kind), replicas);
}

/// A Scale as a kind of its own, whose type an applied one must fit.
static SCALE: Kind = Kind {
    names: Names {
        group: Cow::Borrowed("autoscaling"),
        version: Cow::Borrowed("v1"),
        kind: Cow::Borrowed("Scale"),
        ..Kind::PLAIN.names
    },
    type_name: Cow::Borrowed(TYPE),
    ..Kind::PLAIN
};

/// What the client sent.
enum Given {
    Whole(Object),
    Applied(Object),
    Patched(Patch),
}

impl Given {
    async fn read(call: &Call<'_>, body: Body, validation: FieldValidation) -> Result<Given, Status> {
        if call.info.verb == "update" {
            let scale = call.object(body, VERSION, "Scale", TYPE).await?;
            named(&scale, &call.info.name)?;
            return Ok(Given::Whole(scale));
        }
        if crate::negotiate::content_type(&call.parts.headers) == "application/apply-patch+yaml" {
            return Given::configuration(call, &resource::body::read(body).await?);
        }
        options::patch(&call.info.query)?;
        let form = match crate::negotiate::content_type(&call.parts.headers) {
            "application/json-patch+json" => Form::Json,
            "application/merge-patch+json" => Form::Merge,
            "application/strategic-merge-patch+json" => Form::Strategic,
            _ => {
                return Err(Status::unsupported_media_type(
                    "application/json-patch+json, application/merge-patch+json, application/strategic-merge-patch+json, application/apply-patch+yaml",
                ));
            }
        };
        Patch::read(form, &resource::body::read(body).await?, validation).map(Given::Patched)
    }

    fn configuration(call: &Call<'_>, bytes: &[u8]) -> Result<Given, Status> {
        let decoded = resource::body::decode(TYPE, Sent::Yaml, bytes);
        let decoded = decoded.map_err(|e| Status::bad_request(format!("error decoding YAML: {}", e.message)))?;
        let Value::Map(map) = decoded.value else {
            return Err(Status::bad_request("error decoding YAML: the configuration is not an object"));
        };
        let scale = Object(map);
        managed::fits(&SCALE, &scale)?;
        call.typed(scale, VERSION, "Scale", TYPE, Vec::new()).map(Given::Applied)
    }

    /// The kind of the request's options.
    fn options(&self) -> &'static str {
        match self {
            Given::Whole(_) => "UpdateOptions",
            Given::Applied(_) | Given::Patched(_) => "PatchOptions",
        }
    }

    fn over(
        &self,
        call: &Call<'_>,
        current: &Object,
        validation: FieldValidation,
        warnings: &mut Vec<String>,
    ) -> Result<Object, Status> {
        match self {
            Given::Whole(scale) | Given::Applied(scale) => Ok(scale.clone()),
            Given::Patched(patch) => {
                let scale = patch.apply(&SCALE, current, validation, warnings)?;
                named(&scale, &call.info.name)?;
                Ok(scale)
            }
        }
    }
}

fn named(scale: &Object, name: &str) -> Result<(), Status> {
    match scale.name() {
        given if given == name => Ok(()),
        "" => Err(Status::bad_request(format!(
            "the name of the object ({name} based on URL) was undeterminable: name must be provided"
        ))),
        given => Err(Status::bad_request(format!(
            "the name of the object ({given}) does not match the name on the URL ({name})"
        ))),
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
