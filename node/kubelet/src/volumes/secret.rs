//! `secret`: the entries of a Secret as files.

use super::atomic::Payload;
use super::config_map::mode;
use super::{Context, Error};
use crate::sources::Kind;
use k8s_openapi::api::core::v1::SecretVolumeSource;

pub(super) async fn payload(context: &Context<'_>, source: &SecretVolumeSource) -> Result<Payload, Error> {
    let name = source.secret_name.as_deref().unwrap_or_default();
    let optional = source.optional == Some(true);
    context.entries(Kind::Secret, name, source.items.as_deref(), mode(source.default_mode), optional).await
}
