//! PersistentVolumes and the claims for them.

use super::at::{At, Errors};
use super::metadata::{self, differs};
use super::{resources, selectors, volumes};
use crate::kind::Context;
use crate::names;
use crate::object::Object;
use crate::quantity::Quantity;
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
    let alone = |mode: &str| mode == "ReadWriteOncePod";
    let others = at.items().any(|m| MODES.contains(&m.text()) && !alone(m.text()));
    if others && at.items().any(|m| alone(m.text())) {
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
    if !reference.get("namespace").is_empty() {
        reference.field("namespace").matches(names::dns1123_label);
        if source.is() {
            at.invalid_as("{}", "may not be specified when dataSourceRef.namespace is specified");
        }
    } else if source.is() && reference.is() {
        let part = |s: &At<'_>| (s.has("apiGroup"), ["apiGroup", "kind", "name"].map(|k| s.get(k).to_owned()));
        if part(&source) != part(&reference) {
            at.invalid_as("{}", "must match dataSourceRef");
        }
    }
}

const CLASS_NOTE: &str = "volume.beta.kubernetes.io/storage-class";

pub(in crate::kinds) fn claim_update(new: &Object, old: &Object, context: Context<'_>, out: &mut Vec<FieldError>) {
    let errors = Errors::default();
    let spec = At::root(new, &errors).field("spec");
    if context.subresource.is_empty() {
        // A group that was once taken stays, whatever it is called.
        let had_group = ["dataSource", "dataSourceRef"].iter().any(|s| old.at(&["spec", s, "apiGroup"]).is_some());
        out.retain(|e| !(had_group && e.path.ends_with(".apiGroup")));
        let (before, fixed) = (fixed_old(new, old), fixed(new, old));
        if !takes_class(new, old)
            && new.annotation(CLASS_NOTE).unwrap_or("") != old.annotation(CLASS_NOTE).unwrap_or("")
        {
            let note = At::root(new, &errors).fields(&["metadata", "annotations"]).field(CLASS_NOTE);
            note.invalid_text(new.annotation(CLASS_NOTE).unwrap_or(""), "field is immutable");
        }
        let (before, fixed) = (Value::Map(before), Value::Map(fixed));
        if fixed != before {
            const TYPE: &str = "io.k8s.api.core.v1.PersistentVolumeClaimSpec";
            let changes = super::inner::changes(Some(&before), Some(&fixed), TYPE, None);
            spec.forbidden(&format!("{FIXED}\n{changes}"));
        }
        shrinks(&spec, old);
        let mode = spec.field("volumeMode");
        if differs(mode.value, old.at(&["spec", "volumeMode"])) {
            mode.named("volumeMode").invalid("field is immutable");
        }
        attributes(&spec.field("volumeAttributesClassName"), old);
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
        super::words::capacity_not_negative(&amount);
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
            super::words::capacity_not_negative(&amount);
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

/// Whether a class takes the place of the annotation that named it before there was the field.
fn takes_class(new: &Object, old: &Object) -> bool {
    let class = |o: &Object| {
        o.at(&["spec", "storageClassName"]).filter(|v| !v.is_null()).and_then(Value::as_str).map(str::to_owned)
    };
    let Some(was) = old.annotation(CLASS_NOTE) else { return false };
    class(old).is_none()
        && class(new).as_deref() == Some(was)
        && new.annotation(CLASS_NOTE).is_none_or(|now| now == was)
}

fn spec_of(object: &Object) -> Map {
    object.at(&["spec"]).and_then(Value::as_map).cloned().unwrap_or_default()
}

fn take(to: &mut Map, from: &Map, key: &'static str) {
    match from.get(key).filter(|v| !v.is_null()) {
        Some(value) => drop(to.insert(key, value.clone())),
        None => drop(to.remove(key)),
    }
}

/// The old spec, with the volume that the binder may name once.
fn fixed_old(new: &Object, old: &Object) -> Map {
    let mut spec = spec_of(old);
    if old.str_at(&["spec", "volumeName"]).is_empty() {
        take(&mut spec, &spec_of(new), "volumeName");
    }
    spec
}

/// The new spec with what may change as it was.
fn fixed(new: &Object, old: &Object) -> Map {
    let (mut spec, before) = (spec_of(new), spec_of(old));
    let had_class = before.get("storageClassName").is_some_and(|c| !c.is_null());
    let asked = spec.get("storageClassName").and_then(Value::as_str);
    if takes_class(new, old) {
        spec.remove("storageClassName");
    } else if !had_class && asked.is_some() && old.annotation(CLASS_NOTE).is_none_or(|note| Some(note) == asked) {
        take(&mut spec, &before, "storageClassName");
    }
    if new.str_at(&["status", "phase"]) == "Bound" {
        take(&mut spec, &before, "volumeAttributesClassName");
        let storage = before.get("resources").and_then(|r| r.at(&["requests", "storage"])).cloned();
        let requests = spec.get_mut("resources").and_then(Value::as_map_mut).and_then(|r| r.get_mut("requests"));
        if let Some(requests) = requests.and_then(Value::as_map_mut) {
            requests.insert("storage", storage.unwrap_or_else(|| Value::from("0")));
        }
    }
    spec
}

fn shrinks(spec: &At<'_>, old: &Object) {
    let storage = spec.fields(&["resources", "requests", "storage"]);
    let amount = |path: &[&str]| super::words::amount(&spec.other(old.at(path))).unwrap_or(Quantity::ZERO);
    let now = super::words::amount(&storage).unwrap_or(Quantity::ZERO);
    if now < amount(&["spec", "resources", "requests", "storage"]) && now <= amount(&["status", "capacity", "storage"])
    {
        storage.forbidden("field can not be less than status.capacity");
    }
}

/// Attributes that a volume has cannot be taken back to none.
fn attributes(at: &At<'_>, old: &Object) {
    let has = old.at(&["status", "currentVolumeAttributesClassName"]).is_some_and(|c| !c.is_null());
    if !has || !differs(at.value, old.at(&["spec", "volumeAttributesClassName"])) {
        return;
    }
    let when = "is forbidden when status.currentVolumeAttributesClassName is not nil";
    match (at.is(), at.is_empty()) {
        (false, _) => at.forbidden(&format!("update to nil {when}")),
        (true, true) => at.forbidden(&format!("update to empty string {when}")),
        (true, false) => {}
    }
}

pub(in crate::kinds) fn volume(object: &Object, out: &mut Vec<FieldError>) {
    let errors = Errors::default();
    let root = At::root(object, &errors);
    metadata::metadata(&root.field("metadata"), names::dns1123_subdomain);
    volume_spec(&root.field("spec"), object.name());
    out.extend(errors.into_list());
}

fn volume_spec(at: &At<'_>, name: &str) {
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
    volumes::sources_of_volume(at, name, at.has("nodeAffinity"));
    let (host, reclaim) = (at.field("hostPath"), at.field("persistentVolumeReclaimPolicy"));
    if host.is() && reclaim.text() == "Recycle" && is_root(host.get("path")) {
        reclaim.forbidden("may not be 'recycle' for a hostPath mount of '/'");
    }
    let class = at.field("storageClassName");
    if !class.is_empty() {
        class.matches(names::dns1123_subdomain);
    }
    at.field("volumeMode").maybe_one_of(&["Block", "Filesystem"]);
    let attributes = at.field("volumeAttributesClassName");
    if !attributes.is() {
        return;
    }
    match attributes.is_empty() {
        true => attributes.required("an empty string is disallowed"),
        false => attributes.matches(names::dns1123_subdomain),
    }
    if !at.has("csi") {
        at.field("csi").required("has to be specified when using volumeAttributesClassName");
    }
}

/// Whether a path is that of the whole file system, when its steps are gone.
fn is_root(path: &str) -> bool {
    let mut depth = 0_usize;
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => depth = depth.saturating_sub(1),
            _ => depth += 1,
        }
    }
    path.starts_with('/') && depth == 0
}

fn positive(at: &At<'_>) {
    if let Some(amount) = super::words::amount(at) {
        super::words::capacity_not_negative(at);
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
    volumes::sources_of_volume(at, "", false);
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
            spec.retain(|key, _| volumes::is_source(key));
            spec
        };
        let spec = root.field("spec");
        let (before, now) = (Value::Map(source(old)), Value::Map(expandable(source(new), old)));
        if before != now {
            const TYPE: &str = "io.k8s.api.core.v1.PersistentVolumeSpec";
            let changes = super::inner::changes(Some(&before), Some(&now), TYPE, Some("PersistentVolumeSource"));
            spec.field("persistentvolumesource")
                .forbidden(&format!("spec.persistentvolumesource is immutable after creation\n{changes}"));
        }
        let mode = spec.field("volumeMode");
        if differs(mode.value, old.at(&["spec", "volumeMode"])) {
            mode.named("volumeMode").invalid("field is immutable");
        }
        affinity_stays(&spec.field("nodeAffinity"), old.at(&["spec", "nodeAffinity"]));
        let attributes = spec.field("volumeAttributesClassName");
        if !attributes.is() && old.at(&["spec", "volumeAttributesClassName"]).is_some_and(|c| !c.is_null()) {
            attributes.forbidden("update from non-nil value to nil is forbidden");
        }
    } else {
        out.clear();
    }
    out.extend(errors.into_list());
    metadata::update(new, old, out);
}

/// A source whose volume may be told later which Secret makes it grow.
fn expandable(mut source: Map, old: &Object) -> Map {
    let had_none = old.at(&["spec", "csi"]).is_some_and(|csi| csi.get("controllerExpandSecretRef").is_none());
    if let Some(csi) = source.get_mut("csi").and_then(Value::as_map_mut).filter(|_| had_none) {
        csi.remove("controllerExpandSecretRef");
    }
    source
}

/// Labels that had another name before they were settled.
const SETTLED: &[(&str, &str)] = &[
    ("failure-domain.beta.kubernetes.io/zone", "topology.kubernetes.io/zone"),
    ("failure-domain.beta.kubernetes.io/region", "topology.kubernetes.io/region"),
    ("beta.kubernetes.io/os", "kubernetes.io/os"),
    ("beta.kubernetes.io/arch", "kubernetes.io/arch"),
    ("beta.kubernetes.io/instance-type", "node.kubernetes.io/instance-type"),
];

fn affinity_stays(at: &At<'_>, old: Option<&Value>) {
    let Some(old) = old.filter(|o| !o.is_null()) else { return };
    let key = |e: &Value| e.get("key").and_then(Value::as_str).unwrap_or("").to_owned();
    let same = |now: &Value, was: &Value| {
        let renamed = SETTLED.iter().any(|(from, to)| *from == key(was) && *to == key(now));
        ["operator", "values"].iter().all(|f| now.get(f) == was.get(f)) && (renamed || key(now) == key(was))
    };
    let terms = |v: &Value| v.at(&["required", "nodeSelectorTerms"]).and_then(Value::as_list).unwrap_or(&[]).to_vec();
    let list = |t: &Value, of: &str| t.get(of).and_then(Value::as_list).unwrap_or(&[]).to_vec();
    let now = at.value.map(&terms).unwrap_or_default();
    let was = terms(old);
    let stays = at.is()
        && now.len() == was.len()
        && now.iter().zip(&was).all(|(n, w)| {
            ["matchExpressions", "matchFields"].iter().all(|of| {
                let (n, w) = (list(n, of), list(w, of));
                n.len() == w.len() && n.iter().zip(&w).all(|(n, w)| same(n, w))
            })
        });
    if !stays {
        const TYPE: &str = "io.k8s.api.core.v1.VolumeNodeAffinity";
        let at = at.named("nodeAffinity");
        let why = "field is immutable, except for updating from beta label to GA";
        match at.is() {
            true => at.invalid_inner(TYPE, why),
            false => at.invalid(why),
        }
    }
}
