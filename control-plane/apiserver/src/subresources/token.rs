//! `serviceaccounts/token`, and what others need to check such tokens by themselves (OpenID discovery).

use super::Call;
use crate::admission::{self, Admission, Operation};
use crate::lookup::{self, Resource};
use crate::respond;
use crate::server::Body;
use crate::tokens::{Bound, Claims, Reference};
use api::kind::Names;
use api::status::FieldReason;
use api::{FieldError, Kind, Map, Object, Status, Value};
use http::Response;
use std::borrow::Cow;

const TYPE: &str = "io.k8s.api.authentication.v1.TokenRequest";
/// What is known of the requests: they are nowhere listed as a kind of their own.
static KIND: Kind = Kind {
    names: Names {
        group: Cow::Borrowed(GROUP),
        version: Cow::Borrowed("v1"),
        kind: Cow::Borrowed("TokenRequest"),
        ..Kind::PLAIN.names
    },
    type_name: Cow::Borrowed(TYPE),
    ..Kind::PLAIN
};
const GROUP: &str = "authentication.k8s.io";
const SECONDS: i64 = 3600;
const SECONDS_MIN: i64 = 600;
const SECONDS_MAX: i64 = 1 << 32;

pub(super) async fn create(call: &Call<'_>, body: Body) -> Result<Response<Body>, Status> {
    let info = call.info;
    let mut request = call.object(body, "authentication.k8s.io/v1", "TokenRequest", TYPE).await?;
    let seconds = request.i64_at(&["spec", "expirationSeconds"]).unwrap_or(SECONDS);
    request.set(&["spec", "expirationSeconds"], seconds);
    call.own(&KIND, &mut request);
    if request.at(&["spec", "audiences"]).and_then(Value::as_list).is_none_or(<[Value]>::is_empty) {
        request.set(&["spec", "audiences"], vec![call.ctx.tokens.issuer()]);
    }
    let account = call.ctx.registry.fetch(lookup::SERVICE_ACCOUNTS, &info.namespace, &info.name).await?;
    check(&request, seconds, &info.name)?;
    let mut request = admitted(call, request).await?;
    let bound = bound(call, &request, &account).await?;
    let now = jiff::Timestamp::now();
    let claims = Claims {
        aud: audiences(&request),
        exp: now.as_second() + seconds,
        iat: now.as_second(),
        iss: call.ctx.tokens.issuer().to_owned(),
        jti: uuid::Uuid::new_v4().to_string(),
        kubernetes: bound,
        nbf: now.as_second(),
        sub: format!("system:serviceaccount:{}:{}", info.namespace, info.name),
    };
    let token =
        call.ctx.tokens.sign(&claims).map_err(|_| Status::internal("failed to create token: signing failed"))?;
    let expires = jiff::Timestamp::from_second(claims.exp).unwrap_or(jiff::Timestamp::MAX);
    request.set(&["status", "token"], token);
    request.set(&["status", "expirationTimestamp"], expires.strftime("%Y-%m-%dT%H:%M:%SZ").to_string());
    if request.at(&["spec", "boundObjectRef"]).is_none() {
        request.set(&["spec", "boundObjectRef"], Value::Null);
    }
    for (key, value) in [
        ("name", info.name.as_str()),
        ("namespace", &info.namespace),
        ("uid", account.uid()),
        ("creationTimestamp", &super::now()),
    ] {
        request.set(&["metadata", key], value);
    }
    call.reply(201, request)
}

fn audiences(request: &Object) -> Vec<String> {
    let list = request.at(&["spec", "audiences"]).and_then(Value::as_list).unwrap_or(&[]);
    list.iter().filter_map(Value::as_str).map(str::to_owned).collect()
}

fn check(request: &Object, seconds: i64, account: &str) -> Result<(), Status> {
    let mut errors = Vec::new();
    let given = request.name();
    if !given.is_empty() && given != account {
        let why = format!("Invalid value: {given:?}: must match the service account name if specified");
        errors.push(FieldError::new(FieldReason::Invalid, "metadata.name", why));
    }
    let wrong = match seconds {
        s if s < SECONDS_MIN => Some("may not specify a duration less than 10 minutes"),
        s if s > SECONDS_MAX => Some("may not specify a duration larger than 2^32 seconds"),
        _ => None,
    };
    if let Some(why) = wrong {
        let why = format!("Invalid value: {seconds}: {why}");
        errors.push(FieldError::new(FieldReason::Invalid, "spec.expirationSeconds", why));
    }
    match errors.is_empty() {
        true => Ok(()),
        false => Err(Status::invalid(GROUP, "TokenRequest", if given.is_empty() { given } else { account }, &errors)),
    }
}

/// A kubelet gets tokens only for its own pods: admission says so.
async fn admitted(call: &Call<'_>, request: Object) -> Result<Object, Status> {
    let kind = call.ctx.registry.known(lookup::SERVICE_ACCOUNTS)?;
    let options = Value::Map(Map::new());
    let mut admission = Admission {
        kind: &kind,
        info: call.info,
        operation: Operation::Create,
        user: call.identity.user(),
        old: None,
        object: Some(request),
        dry_run: call.dry_run(),
        options: &options,
        warnings: Vec::new(),
        charge: None,
    };
    admission::mutate(call.ctx, &mut admission).await?;
    admission::validate(call.ctx, &mut admission).await?;
    Ok(admission.object.take().unwrap_or_default())
}

async fn bound(call: &Call<'_>, request: &Object, account: &Object) -> Result<Bound, Status> {
    let reference = |o: &Object| Reference { name: o.name().to_owned(), uid: o.uid().to_owned() };
    let mut bound =
        Bound { namespace: account.namespace().to_owned(), serviceaccount: reference(account), ..Bound::default() };
    let Some(to) = request.at(&["spec", "boundObjectRef"]).filter(|v| !v.is_null()) else { return Ok(bound) };
    let text = |key| to.get(key).and_then(Value::as_str).unwrap_or("");
    let (version, kind, name, uid) = (text("apiVersion"), text("kind"), text("name"), text("uid"));
    // Upstream looks at the group alone.
    let (at, namespace): (Resource, &str) = match (version.contains('/'), kind) {
        (false, "Pod") => (lookup::PODS, account.namespace()),
        (false, "Secret") => (lookup::SECRETS, account.namespace()),
        (false, "Node") => (lookup::NODES, ""),
        _ => {
            let (group, version) = version.split_once('/').unwrap_or(("", version));
            return Err(Status::bad_request(format!(
                "cannot bind token to object of type {group}/{version}, Kind={kind}"
            )));
        }
    };
    if name.is_empty() {
        return Err(Status::bad_request("Name parameter required."));
    }
    let object = call.ctx.registry.fetch(at, namespace, name).await?;
    if !uid.is_empty() && uid != object.uid() {
        let why = format!(
            "the UID in the bound object reference ({uid}) does not match the UID in record. The object might have been deleted and then recreated"
        );
        return Err(Status::conflict("", kind, name, &why));
    }
    match kind {
        "Pod" => {
            let own = object.str_at(&["spec", "serviceAccountName"]);
            if own != account.name() {
                return Err(Status::bad_request(format!(
                    "cannot bind token for serviceaccount {:?} to pod running with different serviceaccount name.",
                    account.name()
                )));
            }
            let node = object.str_at(&["spec", "nodeName"]);
            if !node.is_empty() {
                // The node may be registered later than its static pods.
                bound.node = Some(match call.ctx.registry.find(lookup::NODES, "", node).await? {
                    Some(node) => reference(&node),
                    None => Reference { name: node.to_owned(), uid: String::new() },
                });
            }
            bound.pod = Some(reference(&object));
        }
        "Secret" => bound.secret = Some(reference(&object)),
        _ => bound.node = Some(reference(&object)),
    }
    Ok(bound)
}

/// The issuer's key and where it is found.
pub(super) fn issuer(call: &Call<'_>) -> Response<Body> {
    let tokens = &call.ctx.tokens;
    let (kind, value) = match call.info.path.as_str() {
        "/openid/v1/jwks" => ("application/jwk-set+json", tokens.key_set()),
        _ => {
            let config = &call.ctx.config;
            let host = match config.advertise {
                std::net::IpAddr::V4(v4) => v4.to_string(),
                std::net::IpAddr::V6(v6) => format!("[{v6}]"),
            };
            let uri = format!("https://{host}:{}/openid/v1/jwks", call.ctx.port);
            ("application/json", tokens.discovery(&uri))
        }
    };
    let mut response = respond::with(200, http::HeaderValue::from_static(kind), value.to_string());
    let kept = http::HeaderValue::from_static("public, max-age=3600");
    response.headers_mut().insert(http::header::CACHE_CONTROL, kept);
    response
}
