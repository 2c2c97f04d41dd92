//! One question to one answer, as messages. Pure.

use crate::zone::{Answer, Records, Zone};
use hickory_proto::op::{Edns, Message, MessageType, OpCode, ResponseCode};
use hickory_proto::rr::rdata::{A, AAAA, CNAME, PTR, SOA, SRV, TXT};
use hickory_proto::rr::{DNSClass, Name, RData, Record, RecordType};
use std::net::IpAddr;

/// How long a client may keep an answer, in seconds: what clusters' DNS servers commonly give.
const TTL: u32 = 5;
/// What a client takes by UDP without saying more (RFC 1035 section 4.2.1).
const PLAIN_UDP: u16 = 512;
/// What we offer and use at the most (the DNS flag day 2020 value).
const LARGEST_UDP: u16 = 1232;

/// What to do with a packet.
#[derive(Debug, PartialEq, Eq)]
pub enum Reply {
    Bytes(Vec<u8>),
    /// The question is for the resolvers outside.
    Forward,
    /// Not a question at all.
    Nothing,
}

/// Answers a packet. By UDP an answer that is too long is cut, and the client comes back by TCP.
pub fn reply(zone: &Zone, packet: &[u8], udp: bool) -> Reply {
    let Ok(query) = Message::from_vec(packet) else { return malformed(packet) };
    if query.metadata.message_type == MessageType::Response {
        return Reply::Nothing;
    }
    let refusal = match (query.metadata.op_code, query.queries.as_slice()) {
        (OpCode::Query, [q]) if q.query_class() == DNSClass::IN || q.query_class() == DNSClass::ANY => None,
        (OpCode::Query, [_]) => Some(ResponseCode::Refused),
        (OpCode::Query, _) => Some(ResponseCode::FormErr),
        _ => Some(ResponseCode::NotImp),
    };
    let mut response = start(&query);
    if let Some(code) = refusal {
        response.metadata.response_code = code;
        return finish(response, &query, udp);
    }
    let question = query.queries[0].clone();
    let name = question.name().to_ascii().to_ascii_lowercase();
    match zone.answer(name.trim_end_matches('.')) {
        Answer::NotOurs => return Reply::Forward,
        Answer::NoSuchName => response.metadata.response_code = ResponseCode::NXDomain,
        Answer::Records(records) => fill(&mut response, zone, question.name(), question.query_type(), &records),
    }
    response.metadata.authoritative = true;
    if response.answers.is_empty() {
        response.authorities.extend(authority(zone));
    }
    finish(response, &query, udp)
}

/// A packet that cannot be read gets its id back with "format error", if it is long enough to have one.
fn malformed(packet: &[u8]) -> Reply {
    let Some(id) = packet.first_chunk::<2>().filter(|_| packet.len() >= 12 && packet[2] & 0x80 == 0) else {
        return Reply::Nothing;
    };
    let message = Message::error_msg(u16::from_be_bytes(*id), OpCode::Query, ResponseCode::FormErr);
    message.to_vec().map_or(Reply::Nothing, Reply::Bytes)
}

fn start(query: &Message) -> Message {
    let mut response = Message::response(query.metadata.id, query.metadata.op_code);
    response.metadata.recursion_desired = query.metadata.recursion_desired;
    response.metadata.recursion_available = true;
    response.add_queries(query.queries.iter().cloned());
    if query.edns.is_some() {
        let mut edns = Edns::new();
        edns.set_max_payload(LARGEST_UDP);
        response.set_edns(edns);
    }
    response
}

fn finish(response: Message, query: &Message, udp: bool) -> Reply {
    let Ok(bytes) = response.to_vec() else { return Reply::Nothing };
    let offered = query.edns.as_ref().map_or(PLAIN_UDP, |e| e.max_payload().clamp(PLAIN_UDP, LARGEST_UDP));
    if !udp || bytes.len() <= usize::from(offered) {
        return Reply::Bytes(bytes);
    }
    response.truncate().to_vec().map_or(Reply::Nothing, Reply::Bytes)
}

/// "This server" says that nothing else has the name (RFC 2308 section 3).
fn authority(zone: &Zone) -> Option<Record> {
    let domain = name(&zone.domain)?;
    let (server, contact) = (name(&format!("ns.dns.{}", zone.domain))?, name(&format!("hostmaster.{}", zone.domain))?);
    let soa = SOA::new(server, contact, 1, 7200, 1800, 86400, TTL);
    Some(Record::from_rdata(domain, TTL, RData::SOA(soa)))
}

fn name(text: &str) -> Option<Name> {
    Name::from_ascii(format!("{text}.")).ok()
}

fn fill(response: &mut Message, zone: &Zone, owner: &Name, wanted: RecordType, records: &Records) {
    let mut put = |data| {
        response.add_answer(Record::from_rdata(owner.clone(), TTL, data));
    };
    if let Some(alias) = records.alias.as_deref().and_then(name) {
        put(RData::CNAME(CNAME(alias)));
        // An alias within the cluster is followed; outside, the client's resolver asks on.
        if let Some(Answer::Records(target)) = records.alias.as_deref().map(|a| zone.answer(a)) {
            let owner = response.answers.last().and_then(|r| match &r.data {
                RData::CNAME(target) => Some(target.0.clone()),
                _ => None,
            });
            if let Some(owner) = owner.filter(|_| target.alias.is_none()) {
                fill(response, zone, &owner, wanted, &target);
            }
        }
        return;
    }
    let any = wanted == RecordType::ANY;
    for address in &records.addresses {
        match address {
            IpAddr::V4(a) if any || wanted == RecordType::A => put(RData::A(A(*a))),
            IpAddr::V6(a) if any || wanted == RecordType::AAAA => put(RData::AAAA(AAAA(*a))),
            IpAddr::V4(_) | IpAddr::V6(_) => {}
        }
    }
    if any || wanted == RecordType::SRV {
        let weight = u16::try_from(100 / records.services.len().max(1)).unwrap_or(1).max(1);
        for (port, target) in &records.services {
            if let Some(target) = name(target) {
                put(RData::SRV(SRV::new(0, weight, *port, target)));
            }
        }
    }
    if any || wanted == RecordType::PTR {
        records.pointers.iter().filter_map(|p| name(p)).for_each(|p| put(RData::PTR(PTR(p))));
    }
    if let Some(text) = records.text.filter(|_| any || wanted == RecordType::TXT) {
        put(RData::TXT(TXT::new(vec![text.to_owned()])));
    }
}
