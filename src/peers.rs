//! How the servers of a cluster reach one another: one port with TLS, for the store's members and for servers that join.
//!
//! Both ends of a member's connection show a certificate of the members' own authority. A server that joins has none yet:
//! it asks by another protocol name, is shown which authority this is, and must know the secret. Anything else is closed.

use crate::servers::Door;
use anyhow::Context;
use apiserver::pki::{Credential, members};
use arc_swap::ArcSwap;
use futures::future::BoxFuture;
use rustls::pki_types::ServerName;
use rustls::server::WebPkiClientVerifier;
use rustls::version::TLS13;
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use store::Stream;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinHandle;
use tokio_rustls::server::TlsStream;
use tokio_rustls::{TlsAcceptor, TlsConnector};

/// What members speak, and what a server speaks that wants to become one.
const MEMBERS: &[u8] = b"wherry-store/1";
pub const JOINING: &[u8] = b"wherry-join/1";
/// A handshake is two messages; who takes longer is not a member.
const HANDSHAKE: Duration = Duration::from_secs(5);
/// Handshakes and joins at once: a few servers, and no more of strangers than a small machine bears.
const STRANGERS: usize = 32;
/// Connections that wait for the store to take them.
const WAITING: usize = 16;
/// After a failed accept (too many files open), so that the loop does not spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// How often a server that runs looks whether its certificate is due: it has weeks left then.
const LOOK_AT_CERTIFICATE: Duration = Duration::from_secs(12 * 3600);

/// Makes connections to members.
pub struct Dialer {
    connector: ArcSwap<TlsConnector>,
    name: ServerName<'static>,
}

impl Dialer {
    pub fn new(member: &members::Member) -> anyhow::Result<Dialer> {
        Ok(Dialer { connector: ArcSwap::from_pointee(connector(member)?), name: member_name() })
    }
}

fn connector(member: &members::Member) -> anyhow::Result<TlsConnector> {
    let (chain, key) = credential(&member.credential)?;
    let mut config = ClientConfig::builder_with_protocol_versions(&[&TLS13])
        .with_root_certificates(roots(member)?)
        .with_client_auth_cert(chain, key)
        .context("the member's certificate")?;
    config.alpn_protocols = vec![MEMBERS.to_vec()];
    Ok(TlsConnector::from(Arc::new(config)))
}

impl store::Dial for Dialer {
    fn dial(&self, address: String) -> BoxFuture<'static, io::Result<Stream>> {
        let (connector, name) = (self.connector.load_full(), self.name.clone());
        Box::pin(async move {
            let socket = TcpStream::connect(&address).await?;
            // Small messages must not wait for the other side's delayed acknowledgement.
            socket.set_nodelay(true)?;
            Ok(Box::new(connector.connect(name, socket).await?) as Stream)
        })
    }
}

/// Takes connections from members, and lets servers in that join. Dropped, it stops listening.
pub struct Accepted {
    members: mpsc::Receiver<Stream>,
    acceptor: Arc<ArcSwap<TlsAcceptor>>,
    tasks: Vec<JoinHandle<()>>,
}

impl Accepted {
    pub async fn listen(address: SocketAddr, member: &members::Member, door: Door) -> anyhow::Result<Accepted> {
        let acceptor = Arc::new(ArcSwap::from_pointee(acceptor(member)?));
        let listener = TcpListener::bind(address).await;
        let listener = listener
            .with_context(|| format!("listening at {address} for other servers (another port: --peer-port)"))?;
        let (send, members) = mpsc::channel(WAITING);
        let accepting = tokio::spawn(accept(listener, acceptor.clone(), Arc::new(door), send));
        Ok(Accepted { members, acceptor, tasks: vec![accepting] })
    }

    /// Has a new certificate be shown, by both ends, before the old one ends. Connections that stand go on.
    pub fn renew(&mut self, pki: PathBuf, id: u64, dialer: Arc<Dialer>) {
        let shown = self.acceptor.clone();
        self.tasks.push(tokio::spawn(async move {
            loop {
                tokio::time::sleep(LOOK_AT_CERTIFICATE).await;
                if let Err(error) = members::open(&pki, id).map_err(Into::into).and_then(|m| show(&m, &shown, &dialer))
                {
                    tracing::warn!("the certificate for other servers could not be renewed: {error:#}");
                }
            }
        }));
    }
}

impl store::Listen for Accepted {
    fn accept(&mut self) -> BoxFuture<'_, io::Result<Stream>> {
        Box::pin(async { self.members.recv().await.ok_or_else(|| io::Error::other("nobody listens any more")) })
    }
}

impl Drop for Accepted {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

fn show(member: &members::Member, acceptor_of: &ArcSwap<TlsAcceptor>, dialer: &Dialer) -> anyhow::Result<()> {
    acceptor_of.store(Arc::new(acceptor(member)?));
    dialer.connector.store(Arc::new(connector(member)?));
    Ok(())
}

fn acceptor(member: &members::Member) -> anyhow::Result<TlsAcceptor> {
    let verifier = WebPkiClientVerifier::builder(Arc::new(roots(member)?)).allow_unauthenticated().build();
    let (mut chain, key) = credential(&member.credential)?;
    // Who joins knows the authority by its hash alone.
    chain.push(member.authority.cert_der().clone());
    let mut config = ServerConfig::builder_with_protocol_versions(&[&TLS13])
        .with_client_cert_verifier(verifier.context("the members' authority")?)
        .with_single_cert(chain, key)
        .context("the member's certificate")?;
    config.alpn_protocols = vec![MEMBERS.to_vec(), JOINING.to_vec()];
    Ok(TlsAcceptor::from(Arc::new(config)))
}

async fn accept(
    listener: TcpListener,
    acceptor: Arc<ArcSwap<TlsAcceptor>>,
    door: Arc<Door>,
    members: mpsc::Sender<Stream>,
) {
    let places = Arc::new(Semaphore::new(STRANGERS));
    let mut tasks = tokio::task::JoinSet::new();
    while let Ok(place) = places.clone().acquire_owned().await {
        while tasks.try_join_next().is_some() {}
        let socket = match listener.accept().await {
            Ok((socket, _)) => socket,
            Err(error) => {
                tracing::warn!(%error, "a connection of another server could not be accepted");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let (acceptor, door, members) = (acceptor.load_full(), door.clone(), members.clone());
        tasks.spawn(async move {
            let shaken = async {
                socket.set_nodelay(true)?;
                acceptor.accept(socket).await
            };
            match tokio::time::timeout(HANDSHAKE, shaken).await {
                Ok(Ok(stream)) => admit(stream, &door, &members).await,
                Ok(Err(error)) => tracing::debug!(%error, "a handshake at the servers' port failed"),
                Err(_) => tracing::debug!("a handshake at the servers' port took too long"),
            }
            drop(place);
        });
    }
}

/// Members are handed on; a server that joins is answered here.
async fn admit(stream: TlsStream<TcpStream>, door: &Door, members: &mpsc::Sender<Stream>) {
    let session = stream.get_ref().1;
    let is_member = session.peer_certificates().is_some_and(|chain| !chain.is_empty());
    match session.alpn_protocol() {
        Some(MEMBERS) if is_member => {
            // The store is gone, and with it who would have answered.
            let _ = members.send(Box::new(stream)).await;
        }
        Some(JOINING) => door.answer(stream).await,
        _ => tracing::debug!("a stranger came to the servers' port"),
    }
}

/// What every member's certificate is made for.
pub fn member_name() -> ServerName<'static> {
    ServerName::try_from(members::NAME).expect("the constant is a DNS name")
}

fn roots(member: &members::Member) -> anyhow::Result<RootCertStore> {
    let mut roots = RootCertStore::empty();
    roots.add(member.authority.cert_der().clone()).context("the members' authority")?;
    Ok(roots)
}

type Identity = (Vec<rustls::pki_types::CertificateDer<'static>>, rustls::pki_types::PrivateKeyDer<'static>);

fn credential(credential: &Credential) -> anyhow::Result<Identity> {
    credential.to_rustls().map_err(anyhow::Error::msg)
}

#[cfg(test)]
mod tests;
