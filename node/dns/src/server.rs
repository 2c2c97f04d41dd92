//! The UDP and TCP sockets.

use crate::answer::{Reply, reply};
use crate::{Config, Shared, forward};
use hickory_proto::op::{Message, OpCode, ResponseCode};
use nix::sys::socket::{setsockopt, sockopt};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream, UdpSocket};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

/// Questions under way to other resolvers: each holds a socket. More are answered "server failure" at once.
const FORWARDED_AT_ONCE: usize = 512;
/// TCP clients at once.
const CONNECTIONS: usize = 256;
/// How long a TCP client may be silent.
const IDLE: Duration = Duration::from_secs(20);

/// Bound sockets, before anything is served: one pair per address, all on one port.
pub struct Sockets {
    udp: Vec<Arc<UdpSocket>>,
    tcp: Vec<TcpListener>,
    port: u16,
}

impl Sockets {
    /// Binds the addresses, which need not be on a link yet: on the wished port, or, if that is taken, on another one.
    pub fn bind(addresses: &[IpAddr], port: u16) -> std::io::Result<Sockets> {
        match Sockets::bind_to(addresses, port) {
            Err(e) if e.kind() == std::io::ErrorKind::AddrInUse => Sockets::bind_to(addresses, 0),
            other => other,
        }
    }

    fn bind_to(addresses: &[IpAddr], mut port: u16) -> std::io::Result<Sockets> {
        let (mut udp, mut tcp) = (Vec::new(), Vec::new());
        for &address in addresses {
            let listener = listen(SocketAddr::new(address, port))?;
            port = listener.local_addr()?.port();
            udp.push(Arc::new(datagrams(SocketAddr::new(address, port))?));
            tcp.push(listener);
        }
        Ok(Sockets { udp, tcp, port })
    }

    pub fn port(&self) -> u16 {
        self.port
    }
}

fn listen(address: SocketAddr) -> std::io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    socket.set_reuseaddr(true)?;
    setsockopt(&socket, sockopt::IpFreebind, &true)?;
    socket.bind(address)?;
    socket.listen(128)
}

fn datagrams(address: SocketAddr) -> std::io::Result<UdpSocket> {
    use nix::sys::socket::{AddressFamily, SockFlag, SockType, SockaddrStorage, bind, socket};
    let family = if address.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 };
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let fd = socket(family, SockType::Datagram, flags, None)?;
    setsockopt(&fd, sockopt::IpFreebind, &true)?;
    bind(std::os::fd::AsRawFd::as_raw_fd(&fd), &SockaddrStorage::from(address))?;
    UdpSocket::from_std(std::net::UdpSocket::from(fd))
}

/// Serves until `stop`.
pub async fn serve(sockets: Sockets, config: Arc<Config>, shared: Shared, stop: CancellationToken) {
    let forwards = Arc::new(Semaphore::new(FORWARDED_AT_ONCE));
    let context = Context { config, shared, forwards };
    let mut tasks = tokio::task::JoinSet::new();
    for socket in sockets.udp {
        tasks.spawn(udp(socket, context.clone()));
    }
    for listener in sockets.tcp {
        tasks.spawn(tcp(listener, context.clone()));
    }
    stop.cancelled().await;
}

#[derive(Clone)]
struct Context {
    config: Arc<Config>,
    shared: Shared,
    forwards: Arc<Semaphore>,
}

async fn udp(socket: Arc<UdpSocket>, context: Context) {
    let mut buffer = vec![0; 4096];
    loop {
        // A client's ICMP error shows as a failure of the next receive; the socket itself stays good.
        let Ok((n, from)) = socket.recv_from(&mut buffer).await else { continue };
        let zone = context.shared.read().clone();
        match reply(&zone, &buffer[..n], true) {
            Reply::Nothing => {}
            Reply::Bytes(bytes) => {
                socket.send_to(&bytes, from).await.ok();
            }
            Reply::Forward => {
                let (context, socket, packet) = (context.clone(), socket.clone(), buffer[..n].to_vec());
                tokio::spawn(async move {
                    if let Some(bytes) = context.forward(&packet, true).await {
                        socket.send_to(&bytes, from).await.ok();
                    }
                });
            }
        }
    }
}

async fn tcp(listener: TcpListener, context: Context) {
    let connections = Arc::new(Semaphore::new(CONNECTIONS));
    loop {
        let Ok(permit) = connections.clone().acquire_owned().await else { return };
        let Ok((stream, _)) = listener.accept().await else { continue };
        let context = context.clone();
        tokio::spawn(async move {
            if let Err(error) = conversation(stream, &context).await {
                tracing::debug!(%error, "a DNS client left");
            }
            drop(permit);
        });
    }
}

async fn conversation(mut stream: TcpStream, context: &Context) -> std::io::Result<()> {
    loop {
        let Ok(len) = tokio::time::timeout(IDLE, stream.read_u16()).await else { return Ok(()) };
        let mut packet = vec![0; usize::from(len?)];
        tokio::time::timeout(IDLE, stream.read_exact(&mut packet)).await??;
        let zone = context.shared.read().clone();
        let bytes = match reply(&zone, &packet, false) {
            Reply::Nothing => return Ok(()),
            Reply::Bytes(bytes) => Some(bytes),
            Reply::Forward => context.forward(&packet, false).await,
        };
        let Some(bytes) = bytes else { return Ok(()) };
        let len = u16::try_from(bytes.len()).map_err(std::io::Error::other)?;
        stream.write_all(&[&len.to_be_bytes(), bytes.as_slice()].concat()).await?;
    }
}

impl Context {
    async fn forward(&self, packet: &[u8], udp: bool) -> Option<Vec<u8>> {
        let Ok(_permit) = self.forwards.try_acquire() else { return failure(packet) };
        match forward::ask(&self.config.resolvers, packet, udp).await {
            Some(answer) => Some(answer),
            None => failure(packet),
        }
    }
}

/// "Server failure": the client may ask somebody else, or later.
fn failure(packet: &[u8]) -> Option<Vec<u8>> {
    let query = Message::from_vec(packet).ok()?;
    let mut response = Message::error_msg(query.metadata.id, OpCode::Query, ResponseCode::ServFail);
    response.add_queries(query.queries);
    response.to_vec().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::zone::zone;
    use hickory_proto::op::Query;
    use hickory_proto::rr::{Name, RecordType};
    use k8s_openapi::api::core::v1::Service;
    use k8s_openapi::api::discovery::v1::EndpointSlice;
    use serde_json::json;

    const LOOPBACK: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

    fn question(name: &str, wanted: RecordType) -> Vec<u8> {
        let mut message = Message::query();
        message.add_query(Query::query(Name::from_ascii(name).expect("a name"), wanted));
        message.to_vec().expect("a packet")
    }

    /// A server with one headless Service of `endpoints` endpoints, and its port.
    fn start(endpoints: usize, resolvers: Vec<SocketAddr>, stop: &CancellationToken) -> SocketAddr {
        let service: Service = serde_json::from_value(json!({
            "metadata": {"namespace": "d", "name": "many"}, "spec": {"clusterIP": "None"}
        }))
        .expect("a Service");
        let addresses: Vec<_> =
            (0..endpoints).map(|i| json!({"addresses": [format!("10.244.{}.{}", i / 250, i % 250)]})).collect();
        let slice: EndpointSlice = serde_json::from_value(json!({
            "metadata": {"namespace": "d", "name": "m", "labels": {"kubernetes.io/service-name": "many"}},
            "addressType": "IPv4", "endpoints": addresses,
        }))
        .expect("a slice");
        let zone = zone("cluster.local", [&service].into_iter(), [&slice].into_iter());
        let sockets = Sockets::bind(&[LOOPBACK], 0).expect("bound");
        let address = SocketAddr::new(LOOPBACK, sockets.port());
        let config = Arc::new(Config { domain: "cluster.local".into(), resolvers });
        tokio::spawn(serve(sockets, config, Arc::new(parking_lot::RwLock::new(Arc::new(zone))), stop.clone()));
        address
    }

    async fn by_udp(server: SocketAddr, packet: &[u8]) -> Message {
        Message::from_vec(&forward::ask(&[server], packet, true).await.expect("an answer")).expect("a message")
    }

    #[tokio::test]
    async fn a_long_answer_is_cut_by_udp_and_whole_by_tcp() {
        let stop = CancellationToken::new();
        let server = start(300, vec![], &stop);
        let packet = question("many.d.svc.cluster.local.", RecordType::A);
        let cut = by_udp(server, &packet).await;
        assert!(cut.metadata.truncation && cut.answers.is_empty());
        let whole = forward::ask(&[server], &packet, false).await.expect("an answer");
        assert_eq!(Message::from_vec(&whole).expect("a message").answers.len(), 300);
        stop.cancel();
    }

    #[tokio::test]
    async fn what_is_not_ours_is_forwarded_and_what_is_missing_is_said_to_be() {
        let stop = CancellationToken::new();
        let outside = UdpSocket::bind((LOOPBACK, 0)).await.expect("a resolver");
        let resolver = outside.local_addr().expect("its address");
        tokio::spawn(async move {
            let mut buffer = [0; 512];
            let (n, from) = outside.recv_from(&mut buffer).await.expect("a question");
            let query = Message::from_vec(&buffer[..n]).expect("a message");
            let refused = Message::error_msg(query.metadata.id, OpCode::Query, ResponseCode::Refused);
            outside.send_to(&refused.to_vec().expect("a packet"), from).await.expect("sent");
        });
        let server = start(1, vec![resolver], &stop);
        let elsewhere = by_udp(server, &question("example.com.", RecordType::A)).await;
        assert_eq!(elsewhere.metadata.response_code, ResponseCode::Refused, "the resolver's own word");
        let missing = by_udp(server, &question("no.d.svc.cluster.local.", RecordType::A)).await;
        assert_eq!(missing.metadata.response_code, ResponseCode::NXDomain);
        assert_eq!(missing.authorities.len(), 1);
        let other_type = by_udp(server, &question("MANY.d.svc.cluster.local.", RecordType::AAAA)).await;
        assert_eq!((other_type.metadata.response_code, other_type.answers.len()), (ResponseCode::NoError, 0));
        let broken = by_udp(server, &[0xab, 0xcd, 0, 0, 0, 9, 0, 0, 0, 0, 0, 0]).await;
        assert_eq!(broken.metadata.response_code, ResponseCode::FormErr);
        stop.cancel();
    }

    #[tokio::test]
    async fn a_taken_port_is_left_to_its_owner() {
        let first = Sockets::bind(&[LOOPBACK], 0).expect("bound");
        let second = Sockets::bind(&[LOOPBACK], first.port()).expect("bound elsewhere");
        assert_ne!(first.port(), second.port());
    }
}
