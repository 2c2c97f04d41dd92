//! DefaultStorageClass, StorageObjectInUseProtection and PersistentVolumeClaimResize.

use super::{Admission, Operation, fields};
use crate::ctx::Ctx;
use crate::lookup;
use api::{Object, Quantity, Status, Value};

const DEFAULT_CLASS: &str = "storageclass.kubernetes.io/is-default-class";
const BETA_CLASS: &str = "volume.beta.kubernetes.io/storage-class";

/// A claim that names no class gets the default one, if there is one.
pub(super) async fn set_default_class(ctx: &Ctx, admission: &mut Admission<'_>) -> Result<(), Status> {
    if !admission.writes(lookup::PERSISTENT_VOLUME_CLAIMS, "", &[Operation::Create]) {
        return Ok(());
    }
    let Some(claim) = admission.object.as_mut() else { return Ok(()) };
    let given = claim.at(&["spec", "storageClassName"]).is_some_and(|v| !v.is_null());
    if given || claim.annotation(BETA_CLASS).is_some() {
        return Ok(());
    }
    let classes = ctx.registry.all(lookup::STORAGE_CLASSES, None).await?;
    if let Some(class) = newest_default(&classes, DEFAULT_CLASS) {
        claim.set(&["spec", "storageClassName"], class.name());
    }
    Ok(())
}

/// Of several defaults the one made last, then the first by name.
pub(super) fn newest_default<'a>(classes: &'a [Object], annotation: &str) -> Option<&'a Object> {
    let defaults = classes.iter().filter(|c| c.annotation(annotation) == Some("true"));
    defaults.min_by(|a, b| {
        let made = |c: &Object| c.meta_text("creationTimestamp").to_owned();
        made(b).cmp(&made(a)).then_with(|| a.name().cmp(b.name()))
    })
}

/// What is in use is not deleted under its users.
pub(super) fn protect(admission: &mut Admission<'_>) {
    let finalizer = match () {
        () if admission.writes(lookup::PERSISTENT_VOLUME_CLAIMS, "", &[Operation::Create]) => {
            "kubernetes.io/pvc-protection"
        }
        () if admission.writes(lookup::PERSISTENT_VOLUMES, "", &[Operation::Create]) => "kubernetes.io/pv-protection",
        () if admission.writes(lookup::VOLUME_ATTRIBUTES_CLASSES, "", &[Operation::Create]) => {
            "kubernetes.io/vac-protection"
        }
        () => return,
    };
    let Some(object) = admission.object.as_mut() else { return };
    if !object.finalizers().any(|f| f == finalizer) {
        fields::list_mut(object.0.entry("metadata"), "finalizers").push(Value::from(finalizer));
    }
}

/// A claim grows only where its class lets it.
pub(super) async fn validate_resize(ctx: &Ctx, admission: &Admission<'_>) -> Result<(), Status> {
    if !admission.writes(lookup::PERSISTENT_VOLUME_CLAIMS, "", &[Operation::Update]) {
        return Ok(());
    }
    let (Some(new), Some(old)) = (&admission.object, admission.old) else { return Ok(()) };
    let size =
        |c: &Object| Quantity::parse(c.str_at(&["spec", "resources", "requests", "storage"])).ok().map(Quantity::nanos);
    if size(new) <= size(old) || old.str_at(&["status", "phase"]) != "Bound" {
        return Ok(());
    }
    let name = match old.annotation(BETA_CLASS) {
        Some(name) => name,
        None => old.str_at(&["spec", "storageClassName"]),
    };
    let class = match name.is_empty() {
        true => None,
        false => ctx.registry.find(lookup::STORAGE_CLASSES, "", name).await?,
    };
    match class.is_some_and(|c| c.bool_at(&["allowVolumeExpansion"]) == Some(true)) {
        true => Ok(()),
        false => Err(admission.forbid(
            "only dynamically provisioned pvc can be resized and the storageclass that provisions the pvc must support resize",
        )),
    }
}
