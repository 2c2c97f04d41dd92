//! `pods/exec`, `pods/attach`, `pods/portforward`: joined to the pod's kubelet, whatever protocol client and kubelet agree on.

use crate::ctx::Ctx;
use crate::request::RequestInfo;
use crate::server::Body;
use crate::websocket::wants_upgrade;
use crate::{lookup, outbound};
use api::{Object, Status, Value};
use http::{Request, Response};
use std::sync::Arc;

/// Our parameters and the kubelet's names for them.
const STREAMS: [(&str, &str); 4] = [("stdin", "input"), ("stdout", "output"), ("stderr", "error"), ("tty", "tty")];

pub(super) async fn handle(
    ctx: &Arc<Ctx>,
    info: &RequestInfo,
    request: Request<Body>,
) -> Result<Response<Body>, Status> {
    let pod = super::pod(ctx, info).await?;
    let path = path(info, &pod)?;
    if pod.str_at(&["spec", "nodeName"]).is_empty() {
        return Err(Status::bad_request(format!("pod {} does not have a host assigned", pod.name())));
    }
    if !wants_upgrade(request.headers()) {
        return Err(Status::bad_request("Upgrade request required"));
    }
    let peer = outbound::kubelet(&node_of(ctx, &pod).await?)?;
    outbound::forward(&ctx.outbound, &peer, outbound::For::Kubelet, &path, request, &ctx.stop).await
}

/// The kubelet's path for the request.
pub(super) fn path(info: &RequestInfo, pod: &Object) -> Result<String, Status> {
    let mut query = url::form_urlencoded::Serializer::new(String::new());
    let (namespace, name) = (pod.namespace(), pod.name());
    if info.subresource == "portforward" {
        for port in info.query.all("ports").flat_map(|p| p.split(',')) {
            query.append_pair("port", port);
        }
        return Ok(joined(format!("/portForward/{namespace}/{name}"), &query.finish()));
    }
    let container = container(pod, info.query.get("container"))?;
    for (ours, theirs) in STREAMS {
        if info.query.is(ours) {
            query.append_pair(theirs, "1");
        }
    }
    for word in info.query.all("command").filter(|_| info.subresource == "exec") {
        query.append_pair("command", word);
    }
    Ok(joined(format!("/{}/{namespace}/{name}/{container}", info.subresource), &query.finish()))
}

fn joined(path: String, query: &str) -> String {
    if query.is_empty() { path } else { format!("{path}?{query}") }
}

/// The container that is meant: the named one, or the only one.
pub(super) fn container(pod: &Object, asked: &str) -> Result<String, Status> {
    let names = |key| -> Vec<&str> {
        let list = pod.at(&["spec", key]).and_then(Value::as_list).unwrap_or(&[]);
        list.iter().filter_map(|c| c.get("name")?.as_str()).collect()
    };
    let (main, init, ephemeral) = (names("containers"), names("initContainers"), names("ephemeralContainers"));
    if !asked.is_empty() {
        let known = [&main, &init, &ephemeral].iter().any(|list| list.contains(&asked));
        return match known {
            true => Ok(asked.to_owned()),
            false => Err(Status::bad_request(format!("container {asked} is not valid for pod {}", pod.name()))),
        };
    }
    match main.as_slice() {
        [one] => Ok((*one).to_owned()),
        [] => Err(Status::bad_request(format!("a container name must be specified for pod {}", pod.name()))),
        many => {
            let mut choices = format!("choose one of: [{}]", many.join(" "));
            if !init.is_empty() {
                choices += &format!(" or one of the init containers: [{}]", init.join(" "));
            }
            Err(Status::bad_request(format!("a container name must be specified for pod {}, {choices}", pod.name())))
        }
    }
}

/// The node that a pod runs on.
pub(super) async fn node_of(ctx: &Ctx, pod: &Object) -> Result<Object, Status> {
    ctx.registry.fetch(lookup::NODES, "", pod.str_at(&["spec", "nodeName"])).await
}
