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
            Err(why) => Err(Fail::new(format!("network address parse error during conversion from string: {why}"))),
        })
    }),
    Def("isCIDR(string) bool", Parse, |_, a| args!(a, [Val::String(s)] => Ok(Val::Bool(network(s).is_ok())))),
    Def("cidr::containsIP(string) bool", ContainsIp { text: true }, |_, a| {
        args!(a, [net, Val::String(s)] => match address(s) {
            Ok(ip) => Ok(Val::Bool(block(net)?.contains(&ip))),
            Err(why) => Err(Fail::new(why)),
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
            Err(why) => Err(Fail::new(format!("network address parse error during conversion from string: {why}"))),
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
    let why = format!(
        "IP Address {text:?} parse error during conversion from string: ParseAddr({text:?}): unable to parse IP"
    );
    let ip: IpAddr = text.parse().map_err(|_| why)?;
    match ip {
        IpAddr::V6(v6) if v6.to_ipv4_mapped().is_some() => {
            Err(format!("IPv4-mapped IPv6 address {text:?} is not allowed"))
        }
        ip => Ok(ip),
    }
}

fn network(text: &str) -> Result<(IpAddr, u8), String> {
    let why = || format!("netip.ParsePrefix({text:?}): unable to parse");
    let (address, prefix) = text.split_once('/').ok_or_else(|| format!("netip.ParsePrefix({text:?}): no '/'"))?;
    let plain =
        prefix.bytes().all(|b| b.is_ascii_digit()) && !prefix.is_empty() && (prefix == "0" || !prefix.starts_with('0'));
    let address: IpAddr = address.parse().map_err(|_| why())?;
    let prefix: u8 = prefix.parse().map_err(|_| why())?;
    if !plain || IpNet::new(address, prefix).is_err() {
        return Err(why());
    }
    match address {
        IpAddr::V6(v6) if v6.to_ipv4_mapped().is_some() => {
            Err(format!("IPv4-mapped IPv6 address {text:?} is not allowed"))
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
