//! Service account tokens: asked for through the API, bound to the pod, and renewed when four fifths of their life are over.

use super::{Context, Error};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::authentication::v1::{BoundObjectReference, TokenRequest, TokenRequestSpec};
use k8s_openapi::api::core::v1::{ServiceAccount, ServiceAccountTokenProjection};
use kube::Api;
use kube::api::PostParams;
use parking_lot::Mutex;
use std::collections::HashMap;

/// Upstream's default for `expirationSeconds`.
const LIFE_S: i64 = 3600;
/// Upstream renews even a token of long life after that time.
const OLDEST_S: i64 = 24 * 3600;

#[derive(PartialEq, Eq, Hash)]
struct Key {
    uid: String,
    account: String,
    audience: String,
    life: i64,
}

struct Token {
    text: String,
    renew: Timestamp,
}

#[derive(Default)]
pub struct Tokens {
    kept: Mutex<HashMap<Key, Token>>,
}

impl Tokens {
    /// A token and when it is to be asked for anew.
    pub(super) async fn get(
        &self,
        context: &Context<'_>,
        source: &ServiceAccountTokenProjection,
    ) -> Result<(String, Timestamp), Error> {
        let spec = context.pod.spec.as_ref();
        let account = spec.and_then(|s| s.service_account_name.clone()).filter(|a| !a.is_empty());
        let account = account.unwrap_or_else(|| "default".into());
        let audience = source.audience.clone().unwrap_or_default();
        let life = source.expiration_seconds.unwrap_or(LIFE_S);
        let key = Key { uid: context.uid().to_owned(), account, audience, life };
        let now = Timestamp::now();
        if let Some(t) = self.kept.lock().get(&key).filter(|t| t.renew > now) {
            return Ok((t.text.clone(), t.renew));
        }
        let (text, ends) = request(context, &key).await?;
        let life = ends.duration_since(now).as_secs().min(OLDEST_S * 5 / 4);
        let renew = now + SignedDuration::from_secs((life * 4 / 5).max(1));
        self.kept.lock().insert(key, Token { text: text.clone(), renew });
        Ok((text, renew))
    }

    pub(super) fn forget(&self, uid: &str) {
        self.kept.lock().retain(|k, _| k.uid != uid);
    }
}

async fn request(context: &Context<'_>, key: &Key) -> Result<(String, Timestamp), Error> {
    let audiences = Some(vec![key.audience.clone()]).filter(|_| !key.audience.is_empty());
    let bound = BoundObjectReference {
        api_version: Some("v1".into()),
        kind: Some("Pod".into()),
        name: context.pod.metadata.name.clone(),
        uid: context.pod.metadata.uid.clone(),
    };
    let spec = TokenRequestSpec { audiences, bound_object_ref: Some(bound), expiration_seconds: Some(key.life) };
    let ask = TokenRequest { spec: Some(spec), ..TokenRequest::default() };
    let api: Api<ServiceAccount> = Api::namespaced(context.node.client.clone(), context.namespace());
    let doing = format!("asking for a token of service account \"{}/{}\"", context.namespace(), key.account);
    let answer = api.create_token_request(&key.account, &PostParams::default(), &ask).await;
    let answer = answer.map_err(Error::api(doing.clone()))?;
    let status = answer.status.unwrap_or_default();
    match (status.token, status.expiration_timestamp) {
        (Some(token), Some(ends)) => Ok((token, ends.0)),
        (_, _) => Err(Error::Refused(format!("{doing}: the answer has no token"))),
    }
}
