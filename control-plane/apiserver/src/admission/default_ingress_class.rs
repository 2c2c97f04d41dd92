//! DefaultIngressClass: an Ingress that names no class gets the default one, if there is one.

use super::{Admission, Operation, storage};
use crate::ctx::Ctx;
use crate::lookup;
use api::Status;

pub(super) async fn mutate(ctx: &Ctx, admission: &mut Admission<'_>) -> Result<(), Status> {
    let info = admission.info;
    let ingress = info.group == "networking.k8s.io" && info.resource == "ingresses" && info.subresource.is_empty();
    if !ingress || admission.operation != Operation::Create {
        return Ok(());
    }
    let Some(ingress) = admission.object.as_mut() else { return Ok(()) };
    let given = ingress.at(&["spec", "ingressClassName"]).is_some_and(|v| !v.is_null());
    if given || ingress.annotation("kubernetes.io/ingress.class").is_some() {
        return Ok(());
    }
    let classes = ctx.registry.all(lookup::INGRESS_CLASSES, None).await?;
    if let Some(class) = storage::newest_default(&classes, "ingressclass.kubernetes.io/is-default-class") {
        ingress.set(&["spec", "ingressClassName"], class.name());
    }
    Ok(())
}
