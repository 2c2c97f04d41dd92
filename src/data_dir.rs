//! The directory that holds a cluster, and what was decided about it when it was first used.

use crate::cli::Cluster;
use crate::machine;
use crate::ranges::Ranges;
use anyhow::{Context, bail};
use ipnet::{IpNet, Ipv4Net};
use serde::{Deserialize, Serialize};
use std::fs::{self, File};
use std::io::Write;
use std::net::{IpAddr, Ipv4Addr};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// The layout of the directory. A binary refuses a directory of another one.
const LAYOUT: u32 = 1;
/// The networks of several nodes on one machine begin at 10.224.0.0/16.
const NODE_NETWORK: u8 = 224;
/// Clusters on this machine announce their ranges here, so that a second one takes others.
const ANNOUNCED: &str = "/run/wherry";

/// What stays the same over the life of a cluster on this machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Settings {
    pub layout: u32,
    /// Six hexadecimal digits of the directory's path: in the names of links, tables and cgroups.
    pub tag: String,
    pub secure_port: u16,
    pub service_cidr: IpNet,
    /// Addresses of Services of the other family.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub second_service_cidr: Option<IpNet>,
    pub pod_cidr: IpNet,
    pub node_name: String,
    /// The share of the pods' addresses that the cluster gave to this machine. None where the control plane is: there it
    /// is the first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node_range: Option<IpNet>,
    /// The API of the cluster that this machine's node belongs to. None where the control plane is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub server: Option<String>,
    /// The network of this machine's nodes, where it has several.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node_network: Option<IpNet>,
    /// How many nodes this machine has.
    #[serde(default = "one")]
    pub nodes: usize,
    /// The place of this server among several. None for one that is alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub place: Option<Place>,
}

/// What a server among several keeps.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Place {
    /// The number of the store's member, for ever.
    pub id: u64,
    pub peer_port: u16,
    /// Members that it joins through. Empty for the first one.
    pub join: Vec<String>,
    pub heartbeat_ms: u64,
    pub election_ms: u64,
}

impl Place {
    pub fn new(id: u64, peer_port: u16) -> Place {
        let store::Timing { heartbeat, election } = store::Timing::default();
        let [heartbeat_ms, election_ms] = [heartbeat, election].map(|time| time.as_millis() as u64);
        Place { id, peer_port, join: Vec::new(), heartbeat_ms, election_ms }
    }
}

fn one() -> usize {
    1
}

impl Settings {
    /// The bridge of the pods; at most 15 characters.
    pub fn bridge(&self) -> String {
        format!("wh-{}", self.tag)
    }

    /// The nftables table of the Service rules.
    pub fn table(&self) -> String {
        format!("wherry-{}", self.tag)
    }

    /// The nftables table of the node's ports that lead to its pods.
    pub fn ports_table(&self) -> String {
        format!("wherry-{}-ports", self.tag)
    }

    /// The address of cluster DNS: the tenth of the range, where clients and manifests expect it.
    pub fn dns_address(&self) -> IpAddr {
        self.service_cidr.hosts().nth(9).unwrap_or_else(|| self.service_cidr.network())
    }

    /// The bridge's address: every pod's gateway, and where cluster DNS listens.
    pub fn gateway(&self) -> IpAddr {
        let range = self.node_pod_cidr();
        range.hosts().next().unwrap_or_else(|| range.network())
    }

    /// This machine's share of the pods' addresses.
    pub fn node_pod_cidr(&self) -> IpNet {
        const NODE_PREFIX: u8 = 20;
        if let Some(range) = self.node_range {
            return range;
        }
        let prefix = NODE_PREFIX.max(self.pod_cidr.prefix_len());
        self.pod_cidr.subnets(prefix).ok().and_then(|mut s| s.next()).unwrap_or(self.pod_cidr)
    }
}

/// An opened data directory. While the value lives, no other process opens the same one for a control plane.
pub struct DataDir {
    pub path: PathBuf,
    pub settings: Settings,
    _lock: File,
}

impl DataDir {
    /// Opens or makes the directory, and decides what has not been decided yet.
    pub fn open(flags: &Cluster) -> anyhow::Result<DataDir> {
        DataDir::open_or(flags, |path| decide(flags, path))
    }

    /// The same for a server that joins others: `join` makes an empty directory one of the cluster's.
    pub fn open_or(flags: &Cluster, join: impl FnOnce(&Path) -> anyhow::Result<Settings>) -> anyhow::Result<DataDir> {
        make_private(&flags.data_dir)?;
        let path = flags.data_dir.canonicalize().with_context(|| format!("finding {}", flags.data_dir.display()))?;
        let lock = lock(&path)?;
        let settings = match read(&path)? {
            Some(Settings { server: Some(server), .. }) => bail!(
                "{} holds a node of the cluster at {server}; run `wherry node` there, or choose another --data-dir",
                path.display()
            ),
            Some(settings) => settings.with(flags, &path)?,
            None => join(&path)?,
        };
        settings.keep(&path)?;
        Ok(DataDir { path, settings, _lock: lock })
    }

    pub fn kubeconfig(&self) -> PathBuf {
        self.path.join("admin.kubeconfig")
    }

    /// Decides how many nodes the cluster has on this machine: as many as before, or more.
    pub fn want_nodes(&mut self, asked: Option<usize>) -> anyhow::Result<()> {
        let settings = &mut self.settings;
        let nodes = asked.unwrap_or(settings.nodes);
        if nodes < settings.nodes {
            bail!(
                "the cluster in {} has {} nodes already and cannot have fewer; `wherry reset` removes it",
                self.path.display(),
                settings.nodes
            );
        }
        settings.nodes = nodes;
        if nodes > 1 && settings.node_network.is_none() {
            let taken: Vec<IpNet> =
                others(&self.path).iter().flat_map(Settings::ranges).chain(settings.ranges()).collect();
            settings.node_network = Some(free_range(None, NODE_NETWORK, &taken)?);
        }
        settings.keep(&self.path)
    }

    /// Gives this server a place among several, or changes it.
    pub fn take_place(&mut self, place: Place) -> anyhow::Result<()> {
        self.settings.place = Some(place);
        self.settings.keep(&self.path)
    }

    /// Makes the ranges known to other clusters of this machine, until the value is dropped.
    pub fn announce(&self) -> anyhow::Result<()> {
        make_private(Path::new(ANNOUNCED))?;
        let note = Announcement { data_dir: self.path.clone(), settings: self.settings.clone() };
        write(&announcement(&self.settings.tag), &note)
    }
}

impl Drop for DataDir {
    fn drop(&mut self) {
        withdraw(&self.settings.tag);
    }
}

/// What was decided about the cluster in `path`; `None` where there is none.
pub fn read(path: &Path) -> anyhow::Result<Option<Settings>> {
    let file = path.join("cluster.json");
    let text = match fs::read(&file) {
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        other => other.with_context(|| format!("reading {}", file.display()))?,
    };
    #[derive(Deserialize)]
    struct Layout {
        layout: u32,
    }
    let layout = serde_json::from_slice::<Layout>(&text).map(|l| l.layout).unwrap_or(0);
    if layout != LAYOUT {
        bail!(
            "{} was made by another version of wherry (layout {layout}, this one has {LAYOUT}): \
             use that version, or another --data-dir",
            path.display()
        );
    }
    serde_json::from_slice(&text).map(Some).with_context(|| format!("{} is damaged", file.display()))
}

/// Forgets the announcement of a cluster.
pub fn withdraw(tag: &str) {
    let _ = fs::remove_file(announcement(tag));
    // Succeeds for the last cluster only.
    let _ = fs::remove_dir(ANNOUNCED);
}

#[derive(Serialize, Deserialize)]
struct Announcement {
    data_dir: PathBuf,
    settings: Settings,
}

fn announcement(tag: &str) -> PathBuf {
    Path::new(ANNOUNCED).join(format!("{tag}.json"))
}

/// The settings of the other clusters that still exist on this machine.
fn others(path: &Path) -> Vec<Settings> {
    let entries = fs::read_dir(ANNOUNCED).into_iter().flatten().flatten();
    let notes = entries.filter_map(|e| serde_json::from_slice::<Announcement>(&fs::read(e.path()).ok()?).ok());
    notes.filter(|n| n.data_dir != path && n.data_dir.join("cluster.json").exists()).map(|n| n.settings).collect()
}

fn decide(flags: &Cluster, path: &Path) -> anyhow::Result<Settings> {
    let others = others(path);
    let services = others.iter().flat_map(Settings::ranges).chain(flags.pod_cidr);
    let service_cidr = free_range(flags.service_cidr.map(|ranges| ranges.first), 96, &services.collect::<Vec<_>>())?;
    let taken = others.iter().flat_map(Settings::ranges).chain([service_cidr]);
    let pod_cidr = free_range(flags.pod_cidr, 244, &taken.collect::<Vec<_>>())?;
    let secure_port = secure_port(flags)?;
    let second_service_cidr = flags.service_cidr.and_then(|ranges| ranges.second);
    Ok(Settings { secure_port, second_service_cidr, ..Settings::new(path, service_cidr, pod_cidr) })
}

pub fn secure_port(flags: &Cluster) -> anyhow::Result<u16> {
    match flags.secure_port {
        Some(port) => Ok(port),
        None => machine::free_port(6443).context("no port from 6443 on is free; choose one with --secure-port"),
    }
}

impl Settings {
    /// The settings of a directory that is used for the first time.
    pub fn new(path: &Path, service_cidr: IpNet, pod_cidr: IpNet) -> Settings {
        let tag = format!("{:06x}", fnv(path.as_os_str().as_encoded_bytes()) & 0xff_ffff);
        let (layout, node_name) = (LAYOUT, machine::name());
        Settings {
            layout,
            tag,
            secure_port: 0,
            service_cidr,
            second_service_cidr: None,
            pod_cidr,
            node_name,
            node_range: None,
            server: None,
            node_network: None,
            nodes: 1,
            place: None,
        }
    }

    /// Every range that is this cluster's own on this machine.
    fn ranges(&self) -> impl Iterator<Item = IpNet> {
        [self.service_cidr, self.pod_cidr].into_iter().chain(self.second_service_cidr).chain(self.node_network)
    }

    /// Keeps them in the directory.
    pub fn keep(&self, path: &Path) -> anyhow::Result<()> {
        write(&path.join("cluster.json"), self)
    }

    /// These settings under today's flags: the port may change, the ranges are in objects and may not.
    fn with(mut self, flags: &Cluster, path: &Path) -> anyhow::Result<Settings> {
        if flags.pod_cidr.is_some_and(|asked| asked != self.pod_cidr) {
            bail!(
                "the cluster in {} was made with --pod-cidr {}, which cannot change; leave the flag out",
                path.display(),
                self.pod_cidr
            );
        }
        if let Some(asked) = flags.service_cidr {
            self.second_service_cidr = self.widened(asked, path)?;
        }
        if let Some(port) = flags.secure_port {
            self.secure_port = port;
        }
        // Servers of one cluster on one machine share its ranges.
        let others = others(path).into_iter().filter(|other| other.place.is_none() || self.place.is_none());
        let clash =
            others.into_iter().find(|o| o.ranges().any(|theirs| self.ranges().any(|ours| overlap(theirs, ours))));
        if let Some(other) = clash {
            bail!(
                "another cluster that runs here (tag {}) has taken the address ranges of {}: stop it first",
                other.tag,
                path.display()
            );
        }
        Ok(self)
    }
}

impl Settings {
    /// The second range of Services that is asked for. The first one never changes, and neither does a second one that there is.
    fn widened(&self, asked: Ranges, path: &Path) -> anyhow::Result<Option<IpNet>> {
        let kept = Ranges { first: self.service_cidr, second: self.second_service_cidr };
        if asked.first != kept.first || kept.second.is_some() && asked != kept {
            let more = match kept.second {
                Some(_) => "",
                None => ", or add a range of the other family to this one",
            };
            bail!(
                "the cluster in {} has --service-cidr {kept}, which cannot change; leave the flag out{more}",
                path.display()
            );
        }
        let mine = [self.service_cidr, self.pod_cidr].into_iter().chain(self.node_network);
        if let Some((second, taken)) = asked.second.and_then(|s| Some((s, mine.into_iter().find(|m| overlap(*m, s))?)))
        {
            bail!(
                "the second range of Services, {second}, overlaps {taken}, which the cluster in {} has for others",
                path.display()
            );
        }
        Ok(asked.second)
    }
}

fn overlap(a: IpNet, b: IpNet) -> bool {
    a.contains(&b.network()) || b.contains(&a.network())
}

/// The asked range, or the first of 10.`start`.0.0/16, 10.`start + 1`.0.0/16, … that overlaps none of `taken`.
fn free_range(asked: Option<IpNet>, start: u8, taken: &[IpNet]) -> anyhow::Result<IpNet> {
    if let Some(asked) = asked {
        return Ok(asked);
    }
    let candidates = (0..10).map(|i| IpNet::V4(Ipv4Net::new_assert(Ipv4Addr::new(10, start + i, 0, 0), 16)));
    let free = candidates.into_iter().find(|c| !taken.iter().any(|t| overlap(*t, *c)));
    free.context("ten clusters on this machine have taken every range; give --service-cidr and --pod-cidr")
}

/// FNV-1a: spreads names, keeps no secret.
fn fnv(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |h, b| (h ^ u64::from(*b)).wrapping_mul(0x100_0000_01b3))
}

pub fn make_private(path: &Path) -> anyhow::Result<()> {
    let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(path);
    made.with_context(|| format!("making {} (another place: --data-dir)", path.display()))
}

pub fn lock(path: &Path) -> anyhow::Result<File> {
    let file = path.join("lock");
    let opened = fs::OpenOptions::new().create(true).truncate(false).write(true).read(true).mode(0o600).open(&file);
    let opened = opened.with_context(|| format!("opening {}", file.display()))?;
    match opened.try_lock() {
        Ok(()) => Ok(opened),
        Err(fs::TryLockError::WouldBlock) => {
            bail!("another wherry uses {}: stop it, or choose another --data-dir", path.display())
        }
        Err(fs::TryLockError::Error(e)) => Err(e).with_context(|| format!("locking {}", file.display())),
    }
}

fn write(file: &Path, value: &impl Serialize) -> anyhow::Result<()> {
    write_private(file, &serde_json::to_vec_pretty(value)?)
}

/// Writes a file, whole or not at all, that its owner alone reads.
pub fn write_private(file: &Path, content: &[u8]) -> anyhow::Result<()> {
    let next = file.with_extension("next");
    let put = || {
        let mut out = fs::OpenOptions::new().create(true).truncate(true).write(true).mode(0o600).open(&next)?;
        out.write_all(content).and_then(|()| out.sync_all())?;
        fs::rename(&next, file)
    };
    put().with_context(|| format!("writing {}", file.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_step_aside() {
        let taken: Vec<IpNet> = ["10.96.0.0/16", "10.97.128.0/17"].map(|t| t.parse().expect("a network")).into();
        assert_eq!(free_range(None, 96, &taken).expect("a range").to_string(), "10.98.0.0/16");
        let asked = "10.97.0.0/16".parse().expect("a network");
        assert_eq!(free_range(Some(asked), 96, &taken).expect("the asked one"), asked);
    }

    #[test]
    fn a_second_range_of_services_can_be_added_and_nothing_else() {
        let net = |text: &str| text.parse::<IpNet>().expect("a network");
        let path = Path::new("/somewhere");
        let one = Settings::new(path, net("10.96.0.0/16"), net("fd00:10:244::/56"));
        let both = Settings { second_service_cidr: Some(net("fd00:10:96::/112")), ..one.clone() };
        let ask = |settings: &Settings, text: &str| {
            let added = settings.widened(text.parse().expect("ranges"), path);
            added.map(|second| second.map(|second| second.to_string())).map_err(|error| error.to_string())
        };
        let added = Ok(Some("fd00:10:96::/112".to_owned()));
        assert_eq!(ask(&one, "10.96.0.0/16"), Ok(None));
        assert_eq!(ask(&one, "10.96.0.0/16,fd00:10:96::/112"), added);
        assert_eq!(ask(&both, "10.96.0.0/16,fd00:10:96::/112"), added);
        for (settings, text, says) in [
            (&one, "10.97.0.0/16", "or add a range of the other family"),
            (&one, "10.97.0.0/16,fd00:10:96::/112", "cannot change"),
            (&one, "fd00:10:96::/112,10.96.0.0/16", "cannot change"),
            (&one, "10.96.0.0/16,fd00:10:244::/112", "overlaps fd00:10:244::/56"),
            (&both, "10.96.0.0/16", "has --service-cidr 10.96.0.0/16,fd00:10:96::/112"),
            (&both, "10.96.0.0/16,fd00:10:97::/112", "cannot change"),
        ] {
            let error = ask(settings, text).expect_err(text);
            assert!(error.contains(says), "{text}: {error}");
        }
    }

    #[test]
    fn another_layout_is_refused_with_what_to_do() {
        let dir = tempfile::tempdir().expect("a directory");
        assert_eq!(read(dir.path()).expect("nothing there"), None);
        fs::write(dir.path().join("cluster.json"), r#"{"layout": 99}"#).expect("written");
        let error = read(dir.path()).expect_err("another layout").to_string();
        assert!(error.contains("layout 99") && error.contains("--data-dir"), "{error}");
    }
}
