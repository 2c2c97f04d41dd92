//! Create and update: admit(mutate) → default → prepare → validate → admit(validate) → registry.

use super::{Call, body};
use crate::admission::{self, Admission, Operation, resource_quota};
use crate::allocators;
use crate::registry::options::{self, WriteOptions};
use crate::registry::{begin_create, decode, is_unlabelled, modified, not_found, now_text, rules, taken};
use crate::server::Body;
use api::managed::Writer;
use api::{Kind, Map, Object, Status, Value};
use http::Response;

/// How often an update without a resourceVersion is planned again when another write came between.
const ROUNDS: usize = 16;

pub(super) async fn create(call: &Call<'_>, body: Body) -> Result<Response<Body>, Status> {
    let options = options::write(&call.info.query, "CreateOptions")?;
    let body = body::read(body).await?;
    let mut warnings = Vec::new();
    let mut object = body::object(call, &body, options.field_validation, &mut warnings)?;
    body::place(call, &mut object, false).map_err(|status| status.warned(&warnings))?;
    let object = new(call, object, options, By::Create, &mut warnings).await?;
    call.show(201, &object, &warnings)
}

/// Creates an object that is decoded. What was warned of stands beside a refusal as well.
pub(super) async fn new(
    call: &Call<'_>,
    object: Object,
    options: WriteOptions,
    by: By,
    warnings: &mut Vec<String>,
) -> Result<Object, Status> {
    let made = make(call, object, options, by, warnings).await;
    made.map_err(|status| status.warned(warnings))
}

async fn make(
    call: &Call<'_>,
    mut object: Object,
    options: WriteOptions,
    by: By,
    warnings: &mut Vec<String>,
) -> Result<Object, Status> {
    let (ctx, kind) = (call.ctx, &*call.kind);
    let asked = object.resource_version().to_owned();
    let unlabelled = is_unlabelled(&object);
    kind.default(&mut object);
    own(call, by, &mut object, None);
    if object.name().is_empty() {
        // Admission sees the name that will be.
        rules::name(&mut object, &rand::random::<[u8; 8]>());
    }
    let kind_of_options = if by == By::Apply { by.options() } else { By::Create.options() };
    let sent = options_value(kind_of_options, options);
    let mut admission = admission(call, Operation::Create, None, object, options, &sent);
    admission::mutate(ctx, &mut admission).await?;
    let mut object = admission.object.take().unwrap_or_default();
    begin_create(kind, &mut object, unlabelled)?;
    warnings.extend(api::kinds::name_warning(kind, object.name()));
    warnings.extend(kind.warnings(&object));
    admission.object = Some(object);
    admission::validate(ctx, &mut admission).await?;
    warnings.append(&mut admission.warnings);
    let charge = admission.charge.take();
    let mut object = admission.object.take().unwrap_or_default();
    let reservation = allocators::reserve(ctx, kind, &mut object, None, options.dry_run).await?;
    if options.dry_run {
        match ctx.registry.get(kind, object.namespace(), object.name()).await {
            Ok(there) => return Err(taken(kind, object.name(), there.deletion_timestamp().is_some())),
            Err(status) if status.code == 404 => {}
            Err(status) => return Err(status),
        }
        if !asked.is_empty() {
            // As upstream: what would be stored is shown with what was asked for.
            object.meta_mut().insert("resourceVersion", asked);
        }
        return Ok(object);
    }
    if by == By::Create && asked.parse::<u64>().is_ok_and(|version| version > 0) {
        return Err(Status::new(500, "", "resourceVersion should not be set on objects to be created"));
    }
    let inserted = resource_quota::insert(ctx, kind, object, charge).await;
    let reservation = reservation.after(inserted.as_ref().err());
    let object = inserted?;
    reservation.commit(ctx).await;
    Ok(object)
}

fn admission<'a>(
    call: &'a Call<'_>,
    operation: Operation,
    old: Option<&'a Object>,
    object: Object,
    options: WriteOptions,
    asked: &'a Value,
) -> Admission<'a> {
    Admission {
        kind: &call.kind,
        info: call.info,
        operation,
        user: call.identity.user(),
        old,
        object: Some(object),
        dry_run: options.dry_run,
        options: asked,
        warnings: Vec::new(),
        charge: None,
    }
}

/// The verb behind a write, which decides the options' kind and how fields are owned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum By {
    Create,
    /// Creates too, where a kind allows it.
    Update,
    Patch,
    /// The object comes with its owners set.
    Apply,
}

impl By {
    fn options(self) -> &'static str {
        match self {
            By::Create => "CreateOptions",
            By::Update => "UpdateOptions",
            By::Patch | By::Apply => "PatchOptions",
        }
    }
}

/// Writes down who owns the fields that are new or changed.
fn own(call: &Call<'_>, by: By, new: &mut Object, old: Option<&Object>) {
    if by == By::Apply {
        return;
    }
    let (manager, now) = (options::manager(&call.info.query, &call.parts.headers), now_text());
    api::managed::update(
        &call.kind,
        old,
        new,
        Writer { manager: &manager, now: &now, subresource: &call.info.subresource },
    );
}

fn take_owners(to: &mut Object, from: &Object) {
    match from.meta().and_then(|m| m.get("managedFields")) {
        Some(owners) => drop(to.meta_mut().insert("managedFields", owners.clone())),
        None => drop(to.meta_mut().remove("managedFields")),
    }
}

/// Whether a change is warned of again: a pod and the old way to name an Ingress's class only when they are new, the
/// template of a workload when it changes.
fn warns(kind: &Kind, new: &Object, old: &Object) -> bool {
    match (&*kind.names.group, &*kind.names.plural) {
        ("", "pods") | ("networking.k8s.io", "ingresses") => false,
        ("apps" | "batch", _) | ("", "replicationcontrollers") => new.generation() != old.generation(),
        _ => true,
    }
}

fn options_value(kind: &str, options: WriteOptions) -> Value {
    let mut map = Map::new();
    map.insert("kind", kind);
    map.insert("apiVersion", "meta.k8s.io/v1");
    if options.dry_run {
        map.insert("dryRun", vec!["All"]);
    }
    Value::Map(map)
}

pub(super) async fn update(call: &Call<'_>, body: Body) -> Result<Response<Body>, Status> {
    let options = options::write(&call.info.query, "UpdateOptions")?;
    let body = body::read(body).await?;
    let mut warnings = Vec::new();
    let mut object = body::object(call, &body, options.field_validation, &mut warnings)?;
    body::place(call, &mut object, true).map_err(|status| status.warned(&warnings))?;
    for _ in 0..ROUNDS {
        let Some(old) = current(call).await? else {
            return absent(call, object, options, warnings).await;
        };
        asks_for(call, &object, &old).map_err(|status| status.warned(&warnings))?;
        let mut found = warnings.clone();
        if let Some(stored) = change(call, object.clone(), &old, options, By::Update, &mut found).await? {
            return call.show(200, &stored, &found);
        }
    }
    Err(modified(&call.kind, object.name()))
}

/// Refuses an update that is of another version, or of none where it must say which.
pub(super) fn asks_for(call: &Call<'_>, object: &Object, old: &Object) -> Result<(), Status> {
    let kind = &*call.kind;
    if version(object)?.is_none() && !kind.unconditional_update {
        let why = "Invalid value: 0: must be specified for an update";
        let error = api::FieldError::new(api::status::FieldReason::Invalid, "metadata.resourceVersion", why);
        return Err(Status::invalid(&kind.names.group, &kind.names.plural, object.name(), &[error]));
    }
    check_version(call, object, old)
}

/// An update of an object that is not there.
async fn absent(
    call: &Call<'_>,
    object: Object,
    options: WriteOptions,
    mut warnings: Vec<String>,
) -> Result<Response<Body>, Status> {
    if !call.kind.create_on_update || !call.info.subresource.is_empty() {
        return Err(not_found(&call.kind, object.name()).warned(&warnings));
    }
    version(&object).map_err(|status| status.warned(&warnings))?;
    let object = new(call, object, options, By::Update, &mut warnings).await?;
    call.show(201, &object, &warnings)
}

/// The object of the path as it is stored.
pub(super) async fn current(call: &Call<'_>) -> Result<Option<Object>, Status> {
    let found = call.ctx.registry.storage().get_object(&call.kind, call.namespace(), &call.info.name).await?;
    found.map(|s| decode(&call.kind, &s.value, s.revision)).transpose()
}

/// The version that an update asks for; `None` for whatever is there.
pub(crate) fn version(object: &Object) -> Result<Option<u64>, Status> {
    match object.resource_version() {
        "" | "0" => Ok(None),
        text => match text.parse() {
            Ok(version) => Ok(Some(version)),
            Err(_) => Err(Status::new(500, "", format!("strconv.ParseUint: parsing {text:?}: invalid syntax"))),
        },
    }
}

/// Refuses a change of another version than the one that is stored.
pub(super) fn check_version(call: &Call<'_>, new: &Object, old: &Object) -> Result<(), Status> {
    match version(new)?.is_some_and(|v| v.to_string() != old.resource_version()) {
        true => Err(modified(&call.kind, old.name())),
        false => Ok(()),
    }
}

/// Replaces `old`; `None` when another write came between.
pub(super) async fn change(
    call: &Call<'_>,
    new: Object,
    old: &Object,
    options: WriteOptions,
    by: By,
    warnings: &mut Vec<String>,
) -> Result<Option<Object>, Status> {
    let made = replace(call, new, old, options, by, warnings).await;
    made.map_err(|status| status.warned(warnings))
}

/// An update of an object that is gone, and another has its name.
pub(crate) fn other_uid(kind: &Kind, old: &Object, asked: &str) -> Status {
    let why = format!(
        "StorageError: invalid object, Code: 4, Key: {}, ResourceVersion: 0, AdditionalErrorMsg: Precondition failed: \
         UID in precondition: {asked}, UID in object meta: {}",
        crate::registry::upstream_key(kind, old.namespace(), old.name()),
        old.uid()
    );
    Status::conflict(&kind.names.group, &kind.names.plural, old.name(), &why)
}

async fn replace(
    call: &Call<'_>,
    mut new: Object,
    old: &Object,
    options: WriteOptions,
    by: By,
    warnings: &mut Vec<String>,
) -> Result<Option<Object>, Status> {
    let (ctx, kind) = (call.ctx, &*call.kind);
    // What a patch makes of the identity is for validation to refuse.
    if by == By::Update && !new.uid().is_empty() && new.uid() != old.uid() {
        return Err(other_uid(kind, old, new.uid()));
    }
    let identified =
        ["uid", "resourceVersion", "creationTimestamp"].iter().all(|key| new.meta_text(key) == old.meta_text(key));
    // Of these paths what they leave alone counts as written, too.
    let whole = matches!(&*call.info.subresource, "resize" | "ephemeralcontainers").then(|| new.clone());
    rules::keep(kind, &mut new, old, &call.info.subresource);
    kind.default(&mut new);
    match whole {
        Some(mut whole) if by != By::Apply => {
            kind.default(&mut whole);
            own(call, by, &mut whole, Some(old));
            take_owners(&mut new, &whole);
        }
        _ => own(call, by, &mut new, Some(old)),
    }
    let asked = options_value(by.options(), options);
    let mut admission = admission(call, Operation::Update, Some(old), new, options, &asked);
    admission::mutate(ctx, &mut admission).await?;
    let mut new = admission.object.take().unwrap_or_default();
    if identified {
        api::managed::keep_times(old, &mut new);
    }
    rules::update(kind, &mut new, old, &call.info.subresource, &now_text())?;
    if warns(kind, &new, old) {
        warnings.extend(kind.warnings(&new));
    }
    admission.object = Some(new);
    admission::validate(ctx, &mut admission).await?;
    warnings.append(&mut admission.warnings);
    let mut new = admission.object.take().unwrap_or_default();
    let reservation = allocators::reserve(ctx, kind, &mut new, Some(old), options.dry_run).await?;
    if options.dry_run {
        return Ok(Some(new));
    }
    // A link to itself is only shown, never stored.
    new.meta_mut().remove("selfLink");
    let raised = admission.charge.as_ref().map(|charge| charge.writes(ctx)).transpose()?.unwrap_or_default();
    let replaced = ctx.registry.replace_beside(kind, new, old, &raised).await;
    let reservation = reservation.after(replaced.as_ref().err());
    let stored = replaced?;
    if let Some(stored) = &stored {
        reservation.commit(ctx).await;
        if crate::registry::deletion::is_over(kind, stored) {
            super::delete::gone(ctx, kind, stored).await;
        }
    }
    Ok(stored)
}
