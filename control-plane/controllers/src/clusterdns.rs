//! Where the Service of cluster DNS leads: one EndpointSlice per node, to the DNS that the node itself runs.
//!
//! A node says in an annotation where its DNS answers. It has an address of its own there, so no node depends on another
//! for names.

use std::net::SocketAddr;

use client::{Controller, Decision, Key, Moment, Plan, View, Watches};
use k8s_openapi::api::core::v1::Node;
use k8s_openapi::api::discovery::v1::{Endpoint, EndpointConditions, EndpointPort, EndpointSlice};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};

/// `ADDRESS:PORT` of a node's DNS.
const ANNOTATION: &str = "wherry.dev/dns";
const NAMESPACE: &str = "kube-system";
const SERVICE: &str = "kube-dns";
const OURS: (&str, &str) = ("endpointslice.kubernetes.io/managed-by", "cluster-dns.wherry.dev");

pub(crate) struct ClusterDns;

impl Controller for ClusterDns {
    fn name(&self) -> &'static str {
        "cluster-dns-controller"
    }

    fn identity(&self) -> &'static str {
        "endpointslice-controller"
    }

    fn watches(&self, watches: &mut Watches<'_>) {
        watches.own::<Node>();
        watches.mapped::<EndpointSlice>(|_, change| {
            let name = change.key.name.strip_prefix("kube-dns-").filter(|_| change.key.namespace == NAMESPACE);
            name.map(|node| Key::new("", node)).into_iter().collect()
        });
    }

    fn plan(&self, view: &View, key: &Key, _: Moment) -> Decision {
        let mut plan = Plan::done();
        let node = view.of::<Node>().get_key(key);
        let there = view.of::<EndpointSlice>().get(NAMESPACE, &format!("{SERVICE}-{}", key.name));
        let there = there.filter(|slice| slice.metadata.labels.iter().flatten().any(|(k, v)| (&**k, &**v) == OURS));
        match (node.as_deref().and_then(wanted), there) {
            (Some(slice), None) => plan.create(&slice),
            (Some(slice), Some(there)) if !same(&slice, &there) => {
                let metadata = ObjectMeta { labels: slice.metadata.labels, ..there.metadata.clone() };
                plan.update(&EndpointSlice { metadata, ..slice });
            }
            (None, Some(there)) => plan.delete(there.as_ref()),
            _ => {}
        }
        plan.into()
    }
}

fn same(one: &EndpointSlice, other: &EndpointSlice) -> bool {
    one.endpoints == other.endpoints && one.ports == other.ports && one.address_type == other.address_type
}

fn wanted(node: &Node) -> Option<EndpointSlice> {
    let at: SocketAddr = node.metadata.annotations.as_ref()?.get(ANNOTATION)?.parse().ok()?;
    let name = node.metadata.name.clone()?;
    let port = |label: &str, protocol: &str| EndpointPort {
        name: Some(label.to_owned()),
        protocol: Some(protocol.to_owned()),
        port: Some(at.port().into()),
        ..EndpointPort::default()
    };
    let labels = [("k8s-app", SERVICE), ("kubernetes.io/service-name", SERVICE), OURS];
    Some(EndpointSlice {
        metadata: ObjectMeta {
            name: Some(format!("{SERVICE}-{name}")),
            namespace: Some(NAMESPACE.to_owned()),
            labels: Some(labels.map(|(k, v)| (k.to_owned(), v.to_owned())).into()),
            owner_references: Some(vec![owner(node)]),
            ..ObjectMeta::default()
        },
        address_type: if at.is_ipv4() { "IPv4" } else { "IPv6" }.to_owned(),
        endpoints: Some(vec![Endpoint {
            addresses: vec![at.ip().to_string()],
            // Only the node itself asks there, whatever the others think of it.
            conditions: Some(EndpointConditions { ready: Some(true), ..EndpointConditions::default() }),
            node_name: Some(name),
            ..Endpoint::default()
        }]),
        ports: Some(vec![port("dns", "UDP"), port("dns-tcp", "TCP")]),
    })
}

/// The slice goes with its node.
fn owner(node: &Node) -> OwnerReference {
    OwnerReference {
        api_version: "v1".to_owned(),
        kind: "Node".to_owned(),
        name: node.metadata.name.clone().unwrap_or_default(),
        uid: node.metadata.uid.clone().unwrap_or_default(),
        ..OwnerReference::default()
    }
}
