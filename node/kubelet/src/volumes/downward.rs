//! `downwardAPI`: fields of the pod and resources of its containers as files.

use super::atomic::Payload;
use super::config_map::mode;
use super::{Context, Error};
use crate::translate::fields;
use k8s_openapi::api::core::v1::{DownwardAPIVolumeFile, DownwardAPIVolumeSource};

pub(super) fn payload(context: &Context<'_>, source: &DownwardAPIVolumeSource) -> Result<Payload, Error> {
    files(context, source.items.as_deref().unwrap_or_default(), mode(source.default_mode))
}

pub(super) fn files(context: &Context<'_>, items: &[DownwardAPIVolumeFile], mode: u32) -> Result<Payload, Error> {
    let mut payload = Payload::new();
    for item in items {
        let text = match (&item.field_ref, &item.resource_field_ref) {
            (Some(field), _) => fields::field(context.pod, &context.facts, field),
            (None, Some(resource)) => fields::resource(context.pod, None, &context.facts, resource),
            (None, None) => continue,
        };
        let text = text.map_err(|e| Error::Refused(e.to_string()))?;
        let mode = item.mode.and_then(|m| u32::try_from(m).ok()).unwrap_or(mode);
        payload.insert(item.path.clone(), (text.into_bytes(), mode));
    }
    Ok(payload)
}
