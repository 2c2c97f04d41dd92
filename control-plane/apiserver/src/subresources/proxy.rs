//! `pods/proxy`, `services/proxy`, `nodes/proxy`: a request passed on to `[SCHEME:]NAME[:PORT]`.
//!
//! Answers go back as they are: links in pages and `Location` headers are not rewritten.

use crate::ctx::Ctx;
use crate::outbound::{self, Peer, Tls};
use crate::request::RequestInfo;
use crate::server::Body;
use crate::{lookup, resource};
use api::{Object, Status, Value};
use http::{HeaderValue, Request, Response, StatusCode, header};
use rand::seq::IndexedRandom;
use std::sync::Arc;

/// A name as these paths write it.
#[derive(Debug, PartialEq, Eq)]
struct Named<'a> {
    tls: bool,
    name: &'a str,
    port: &'a str,
}

fn named(text: &str) -> Result<Named<'_>, Status> {
    let parts: Vec<&str> = text.split(':').collect();
    match parts.as_slice() {
        [name] => Ok(Named { tls: false, name, port: "" }),
        [name, port] => Ok(Named { tls: false, name, port }),
        ["" | "http", name, port] => Ok(Named { tls: false, name, port }),
        ["https", name, port] => Ok(Named { tls: true, name, port }),
        _ => Err(Status::bad_request(format!("invalid request {text:?}"))),
    }
}

pub(super) async fn handle(
    ctx: &Arc<Ctx>,
    info: &RequestInfo,
    request: Request<Body>,
) -> Result<Response<Body>, Status> {
    let rest = rest(request.uri().path(), info).ok_or_else(resource::no_route)?.to_owned();
    if rest.is_empty() && matches!(info.verb.as_str(), "get" | "list") {
        return slash(request.uri());
    }
    let wanted = named(&info.name)?;
    let peer = match info.resource.as_str() {
        "nodes" => node(ctx, &wanted).await?,
        "pods" => pod(ctx, info, &wanted).await?,
        _ => service(ctx, info, &wanted).await?,
    };
    let query = request.uri().query().map(|q| format!("?{q}")).unwrap_or_default();
    let path = if rest.is_empty() { "/".to_owned() } else { rest };
    outbound::forward(&ctx.outbound, &peer, &format!("{path}{query}"), request, &ctx.stop).await
}

/// What follows `/proxy` in the path as it was sent, so that nothing is decoded twice.
fn rest<'a>(path: &'a str, info: &RequestInfo) -> Option<&'a str> {
    // ["", "api", "v1", "nodes", NAME, "proxy"] or ["", "api", "v1", "namespaces", NS, RESOURCE, NAME, "proxy"]
    let before = if info.resource == "nodes" { 6 } else { 8 };
    let mut at = 0;
    for _ in 0..before - 1 {
        at += path[at..].find('/')? + 1;
    }
    let end = path[at..].find('/').map_or(path.len(), |i| at + i);
    Some(&path[end..])
}

/// Relative links of a page work only below a slash.
fn slash(uri: &http::Uri) -> Result<Response<Body>, Status> {
    let query = uri.query().map(|q| format!("?{q}")).unwrap_or_default();
    let to = HeaderValue::from_str(&format!("{}/{query}", uri.path())).map_err(Status::internal)?;
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::MOVED_PERMANENTLY;
    response.headers_mut().insert(header::LOCATION, to);
    Ok(response)
}

async fn node(ctx: &Ctx, wanted: &Named<'_>) -> Result<Peer, Status> {
    let peer = outbound::kubelet(&ctx.registry.fetch(lookup::NODES, "", wanted.name).await?)?;
    match wanted.port {
        "" => Ok(peer),
        port if port.parse() == Ok(peer.port) => Ok(peer),
        port => Ok(Peer { port: number(port)?, tls: tls(wanted), ..peer }),
    }
}

fn tls(wanted: &Named<'_>) -> Tls {
    if wanted.tls { Tls::Any } else { Tls::No }
}

fn number(port: &str) -> Result<u16, Status> {
    port.parse().map_err(|_| Status::bad_request(format!("invalid port {port:?}")))
}

async fn pod(ctx: &Ctx, info: &RequestInfo, wanted: &Named<'_>) -> Result<Peer, Status> {
    let pod = ctx.registry.fetch(lookup::PODS, &info.namespace, wanted.name).await?;
    let host = pod.str_at(&["status", "podIP"]);
    if host.is_empty() {
        return Err(Status::bad_request("address not allowed"));
    }
    let port = match wanted.port {
        "" => first_port(&pod).unwrap_or(80),
        port => match port.parse() {
            Ok(port) => port,
            Err(_) => {
                port_named(&pod, port).ok_or_else(|| Status::bad_request(format!("no port {port:?} in the pod")))?
            }
        },
    };
    Ok(Peer { host: host.to_owned(), port, tls: tls(wanted) })
}

fn ports(pod: &Object) -> impl Iterator<Item = &Value> {
    let containers = pod.at(&["spec", "containers"]).and_then(Value::as_list).unwrap_or(&[]);
    containers.iter().filter_map(|c| c.get("ports")?.as_list()).flatten()
}

fn port_of(port: &Value, key: &str) -> Option<u16> {
    port.get(key)?.as_i64().and_then(|n| u16::try_from(n).ok())
}

fn first_port(pod: &Object) -> Option<u16> {
    ports(pod).find_map(|p| port_of(p, "containerPort"))
}

fn port_named(pod: &Object, name: &str) -> Option<u16> {
    let port = ports(pod).find(|p| p.get("name").and_then(Value::as_str) == Some(name))?;
    port_of(port, "containerPort")
}

/// One of the Service's ready endpoints, chosen by chance.
async fn service(ctx: &Ctx, info: &RequestInfo, wanted: &Named<'_>) -> Result<Peer, Status> {
    let service = ctx.registry.fetch(lookup::SERVICES, &info.namespace, wanted.name).await?;
    let none = |what: String| Status::unavailable(what);
    let port_name = service_port(&service, wanted.port)
        .ok_or_else(|| none(format!("no service port {:?} found for service {:?}", wanted.port, wanted.name)))?;
    let slices = ctx.registry.all(lookup::ENDPOINT_SLICES, Some(&info.namespace)).await?;
    let own = slices.iter().filter(|s| s.label("kubernetes.io/service-name") == Some(wanted.name));
    let found: Vec<(String, u16)> = own.flat_map(|slice| endpoints(slice, &port_name)).collect();
    let chosen = found.choose(&mut rand::rng());
    let (host, port) = chosen.ok_or_else(|| none(format!("no endpoints available for service {:?}", wanted.name)))?;
    Ok(Peer { host: host.clone(), port: *port, tls: tls(wanted) })
}

/// The name of the Service's port that is meant: by name, by number, or the only one.
fn service_port(service: &Object, asked: &str) -> Option<String> {
    let ports = service.at(&["spec", "ports"]).and_then(Value::as_list)?;
    let name = |p: &Value| p.get("name").and_then(Value::as_str).unwrap_or("").to_owned();
    match asked {
        "" => ports.first().filter(|_| ports.len() == 1).map(name),
        asked => {
            let meant =
                |p: &&Value| name(p) == asked || port_of(p, "port").map(|n| n.to_string()).as_deref() == Some(asked);
            ports.iter().find(meant).map(name)
        }
    }
}

fn endpoints(slice: &Object, port_name: &str) -> Vec<(String, u16)> {
    let list = |key| slice.at(&[key]).and_then(Value::as_list).unwrap_or(&[]);
    let port = list("ports").iter().find(|p| p.get("name").and_then(Value::as_str).unwrap_or("") == port_name);
    let Some(port) = port.and_then(|p| port_of(p, "port")) else { return Vec::new() };
    let ready = |e: &&Value| e.at(&["conditions", "ready"]).and_then(Value::as_bool) != Some(false);
    let address = |e: &Value| e.at(&["addresses", "0"])?.as_str().map(|a| (a.to_owned(), port));
    list("endpoints").iter().filter(ready).filter_map(address).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_may_carry_a_scheme_and_a_port() {
        let cases = [
            ("x", Some((false, "x", ""))),
            ("x:80", Some((false, "x", "80"))),
            ("x:web", Some((false, "x", "web"))),
            ("https:x:", Some((true, "x", ""))),
            ("https:x:443", Some((true, "x", "443"))),
            ("ftp:x:1", None),
            ("a:b:c:d", None),
        ];
        for (text, expected) in cases {
            assert_eq!(named(text).ok().map(|n| (n.tls, n.name, n.port)), expected, "{text}");
        }
    }

    #[test]
    fn the_rest_of_the_path_stays_as_it_was_sent() {
        let cases = [
            ("/api/v1/namespaces/a/pods/p/proxy", ""),
            ("/api/v1/namespaces/a/pods/p/proxy/", "/"),
            ("/api/v1/namespaces/a/services/https:s:443/proxy/x%2Fy/z", "/x%2Fy/z"),
            ("/api/v1/nodes/n/proxy/metrics", "/metrics"),
        ];
        for (path, expected) in cases {
            let info = RequestInfo::parse(&http::Method::GET, path, "");
            assert_eq!(rest(path, &info), Some(expected), "{path}");
        }
    }
}
