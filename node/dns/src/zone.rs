//! From Services and EndpointSlices to the cluster's zone, as the "DNS-Based Service Discovery" specification 1.1.0
//! has it. Pure.

use k8s_openapi::api::core::v1::Service;
use k8s_openapi::api::discovery::v1::{Endpoint, EndpointSlice};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// What a name stands for. Names are lower-case and have no final dot.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Records {
    pub addresses: BTreeSet<IpAddr>,
    /// The external name that an ExternalName Service is.
    pub alias: Option<String>,
    /// (port, target)
    pub services: BTreeSet<(u16, String)>,
    /// The names that an address has (`in-addr.arpa`, `ip6.arpa`).
    pub pointers: BTreeSet<String>,
    pub text: Option<&'static str>,
}

/// All names of the cluster's domain.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Zone {
    pub domain: String,
    names: HashMap<String, Records>,
    /// Names that exist only because something is below them: asked for, they have no records but are there.
    inner: BTreeSet<String>,
}

/// What the zone says to a name.
#[derive(Debug, PartialEq, Eq)]
pub enum Answer {
    Records(Records),
    /// The name is in the cluster's domain, and nothing has it.
    NoSuchName,
    /// The name is somebody else's.
    NotOurs,
}

/// Builds the zone of `domain` (`cluster.local`).
pub fn zone<'a>(
    domain: &str,
    services: impl Iterator<Item = &'a Service>,
    slices: impl Iterator<Item = &'a EndpointSlice>,
) -> Zone {
    let mut zone = Zone { domain: domain.to_ascii_lowercase(), ..Zone::default() };
    let version = format!("dns-version.{}", zone.domain);
    zone.at(&version).text = Some("1.1.0");
    let mut by_service: BTreeMap<(&str, &str), Vec<&EndpointSlice>> = BTreeMap::new();
    for slice in slices {
        let labels = slice.metadata.labels.as_ref();
        let service = labels.and_then(|l| l.get("kubernetes.io/service-name"));
        if let (Some(ns), Some(name)) = (slice.metadata.namespace.as_deref(), service) {
            by_service.entry((ns, name)).or_default().push(slice);
        }
    }
    for service in services {
        if let (Some(ns), Some(name)) = (service.metadata.namespace.as_deref(), service.metadata.name.as_deref()) {
            zone.add(service, &format!("{name}.{ns}.svc.{}", zone.domain), by_service.get(&(ns, name)));
        }
    }
    zone
}

impl Zone {
    fn at(&mut self, name: &str) -> &mut Records {
        let mut below = name;
        while let Some((_, parent)) = below.split_once('.') {
            if !parent.ends_with(&self.domain) || !self.inner.insert(parent.to_owned()) {
                break;
            }
            below = parent;
        }
        self.names.entry(name.to_owned()).or_default()
    }

    fn add(&mut self, service: &Service, name: &str, slices: Option<&Vec<&EndpointSlice>>) {
        let Some(spec) = &service.spec else { return };
        if spec.type_.as_deref() == Some("ExternalName") {
            let target = spec.external_name.as_deref().unwrap_or("");
            self.at(name).alias = Some(target.trim_end_matches('.').to_ascii_lowercase());
            return;
        }
        let cluster: Vec<IpAddr> = spec.cluster_ips.iter().flatten().filter_map(|ip| ip.parse().ok()).collect();
        if cluster.is_empty() {
            let all = spec.publish_not_ready_addresses.unwrap_or(false);
            for slice in slices.into_iter().flatten() {
                self.add_headless(name, slice, all);
            }
            return;
        }
        for &address in &cluster {
            self.at(name).addresses.insert(address);
            self.at(&reverse(address)).pointers.insert(name.to_owned());
        }
        for port in spec.ports.iter().flatten() {
            self.add_service(name, port.name.as_deref(), port.protocol.as_deref(), port.port, name);
        }
    }

    fn add_headless(&mut self, name: &str, slice: &EndpointSlice, all: bool) {
        let reachable = |e: &&Endpoint| all || e.conditions.as_ref().and_then(|c| c.ready).unwrap_or(true);
        for endpoint in slice.endpoints.iter().flatten().filter(reachable) {
            for address in endpoint.addresses.iter().filter_map(|a| a.parse::<IpAddr>().ok()) {
                let label = endpoint.hostname.clone().unwrap_or_else(|| dashed(address)).to_ascii_lowercase();
                let own = format!("{label}.{name}");
                self.at(name).addresses.insert(address);
                self.at(&own).addresses.insert(address);
                self.at(&reverse(address)).pointers.insert(own.clone());
                for port in slice.ports.iter().flatten() {
                    let number = port.port.unwrap_or(0);
                    self.add_service(name, port.name.as_deref(), port.protocol.as_deref(), number, &own);
                }
            }
        }
    }

    fn add_service(&mut self, name: &str, port: Option<&str>, protocol: Option<&str>, number: i32, target: &str) {
        let (Some(port), Ok(number)) = (port.filter(|p| !p.is_empty()), u16::try_from(number)) else { return };
        let protocol = protocol.unwrap_or("TCP").to_ascii_lowercase();
        let port = port.to_ascii_lowercase();
        self.at(&format!("_{port}._{protocol}.{name}")).services.insert((number, target.to_owned()));
    }

    /// Answers a lower-case name without its final dot.
    pub fn answer(&self, name: &str) -> Answer {
        if let Some(records) = self.names.get(name) {
            return Answer::Records(records.clone());
        }
        if self.inner.contains(name) || name == self.domain {
            return Answer::Records(Records::default());
        }
        match name.strip_suffix(self.domain.as_str()).and_then(|n| n.strip_suffix('.')) {
            None => Answer::NotOurs,
            Some(rest) => match pod_address(rest) {
                Some(address) => Answer::Records(Records { addresses: [address].into(), ..Records::default() }),
                None => Answer::NoSuchName,
            },
        }
    }
}

/// `10-244-0-7.some-namespace.pod`: the address that the name spells.
fn pod_address(rest: &str) -> Option<IpAddr> {
    let [label, _namespace, "pod"] = rest.split('.').collect::<Vec<_>>()[..] else { return None };
    let v4 = label.replace('-', ".").parse::<Ipv4Addr>().ok().map(IpAddr::V4);
    v4.or_else(|| label.replace('-', ":").parse::<Ipv6Addr>().ok().map(IpAddr::V6))
}

fn dashed(address: IpAddr) -> String {
    match address {
        IpAddr::V4(a) => a.to_string().replace('.', "-"),
        IpAddr::V6(a) => a.segments().map(|s| format!("{s:x}")).join("-"),
    }
}

/// The name that stands for an address (RFC 1035 section 3.5, RFC 3596 section 2.5).
pub fn reverse(address: IpAddr) -> String {
    match address {
        IpAddr::V4(a) => {
            let [a, b, c, d] = a.octets();
            format!("{d}.{c}.{b}.{a}.in-addr.arpa")
        }
        IpAddr::V6(a) => {
            let nibbles = a.octets().iter().rev().map(|b| format!("{:x}.{:x}.", b & 15, b >> 4)).collect::<String>();
            format!("{nibbles}ip6.arpa")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde::Deserialize;
    use serde_json::Value;

    #[derive(Deserialize)]
    struct Case {
        name: String,
        services: Vec<Value>,
        #[serde(default)]
        slices: Vec<Value>,
        /// Name → what it answers: `NXDOMAIN`, `ELSEWHERE`, or the records in one line.
        answers: BTreeMap<String, String>,
    }

    fn line(answer: Answer) -> String {
        let records = match answer {
            Answer::NoSuchName => return "NXDOMAIN".into(),
            Answer::NotOurs => return "ELSEWHERE".into(),
            Answer::Records(r) => r,
        };
        let mut words: Vec<String> = records.addresses.iter().map(|a| format!("A {a}")).collect();
        words.extend(records.alias.map(|a| format!("CNAME {a}")));
        words.extend(records.services.iter().map(|(p, t)| format!("SRV {p} {t}")));
        words.extend(records.pointers.iter().map(|p| format!("PTR {p}")));
        words.extend(records.text.map(|t| format!("TXT {t}")));
        words.join(", ")
    }

    #[test]
    fn cases() {
        let cases: Vec<Case> = serde_saphyr::from_str(include_str!("../cases/zone.yaml")).expect("the cases");
        for case in cases {
            let parse = |v: &Value| serde_json::from_value(v.clone());
            let services: Vec<Service> = case.services.iter().map(|v| parse(v).expect("a Service")).collect();
            let slices = case.slices.iter().map(|v| serde_json::from_value(v.clone()).expect("a slice"));
            let slices: Vec<EndpointSlice> = slices.collect();
            let zone = zone("cluster.local", services.iter(), slices.iter());
            for (name, expected) in &case.answers {
                assert_eq!(&line(zone.answer(name)), expected, "{}: {name}", case.name);
            }
        }
    }
}
