//! Name lookup by the pod's dnsPolicy, asked from within the pod's network namespace.

use crate::dns::{self, Answer, Kind};
use crate::netns::{Netns, within};
use container::{DnsConfig, Sandbox};
use std::hash::{BuildHasher, Hasher, RandomState};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// What resolv.conf(5) has where nothing is given.
const TIMEOUT: Duration = Duration::from_secs(5);
const ATTEMPTS: usize = 2;
const NDOTS: usize = 1;

/// As in resolv.conf(5): more servers are not asked.
const SERVERS: usize = 3;

/// The largest hosts file that is read: the kubelet writes a few lines.
const HOSTS_LIMIT: u64 = 1 << 20;

/// Why a name has no address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Failure {
    NoSuchName,
    Invalid,
    Timeout,
    Refused,
}

/// A pod's resolver.
#[derive(Debug)]
pub struct Resolver {
    netns: Option<Arc<Netns>>,
    servers: Vec<SocketAddr>,
    searches: Vec<String>,
    ndots: usize,
    timeout: Duration,
    attempts: usize,
    hosts: Option<PathBuf>,
}

impl Resolver {
    /// The resolver of `sandbox`; `hosts` is the file that its containers have at `/etc/hosts`.
    pub fn new(sandbox: &Sandbox, netns: Option<Arc<Netns>>, hosts: Option<PathBuf>) -> Resolver {
        let from_file;
        let config = if sandbox.dns.servers.is_empty() {
            from_file = read_config(&sandbox.resolv_conf);
            &from_file
        } else {
            &sandbox.dns
        };
        let option = |name: &str| {
            let found = config.options.iter().rev().find_map(|option| option.strip_prefix(name)?.strip_prefix(':'));
            found.and_then(|value| value.parse::<usize>().ok())
        };
        Resolver {
            netns,
            servers: config
                .servers
                .iter()
                .filter_map(|server| Some(SocketAddr::new(server.parse().ok()?, 53)))
                .take(SERVERS)
                .collect(),
            searches: config.searches.clone(),
            ndots: option("ndots").unwrap_or(NDOTS).min(15),
            timeout: option("timeout").map_or(TIMEOUT, |seconds| Duration::from_secs(seconds.clamp(1, 30) as u64)),
            attempts: option("attempts").unwrap_or(ATTEMPTS).clamp(1, 5),
            hosts,
        }
    }

    /// The pod's namespace, for sockets that belong to it.
    pub fn netns(&self) -> Option<&Netns> {
        self.netns.as_deref()
    }

    /// The addresses of `name`, IPv4 first.
    pub async fn lookup(&self, name: &str) -> Result<Vec<IpAddr>, Failure> {
        if let Ok(address) = name.trim_matches(['[', ']']).parse() {
            return Ok(vec![address]);
        }
        if dns::question(0, name, Kind::A).is_none() {
            return Err(Failure::Invalid);
        }
        if let Some(addresses) = self.in_hosts(name).await {
            return Ok(addresses);
        }
        if name.trim_end_matches('.').eq_ignore_ascii_case("localhost") {
            return Ok(vec![Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()]);
        }
        for candidate in dns::candidates(name, &self.searches, self.ndots) {
            let (v4, v6) = tokio::join!(self.ask(&candidate, Kind::A), self.ask(&candidate, Kind::Aaaa));
            let addresses = match (v4, v6) {
                (Ok(v4), Ok(v6)) => v4.into_iter().chain(v6).collect(),
                // One family's failure must not hide the other's addresses.
                (Ok(some), Err(_)) | (Err(_), Ok(some)) if !some.is_empty() => some,
                (Err(failure), _) | (_, Err(failure)) => return Err(failure),
            };
            if !addresses.is_empty() {
                return Ok(addresses);
            }
        }
        Err(Failure::NoSuchName)
    }

    async fn in_hosts(&self, name: &str) -> Option<Vec<IpAddr>> {
        let path = self.hosts.as_ref()?;
        if tokio::fs::metadata(path).await.ok()?.len() > HOSTS_LIMIT {
            return None;
        }
        let text = tokio::fs::read_to_string(path).await.ok()?;
        let found = hosts_entries(&text, name.trim_end_matches('.'));
        (!found.is_empty()).then_some(found)
    }

    /// The addresses of one full name; none if there is no such name.
    async fn ask(&self, name: &str, kind: Kind) -> Result<Vec<IpAddr>, Failure> {
        let mut failure = Failure::Refused;
        for _ in 0..self.attempts {
            for server in &self.servers {
                let id = RandomState::new().build_hasher().finish() as u16;
                let question = dns::question(id, name, kind).ok_or(Failure::Invalid)?;
                match tokio::time::timeout(self.timeout, self.exchange(*server, &question, kind)).await {
                    Ok(Ok(Answer::Addresses(addresses))) => return Ok(addresses),
                    Ok(Ok(Answer::NoSuchName)) => return Ok(Vec::new()),
                    Ok(Ok(Answer::Truncated | Answer::Failed(_)) | Err(_)) => failure = Failure::Refused,
                    Err(_) => failure = Failure::Timeout,
                }
            }
        }
        Err(failure)
    }

    async fn exchange(&self, server: SocketAddr, question: &[u8], kind: Kind) -> std::io::Result<Answer> {
        match self.over_udp(server, question, kind).await? {
            Answer::Truncated => self.over_tcp(server, question, kind).await,
            answer => Ok(answer),
        }
    }

    async fn over_udp(&self, server: SocketAddr, question: &[u8], kind: Kind) -> std::io::Result<Answer> {
        let any = SocketAddr::new(
            if server.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() },
            0,
        );
        let socket = within(self.netns(), || std::net::UdpSocket::bind(any))??;
        socket.set_nonblocking(true)?;
        let socket = tokio::net::UdpSocket::from_std(socket)?;
        socket.connect(server).await?;
        socket.send(question).await?;
        let mut buffer = [0; 4096];
        loop {
            let length = socket.recv(&mut buffer).await?;
            if let Some(answer) = dns::answer(question, &buffer[..length], kind) {
                return Ok(answer);
            }
        }
    }

    async fn over_tcp(&self, server: SocketAddr, question: &[u8], kind: Kind) -> std::io::Result<Answer> {
        let mut stream = self.connect(server).await?;
        stream.write_all(&(question.len() as u16).to_be_bytes()).await?;
        stream.write_all(question).await?;
        let length = stream.read_u16().await?;
        let mut message = vec![0; usize::from(length)];
        stream.read_exact(&mut message).await?;
        dns::answer(question, &message, kind).ok_or_else(|| std::io::Error::other("no answer to what was asked"))
    }

    /// Connects from within the pod's namespace.
    pub async fn connect(&self, to: SocketAddr) -> std::io::Result<tokio::net::TcpStream> {
        let socket = within(self.netns(), || {
            if to.is_ipv4() { tokio::net::TcpSocket::new_v4() } else { tokio::net::TcpSocket::new_v6() }
        })??;
        socket.connect(to).await
    }
}

fn hosts_entries(text: &str, name: &str) -> Vec<IpAddr> {
    let lines = text.lines().map(|line| line.split('#').next().unwrap_or_default().split_whitespace());
    lines
        .filter_map(|mut words| {
            let address = words.next()?.parse().ok()?;
            words.any(|word| word.eq_ignore_ascii_case(name)).then_some(address)
        })
        .collect()
}

fn read_config(path: &Path) -> DnsConfig {
    parse_config(&std::fs::read_to_string(path).unwrap_or_default())
}

fn parse_config(text: &str) -> DnsConfig {
    let mut config = DnsConfig::default();
    for line in text.lines() {
        let mut words = line.split_whitespace();
        match words.next() {
            Some("nameserver") => config.servers.extend(words.next().map(str::to_owned)),
            Some("search") => config.searches = words.map(str::to_owned).collect(),
            Some("options") => config.options.extend(words.map(str::to_owned)),
            _ => {}
        }
    }
    config
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hosts_file_and_a_resolv_conf_are_read() {
        let hosts = "# by the kubelet\n10.0.0.1 db db.local # the database\n::1 localhost\nbroken db\n10.0.0.2 DB\n";
        assert_eq!(hosts_entries(hosts, "db"), ["10.0.0.1".parse::<IpAddr>().unwrap(), "10.0.0.2".parse().unwrap()]);
        assert!(hosts_entries(hosts, "database").is_empty());
        let config = parse_config("nameserver 10.96.0.10\nsearch a.b c.d\noptions ndots:5 timeout:1\n");
        assert_eq!(config.servers, ["10.96.0.10"]);
        let sandbox = Sandbox { dns: config, ..Sandbox::default() };
        let resolver = Resolver::new(&sandbox, None, None);
        assert_eq!((resolver.ndots, resolver.timeout), (5, Duration::from_secs(1)));
        assert_eq!(resolver.searches, ["a.b", "c.d"]);
    }
}
