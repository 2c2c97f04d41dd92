//! `resolv.conf`, host names and `/etc/hosts` of a pod.

use k8s_openapi::api::core::v1::{Pod, PodDNSConfig, PodSpec};
use rpc::cri::DnsConfig;
use std::net::IpAddr;

/// What glibc and Kubernetes accept.
const MAX_SERVERS: usize = 3;
const MAX_SEARCHES: usize = 32;
const MAX_HOSTNAME: usize = 63;

/// The node's side of a pod's name resolution.
#[derive(Debug, Clone, Default)]
pub struct Resolver {
    pub cluster_dns: Vec<IpAddr>,
    pub cluster_domain: String,
    /// The host's resolv.conf.
    pub host: DnsConfig,
}

pub fn parse_resolv_conf(text: &str) -> DnsConfig {
    let mut config = DnsConfig::default();
    for line in text.lines() {
        let line = line.split(['#', ';']).next().unwrap_or_default();
        let mut words = line.split_whitespace().map(str::to_owned);
        match words.next().as_deref() {
            Some("nameserver") => config.servers.extend(words.next()),
            Some("search") => config.searches = words.collect(),
            Some("options") => config.options = words.collect(),
            Some(_) | None => {}
        }
    }
    config
}

pub fn dns(pod: &Pod, resolver: &Resolver) -> DnsConfig {
    let spec = crate::units::spec(pod);
    let policy = spec.dns_policy.as_deref().unwrap_or("ClusterFirst");
    let host_network = spec.host_network == Some(true);
    let mut config = match policy {
        "None" => DnsConfig::default(),
        "ClusterFirstWithHostNet" => cluster(pod, resolver),
        "ClusterFirst" if !host_network => cluster(pod, resolver),
        _ => resolver.host.clone(),
    };
    if let Some(own) = &spec.dns_config {
        merge(&mut config, own);
    }
    config.servers.truncate(MAX_SERVERS);
    config.searches.truncate(MAX_SEARCHES);
    config
}

fn cluster(pod: &Pod, resolver: &Resolver) -> DnsConfig {
    if resolver.cluster_dns.is_empty() {
        return resolver.host.clone();
    }
    let namespace = pod.metadata.namespace.as_deref().unwrap_or("default");
    let domain = &resolver.cluster_domain;
    let mut searches = vec![format!("{namespace}.svc.{domain}"), format!("svc.{domain}"), domain.clone()];
    searches.extend(resolver.host.searches.iter().filter(|s| s.as_str() != ".").cloned());
    DnsConfig {
        servers: resolver.cluster_dns.iter().map(IpAddr::to_string).collect(),
        searches,
        options: vec!["ndots:5".into()],
    }
}

/// The pod's own entries come after; an option of the same name replaces.
fn merge(config: &mut DnsConfig, own: &PodDNSConfig) {
    for server in own.nameservers.iter().flatten().filter(|s| !s.is_empty()) {
        if !config.servers.contains(server) {
            config.servers.push(server.clone());
        }
    }
    for search in own.searches.iter().flatten() {
        if !config.searches.contains(search) {
            config.searches.push(search.clone());
        }
    }
    for option in own.options.iter().flatten() {
        let name = option.name.as_deref().unwrap_or_default();
        config.options.retain(|o| o.split(':').next() != Some(name));
        config.options.push(match option.value.as_deref() {
            Some(value) if !value.is_empty() => format!("{name}:{value}"),
            Some(_) | None => name.to_owned(),
        });
    }
}

/// The pod's host name, and its domain where it has a subdomain.
pub fn hostname(pod: &Pod, domain: &str) -> (String, Option<String>) {
    let spec: PodSpec = crate::units::spec(pod).into_owned();
    if let Some(name) = spec.hostname_override.filter(|n| !n.is_empty()) {
        return (name, None);
    }
    let name = pod.metadata.name.clone().unwrap_or_default();
    let mut host = spec.hostname.filter(|h| !h.is_empty()).unwrap_or(name);
    if host.len() > MAX_HOSTNAME {
        let mut end = MAX_HOSTNAME;
        while !host.is_char_boundary(end) {
            end -= 1;
        }
        host.truncate(end);
        host.truncate(host.trim_end_matches(['-', '.']).len());
    }
    let namespace = pod.metadata.namespace.as_deref().unwrap_or("default");
    let full = spec.subdomain.filter(|s| !s.is_empty()).map(|s| format!("{s}.{namespace}.svc.{domain}"));
    match (spec.set_hostname_as_fqdn, &full) {
        (Some(true), Some(d)) => (format!("{host}.{d}"), full.clone()),
        (_, _) => (host, full),
    }
}

/// The file at `/etc/hosts` of a pod with a network of its own; `host` is the node's file for one without.
pub fn hosts(pod: &Pod, ips: &[String], domain: &str, host: Option<&str>) -> String {
    let mut text = match host {
        Some(file) => format!("# Kubernetes-managed hosts file (host network).\n{file}"),
        None => {
            let mut text = String::from(
                "# Kubernetes-managed hosts file.\n127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\nfe00::0\tip6-localnet\nfe00::0\tip6-mcastprefix\nfe00::1\tip6-allnodes\nfe00::2\tip6-allrouters\n",
            );
            let (name, domain) = hostname(pod, domain);
            let names = match domain {
                Some(d) if !name.ends_with(&d) => format!("{name}.{d}\t{name}"),
                Some(_) | None => name,
            };
            for ip in ips {
                text.push_str(&format!("{ip}\t{names}\n"));
            }
            text
        }
    };
    let aliases = crate::units::spec(pod).host_aliases.clone().unwrap_or_default();
    if !aliases.is_empty() {
        text.push_str("\n# Entries added by HostAliases.\n");
        for alias in aliases {
            text.push_str(&format!("{}\t{}\n", alias.ip, alias.hostnames.unwrap_or_default().join("\t")));
        }
    }
    text
}
