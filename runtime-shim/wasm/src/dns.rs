//! The little of DNS that looking up addresses takes: a question's bytes, and the addresses in an answer's (RFC 1035). No IO.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Which addresses are asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    A,
    Aaaa,
}

impl Kind {
    fn code(self) -> u16 {
        match self {
            Kind::A => 1,
            Kind::Aaaa => 28,
        }
    }
}

/// What an answer says.
#[derive(Debug, PartialEq, Eq)]
pub enum Answer {
    Addresses(Vec<IpAddr>),
    NoSuchName,
    /// Cut off: to be asked again over TCP.
    Truncated,
    /// The server failed or refused, with its code.
    Failed(u8),
}

/// The longest name, without the final dot.
const NAME_LIMIT: usize = 253;

const HEADER: usize = 12;
const IN: u16 = 1;
const SERVER_FAILURE_NAME: u8 = 3;

/// The question for `name`; `None` if that cannot be a name.
pub fn question(id: u16, name: &str, kind: Kind) -> Option<Vec<u8>> {
    let name = name.strip_suffix('.').unwrap_or(name);
    if name.is_empty() || name.len() > NAME_LIMIT {
        return None;
    }
    let mut out = Vec::with_capacity(HEADER + name.len() + 6);
    out.extend(id.to_be_bytes());
    // Recursion desired; one question.
    out.extend([1, 0, 0, 1, 0, 0, 0, 0, 0, 0]);
    for label in name.split('.') {
        if label.is_empty() || label.len() > 63 {
            return None;
        }
        out.push(label.len() as u8);
        out.extend(label.bytes());
    }
    out.push(0);
    out.extend(kind.code().to_be_bytes());
    out.extend(IN.to_be_bytes());
    Some(out)
}

/// Reads the answer to `question`. `None` if it is no answer to it, or damaged.
pub fn answer(question: &[u8], message: &[u8], kind: Kind) -> Option<Answer> {
    let header = message.get(..HEADER)?;
    let asked = question.get(HEADER..)?;
    // An answer of another question, or of someone who guesses, is none.
    if header[..2] != question[..2] || header[2] & 0x80 == 0 {
        return None;
    }
    match header[3] & 0x0f {
        0 => {}
        SERVER_FAILURE_NAME => return Some(Answer::NoSuchName),
        code => return Some(Answer::Failed(code)),
    }
    if header[2] & 0x02 != 0 {
        return Some(Answer::Truncated);
    }
    if !message.get(HEADER..HEADER + asked.len())?.eq_ignore_ascii_case(asked) {
        return None;
    }
    let mut at = HEADER + asked.len();
    let mut addresses = Vec::new();
    for _ in 0..u16::from_be_bytes([header[6], header[7]]) {
        at = skip_name(message, at)?;
        let fixed = message.get(at..at + 10)?;
        let (ty, class) = (u16::from_be_bytes([fixed[0], fixed[1]]), u16::from_be_bytes([fixed[2], fixed[3]]));
        let length = usize::from(u16::from_be_bytes([fixed[8], fixed[9]]));
        let data = message.get(at + 10..at + 10 + length)?;
        at += 10 + length;
        // The records of a CNAME chain are all there; the addresses at its end are what was asked for.
        if ty != kind.code() || class != IN {
            continue;
        }
        if let Ok(v4) = <[u8; 4]>::try_from(data) {
            addresses.push(Ipv4Addr::from(v4).into());
        } else if let Ok(v6) = <[u8; 16]>::try_from(data) {
            addresses.push(Ipv6Addr::from(v6).into());
        }
    }
    Some(Answer::Addresses(addresses))
}

fn skip_name(message: &[u8], mut at: usize) -> Option<usize> {
    loop {
        match *message.get(at)? {
            0 => return Some(at + 1),
            length if length & 0xc0 == 0xc0 => return Some(at + 2),
            length => at += usize::from(length) + 1,
        }
    }
}

/// The names to ask for, in order, as resolv.conf(5) has it.
pub fn candidates(name: &str, searches: &[String], ndots: usize) -> Vec<String> {
    if name.ends_with('.') {
        return vec![name.to_owned()];
    }
    let searched = searches.iter().map(|domain| format!("{name}.{}.", domain.trim_matches('.')));
    let absolute = std::iter::once(format!("{name}."));
    if name.matches('.').count() >= ndots {
        absolute.chain(searched).collect()
    } else {
        searched.chain(absolute).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An answer with a CNAME and one address, names compressed.
    fn reply(question: &[u8], records: &[(u16, &[u8])]) -> Vec<u8> {
        let mut out = question.to_vec();
        out[2] = 0x81;
        out[3] = 0x80;
        out[7] = records.len() as u8;
        for (ty, data) in records {
            out.extend([0xc0, 12]);
            out.extend(ty.to_be_bytes());
            out.extend([0, 1, 0, 0, 0, 5]);
            out.extend((data.len() as u16).to_be_bytes());
            out.extend(*data);
        }
        out
    }

    #[test]
    fn an_answer_gives_the_addresses_at_the_end_of_its_chain() {
        let asked = question(7, "web.default.svc.cluster.local", Kind::A).unwrap();
        let message = reply(&asked, &[(5, &[3, b'a', b'b', b'c', 0]), (1, &[10, 96, 0, 7])]);
        let expected = Answer::Addresses(vec!["10.96.0.7".parse().unwrap()]);
        assert_eq!(answer(&asked, &message, Kind::A), Some(expected));
        assert_eq!(answer(&asked, &message, Kind::Aaaa), Some(Answer::Addresses(vec![])));
    }

    #[test]
    fn damage_at_any_byte_is_no_panic_and_a_foreign_answer_is_none() {
        let asked = question(7, "a.b", Kind::A).unwrap();
        let message = reply(&asked, &[(1, &[1, 2, 3, 4])]);
        for cut in 0..message.len() {
            let _ = answer(&asked, &message[..cut], Kind::A);
            let mut damaged = message.clone();
            damaged[cut] ^= 0xff;
            let _ = answer(&asked, &damaged, Kind::A);
        }
        let other = question(8, "a.b", Kind::A).unwrap();
        assert_eq!(answer(&other, &message, Kind::A), None);
        let other = question(7, "a.c", Kind::A).unwrap();
        assert_eq!(answer(&other, &message, Kind::A), None);
    }

    #[test]
    fn names_are_searched_as_resolv_conf_says() {
        let searches = ["ns.svc.cluster.local".to_owned(), "cluster.local".to_owned()];
        let cases: [(&str, usize, &[&str]); 3] = [
            ("web", 5, &["web.ns.svc.cluster.local.", "web.cluster.local.", "web."]),
            ("a.b", 1, &["a.b.", "a.b.ns.svc.cluster.local.", "a.b.cluster.local."]),
            ("a.", 5, &["a."]),
        ];
        for (name, ndots, expected) in cases {
            assert_eq!(candidates(name, &searches, ndots), expected);
        }
        for bad in ["", ".", "a..b", &"x".repeat(64), &"x.".repeat(200)] {
            assert_eq!(question(1, bad, Kind::A), None, "{bad:?}");
        }
    }
}
