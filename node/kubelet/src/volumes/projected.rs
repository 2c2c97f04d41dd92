//! `projected`: several sources in one directory. ClusterTrustBundles and pod certificates are refused.

use super::atomic::Payload;
use super::config_map::mode;
use super::{Context, Error, downward};
use crate::sources::Kind;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{ProjectedVolumeSource, VolumeProjection};

type Part = (Payload, Option<Timestamp>);

pub(super) async fn payload(context: &Context<'_>, source: &ProjectedVolumeSource) -> Result<Part, Error> {
    let mode = mode(source.default_mode);
    let mut all = Payload::new();
    let mut again: Option<Timestamp> = None;
    for projection in source.sources.iter().flatten() {
        let (part, next) = one(context, projection, mode).await?;
        all.extend(part);
        again = [again, next].into_iter().flatten().min();
    }
    Ok((all, again))
}

async fn one(context: &Context<'_>, from: &VolumeProjection, mode: u32) -> Result<Part, Error> {
    if let Some(s) = &from.config_map {
        let optional = s.optional == Some(true);
        return Ok((context.entries(Kind::ConfigMap, &s.name, s.items.as_deref(), mode, optional).await?, None));
    }
    if let Some(s) = &from.secret {
        let optional = s.optional == Some(true);
        return Ok((context.entries(Kind::Secret, &s.name, s.items.as_deref(), mode, optional).await?, None));
    }
    if let Some(s) = &from.downward_api {
        return Ok((downward::files(context, s.items.as_deref().unwrap_or_default(), mode)?, None));
    }
    if let Some(s) = &from.service_account_token {
        let (token, renew) = context.node.tokens.get(context, s).await?;
        let payload = Payload::from([(s.path.clone(), (token.into_bytes(), token_mode(context, mode)))]);
        return Ok((payload, Some(renew)));
    }
    let what = match (&from.cluster_trust_bundle, &from.pod_certificate) {
        (Some(_), _) => "clusterTrustBundle",
        (None, Some(_)) => "podCertificate",
        (None, None) => "of an unknown type",
    };
    Err(Error::Refused(format!("projected sources {what} are not supported by this kubelet")))
}

/// A token is for the pod's user alone where that user is known, as upstream has it.
fn token_mode(context: &Context<'_>, mode: u32) -> u32 {
    if context.fs_group().is_some() { 0o600 } else { mode }
}
