//! Bearer tokens: where a request carries one, and whether what it is bound to is still there.

use super::{User, bootstrap};
use crate::ctx::Ctx;
use crate::lookup::{self, Resource};
use crate::tokens::{Claims, Reference, Refusal};
use api::Status;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::HeaderMap;
use std::collections::BTreeMap;

pub(crate) const CREDENTIAL_ID: &str = "authentication.kubernetes.io/credential-id";
/// A token stays good so long after its pod's deletion has begun plus grace, for the pod's last calls.
const DELETION_LEEWAY_SECONDS: i64 = 60;
/// The token that a request carries. Browsers cannot set Authorization on a WebSocket, so they send it as a subprotocol.
pub(super) fn token_of(headers: &HeaderMap) -> Option<String> {
    if let Some(value) = headers.get(http::header::AUTHORIZATION) {
        let mut parts = value.to_str().ok()?.trim().splitn(3, ' ');
        let bearer = parts.next()?.eq_ignore_ascii_case("bearer");
        return parts.next().filter(|token| bearer && !token.is_empty()).map(str::to_owned);
    }
    let protocols = headers.get_all(http::header::SEC_WEBSOCKET_PROTOCOL);
    let mut protocols = protocols.iter().filter_map(|v| v.to_str().ok()).flat_map(|v| v.split(','));
    let token = protocols.find_map(|p| p.trim().strip_prefix(crate::websocket::TOKEN_PROTOCOL))?;
    String::from_utf8(URL_SAFE_NO_PAD.decode(token).ok()?).ok()
}

/// Whether a token is not looked at for the space before it.
pub(crate) fn is_spaced(headers: &HeaderMap) -> bool {
    let value = headers.get(http::header::AUTHORIZATION).and_then(|v| v.to_str().ok()).unwrap_or("");
    let parts: Vec<&str> = value.trim().splitn(3, ' ').collect();
    matches!(parts.as_slice(), [scheme, "", _] if scheme.eq_ignore_ascii_case("bearer"))
}

/// The user of a token and the audiences that it was accepted for. The outer error means that it could not be judged.
pub(crate) async fn user(
    ctx: &Ctx,
    token: &str,
    audiences: &[String],
) -> Result<Result<(User, Vec<String>), Refusal>, Status> {
    let now = jiff::Timestamp::now().as_second();
    if let Some(halves) = bootstrap::halves(token) {
        // A bootstrap token names no audience: it is for whom the apiserver is.
        let accepted = audiences.iter().filter(|a| *a == ctx.tokens.issuer()).cloned().collect();
        return Ok(bootstrap::user(ctx, halves, now).await?.map(|user| (user, accepted)).ok_or(Refusal::Invalid));
    }
    let claims = match ctx.tokens.check(token, audiences, now) {
        Ok(claims) => claims,
        Err(refusal) => return Ok(Err(refusal)),
    };
    if !bound_objects_live(ctx, &claims, now).await? {
        return Ok(Err(Refusal::Invalid));
    }
    let accepted = claims.aud.iter().filter(|a| audiences.contains(a)).cloned().collect();
    Ok(Ok((user_from(&claims), accepted)))
}

fn user_from(claims: &Claims) -> User {
    let bound = &claims.kubernetes;
    let namespace = &bound.namespace;
    let mut extra = BTreeMap::new();
    let mut add = |key: &str, value: String| extra.insert(key.to_owned(), vec![value]);
    if !claims.jti.is_empty() {
        add(CREDENTIAL_ID, format!("JTI={}", claims.jti));
    }
    for (what, reference) in [("pod", &bound.pod), ("node", &bound.node)] {
        if let Some(Reference { name, uid }) = reference {
            add(&format!("authentication.kubernetes.io/{what}-name"), name.clone());
            add(&format!("authentication.kubernetes.io/{what}-uid"), uid.clone());
        }
    }
    extra.retain(|_, values| values.iter().any(|v| !v.is_empty()));
    User {
        name: format!("system:serviceaccount:{namespace}:{}", bound.serviceaccount.name),
        uid: bound.serviceaccount.uid.clone(),
        groups: service_account_groups(namespace),
        extra,
    }
}

pub(super) fn service_account_groups(namespace: &str) -> Vec<String> {
    vec!["system:serviceaccounts".into(), format!("system:serviceaccounts:{namespace}"), super::AUTHENTICATED.into()]
}

/// Whether the account and whatever the token is bound to are there, with the uids that the token names.
async fn bound_objects_live(ctx: &Ctx, claims: &Claims, now: i64) -> Result<bool, Status> {
    let bound = &claims.kubernetes;
    if claims.sub != format!("system:serviceaccount:{}:{}", bound.namespace, bound.serviceaccount.name) {
        return Ok(false);
    }
    let namespace = bound.namespace.as_str();
    let named: [(Resource, &str, Option<&Reference>); 4] = [
        (lookup::SERVICE_ACCOUNTS, namespace, Some(&bound.serviceaccount)),
        (lookup::PODS, namespace, bound.pod.as_ref()),
        (lookup::SECRETS, namespace, bound.secret.as_ref()),
        (lookup::NODES, "", bound.node.as_ref().filter(|_| bound.pod.is_none())),
    ];
    for (resource, namespace, reference) in named {
        let Some(reference) = reference else { continue };
        let Some(object) = ctx.registry.find(resource, namespace, &reference.name).await? else { return Ok(false) };
        if object.uid() != reference.uid || deleted_for_long(&object, now) {
            return Ok(false);
        }
    }
    Ok(true)
}

fn deleted_for_long(object: &api::Object, now: i64) -> bool {
    let deleted = object.deletion_timestamp().and_then(|t| t.parse::<jiff::Timestamp>().ok());
    deleted.is_some_and(|t| t.as_second() + DELETION_LEEWAY_SECONDS < now)
}
