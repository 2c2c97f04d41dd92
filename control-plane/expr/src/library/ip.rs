//! IP addresses and networks.

use super::Cost::{ContainsCidr, ContainsIp, One, Parse, ParseTwice};
use super::{Def, args, special};
use crate::value::{Fail, Out, Special, Val};
use ipnet::IpNet;
use std::net::IpAddr;

pub(super) const DEFS: &[Def] = &[
    Def("ip(string) ip", Parse, |_, a| {
        args!(a, [Val::String(s)] => match address(s) {
            Ok(ip) => Ok(Val::special(Special::Ip(ip))),
            Err(why) => Err(Fail::new(why)),
        })
    }),
    Def("isIP(string) bool", Parse, |_, a| args!(a, [Val::String(s)] => Ok(Val::Bool(address(s).is_ok())))),
    Def("ip.isCanonical(string) bool", ParseTwice, |_, a| {
        args!(a, [Val::String(s)] => match address(s) {
            Ok(ip) => Ok(Val::Bool(ip.to_string() == **s)),
            Err(why) => Err(Fail::new(why)),
        })
    }),
    Def("ip::family() int", One, |_, a| of(a, |ip| Val::Int(if ip.is_ipv4() { 4 } else { 6 }))),
    Def("ip::isUnspecified() bool", One, |_, a| of(a, |ip| Val::Bool(ip.is_unspecified()))),
    Def("ip::isLoopback() bool", One, |_, a| of(a, |ip| Val::Bool(ip.is_loopback()))),
    Def("ip::isLinkLocalMulticast() bool", One, |_, a| of(a, |ip| Val::Bool(link_local_multicast(&ip)))),
    Def("ip::isLinkLocalUnicast() bool", One, |_, a| of(a, |ip| Val::Bool(link_local(&ip)))),
    Def("ip::isGlobalUnicast() bool", One, |_, a| of(a, |ip| Val::Bool(global_unicast(&ip)))),
    Def("cidr(string) cidr", Parse, |_, a| {
        args!(a, [Val::String(s)] => match network(s) {
            Ok((address, prefix)) => Ok(Val::special(Special::Cidr { address, prefix })),
            Err(why) => Err(Fail::new(why)),
        })
    }),
    Def("isCIDR(string) bool", Parse, |_, a| args!(a, [Val::String(s)] => Ok(Val::Bool(network(s).is_ok())))),
    Def("cidr::containsIP(string) bool", ContainsIp { text: true }, |_, a| {
        args!(a, [net, Val::String(s)] => match address(s) {
            Ok(ip) => Ok(Val::Bool(block(net)?.contains(&ip))),
            Err(_) => Err(Fail::no_overload()),
        })
    }),
    Def("cidr::containsIP(ip) bool", ContainsIp { text: false }, |_, a| {
        args!(a, [net, ip] => match special(ip) {
            Some(Special::Ip(ip)) => Ok(Val::Bool(block(net)?.contains(ip))),
            _ => Err(Fail::no_overload()),
        })
    }),
    Def("cidr::containsCIDR(string) bool", ContainsCidr { text: true }, |_, a| {
        args!(a, [net, Val::String(s)] => match network(s) {
            Ok((address, prefix)) => within(net, address, prefix),
            Err(why) => Err(Fail::new(why)),
        })
    }),
    Def("cidr::containsCIDR(cidr) bool", ContainsCidr { text: false }, |_, a| {
        args!(a, [net, other] => match special(other) {
            Some(Special::Cidr { address, prefix }) => within(net, *address, *prefix),
            _ => Err(Fail::no_overload()),
        })
    }),
    Def("cidr::ip() ip", One, |_, a| {
        args!(a, [net] => match special(net) {
            Some(Special::Cidr { address, .. }) => Ok(Val::special(Special::Ip(*address))),
            _ => Err(Fail::no_overload()),
        })
    }),
    Def("cidr::prefixLength() int", One, |_, a| {
        args!(a, [net] => match special(net) {
            Some(Special::Cidr { prefix, .. }) => Ok(Val::Int(i64::from(*prefix))),
            _ => Err(Fail::no_overload()),
        })
    }),
    Def("cidr::masked() cidr", One, |_, a| {
        args!(a, [net] => {
            let net = block(net)?;
            Ok(Val::special(Special::Cidr { address: net.network(), prefix: net.prefix_len() }))
        })
    }),
];

fn of<'a>(args: &[Val<'a>], what: impl FnOnce(IpAddr) -> Val<'a>) -> Out<'a> {
    match args.first().and_then(special) {
        Some(Special::Ip(ip)) => Ok(what(*ip)),
        _ => Err(Fail::no_overload()),
    }
}

/// Zones and IPv4 addresses in the clothes of IPv6 are not taken.
fn address(text: &str) -> Result<IpAddr, String> {
    if text.contains('%') {
        return Err(format!("IP address {text:?} with zone value is not allowed"));
    }
    let ip: IpAddr = text
        .parse()
        .map_err(|_| format!("IP Address {text:?} parse error during conversion from string: {}", unreadable(text)))?;
    match ip {
        IpAddr::V6(v6) if v6.to_ipv4_mapped().is_some() => {
            Err(format!("IPv4-mapped IPv6 address {text:?} is not allowed"))
        }
        ip => Ok(ip),
    }
}

/// Why a text is no address, in the words of Go's `netip`; of IPv6 it is only said that it is none.
fn unreadable(text: &str) -> String {
    let v4 = text.find(['.', ':', '%']).is_some_and(|i| text[i..].starts_with('.'));
    let why = if v4 { unreadable_v4(text) } else { "unable to parse IP".to_owned() };
    format!("ParseAddr({text:?}): {why}")
}

fn unreadable_v4(text: &str) -> String {
    let mut at = 0;
    for (i, field) in text.split('.').enumerate() {
        let odd = field.find(|c: char| !c.is_ascii_digit());
        let digits = &field[..odd.unwrap_or(field.len())];
        if digits.len() > 1 && digits.starts_with('0') {
            return "IPv4 field has octet with leading zero".to_owned();
        }
        if digits.parse::<u32>().unwrap_or(if digits.is_empty() { 0 } else { u32::MAX }) > 255 {
            return "IPv4 field has value >255".to_owned();
        }
        if let Some(odd) = odd {
            return format!("unexpected character (at {:?})", &text[at + odd..]);
        }
        if field.is_empty() {
            let from = text.len().saturating_sub(1).min(at);
            return format!("IPv4 field must have at least one digit (at {:?})", &text[from..]);
        }
        if i > 3 {
            return "IPv4 address too long".to_owned();
        }
        at += field.len() + 1;
    }
    "IPv4 address too short".to_owned()
}

fn network(text: &str) -> Result<(IpAddr, u8), String> {
    let wrong = |why: String| {
        let what = "network address parse error during conversion from string: ".repeat(2);
        format!("{what}netip.ParsePrefix({text:?}): {why}")
    };
    let (address, prefix) = text.rsplit_once('/').ok_or_else(|| wrong("no '/'".to_owned()))?;
    let address: IpAddr = address.parse().map_err(|_| wrong(unreadable(address)))?;
    let digits = !prefix.is_empty() && prefix.bytes().all(|b| b.is_ascii_digit());
    if !digits || prefix.len() > 1 && prefix.starts_with('0') {
        return Err(wrong(format!("bad bits after slash: {prefix:?}")));
    }
    let prefix: Option<u8> = prefix.parse().ok().filter(|n| IpNet::new(address, *n).is_ok());
    let prefix = prefix.ok_or_else(|| wrong("prefix length out of range".to_owned()))?;
    match address {
        IpAddr::V6(v6) if v6.to_ipv4_mapped().is_some() => {
            let what = "network address parse error during conversion from string";
            Err(format!("{what}: IPv4-mapped IPv6 address {text:?} is not allowed"))
        }
        address => Ok((address, prefix)),
    }
}

fn block(net: &Val<'_>) -> Result<IpNet, Fail> {
    match special(net) {
        Some(Special::Cidr { address, prefix }) => IpNet::new(*address, *prefix).map_err(|_| Fail::no_overload()),
        _ => Err(Fail::no_overload()),
    }
}

fn within<'a>(net: &Val<'a>, address: IpAddr, prefix: u8) -> Out<'a> {
    let net = block(net)?;
    Ok(Val::Bool(net.contains(&address) && prefix >= net.prefix_len()))
}

fn link_local(ip: &IpAddr) -> bool {
    match ip {
        IpAddr::V4(v4) => v4.is_link_local(),
        IpAddr::V6(v6) => v6.is_unicast_link_local(),
    }
}

fn link_local_multicast(ip: &IpAddr) -> bool {
    match ip {
        IpAddr::V4(v4) => v4.octets()[..3] == [224, 0, 0],
        IpAddr::V6(v6) => v6.segments()[0] & 0xff0f == 0xff02,
    }
}

fn global_unicast(ip: &IpAddr) -> bool {
    let broadcast = matches!(ip, IpAddr::V4(v4) if v4.is_broadcast());
    !(broadcast || ip.is_unspecified() || ip.is_loopback() || ip.is_multicast() || link_local(ip))
}
