//! Sockets and names of a guest are its pod's.

use crate::harness::{Netns, Node, PATIENCE, root};
use container::{DnsConfig, Sandbox};
use std::io::Read;
use std::net::{TcpListener, UdpSocket};
use std::sync::Arc;

const CONNECT: &str = include_str!("../guests/connect.wat");

/// Answers one question for an IPv4 address with `address`, everything else with "no such name"; gives the names asked for.
fn name_server(socket: &UdpSocket, known: &str, address: [u8; 4]) -> Vec<String> {
    let mut asked = Vec::new();
    let mut buffer = [0; 512];
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    loop {
        let (length, from) = socket.recv_from(&mut buffer).unwrap();
        let mut message = buffer[..length].to_vec();
        let mut name = String::new();
        let mut at = 12;
        while message[at] != 0 {
            let label = &message[at + 1..at + 1 + usize::from(message[at])];
            name += std::str::from_utf8(label).unwrap();
            name.push('.');
            at += 1 + label.len();
        }
        let v4 = message[at + 2] == 1;
        message[2] = 0x81;
        message[3] = if name == known { 0x80 } else { 0x83 };
        if name == known && v4 {
            message[7] = 1;
            message.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 5, 0, 4]);
            message.extend(address);
        }
        socket.send_to(&message, from).unwrap();
        if v4 {
            asked.push(name.clone());
        }
        if v4 && name == known {
            return asked;
        }
    }
}

#[tokio::test]
async fn a_guest_resolves_by_its_pods_dns_and_connects_in_its_pods_namespace() {
    if !root() {
        return;
    }
    let node = Node::new();
    let netns = Netns::new(&node, "sockets");
    let server = netns.inside(|| UdpSocket::bind("127.0.0.1:53").unwrap());
    let listener = netns.inside(|| TcpListener::bind("127.1.2.3:7777").unwrap());
    let names = std::thread::spawn(move || name_server(&server, "db.cluster.test.", [127, 1, 2, 3]));
    let heard = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).unwrap();
        text
    });
    let mut spec = node.spec("connect", CONNECT);
    let dns = DnsConfig {
        servers: vec!["127.0.0.1".into()],
        searches: vec!["ns.cluster.test".into(), "cluster.test".into()],
        options: vec!["ndots:5".into()],
    };
    spec.sandbox = Arc::new(Sandbox { netns: Some(netns.0.clone()), dns, ..(*spec.sandbox).clone() });
    let exit = node.finish(&spec).await;
    assert_eq!(exit.code, 0, "{exit:?}");
    assert_eq!(names.join().unwrap(), ["db.ns.cluster.test.", "db.cluster.test."]);
    assert_eq!(heard.join().unwrap(), "connected\n");
}

#[tokio::test]
async fn an_unknown_name_is_an_error_of_the_guest_and_a_hosts_file_knows_names() {
    if !root() {
        return;
    }
    let node = Node::new();
    let netns = Netns::new(&node, "hosts");
    let mut spec = node.spec("unknown", CONNECT);
    let dns =
        DnsConfig { servers: vec!["127.0.0.1".into()], options: vec!["attempts:1".into()], ..DnsConfig::default() };
    let sandbox = Arc::new(Sandbox { netns: Some(netns.0.clone()), dns, ..(*spec.sandbox).clone() });
    spec.sandbox = sandbox.clone();
    assert_eq!(node.finish(&spec).await.code, 1, "nobody serves names there");

    let listener = netns.inside(|| TcpListener::bind("127.0.0.9:7777").unwrap());
    let hosts = node.dir.path().join("hosts");
    std::fs::write(&hosts, "127.0.0.9 db\n").unwrap();
    let mut spec = node.spec("hosts", CONNECT);
    spec.sandbox = sandbox;
    spec.mounts = vec![crate::harness::mounted(&hosts, "/etc/hosts", false)];
    assert_eq!(node.finish(&spec).await.code, 0);
    drop(listener);
}
