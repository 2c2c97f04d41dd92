//! Questions about other domains go to the node's own resolvers, byte for byte, and their answers come back the same
//! way.

use std::net::SocketAddr;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};

/// What one resolver may take before the next is asked (resolv.conf's own default is 5 s for all).
const PATIENCE: Duration = Duration::from_secs(2);

/// Asks the resolvers in order; `None` if none answers. `udp` is how the client asked, and how we ask.
pub async fn ask(resolvers: &[SocketAddr], packet: &[u8], udp: bool) -> Option<Vec<u8>> {
    for resolver in resolvers {
        let asked = async { if udp { by_udp(*resolver, packet).await } else { by_tcp(*resolver, packet).await } };
        match tokio::time::timeout(PATIENCE, asked).await {
            Ok(Ok(answer)) => return Some(answer),
            Ok(Err(error)) => tracing::debug!(%resolver, %error, "a resolver cannot be asked"),
            Err(_) => tracing::debug!(%resolver, "a resolver does not answer"),
        }
    }
    None
}

/// The socket is connected, so only that resolver's packets arrive; its port and the id are the client's question's.
async fn by_udp(resolver: SocketAddr, packet: &[u8]) -> std::io::Result<Vec<u8>> {
    let any: SocketAddr = if resolver.is_ipv4() { ([0; 4], 0).into() } else { ([0u16; 8], 0).into() };
    let socket = UdpSocket::bind(any).await?;
    socket.connect(resolver).await?;
    socket.send(packet).await?;
    let mut buffer = vec![0; 4096];
    loop {
        let n = socket.recv(&mut buffer).await?;
        if n >= 12 && buffer[..2] == packet[..2] {
            buffer.truncate(n);
            return Ok(buffer);
        }
    }
}

async fn by_tcp(resolver: SocketAddr, packet: &[u8]) -> std::io::Result<Vec<u8>> {
    let mut stream = TcpStream::connect(resolver).await?;
    let len = u16::try_from(packet.len()).map_err(std::io::Error::other)?;
    stream.write_all(&[&len.to_be_bytes(), packet].concat()).await?;
    let len = stream.read_u16().await?;
    let mut answer = vec![0; usize::from(len)];
    stream.read_exact(&mut answer).await?;
    Ok(answer)
}

/// The resolvers that a resolv.conf names, without those that would lead back here.
pub fn resolvers(resolv_conf: &str, ourselves: &[std::net::IpAddr]) -> Vec<SocketAddr> {
    let servers = resolv_conf.lines().filter_map(|l| l.trim().strip_prefix("nameserver"));
    let addresses = servers.filter_map(|s| s.trim().split('%').next()?.parse::<std::net::IpAddr>().ok());
    addresses.filter(|a| !ourselves.contains(a)).map(|a| SocketAddr::new(a, 53)).collect()
}
