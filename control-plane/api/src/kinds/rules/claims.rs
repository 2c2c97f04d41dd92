//! PersistentVolumes and the claims for them.

use super::at::{At, Errors};
use super::metadata::{self, differs};
use super::{resources, selectors, volumes};
use crate::kind::Context;
use crate::names;
use crate::object::Object;
use crate::status::FieldError;
use crate::value::{Map, Value};

const MODES: &[&str] = &["ReadOnlyMany", "ReadWriteMany", "ReadWriteOnce", "ReadWriteOncePod"];

pub(in crate::kinds) fn claim(object: &Object, out: &mut Vec<FieldError>) {
    let errors = Errors::default();
    let root = At::root(object, &errors);
    metadata::metadata(&root.field("metadata"), names::dns1123_subdomain);
    claim_spec(&root.field("spec"));
    out.extend(errors.into_list());
}

pub(super) fn claim_spec(at: &At<'_>) {
    let modes = at.field("accessModes");
    if modes.is_empty() {
        modes.required("at least 1 access mode is required");
    }
    selectors::label_selector(&at.field("selector"));
    access_modes(&modes);
    resources::storage_request(&at.field("resources"));
    at.field("volumeMode").maybe_one_of(&["Block", "Filesystem"]);
    let class = at.field("storageClassName");
    if !class.text().is_empty() {
        class.matches(names::dns1123_subdomain);
    }
    sources(at);
    let attributes = at.field("volumeAttributesClassName");
    if !attributes.is_empty() {
        attributes.matches(names::dns1123_subdomain);
    }
}

fn access_modes(at: &At<'_>) {
    for mode in at.items().filter(|m| !MODES.contains(&m.text())) {
        at.unsupported_as(&format!("{:?}", mode.text()), MODES);
    }
    if at.len() > 1 && at.items().any(|m| m.text() == "ReadWriteOncePod") {
        at.forbidden("may not use ReadWriteOncePod with other access modes");
    }
}

fn sources(at: &At<'_>) {
    let (source, reference) = (at.field("dataSource"), at.field("dataSourceRef"));
    for one in [&source, &reference].into_iter().filter(|s| s.is()) {
        one.field("name").not_empty();
        one.field("kind").not_empty();
        if one.get("apiGroup").is_empty() && one.get("kind") != "PersistentVolumeClaim" {
            one.invalid_text(one.get("kind"), "must be 'PersistentVolumeClaim' when referencing the default apiGroup");
        }
        if !one.get("apiGroup").is_empty() {
            one.field("apiGroup").matches(names::dns1123_subdomain);
        }
    }
    if source.is() && reference.is() && reference.get("namespace").is_empty() {
        let part = |s: &At<'_>| ["apiGroup", "kind", "name"].map(|k| s.get(k).to_owned());
        if part(&source) != part(&reference) {
            at.invalid_as("{}", "must match dataSourceRef");
        }
    }
}

pub(in crate::kinds) fn claim_update(new: &Object, old: &Object, context: Context<'_>, out: &mut Vec<FieldError>) {
    let errors = Errors::default();
    let spec = At::root(new, &errors).field("spec");
    if context.subresource.is_empty() {
        let before = old.at(&["spec"]).and_then(Value::as_map).cloned().unwrap_or_default();
        let (before, fixed) = (Value::Map(before), Value::Map(fixed(new, old)));
        match fixed == before {
            true => shrinks(&spec, old),
            false => {
                const TYPE: &str = "io.k8s.api.core.v1.PersistentVolumeClaimSpec";
                let changes = super::inner::changes(Some(&before), Some(&fixed), TYPE, None);
                spec.forbidden(&format!("{FIXED}\n{changes}"));
            }
        }
        let mode = spec.field("volumeMode");
        if differs(mode.value, old.at(&["spec", "volumeMode"])) {
            mode.named("volumeMode").invalid("field is immutable");
        }
    } else {
        out.clear();
        claim_status(&At::root(new, &errors).field("status"));
    }
    out.extend(errors.into_list());
    metadata::update(new, old, out);
}

const RESIZES: &[&str] = &[
    "ControllerResizeInProgress",
    "ControllerResizeInfeasible",
    "NodeResizeInProgress",
    "NodeResizeInfeasible",
    "NodeResizePending",
];

fn claim_status(at: &At<'_>) {
    for (_, amount) in at.field("capacity").pairs() {
        super::words::amount_not_negative(&amount);
    }
    let (sorts, amounts) = (at.field("allocatedResourceStatuses"), at.field("allocatedResources"));
    for (name, state) in sorts.pairs() {
        claimed_resource(&sorts, name);
        if !RESIZES.contains(&state.text()) {
            sorts.unsupported_as(&format!("{name:?}"), RESIZES);
        }
    }
    for (name, amount) in amounts.pairs() {
        if claimed_resource(&amounts, name) {
            super::words::amount_not_negative(&amount);
        }
    }
}

/// Whether a claim has such a resource; complains if not.
fn claimed_resource(at: &At<'_>, name: &str) -> bool {
    let wrong = names::qualified_name(name);
    wrong.iter().for_each(|why| at.invalid_text(name, why));
    let other = wrong.is_empty() && resources::is_native(name) && name != "storage";
    if other {
        at.unsupported_as(&format!("{name:?}"), &["storage"]);
    }
    wrong.is_empty() && !other
}

const FIXED: &str =
    "spec is immutable after creation except resources.requests and volumeAttributesClassName for bound claims";

/// The new spec with what may change as it was.
fn fixed(new: &Object, old: &Object) -> Map {
    let mut spec = new.at(&["spec"]).and_then(Value::as_map).cloned().unwrap_or_default();
    let before = |path: &[&str]| old.at(path).filter(|v| !v.is_null()).cloned();
    let mut free = vec!["volumeAttributesClassName"];
    // A class may be chosen later, and the binder may name the volume, once.
    if before(&["spec", "storageClassName"]).is_none() {
        free.push("storageClassName");
    }
    if old.str_at(&["spec", "volumeName"]).is_empty() {
        free.push("volumeName");
    }
    for key in free {
        match before(&["spec", key]) {
            Some(value) => drop(spec.insert(crate::value::Key::new(key), value)),
            None => drop(spec.remove(key)),
        }
    }
    if old.str_at(&["status", "phase"]) == "Bound" {
        let resources = spec.entry("resources").make_map();
        match before(&["spec", "resources", "requests"]) {
            Some(requests) => drop(resources.insert("requests", requests)),
            None => drop(resources.remove("requests")),
        }
    }
    spec
}

fn shrinks(spec: &At<'_>, old: &Object) {
    let requests = spec.fields(&["resources", "requests"]);
    let before = spec.other(old.at(&["spec", "resources", "requests", "storage"]));
    let (now, before) = (super::words::amount(&requests.field("storage")), super::words::amount(&before));
    if let (Some(now), Some(before)) = (now, before)
        && now < before
    {
        requests.field("storage").forbidden("field can not be less than status.capacity");
    }
}

pub(in crate::kinds) fn volume(object: &Object, out: &mut Vec<FieldError>) {
    let errors = Errors::default();
    let root = At::root(object, &errors);
    metadata::metadata(&root.field("metadata"), names::dns1123_subdomain);
    volume_spec(&root.field("spec"));
    out.extend(errors.into_list());
}

fn volume_spec(at: &At<'_>) {
    let modes = at.field("accessModes");
    modes.not_empty();
    access_modes(&modes);
    let capacity = at.field("capacity");
    capacity.not_empty();
    if !capacity.has("storage") || capacity.len() > 1 {
        let shown = capacity.value.map_or_else(|| "null".into(), crate::status::shown);
        capacity.unsupported_as(&shown, &["storage"]);
    }
    for (_, amount) in capacity.pairs() {
        positive(&amount);
    }
    at.field("persistentVolumeReclaimPolicy").maybe_one_of(&["Delete", "Recycle", "Retain"]);
    let required = at.fields(&["nodeAffinity", "required"]);
    match (at.has("nodeAffinity"), required.is()) {
        (true, true) => selectors::node_selector(&required),
        (true, false) => required.required("must specify required node constraints"),
        _ => {}
    }
    let first = volumes::sources_of_volume(at);
    if first == Some("local") && !at.has("nodeAffinity") {
        at.field("nodeAffinity").required("Local volume requires node affinity");
    }
    let class = at.field("storageClassName");
    if !class.is_empty() {
        class.matches(names::dns1123_subdomain);
    }
    at.field("volumeMode").maybe_one_of(&["Block", "Filesystem"]);
}

fn positive(at: &At<'_>) {
    if let Some(amount) = super::words::amount(at) {
        super::words::amount_not_negative(at);
        if amount.signum() <= 0 {
            at.invalid_text(&amount.to_string(), "must be greater than zero");
        }
    }
}

/// A volume that only an attachment describes.
pub(super) fn inline_volume(at: &At<'_>) {
    const INLINE: &str = "may not be specified in the context of inline volumes";
    for key in ["claimRef", "capacity"] {
        if !at.field(key).is_empty() {
            at.field(key).forbidden(INLINE);
        }
    }
    if !at.has("csi") {
        at.field("csi").required("has to be specified in the context of inline volumes");
    }
    let modes = at.field("accessModes");
    modes.not_empty();
    access_modes(&modes);
    let reclaim = at.field("persistentVolumeReclaimPolicy");
    if !reclaim.is_empty() && reclaim.text() != "Retain" {
        reclaim.forbidden("may only be Retain in the context of inline volumes");
    }
    if at.has("nodeAffinity") {
        at.field("nodeAffinity").forbidden(INLINE);
    }
    volumes::sources_of_volume(at);
    if !at.field("storageClassName").is_empty() {
        at.field("storageClassName").forbidden(INLINE);
    }
    let mode = at.field("volumeMode");
    if mode.is() && mode.text() != "Filesystem" {
        mode.forbidden("may not specify volumeMode other than Filesystem in the context of inline volumes");
    }
}

pub(in crate::kinds) fn volume_update(new: &Object, old: &Object, context: Context<'_>, out: &mut Vec<FieldError>) {
    let errors = Errors::default();
    let root = At::root(new, &errors);
    if context.subresource.is_empty() {
        // Upstream looks at the whole volume twice.
        out.extend(out.clone());
        let source = |o: &Object| -> Map {
            let mut spec = o.at(&["spec"]).and_then(Value::as_map).cloned().unwrap_or_default();
            spec.retain(|key, _| volumes::SOURCES.contains(&key.as_str()));
            spec
        };
        let spec = root.field("spec");
        if source(new) != source(old) {
            const TYPE: &str = "io.k8s.api.core.v1.PersistentVolumeSpec";
            let (before, now) = (Value::Map(source(old)), Value::Map(source(new)));
            let changes = super::inner::changes(Some(&before), Some(&now), TYPE, Some("PersistentVolumeSource"));
            spec.field("persistentvolumesource")
                .forbidden(&format!("spec.persistentvolumesource is immutable after creation\n{changes}"));
        }
        let mode = spec.field("volumeMode");
        if differs(mode.value, old.at(&["spec", "volumeMode"])) {
            mode.named("volumeMode").invalid("field is immutable");
        }
    } else {
        out.clear();
    }
    out.extend(errors.into_list());
    metadata::update(new, old, out);
}
