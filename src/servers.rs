//! How a server joins others: the token that lets it in, what it is given, and how it knows that it asks the right one.
//!
//! Who holds a token gets the cluster's keys: it is a file that its owner alone may read, and is sent to nobody before
//! that one has proven to hold the members' authority.

mod talk;

use crate::cli;
use crate::data_dir::{self, DataDir, Place, Settings};
use crate::machine;
use crate::peers::{self, JOINING};
use anyhow::{Context, bail, ensure};
use apiserver::pki::judged::{Judge, judged};
use apiserver::pki::members;
use rand::Rng;
use ring::digest::{SHA256, digest};
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::ServerCertVerifier;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::CertificateDer;
use rustls::version::TLS13;
use rustls::{ClientConfig, RootCertStore};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use store::Store;
use talk::{Answer, Question, Token, receive, send};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

/// Question and answer: no disk is waited for.
const TALK: Duration = Duration::from_secs(10);
/// Random bytes of a secret: nobody guesses it, however often they may try.
const SECRET: usize = 32;

pub use talk::Welcome;

impl Welcome {
    /// Makes a directory that of one of the cluster's servers.
    pub fn adopt(&self, dir: &Path, peer_port: u16) -> anyhow::Result<Place> {
        let pki = dir.join("pki");
        members::adopt(&pki, &self.files).context("keeping the cluster's keys")?;
        // Chosen by chance, so that servers may join at once; 1 is the first one's.
        let id = u64::from(rand::rng().random_range(2..=u32::MAX));
        Ok(Place { join: self.members.clone(), ..Place::new(id, peer_port) })
    }
}

/// The port that servers have without a flag: etcd's for the same purpose.
const PEER_PORT: u16 = 2380;

/// The directory of a server: one that is alone, the first of several, or one that joins them.
pub async fn open(flags: &cli::Server) -> anyhow::Result<DataDir> {
    let known = data_dir::read(&flags.cluster.data_dir)?;
    let mut dir = match &flags.join {
        Some(token) if known.is_none() => join(flags, token).await?,
        Some(_) if known.as_ref().is_some_and(|known| known.place.is_none()) => bail!(
            "{} holds a cluster of its own, which cannot join another: choose another --data-dir",
            flags.cluster.data_dir.display()
        ),
        // One that has its place already goes back to it.
        Some(_) | None => DataDir::open(&flags.cluster)?,
    };
    let place = match dir.settings.place.clone() {
        Some(place) => place,
        None if flags.cluster_init => Place::new(1, peer_port(flags)?),
        None => return Ok(dir),
    };
    dir.take_place(Place {
        peer_port: flags.peer_port.unwrap_or(place.peer_port),
        heartbeat_ms: flags.heartbeat_interval.unwrap_or(place.heartbeat_ms),
        election_ms: flags.election_timeout.unwrap_or(place.election_ms),
        ..place
    })?;
    Ok(dir)
}

async fn join(flags: &cli::Server, token: &Path) -> anyhow::Result<DataDir> {
    let (welcome, peer_port) = (ask(token).await?, peer_port(flags)?);
    let cluster = &flags.cluster;
    ensure!(
        cluster
            .service_cidr
            .is_none_or(|asked| asked.first == welcome.service_cidr && asked.second == welcome.second_service_cidr)
            && cluster.pod_cidr.is_none_or(|asked| asked == welcome.pod_cidr),
        "the cluster has its ranges; leave out --service-cidr and --pod-cidr"
    );
    DataDir::open_or(cluster, |path| {
        let place = welcome.adopt(path, peer_port)?;
        let settings = Settings::new(path, welcome.service_cidr, welcome.pod_cidr);
        let settings = Settings { second_service_cidr: welcome.second_service_cidr, ..settings };
        Ok(Settings { secure_port: data_dir::secure_port(cluster)?, place: Some(place), ..settings })
    })
}

fn peer_port(flags: &cli::Server) -> anyhow::Result<u16> {
    match flags.peer_port {
        Some(port) => Ok(port),
        None => machine::free_port(PEER_PORT).context("no port from 2380 on is free; choose one with --peer-port"),
    }
}

/// Answers servers that want to join.
pub struct Door {
    dir: PathBuf,
    settings: Settings,
    secret: String,
    store: Arc<OnceLock<Store>>,
}

impl Door {
    /// The secret stays the same for as long as the token's file is there.
    pub fn open(dir: &Path, settings: &Settings, address: &str, member: &members::Member) -> anyhow::Result<Door> {
        let file = dir.join("server.token");
        let authority = fingerprint(member.authority.cert_der());
        let secret = match std::fs::read(&file) {
            Ok(text) => serde_json::from_slice::<Token>(&text).with_context(|| damaged(&file))?.secret,
            Err(error) if error.kind() == io::ErrorKind::NotFound => hex(&rand::rng().random::<[u8; SECRET]>()),
            Err(error) => return Err(error).with_context(|| format!("reading {}", file.display())),
        };
        let token = Token { server: address.to_owned(), authority, secret: secret.clone() };
        data_dir::write_private(&file, &serde_json::to_vec(&token)?)?;
        Ok(Door { dir: dir.to_owned(), settings: settings.clone(), secret, store: Arc::default() })
    }

    /// Before the store is there, nobody can join.
    pub fn opens_with(&self) -> Arc<OnceLock<Store>> {
        self.store.clone()
    }

    pub async fn answer(&self, mut stream: impl AsyncRead + AsyncWrite + Unpin) {
        let talk = async {
            let question: Question = receive(&mut stream).await?;
            let answer = match self.judge(&question) {
                Ok(welcome) => Answer::Welcome(Box::new(welcome)),
                Err(error) => Answer::Refused(format!("{error:#}")),
            };
            send(&mut stream, &answer).await?;
            stream.shutdown().await.context("ending the connection")
        };
        match tokio::time::timeout(TALK, talk).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::warn!("a server that wanted to join was not answered: {error:#}"),
            Err(_) => tracing::warn!("a server that wanted to join took too long"),
        }
    }

    fn judge(&self, question: &Question) -> anyhow::Result<Welcome> {
        // Of hashes, so that how long it takes tells nothing.
        let [given, ours] = [&question.secret, &self.secret].map(|secret| digest(&SHA256, secret.as_bytes()));
        if given.as_ref() != ours.as_ref() {
            tracing::warn!("a server that wanted to join did not know the secret");
            bail!("the token's secret is not this server's: copy its server.token anew");
        }
        let store = self.store.get().context("the server is still starting; try again")?;
        tracing::info!("a server was given the cluster's keys");
        Ok(Welcome {
            service_cidr: self.settings.service_cidr,
            second_service_cidr: self.settings.second_service_cidr,
            pod_cidr: self.settings.pod_cidr,
            members: store.members().into_iter().map(|member| member.address).collect(),
            files: members::shared(&self.dir.join("pki")).context("reading the cluster's keys")?,
        })
    }
}

/// For who looks after a server that runs: how members are reached, and where this one is.
pub fn dialer(dir: &Path) -> anyhow::Result<(Arc<peers::Dialer>, String)> {
    let settings = data_dir::read(dir)?.and_then(|settings| settings.place);
    let place = settings.with_context(|| format!("{} holds no server among several", dir.display()))?;
    let member = members::open(&dir.join("pki"), place.id).context("the server's certificate")?;
    Ok((Arc::new(peers::Dialer::new(&member)?), read(&dir.join("server.token"))?.server))
}

/// Asks a server of the cluster for all that one of them must have.
pub async fn ask(file: &Path) -> anyhow::Result<Welcome> {
    let token = read(file)?;
    let asked = async {
        let mut stream = connect(&token).await?;
        send(&mut stream, &Question { secret: token.secret.clone() }).await?;
        receive::<Answer>(&mut stream).await
    };
    let answer = tokio::time::timeout(TALK, asked).await.map_err(anyhow::Error::from).flatten();
    match answer.with_context(|| format!("asking the server at {} to let this one join", token.server))? {
        Answer::Welcome(welcome) => Ok(*welcome),
        Answer::Refused(why) => bail!("the server at {} does not let this one join: {why}", token.server),
    }
}

fn read(file: &Path) -> anyhow::Result<Token> {
    let about = std::fs::metadata(file).with_context(|| format!("reading {}", file.display()))?;
    ensure!(
        about.mode() & 0o077 == 0,
        "{0} may be read by others than its owner, and holds the key to the cluster: chmod 600 {0}",
        file.display()
    );
    let text = std::fs::read(file).with_context(|| format!("reading {}", file.display()))?;
    serde_json::from_slice(&text).with_context(|| damaged(file))
}

fn damaged(file: &Path) -> String {
    format!("{} is no token of a server; copy DIR/server.token of one that runs", file.display())
}

async fn connect(token: &Token) -> anyhow::Result<impl AsyncRead + AsyncWrite + Unpin + use<>> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let verifier = judged(provider.clone(), known(token.authority.clone(), provider.clone()));
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&TLS13])?
        .dangerous()
        .with_custom_certificate_verifier(verifier)
        .with_no_client_auth();
    config.alpn_protocols = vec![JOINING.to_vec()];
    let socket = TcpStream::connect(&token.server).await?;
    Ok(TlsConnector::from(Arc::new(config)).connect(peers::member_name(), socket).await?)
}

/// Believes a member of the authority that the token names by its hash, and nobody else.
fn known(authority: String, provider: Arc<CryptoProvider>) -> Box<Judge> {
    Box::new(move |leaf, intermediates, name, now| {
        let stranger = || rustls::Error::General("the server is not of the cluster that the token is for".into());
        let found = intermediates.iter().find(|der| fingerprint(der) == authority).ok_or_else(stranger)?;
        let mut roots = RootCertStore::empty();
        roots.add(found.clone().into_owned())?;
        let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider.clone()).build();
        let verifier = verifier.map_err(|error| rustls::Error::General(error.to_string()))?;
        verifier.verify_server_cert(leaf, &[], name, &[], now).map(drop)
    })
}

pub fn fingerprint(der: &CertificateDer<'_>) -> String {
    format!("sha256:{}", hex(digest(&SHA256, der).as_ref()))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
