//! `configMap`: the entries of a ConfigMap as files.

use super::atomic::Payload;
use super::{Context, Error};
use crate::sources::Kind;
use k8s_openapi::api::core::v1::ConfigMapVolumeSource;

pub(super) const MODE: i32 = 0o644;

pub(super) fn mode(asked: Option<i32>) -> u32 {
    u32::try_from(asked.unwrap_or(MODE)).unwrap_or(0o644)
}

pub(super) async fn payload(context: &Context<'_>, source: &ConfigMapVolumeSource) -> Result<Payload, Error> {
    let optional = source.optional == Some(true);
    context.entries(Kind::ConfigMap, &source.name, source.items.as_deref(), mode(source.default_mode), optional).await
}
