//! A ruleset as the contents of one nftables table, and the difference between two as one transaction. Pure.
//!
//! Registers hold, in a row: the client's address, the front (address, protocol, port), the endpoint's index, and the
//! endpoint (address, port). The first four are the key of a remembered client, the middle three and the index the key
//! of an endpoint. With IPv6 that is all sixteen registers.

use crate::nft::{Chain, Cmp, Expr, Hook, LOAD_MARK, Reg, Rule, Set, SetFlags, Transaction, Verdict};
use crate::rules::{Front, Node, Ruleset, Target};
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

/// The bit that says "masquerade this connection" (the same as Kubernetes's own proxy uses).
const MASQUERADE_BIT: u32 = 0x4000;

/// The most endpoints that one front spreads over: the random index is drawn from a rule of its own per count.
pub const MAX_ENDPOINTS: usize = 1 << 16;

const ENDPOINTS: &str = "endpoints";
const CLIENTS: &str = "clients";
const MASQUERADED: &str = "masqueraded";
const HAIRPIN: &str = "hairpin";
const REFUSED: &str = "refused";
const DROPPED: &str = "dropped";

/// The address family of a table; every ruleset is written once for each.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Family {
    V4,
    V6,
}

impl Family {
    /// `NFPROTO_IPV4`, `NFPROTO_IPV6`.
    pub fn number(self) -> u8 {
        match self {
            Family::V4 => 2,
            Family::V6 => 10,
        }
    }

    /// Registers and 4-byte words of an address.
    fn words(self) -> u32 {
        match self {
            Family::V4 => 1,
            Family::V6 => 4,
        }
    }

    fn source(self, to: Reg) -> Expr {
        match self {
            Family::V4 => Expr::Network { to, offset: 12, len: 4 },
            Family::V6 => Expr::Network { to, offset: 8, len: 16 },
        }
    }

    fn destination(self, to: Reg) -> Expr {
        match self {
            Family::V4 => Expr::Network { to, offset: 16, len: 4 },
            Family::V6 => Expr::Network { to, offset: 24, len: 16 },
        }
    }

    fn has(self, address: IpAddr) -> bool {
        address.is_ipv4() == (self == Family::V4)
    }
}

/// Where things lie in the registers.
struct Layout {
    client: Reg,
    front: Reg,
    protocol: Reg,
    port: Reg,
    index: Reg,
    to_address: Reg,
    to_port: Reg,
}

fn layout(family: Family) -> Layout {
    let a = family.words();
    Layout {
        client: Reg(0),
        front: Reg(a),
        protocol: Reg(2 * a),
        port: Reg(2 * a + 1),
        index: Reg(2 * a + 2),
        to_address: Reg(2 * a + 3),
        to_port: Reg(3 * a + 3),
    }
}

/// How a group of fronts is handled: the endpoints to draw from and how long clients stay.
type Group = (usize, u32);

type Elements = BTreeMap<Vec<u8>, Vec<u8>>;

/// One table, ready to be compared with another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Table {
    family: Family,
    sets: BTreeMap<String, (Set, Elements)>,
    chains: Vec<Chain>,
    /// The endpoints that remembered clients may be sent to.
    remembered: BTreeSet<(Vec<u8>, Vec<u8>)>,
}

/// Writes a ruleset down as a table of one family.
pub fn table(ruleset: &Ruleset, node: &Node, family: Family) -> Table {
    let address_len = family.words() * 4;
    let front_len = address_len + 8;
    let plain = SetFlags { map: false, dynamic: false };
    let map = SetFlags { map: true, dynamic: false };
    let dynamic = SetFlags { map: true, dynamic: true };
    let set = |name: &str, key_len, data_len, flags| Set { name: name.to_owned(), key_len, data_len, flags };
    let mut out = Table { family, sets: BTreeMap::new(), chains: Vec::new(), remembered: BTreeSet::new() };
    for declared in [
        set(ENDPOINTS, front_len + 4, address_len + 4, map),
        set(CLIENTS, address_len + front_len, address_len + 4, dynamic),
        set(MASQUERADED, front_len, 0, plain),
        set(HAIRPIN, address_len * 2, 0, plain),
        set(REFUSED, front_len, 0, plain),
        set(DROPPED, front_len, 0, plain),
    ] {
        out.sets.insert(declared.name.clone(), (declared, Elements::new()));
    }
    let mut groups: BTreeSet<Group> = BTreeSet::new();
    for (front, target) in ruleset.fronts.iter().filter(|(f, _)| family.has(f.address)) {
        let count = target.endpoints.len().min(MAX_ENDPOINTS);
        let key = front_bytes(front);
        out.add_front(&key, target, count);
        if count > 0 && groups.insert((count, target.affinity_seconds)) {
            let declared = set(&group_set((count, target.affinity_seconds)), front_len, 0, plain);
            out.sets.insert(declared.name.clone(), (declared, Elements::new()));
        }
        if count > 0 {
            out.put(&group_set((count, target.affinity_seconds)), key, Vec::new());
        }
    }
    out.chains = chains(family, node, &groups);
    out
}

/// A table of ports of the node rather than of Services: it leaves what pods send elsewhere alone, and keeps strangers
/// from the loopback's addresses.
pub fn of_host_ports(ruleset: &Ruleset, family: Family) -> Table {
    let mut out = table(ruleset, &Node { name: String::new(), pod_cidrs: Vec::new(), zone: None }, family);
    if family == Family::V4 {
        let hook = Some(Hook { kind: "filter", number: 1, priority: -1 });
        out.chains.push(Chain { name: "guard", hook, rules: vec![guard()] });
    }
    out
}

/// Drops what is for the loopback, is not from it, and belongs to no connection that the node began.
fn guard() -> Rule {
    const LOOPBACK: [u8; 4] = [127, 0, 0, 0];
    // ESTABLISHED and RELATED, as the kernel numbers its bits.
    const KNOWN: u32 = 2 | 4;
    let masked = |mask: Vec<u8>| Expr::Bitwise { from: Reg(0), to: Reg(0), mask, xor: vec![0; 4] };
    let compare = |op, value: Vec<u8>| Expr::Compare { from: Reg(0), op, value };
    Rule(vec![
        Family::V4.destination(Reg(0)),
        masked(vec![255, 0, 0, 0]),
        compare(Cmp::Equal, LOOPBACK.to_vec()),
        Family::V4.source(Reg(0)),
        masked(vec![255, 0, 0, 0]),
        compare(Cmp::NotEqual, LOOPBACK.to_vec()),
        Expr::ConnectionState { to: Reg(0) },
        masked(KNOWN.to_ne_bytes().to_vec()),
        compare(Cmp::Equal, vec![0; 4]),
        Expr::Verdict(Verdict::Drop),
    ])
}

fn group_set((count, affinity): Group) -> String {
    if affinity == 0 { format!("spread-{count}") } else { format!("spread-{count}-{affinity}s") }
}

fn address_bytes(address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(a) => a.octets().to_vec(),
        IpAddr::V6(a) => a.octets().to_vec(),
    }
}

/// Every part of a key takes whole registers.
fn port_bytes(port: u16) -> [u8; 4] {
    let [high, low] = port.to_be_bytes();
    [high, low, 0, 0]
}

fn front_bytes(front: &Front) -> Vec<u8> {
    let mut key = address_bytes(front.address);
    key.extend([front.protocol.number(), 0, 0, 0]);
    key.extend(port_bytes(front.port));
    key
}

impl Table {
    fn put(&mut self, set: &str, key: Vec<u8>, data: Vec<u8>) {
        if let Some((_, elements)) = self.sets.get_mut(set) {
            elements.insert(key, data);
        }
    }

    fn add_front(&mut self, key: &[u8], target: &Target, count: usize) {
        if count == 0 {
            let set = if target.drop_if_empty { DROPPED } else { REFUSED };
            self.put(set, key.to_vec(), Vec::new());
        }
        if target.masquerade {
            self.put(MASQUERADED, key.to_vec(), Vec::new());
        }
        for (i, (address, port)) in target.endpoints.iter().take(count).enumerate() {
            let index = u32::try_from(i).unwrap_or(u32::MAX).to_ne_bytes();
            let address = address_bytes(*address);
            let endpoint = [address.as_slice(), &port_bytes(*port)].concat();
            self.put(ENDPOINTS, [key, &index].concat(), endpoint.clone());
            self.put(HAIRPIN, [address.as_slice(), &address].concat(), Vec::new());
            if target.affinity_seconds > 0 {
                self.remembered.insert((key.to_vec(), endpoint));
            }
        }
    }

    /// What turns the table of that name from `before` (`None`: whatever is there) into this one.
    pub fn transaction(&self, name: &str, before: Option<&Table>) -> Transaction {
        let mut t = Transaction::new(self.family.number(), name);
        match before {
            None => self.create(&mut t),
            Some(before) => self.change(&mut t, before),
        }
        t
    }

    fn create(&self, t: &mut Transaction) {
        // Adding first makes the deletion right whether or not a table was left by an earlier process.
        t.add_table();
        t.delete_table();
        t.add_table();
        for (set, elements) in self.sets.values() {
            t.add_set(set);
            add(t, set, elements.iter());
        }
        // Chains exist before any rule names them.
        for chain in &self.chains {
            t.add_chain(chain);
        }
        for chain in &self.chains {
            t.add_rules(chain);
        }
    }

    fn change(&self, t: &mut Transaction, before: &Table) {
        let none = Elements::new();
        for (name, (set, elements)) in &self.sets {
            let old = before.sets.get(name).map_or(&none, |(_, e)| e);
            if !before.sets.contains_key(name) {
                t.add_set(set);
            }
            let gone = old.iter().filter(|(k, v)| elements.get(*k) != Some(*v)).map(|(k, _)| k.as_slice());
            t.delete_elements(name, gone);
            add(t, set, elements.iter().filter(|(k, v)| old.get(*k) != Some(*v)));
        }
        for (chain, old) in self.chains.iter().zip(&before.chains) {
            if chain.rules != old.rules {
                t.flush_chain(chain.name);
                t.add_rules(chain);
            }
        }
        for name in before.sets.keys().filter(|n| !self.sets.contains_key(*n)) {
            t.delete_set(name);
        }
        if !before.remembered.is_subset(&self.remembered) {
            // Which clients an endpoint had is known to the kernel only: those of all Services choose anew.
            t.flush_set(CLIENTS);
        }
    }
}

fn add<'a>(t: &mut Transaction, set: &Set, elements: impl Iterator<Item = (&'a Vec<u8>, &'a Vec<u8>)>) {
    let map = set.flags.map;
    t.add_elements(&set.name, elements.map(|(k, v)| (k.as_slice(), map.then_some(v.as_slice()))));
}

fn chains(family: Family, node: &Node, groups: &BTreeSet<Group>) -> Vec<Chain> {
    let nat = |number, priority| Some(Hook { kind: "nat", number, priority });
    let filter = |number| Some(Hook { kind: "filter", number, priority: -1 });
    let jump = |chain| Rule(vec![Expr::Verdict(Verdict::Jump(chain))]);
    vec![
        Chain { name: "services", hook: None, rules: services(family, groups) },
        Chain { name: "refuse", hook: None, rules: refuse(family) },
        Chain { name: "prerouting", hook: nat(0, -100), rules: vec![jump("services")] },
        Chain { name: "output", hook: nat(3, -100), rules: vec![jump("services")] },
        Chain { name: "postrouting", hook: nat(4, 100), rules: masquerade(family, node) },
        Chain { name: "filter-input", hook: filter(1), rules: vec![jump("refuse")] },
        Chain { name: "filter-forward", hook: filter(2), rules: vec![jump("refuse")] },
        Chain { name: "filter-output", hook: filter(3), rules: vec![jump("refuse")] },
    ]
}

fn load_front(family: Family) -> Vec<Expr> {
    let l = layout(family);
    vec![
        family.destination(l.front),
        Expr::Protocol { to: l.protocol },
        Expr::Transport { to: l.port, offset: 2, len: 2 },
    ]
}

/// The same with the unspecified address, for packets to any address of the node.
fn load_node_front(family: Family) -> Vec<Expr> {
    const LOCAL: u32 = 2;
    let l = layout(family);
    vec![
        Expr::DestinationType { to: l.front },
        Expr::Compare { from: l.front, op: Cmp::Equal, value: LOCAL.to_ne_bytes().to_vec() },
        Expr::Load { to: l.front, value: vec![0; family.words() as usize * 4] },
        Expr::Protocol { to: l.protocol },
        Expr::Transport { to: l.port, offset: 2, len: 2 },
    ]
}

fn is_in(set: &str, from: Reg) -> Expr {
    Expr::Lookup { set: set.to_owned(), from, to: None, inverted: false }
}

fn services(family: Family, groups: &BTreeSet<Group>) -> Vec<Rule> {
    let l = layout(family);
    let mut rules = Vec::new();
    for front in [load_front(family), load_node_front(family)] {
        let mut mark = front.clone();
        mark.extend([is_in(MASQUERADED, l.front), LOAD_MARK, set_bit(), Expr::SetMark { from: Reg(0) }]);
        rules.push(Rule(mark));
        for &(count, affinity) in groups {
            let mut start = front.clone();
            start.push(is_in(&group_set((count, affinity)), l.front));
            rules.extend(spread(family, &start, count, affinity));
        }
    }
    rules
}

fn set_bit() -> Expr {
    let mask = (!MASQUERADE_BIT).to_ne_bytes().to_vec();
    Expr::Bitwise { from: Reg(0), to: Reg(0), mask, xor: MASQUERADE_BIT.to_ne_bytes().to_vec() }
}

/// Draws an endpoint; a remembered client keeps its own.
fn spread(family: Family, start: &[Expr], count: usize, affinity: u32) -> Vec<Rule> {
    let l = layout(family);
    let go = Expr::DestinationNat { family: family.number(), address: l.to_address, port: l.to_port };
    let found = |set: &str, from| Expr::Lookup { set: set.to_owned(), from, to: Some(l.to_address), inverted: false };
    let below = u32::try_from(count).unwrap_or(u32::MAX);
    let mut draw = start.to_vec();
    draw.extend([Expr::Random { to: l.index, below }, found(ENDPOINTS, l.front)]);
    if affinity == 0 {
        draw.push(go);
        return vec![Rule(draw)];
    }
    let timeout_ms = u64::from(affinity) * 1000;
    let remember = Expr::Remember { set: CLIENTS.to_owned(), key: l.client, data: l.to_address, timeout_ms };
    let mut known = start.to_vec();
    known.extend([family.source(l.client), found(CLIENTS, l.client), remember.clone(), go.clone()]);
    draw.extend([family.source(l.client), remember, go]);
    vec![Rule(known), Rule(draw)]
}

fn refuse(family: Family) -> Vec<Rule> {
    const TCP: u8 = 6;
    let l = layout(family);
    let mut rules = Vec::new();
    for front in [load_front(family), load_node_front(family)] {
        let with = |more: Vec<Expr>| Rule(front.iter().cloned().chain(more).collect());
        let protocol = |op| Expr::Compare { from: l.protocol, op, value: vec![TCP] };
        rules.push(with(vec![is_in(DROPPED, l.front), Expr::Verdict(Verdict::Drop)]));
        rules.push(with(vec![is_in(REFUSED, l.front), protocol(Cmp::Equal), Expr::Reject { tcp: true }]));
        rules.push(with(vec![is_in(REFUSED, l.front), protocol(Cmp::NotEqual), Expr::Reject { tcp: false }]));
    }
    rules
}

fn masquerade(family: Family, node: &Node) -> Vec<Rule> {
    let a = family.words();
    let bit = MASQUERADE_BIT.to_ne_bytes().to_vec();
    let marked = Rule(vec![
        LOAD_MARK,
        Expr::Bitwise { from: Reg(0), to: Reg(0), mask: bit.clone(), xor: vec![0; 4] },
        Expr::Compare { from: Reg(0), op: Cmp::Equal, value: bit },
        Expr::Masquerade,
    ]);
    // A pod that reaches itself through its Service must see another address than its own.
    let hairpin =
        Rule(vec![family.source(Reg(0)), family.destination(Reg(a)), is_in(HAIRPIN, Reg(0)), Expr::Masquerade]);
    let mut rules = vec![marked, hairpin];
    for cidr in node.pod_cidrs.iter().filter(|c| family.has(c.network())) {
        let (mask, network) = (address_bytes(cidr.netmask()), address_bytes(cidr.network()));
        let within = |load: Expr, op| {
            let xor = vec![0; mask.len()];
            let masked = Expr::Bitwise { from: Reg(0), to: Reg(0), mask: mask.clone(), xor };
            [load, masked, Expr::Compare { from: Reg(0), op, value: network.clone() }]
        };
        let mut leaving: Vec<Expr> = within(family.source(Reg(0)), Cmp::Equal).into();
        leaving.extend(within(family.destination(Reg(0)), Cmp::NotEqual));
        leaving.push(Expr::Masquerade);
        rules.push(Rule(leaving));
    }
    rules
}
