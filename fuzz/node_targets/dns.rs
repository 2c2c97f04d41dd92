//! Questions to the cluster's DNS: whatever comes is answered within what the asker takes, forwarded, or left alone.
#![no_main]

use dns::{Reply, Zone, reply, zone};
use std::sync::LazyLock;

static ZONE: LazyLock<Zone> = LazyLock::new(|| {
    let service = |name: &str, ip: &str| {
        serde_json::from_value(serde_json::json!({
            "metadata": {"namespace": "default", "name": name},
            "spec": {"clusterIP": ip, "clusterIPs": [ip], "ports": [{"name": "http", "port": 80, "protocol": "TCP"}]},
        }))
        .expect("a Service")
    };
    let services = [service("kubernetes", "10.96.0.1"), service("a", "10.96.0.2")];
    zone("cluster.local", services.iter(), std::iter::empty())
});

/// A question with these labels and that type: what a fuzzer of bytes alone seldom finds.
fn question(bytes: &[u8]) -> Vec<u8> {
    let mut packet = vec![7, 7, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    let (kind, labels) = bytes.split_first().unwrap_or((&1, &[]));
    let own = ["a", "default", "svc", "cluster", "local"].map(str::as_bytes);
    let given = labels.split(|b| *b == b'.').filter(|l| !l.is_empty() && l.len() < 64).take(3);
    for label in given.chain(own.into_iter().skip(usize::from(kind % 6))) {
        packet.push(label.len() as u8);
        packet.extend_from_slice(label);
    }
    packet.extend_from_slice(&[0, 0, *kind, 0, 1]);
    packet
}

fn check(packet: &[u8]) {
    for udp in [true, false] {
        if let Reply::Bytes(answer) = reply(&ZONE, packet, udp) {
            assert!(answer.len() >= 12 && answer[2] & 0x80 != 0, "an answer says that it is one");
            assert_eq!(answer[..2], packet[..2], "it answers this question");
            assert!(!udp || answer.len() <= 1232, "a datagram of {} bytes", answer.len());
            assert_eq!(reply(&ZONE, &answer, udp), Reply::Nothing, "answers are not answered");
        }
    }
}

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    check(bytes);
    check(&question(bytes));
});
