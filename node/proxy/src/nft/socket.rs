//! The netlink socket that a transaction goes through. Blocking: callers run it where they may wait.

use super::{Error, Transaction};
use nix::sys::socket::{self, AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType};
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};

/// The kernel wants a transaction in one piece; 10,000 Services with two endpoints take about 3 MiB.
const SEND_BUFFER: usize = 64 << 20;
/// The kernel answers within the call, so a wait this long means that it never will.
const ANSWER_SECONDS: i64 = 10;

/// Sends the transaction and waits for the kernel's word on it. Nothing of a refused one takes effect.
pub fn send(transaction: Transaction) -> Result<(), Error> {
    if transaction.is_empty() {
        return Ok(());
    }
    let (bytes, last, steps) = transaction.finish();
    let socket = open().map_err(io_error("opening a netfilter socket"))?;
    // Root may pass the system's limit; without that right the ordinary limit has to do.
    if socket::setsockopt(&socket, socket::sockopt::SndBufForce, &SEND_BUFFER).is_err() {
        socket::setsockopt(&socket, socket::sockopt::SndBuf, &SEND_BUFFER).map_err(io_error("enlarging the buffer"))?;
    }
    let sent = socket::sendto(socket.as_raw_fd(), &bytes, &NetlinkAddr::new(0, 0), MsgFlags::empty());
    sent.map_err(io_error("sending the rules"))?;
    answer(&socket, last, &steps)
}

fn io_error(doing: &'static str) -> impl FnOnce(nix::Error) -> Error {
    move |e| Error::Io { doing, source: e.into() }
}

fn open() -> nix::Result<OwnedFd> {
    let flags = SockFlag::SOCK_CLOEXEC;
    let socket = socket::socket(AddressFamily::Netlink, SockType::Raw, flags, SockProtocol::NetlinkNetFilter)?;
    socket::bind(socket.as_raw_fd(), &NetlinkAddr::new(0, 0))?;
    let patience = nix::sys::time::TimeVal::new(ANSWER_SECONDS, 0);
    socket::setsockopt(&socket, socket::sockopt::ReceiveTimeout, &patience)?;
    Ok(socket)
}

/// Reads answers until the one to `last`. The first error is the transaction's.
fn answer(socket: &OwnedFd, last: u32, steps: &[String]) -> Result<(), Error> {
    const ERROR: u16 = 2;
    let mut buffer = vec![0u8; 64 << 10];
    loop {
        let n = socket::recv(socket.as_raw_fd(), &mut buffer, MsgFlags::empty());
        let n = n.map_err(io_error("waiting for the kernel's answer"))?;
        let mut rest = &buffer[..n];
        while let Some((kind, sequence, body, tail)) = split(rest) {
            rest = tail;
            if kind != ERROR || body.len() < 4 {
                continue;
            }
            let code = i32::from_ne_bytes([body[0], body[1], body[2], body[3]]);
            if code != 0 {
                let what = steps.get(sequence as usize).cloned().unwrap_or_default();
                return Err(Error::Refused { step: sequence, what, source: io::Error::from_raw_os_error(-code) });
            }
            if sequence == last {
                return Ok(());
            }
        }
    }
}

/// One message: its type, its sequence number, its body, and what follows.
fn split(bytes: &[u8]) -> Option<(u16, u32, &[u8], &[u8])> {
    let head: &[u8; 16] = bytes.first_chunk()?;
    let len = u32::from_ne_bytes([head[0], head[1], head[2], head[3]]) as usize;
    let body = bytes.get(16..len)?;
    let kind = u16::from_ne_bytes([head[4], head[5]]);
    let sequence = u32::from_ne_bytes([head[8], head[9], head[10], head[11]]);
    Some((kind, sequence, body, bytes.get(len.next_multiple_of(4)..).unwrap_or(&[])))
}
