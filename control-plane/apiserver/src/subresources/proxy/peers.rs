//! Whom a proxied request is for: the parts of its name, and where such a peer is.
//!
//! Never this machine's own loopback or a link-local address (upstream's `IsProxyableIP`): who may write an object's
//! status could otherwise reach what listens only there.

use crate::ctx::Ctx;
use crate::lookup;
use crate::outbound::{self, Peer, Tls};
use crate::request::RequestInfo;
use api::{Object, Status, Value};
use rand::seq::SliceRandom;
use std::net::IpAddr;

/// A name as these paths write it.
#[derive(Debug, PartialEq, Eq)]
struct Named<'a> {
    tls: bool,
    name: &'a str,
    port: &'a str,
}

fn named<'a>(what: &str, text: &'a str) -> Result<Named<'a>, Status> {
    let parts: Vec<&str> = text.split(':').collect();
    match parts.as_slice() {
        [name] => Ok(Named { tls: false, name, port: "" }),
        [name, port] => Ok(Named { tls: false, name, port }),
        ["" | "http", name, port] => Ok(Named { tls: false, name, port }),
        ["https", name, port] => Ok(Named { tls: true, name, port }),
        _ => Err(Status::bad_request(format!("invalid {what} request {text:?}"))),
    }
}

/// The peer that the path names.
pub(super) async fn find(ctx: &Ctx, info: &RequestInfo) -> Result<Peer, Status> {
    match info.resource.as_str() {
        "nodes" => node(ctx, &named("node", &info.name)?).await,
        "pods" => pod(ctx, info, &named("pod", &info.name)?).await,
        _ => service(ctx, info, &named("service", &info.name)?).await,
    }
}

async fn node(ctx: &Ctx, wanted: &Named<'_>) -> Result<Peer, Status> {
    let peer = outbound::kubelet(&ctx.registry.fetch(lookup::NODES, "", wanted.name).await?)?;
    match wanted.port {
        "" => Ok(peer),
        port if port.parse() == Ok(peer.port) => Ok(peer),
        port => {
            let port = number(port)?;
            let found = tokio::net::lookup_host((peer.host.as_str(), port)).await;
            let found = found.map_err(|e| Status::bad_request(format!("lookup {}: {e}", peer.host)))?;
            found.into_iter().try_for_each(|address| allowed(address.ip()))?;
            Ok(Peer { port, tls: tls(wanted), ..peer })
        }
    }
}

/// Only what `net.IP.IsGlobalUnicast` takes: private networks are among it.
fn allowed(ip: IpAddr) -> Result<(), Status> {
    let refused = match ip.to_canonical() {
        IpAddr::V4(ip) => {
            ip.is_unspecified() || ip.is_loopback() || ip.is_link_local() || ip.is_multicast() || ip.is_broadcast()
        }
        IpAddr::V6(ip) => ip.is_unspecified() || ip.is_loopback() || ip.is_unicast_link_local() || ip.is_multicast(),
    };
    if refused { Err(Status::bad_request("address not allowed")) } else { Ok(()) }
}

fn allowed_text(ip: &str) -> Result<(), Status> {
    ip.parse().map_err(|_| Status::bad_request("address not allowed")).and_then(allowed)
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
    allowed_text(host)?;
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
    let none = || Status::unavailable(format!("no endpoints available for service {:?}", info.name));
    let port_name = match (service_port(&service, wanted.port), wanted.port.parse::<u16>()) {
        (Some(name), _) => name,
        (None, Ok(port)) => {
            return Err(Status::unavailable(format!("no service port {port} found for service {:?}", wanted.name)));
        }
        (None, Err(_)) => return Err(none()),
    };
    let slices = ctx.registry.all(lookup::ENDPOINT_SLICES, Some(&info.namespace)).await?;
    let own = slices.iter().filter(|s| s.label("kubernetes.io/service-name") == Some(wanted.name));
    let mut found: Vec<Endpoint> = own.flat_map(|slice| endpoints(slice, &port_name)).collect();
    found.shuffle(&mut rand::rng());
    for endpoint in found {
        if is_of_its_pod(ctx, &info.namespace, &endpoint).await? && allowed_text(&endpoint.address).is_ok() {
            return Ok(Peer { host: endpoint.address, port: endpoint.port, tls: tls(wanted) });
        }
    }
    Err(none())
}

/// Whether the pod that an endpoint names has its address: slices may be written by users, who could name any host.
async fn is_of_its_pod(ctx: &Ctx, namespace: &str, endpoint: &Endpoint) -> Result<bool, Status> {
    let Some(pod) = ctx.registry.find(lookup::PODS, namespace, &endpoint.pod).await? else { return Ok(false) };
    let all = pod.at(&["status", "podIPs"]).and_then(Value::as_list).unwrap_or(&[]);
    let ip = |value: &Value| value.get("ip").and_then(Value::as_str) == Some(&endpoint.address);
    Ok(pod.str_at(&["status", "podIP"]) == endpoint.address || all.iter().any(ip))
}

#[derive(Debug, PartialEq, Eq)]
struct Endpoint {
    address: String,
    port: u16,
    pod: String,
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

fn endpoints(slice: &Object, port_name: &str) -> Vec<Endpoint> {
    let list = |key| slice.at(&[key]).and_then(Value::as_list).unwrap_or(&[]);
    let port = list("ports").iter().find(|p| p.get("name").and_then(Value::as_str).unwrap_or("") == port_name);
    let Some(port) = port.and_then(|p| port_of(p, "port")) else { return Vec::new() };
    let ready = |e: &&Value| e.at(&["conditions", "ready"]).and_then(Value::as_bool) != Some(false);
    let endpoint = |e: &Value| {
        let pod = e.get("targetRef").filter(|t| t.get("kind").and_then(Value::as_str) == Some("Pod"))?;
        let address = e.at(&["addresses", "0"])?.as_str()?.to_owned();
        Some(Endpoint { address, port, pod: pod.get("name")?.as_str()?.to_owned() })
    };
    list("endpoints").iter().filter(ready).filter_map(endpoint).collect()
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
            ("http:x:web", Some((false, "x", "web"))),
            (":x:web", Some((false, "x", "web"))),
            ("https:x:", Some((true, "x", ""))),
            ("https:x:443", Some((true, "x", "443"))),
            ("ftp:x:1", None),
            ("a:b:c:d", None),
        ];
        for (text, expected) in cases {
            assert_eq!(named("pod", text).ok().map(|n| (n.tls, n.name, n.port)), expected, "{text}");
        }
        assert_eq!(named("pod", "ftp:x:1").expect_err("no scheme").message, "invalid pod request \"ftp:x:1\"");
    }

    #[test]
    fn what_is_only_for_this_machine_is_out_of_reach() {
        for (ip, good) in [
            ("10.0.0.1", true),
            ("192.168.0.1", true),
            ("8.8.8.8", true),
            ("2600::1", true),
            ("fd00::1", true),
            ("127.0.0.1", false),
            ("127.8.0.1", false),
            ("0.0.0.0", false),
            ("169.254.169.254", false),
            ("224.0.0.1", false),
            ("255.255.255.255", false),
            ("::1", false),
            ("::", false),
            ("fe80::1", false),
            ("ff02::1", false),
            ("::ffff:127.0.0.1", false),
            ("localhost", false),
            ("", false),
        ] {
            assert_eq!(allowed_text(ip).is_ok(), good, "{ip}");
        }
    }

    #[test]
    fn a_port_is_named_or_numbered() {
        let object = |text: &str| {
            let Value::Map(map) = api::codec::json::decode(text.as_bytes()).expect("JSON").value else {
                panic!("{text}")
            };
            Object(map)
        };
        let service = object(r#"{"spec":{"ports":[{"name":"web","port":80},{"name":"admin","port":81}]}}"#);
        for (asked, name) in [("web", Some("web")), ("81", Some("admin")), ("82", None), ("", None), ("none", None)] {
            assert_eq!(service_port(&service, asked).as_deref(), name, "{asked}");
        }
        let single = object(r#"{"spec":{"ports":[{"port":80}]}}"#);
        assert_eq!(service_port(&single, "").as_deref(), Some(""));
        let slice = object(
            r#"{"ports":[{"name":"web","port":8080}],"endpoints":[
                {"addresses":["10.0.0.1"],"targetRef":{"kind":"Pod","name":"a"}},
                {"addresses":["10.0.0.2"],"conditions":{"ready":false},"targetRef":{"kind":"Pod","name":"b"}},
                {"addresses":["10.0.0.3"]}]}"#,
        );
        let a = Endpoint { address: "10.0.0.1".into(), port: 8080, pod: "a".into() };
        assert_eq!(endpoints(&slice, "web"), [a]);
        assert_eq!(endpoints(&slice, "admin"), []);
    }
}
