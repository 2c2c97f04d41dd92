//! `scale` of Deployments, ReplicaSets, StatefulSets and ReplicationControllers: their replicas as a `Scale` object.

use super::Call;
use crate::admission::{self, Admission, Operation};
use crate::lookup::{self, Resource};
use crate::registry::options::{self, FieldValidation};
use crate::registry::{modified, now_text, rules};
use crate::resource;
use crate::resource::apply::configuration;
use crate::resource::patch::{self, Patch};
use crate::respond;
use crate::server::Body;
use api::kind::Scope;
use api::kind::custom::Scale;
use api::managed::scale::SCALE;
use api::managed::{self, Writer};
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
    let options = options::write(&info.query, if info.verb == "update" { "UpdateOptions" } else { "PatchOptions" })?;
    let given = Given::read(call, &kind, body, options.field_validation).await?;
    let manager = options::manager(&info.query, &call.parts.headers);
    let now = now_text();
    let writer = Writer { manager: &manager, now: &now, subresource: "scale" };
    for _ in 0..super::ROUNDS {
        let old = call.ctx.registry.get(&kind, &info.namespace, &info.name).await?;
        let mut old_scale = scale_of(&kind, &old);
        managed::scale::show(&kind, &old, &mut old_scale);
        let mut warnings = Vec::new();
        let wanted = given.over(call, &old_scale, options.field_validation, writer, &mut warnings)?;
        let (wanted, admitted) = admitted(call, wanted, &old_scale, given.options(), options.dry_run).await?;
        warnings.extend(admitted);
        let new = given.scaled(&kind, &old, &wanted)?;
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

/// What the client sent.
enum Given {
    Whole(Object),
    Applied(Object),
    Patched(Patch),
}

impl Given {
    async fn read(call: &Call<'_>, kind: &Kind, body: Body, validation: FieldValidation) -> Result<Given, Status> {
        let (info, headers) = (call.info, &call.parts.headers);
        if info.verb == "update" {
            let mut scale = call.object(body, VERSION, "Scale", TYPE).await?;
            place(call, &mut scale)?;
            return Ok(Given::Whole(scale));
        }
        if crate::negotiate::content_type(headers) == patch::APPLY {
            if info.query.get("fieldManager").is_empty() {
                return Err(options::needs_manager());
            }
            let (scale, warnings) = configuration(&SCALE, &resource::body::read(body).await?, validation)?;
            call.warnings.lock().extend(warnings);
            return Ok(Given::Applied(scale));
        }
        let form = patch::form(kind, headers)?;
        options::patch(&info.query)?;
        Patch::read(form, &resource::body::read(body).await?, validation).map(Given::Patched)
    }

    /// The kind of the request's options.
    fn options(&self) -> &'static str {
        match self {
            Given::Whole(_) => "UpdateOptions",
            Given::Applied(_) | Given::Patched(_) => "PatchOptions",
        }
    }

    /// The Scale that is wanted, with its owners.
    fn over(
        &self,
        call: &Call<'_>,
        current: &Object,
        validation: FieldValidation,
        writer: Writer<'_>,
        warnings: &mut Vec<String>,
    ) -> Result<Object, Status> {
        let mut scale = match self {
            Given::Whole(scale) => scale.clone(),
            Given::Patched(patch) => patch.apply(&SCALE, current, validation, warnings)?,
            Given::Applied(configuration) => {
                let force = call.info.query.is("force");
                let mut scale = managed::apply(&SCALE, Some(current), configuration, writer, force)?;
                managed::converts(&SCALE, configuration, &mut scale)?;
                scale.set_type(VERSION, "Scale");
                place(call, &mut scale)?;
                return Ok(scale);
            }
        };
        place(call, &mut scale)?;
        managed::update(&SCALE, Some(current), &mut scale, writer);
        Ok(scale)
    }

    /// The object with the replicas of a Scale.
    fn scaled(&self, kind: &Kind, old: &Object, wanted: &Object) -> Result<Object, Status> {
        let replicas = wanted.i64_at(&["spec", "replicas"]).unwrap_or(0);
        if replicas < 0 && kind.custom.is_none() {
            let why = format!("Invalid value: {replicas}: must be greater than or equal to 0");
            let error = FieldError::new(FieldReason::Invalid, "spec.replicas", why);
            return Err(Status::invalid("autoscaling", "Scale", old.name(), &[error]));
        }
        self.meets(kind, old, wanted)?;
        let mut new = old.clone();
        new.set(&managed::scale::replicas(kind), replicas);
        managed::scale::take_back(kind, &mut new, wanted);
        rules::update(kind, &mut new, old, "", &now_text())?;
        Ok(new)
    }

    /// Whether the object is the one that is to be scaled.
    fn meets(&self, kind: &Kind, old: &Object, wanted: &Object) -> Result<(), Status> {
        let (group, plural, name) = (&kind.names.group, &kind.names.plural, old.name());
        if !wanted.uid().is_empty() && wanted.uid() != old.uid() {
            match self {
                Given::Whole(_) => return Err(resource::other_uid(kind, old, wanted.uid())),
                // Nobody asks there.
                Given::Patched(_) | Given::Applied(_) if kind.custom.is_some() => {}
                Given::Patched(_) | Given::Applied(_) => {
                    let why = format!(
                        "Precondition failed: UID in precondition: {}, UID in object meta: {}",
                        wanted.uid(),
                        old.uid()
                    );
                    return Err(Status::conflict(group, &format!("{plural}/scale"), name, &why));
                }
            }
        }
        match resource::version(wanted)?.is_some_and(|v| v.to_string() != old.resource_version()) {
            true => Err(modified(kind, name)),
            false => Ok(()),
        }
    }
}

/// The Scale is the one of the path.
fn place(call: &Call<'_>, scale: &mut Object) -> Result<(), Status> {
    resource::body::placed(Scope::Namespaced, &call.info.namespace, Some(&call.info.name), scale)
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
