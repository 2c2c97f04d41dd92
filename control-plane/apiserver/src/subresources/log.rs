//! `pods/log`: what a container wrote, from the kubelet of its node.

use super::streams::{container, node_of};
use crate::ctx::Ctx;
use crate::outbound;
use crate::request::RequestInfo;
use crate::resource;
use crate::server::Body;
use api::status::FieldReason;
use api::{FieldError, Status};
use http::{HeaderValue, Request, Response, StatusCode, header};
use std::sync::Arc;

/// The parameters that a kubelet takes.
const PASSED_ON: [&str; 8] =
    ["follow", "previous", "timestamps", "sinceSeconds", "sinceTime", "tailLines", "limitBytes", "stream"];

pub(super) async fn handle(
    ctx: &Arc<Ctx>,
    info: &RequestInfo,
    request: Request<Body>,
) -> Result<Response<Body>, Status> {
    check(info)?;
    let pod = super::pod(ctx, info).await?;
    let container = container(&pod, info.query.get("container"))?;
    if pod.str_at(&["spec", "nodeName"]).is_empty() {
        return Response::builder().status(StatusCode::NO_CONTENT).body(Body::empty()).map_err(Status::internal);
    }
    let peer = outbound::kubelet(&node_of(ctx, &pod).await?)?;
    let path = path(info, pod.namespace(), pod.name(), &container);
    let mut response = outbound::forward(&ctx.outbound, &peer, &path, request, &ctx.stop).await?;
    if !response.status().is_success() {
        return Err(failure(response, info).await);
    }
    let text = HeaderValue::from_static("text/plain");
    response.headers_mut().insert(header::CONTENT_TYPE, text);
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache, private"));
    Ok(response)
}

/// The kubelet's path for the request.
fn path(info: &RequestInfo, namespace: &str, name: &str, container: &str) -> String {
    let mut query = url::form_urlencoded::Serializer::new(String::new());
    for key in PASSED_ON.into_iter().filter(|key| info.query.has(key)) {
        query.append_pair(key, info.query.get(key));
    }
    let query = query.finish();
    let mark = if query.is_empty() { "" } else { "?" };
    format!("/containerLogs/{namespace}/{name}/{container}{mark}{query}")
}

/// A kubelet's error is text; the client gets a Status.
async fn failure(response: Response<Body>, info: &RequestInfo) -> Status {
    let code = response.status();
    let text = match resource::body::read(response.into_body()).await {
        Ok(bytes) => String::from_utf8_lossy(&bytes).trim().to_owned(),
        Err(status) => status.message,
    };
    match code {
        StatusCode::BAD_REQUEST => Status::bad_request(text),
        StatusCode::NOT_FOUND => {
            let mut status = Status::not_found("", "pods", &info.name);
            status.message =
                format!("the server could not find the requested resource ( pods/log {}): {text}", info.name);
            status
        }
        _ => Status::internal(text),
    }
}

fn check(info: &RequestInfo) -> Result<(), Status> {
    let mut errors = Vec::new();
    for (key, least, rule) in [
        ("tailLines", 0, "must be greater than or equal to 0"),
        ("limitBytes", 1, "must be greater than 0"),
        ("sinceSeconds", 1, "must be greater than 0"),
    ] {
        let given = info.query.get(key);
        if given.is_empty() {
            continue;
        }
        let number: i64 = given
            .parse()
            .map_err(|_| Status::bad_request(format!("strconv.ParseInt: parsing {given:?}: invalid syntax")))?;
        if number < least {
            errors.push(FieldError::new(FieldReason::Invalid, key, format!("Invalid value: {number}: {rule}")));
        }
    }
    if info.query.has("sinceSeconds") && info.query.has("sinceTime") {
        let why = "Forbidden: at most one of `sinceTime` or `sinceSeconds` may be specified";
        errors.push(FieldError::new(FieldReason::Forbidden, "", why));
    }
    match errors.is_empty() {
        true => Ok(()),
        false => Err(Status::invalid("", "PodLogOptions", &info.name, &errors)),
    }
}
