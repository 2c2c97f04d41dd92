//! Which addresses and ports are given out by themselves, and which are left for those who choose (KEP-3070, KEP-3668).

use ipnet::IpNet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::ops::RangeInclusive;

/// A range of numbers with a lower part that is given out last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Bands {
    pub first: u128,
    pub last: u128,
    /// The first number of the part that is given out first.
    pub dynamic: u128,
}

impl Bands {
    /// The addresses of a network, without its own and, for IPv4, its broadcast address.
    pub(super) fn of_network(network: &IpNet) -> Bands {
        let (base, top) = (number(network.network()), number(network.broadcast()));
        let last = if network.addr().is_ipv4() && top > base { top - 1 } else { top };
        let first = (base + 1).min(last);
        let size = last - first + 1;
        Bands { first, last, dynamic: first + reserved(size, 16, 256) }
    }

    pub(super) fn of_ports(range: &RangeInclusive<u16>) -> Bands {
        let (first, last) = (u128::from(*range.start()), u128::from(*range.end()));
        let size = (last + 1).saturating_sub(first);
        Bands { first, last, dynamic: first + reserved(size, 32, 128) }
    }

    pub(super) fn contains(&self, number: u128) -> bool {
        (self.first..=self.last).contains(&number)
    }

    /// A free number: the first free one from a chosen place on in the upper part, then one of the lower part.
    pub(super) fn free(&self, seed: u64, taken: impl Fn(u128) -> bool) -> Option<u128> {
        let upper = round(self.dynamic, self.last, seed);
        let lower = round(self.first, self.dynamic.saturating_sub(1).min(self.last), seed);
        upper.chain(lower).take(TRIES_MAX).find(|n| !taken(*n))
    }
}

/// A range this full is as good as exhausted; an IPv6 range would else be walked for ever.
const TRIES_MAX: usize = 1 << 20;

/// How many numbers are left for who chooses: a share of the range between 16 and `most`; small ranges keep none.
fn reserved(size: u128, share: u128, most: u128) -> u128 {
    match size / share {
        _ if size < 16 => 0,
        part => part.clamp(16, most).min(size),
    }
}

/// All numbers from `first` to `last`, from a place that the seed chooses.
fn round(first: u128, last: u128, seed: u64) -> impl Iterator<Item = u128> {
    let size = if last < first { 0 } else { last - first + 1 };
    let start = if size == 0 { 0 } else { u128::from(seed) % size };
    (start..size).chain(0..start).map(move |n| first + n)
}

pub(super) fn number(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(v4) => u128::from(u32::from(v4)),
        IpAddr::V6(v6) => u128::from(v6),
    }
}

pub(super) fn address(number: u128, v4: bool) -> IpAddr {
    match (v4, u32::try_from(number)) {
        (true, Ok(number)) => IpAddr::V4(Ipv4Addr::from(number)),
        _ => IpAddr::V6(Ipv6Addr::from(number)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lower_part_is_kept_for_those_who_choose() {
        // network => first, first that is given out by itself, last
        let cases = [
            ("10.96.0.0/16", "10.96.0.1", "10.96.1.1", "10.96.255.254"),
            ("10.96.0.0/24", "10.96.0.1", "10.96.0.17", "10.96.0.254"),
            ("10.96.0.0/29", "10.96.0.1", "10.96.0.1", "10.96.0.6"),
        ];
        for (network, first, dynamic, last) in cases {
            let bands = Bands::of_network(&network.parse().unwrap());
            let shown = [bands.first, bands.dynamic, bands.last].map(|n| address(n, true).to_string());
            assert_eq!(shown, [first, dynamic, last], "{network}");
        }
        let ports = Bands::of_ports(&(30000..=32767));
        assert_eq!((ports.first, ports.dynamic, ports.last), (30000, 30086, 32767));
    }

    #[test]
    fn the_whole_range_is_given_out_and_not_a_number_more() {
        let bands = Bands { first: 1, last: 40, dynamic: 17 };
        let mut taken = std::collections::BTreeSet::new();
        for seed in 0..40 {
            let number = bands.free(seed * 7, |n| taken.contains(&n)).unwrap();
            assert_eq!(number < 17, taken.len() >= 24, "the upper part first");
            assert!(taken.insert(number));
        }
        assert_eq!(bands.free(3, |n| taken.contains(&n)), None);
    }
}
