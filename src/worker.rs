//! `wherry node`: a worker of a cluster elsewhere. It asks for its certificates by the token of the join file once, and by
//! its own certificate from then on. Its end leaves the pods running.

use crate::cli;
use crate::data_dir::{self, Settings};
use crate::join;
use crate::machine;
use crate::node::{self, Certificates, Node, Plan};
use crate::progress::Step;
use crate::tls::{self, Rotating};
use anyhow::{Context, bail};
use jiff::Timestamp;
use kubelet::certificates::{Life, Wanted, obtain};
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// Between two tries to reach a cluster that does not answer.
const RETRY: Duration = Duration::from_secs(2);
/// Clocks jump and machines sleep: whether a certificate is due is looked at so often at least.
const LOOK: Duration = Duration::from_secs(3600);

pub async fn run(flags: cli::Node, stop: CancellationToken) -> anyhow::Result<()> {
    machine::require_root("node")?;
    data_dir::make_private(&flags.data_dir)?;
    let path = flags.data_dir.canonicalize().with_context(|| format!("finding {}", flags.data_dir.display()))?;
    let _lock = data_dir::lock(&path)?;
    let step = Step::start("joining the cluster");
    let joined = tokio::select! {
        () = stop.cancelled() => return Ok(()),
        joined = join(&flags, path) => joined?,
    };
    step.done(&joined.settings.server.clone().unwrap_or_default());
    let step = Step::start("node");
    let address = joined.address;
    let client = kube::Client::new(joined.client.clone(), "default");
    let certificates = Certificates { serving: joined.serving(), client_ca: joined.ca() };
    let plan = Plan {
        data_dir: joined.path.clone(),
        settings: joined.settings.clone(),
        address,
        kubelet: client.clone(),
        proxy: client,
    };
    let mut node = Node::start(plan, certificates).await?;
    step.done(&joined.settings.node_name);
    let mut renewals = JoinSet::new();
    let name = joined.settings.node_name.clone();
    renewals.spawn(renew(joined.clone(), joined.certificate(), Wanted::client(&name)));
    renewals.spawn(renew(joined.clone(), joined.serving(), Wanted::serving(&name, &[address])));
    stop.cancelled().await;
    renewals.shutdown().await;
    node.leave().await;
    Ok(())
}

/// A machine that belongs to a cluster.
#[derive(Clone)]
struct Joined {
    path: PathBuf,
    settings: Settings,
    address: IpAddr,
    client: Rotating,
}

impl Joined {
    fn ca(&self) -> PathBuf {
        ca(&self.path)
    }

    fn certificate(&self) -> PathBuf {
        certificate(&self.path)
    }

    fn serving(&self) -> PathBuf {
        self.path.join("pki").join("kubelet-serving.pem")
    }
}

fn ca(path: &Path) -> PathBuf {
    path.join("pki").join("ca.crt")
}

fn certificate(path: &Path) -> PathBuf {
    path.join("pki").join("kubelet-client.pem")
}

/// Gets whatever this machine lacks of being a node: its certificates, its range, the cluster's settings.
async fn join(flags: &cli::Node, path: PathBuf) -> anyhow::Result<Joined> {
    data_dir::make_private(&path.join("pki"))?;
    let kept = data_dir::read(&path)?;
    if kept.as_ref().is_some_and(|settings| settings.server.is_none()) {
        bail!("{} holds a control plane; give the node another --data-dir", path.display());
    }
    let name = flags.node_name.clone().or(kept.as_ref().map(|k| k.node_name.clone())).unwrap_or_else(machine::name);
    if let Some(kept) = kept.as_ref().filter(|kept| kept.node_name != name) {
        bail!("{} holds the node {}, whose name cannot change; use another --data-dir", path.display(), kept.node_name);
    }
    let address = flags.node_ip.map_or_else(machine::address, Ok)?;
    let server = match (&flags.join, kept.as_ref().and_then(|kept| kept.server.clone())) {
        (_, Some(server)) => server,
        (Some(file), None) => {
            let (server, ca_pem) = tls::cluster_of(file).await?;
            data_dir::write_private(&ca(&path), ca_pem.as_bytes())?;
            server
        }
        (None, None) => bail!(
            "this machine has not joined a cluster yet: copy join.kubeconfig from the directory of `wherry server` or \
             `wherry up`, and give it with --join"
        ),
    };
    let pem = client_certificate(flags, &path, &name).await?;
    let client = Rotating::new(tls::node_client(&server, &ca(&path), &pem)?);
    let api = kube::Client::new(client.clone(), "default");
    let settings = match kept {
        Some(kept) => {
            persist("claiming the node's range", || async { node::claim(&api, &name, kept.node_range).await }).await;
            kept
        }
        None => {
            let (service_cidr, pod_cidr) =
                persist("reading the cluster's settings", || async { join::ranges(&api).await }).await;
            let range = persist("claiming a range for pods", || async { node::claim(&api, &name, None).await }).await;
            let settings = Settings::new(&path, service_cidr, pod_cidr);
            let settings =
                Settings { node_name: name.clone(), node_range: Some(range), server: Some(server), ..settings };
            settings.keep(&path)?;
            settings
        }
    };
    let joined = Joined { path, settings, address, client };
    if !still_good(&joined.serving()) {
        let wanted = Wanted::serving(&name, &[address]);
        let pem = persist("asking for the serving certificate", || async { Ok(obtain(&api, &wanted).await?) }).await;
        data_dir::write_private(&joined.serving(), pem.as_bytes())?;
    }
    Ok(joined)
}

/// The node's certificate and key: the kept ones while they are good, else new ones by the join file's token.
async fn client_certificate(flags: &cli::Node, path: &Path, name: &str) -> anyhow::Result<String> {
    let file = certificate(path);
    if still_good(&file) {
        return std::fs::read_to_string(&file).with_context(|| format!("reading {}", file.display()));
    }
    let Some(join) = &flags.join else {
        bail!("{} is missing or has ended: give the join file of the cluster with --join", file.display())
    };
    let bootstrap = tls::client(join).await?;
    let wanted = Wanted::client(name);
    let pem = persist("asking for the node's certificate", || async { Ok(obtain(&bootstrap, &wanted).await?) }).await;
    data_dir::write_private(&file, pem.as_bytes())?;
    Ok(pem)
}

fn life(file: &Path) -> Option<Life> {
    Life::of(&std::fs::read_to_string(file).ok()?)
}

fn still_good(file: &Path) -> bool {
    life(file).is_some_and(|life| life.until > Timestamp::now())
}

/// Tries until it succeeds, and says why it has not yet.
async fn persist<T, F: Future<Output = anyhow::Result<T>>>(doing: &str, mut act: impl FnMut() -> F) -> T {
    let mut said = String::new();
    loop {
        match act().await {
            Ok(done) => return done,
            Err(error) => {
                let why = format!("{doing}: {error:#}");
                if why != said {
                    eprintln!("wherry: {why}; trying again every {} s", RETRY.as_secs());
                    said = why;
                }
            }
        }
        tokio::time::sleep(RETRY).await;
    }
}

/// Asks for the next certificate before the one in `file` ends, for as long as the node runs.
async fn renew(joined: Joined, file: PathBuf, wanted: Wanted) {
    let api = kube::Client::new(joined.client.clone(), "default");
    loop {
        let due = life(&file).map_or_else(Timestamp::now, |life| life.renewal(rand::random()));
        while let Ok(left) = Duration::try_from(due.duration_since(Timestamp::now()))
            && !left.is_zero()
        {
            tokio::time::sleep(left.min(LOOK)).await;
        }
        let pem = persist("renewing a certificate", || async { Ok(obtain(&api, &wanted).await?) }).await;
        if let Err(error) = take_over(&joined, &file, &pem) {
            tracing::error!(error = format!("{error:#}"), "the new certificate cannot be used");
            tokio::time::sleep(LOOK).await;
        }
    }
}

fn take_over(joined: &Joined, file: &Path, pem: &str) -> anyhow::Result<()> {
    data_dir::write_private(file, pem.as_bytes())?;
    if file == joined.certificate() {
        let server = joined.settings.server.as_deref().unwrap_or_default();
        joined.client.turn_to(tls::node_client(server, &joined.ca(), pem)?);
    }
    Ok(())
}
