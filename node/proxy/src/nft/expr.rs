//! Expressions: what a rule does to a packet, one register operation at a time.

use super::message::{attr, attr_text, verdict};

/// A 4-byte register, 0 to 15. Wider values take several in a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reg(pub u32);

impl Reg {
    /// The kernel's number (`NFT_REG32_00` is 8).
    fn bytes(self) -> [u8; 4] {
        (8 + self.0).to_be_bytes()
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    Accept,
    Drop,
    Jump(&'static str),
    Return,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cmp {
    Equal,
    NotEqual,
}

/// Bytes of a packet, or of what the kernel knows of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Expr {
    /// Bytes of the network header.
    Network {
        to: Reg,
        offset: u32,
        len: u32,
    },
    /// Bytes of the transport header.
    Transport {
        to: Reg,
        offset: u32,
        len: u32,
    },
    /// The transport protocol's number.
    Protocol {
        to: Reg,
    },
    /// The bits of the connection's state, in the kernel's byte order.
    ConnectionState {
        to: Reg,
    },
    LoadMark {
        to: Reg,
    },
    SetMark {
        from: Reg,
    },
    /// `(from & mask) ^ xor`.
    Bitwise {
        from: Reg,
        to: Reg,
        mask: Vec<u8>,
        xor: Vec<u8>,
    },
    /// The type of the destination address, as `RTN_*` in the kernel's byte order.
    DestinationType {
        to: Reg,
    },
    Compare {
        from: Reg,
        op: Cmp,
        value: Vec<u8>,
    },
    Load {
        to: Reg,
        value: Vec<u8>,
    },
    /// Goes on only if the key is (or, inverted, is not) in the set; of a map, loads the data.
    Lookup {
        set: String,
        from: Reg,
        to: Option<Reg>,
        inverted: bool,
    },
    /// A random number below `below`.
    Random {
        to: Reg,
        below: u32,
    },
    /// Rewrites the destination; registers of the address and of the port.
    DestinationNat {
        family: u8,
        address: Reg,
        port: Reg,
    },
    Masquerade,
    /// Adds or refreshes an element that ends after so many milliseconds.
    Remember {
        set: String,
        key: Reg,
        data: Reg,
        timeout_ms: u64,
    },
    /// Answers with an ICMP "port unreachable", or a TCP reset.
    Reject {
        tcp: bool,
    },
    Verdict(Verdict),
}

/// The first thing of a rule that changes the mark.
pub const LOAD_MARK: Expr = Expr::LoadMark { to: Reg(0) };

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule(pub Vec<Expr>);

const NESTED: u16 = 0x8000;

fn be(kind: u16, value: u32) -> Vec<u8> {
    attr(kind, &value.to_be_bytes())
}

fn value(kind: u16, bytes: &[u8]) -> Vec<u8> {
    attr(kind | NESTED, &attr(1, bytes))
}

impl Expr {
    /// The name and the attributes, as they stand in a rule's list.
    pub(super) fn encode(&self) -> Vec<u8> {
        let (name, body) = self.parts();
        [attr_text(1, name), attr(2 | NESTED, &body)].concat()
    }

    fn parts(&self) -> (&'static str, Vec<u8>) {
        match self {
            Expr::Network { to, offset, len } => ("payload", payload(1, *to, *offset, *len)),
            Expr::Transport { to, offset, len } => ("payload", payload(2, *to, *offset, *len)),
            Expr::Protocol { to } => ("meta", [be(2, 16), attr(1, &to.bytes())].concat()),
            Expr::ConnectionState { to } => ("ct", [attr(1, &to.bytes()), be(2, 0)].concat()),
            Expr::LoadMark { to } => ("meta", [be(2, 3), attr(1, &to.bytes())].concat()),
            Expr::SetMark { from } => ("meta", [be(2, 3), attr(3, &from.bytes())].concat()),
            Expr::Bitwise { from, to, mask, xor } => {
                let len = u32::try_from(mask.len()).unwrap_or(u32::MAX);
                let ends = [attr(1, &from.bytes()), attr(2, &to.bytes()), be(3, len)].concat();
                ("bitwise", [ends, value(4, mask), value(5, xor)].concat())
            }
            // Result 3 is the address type; flag 2 looks at the destination.
            Expr::DestinationType { to } => ("fib", [attr(1, &to.bytes()), be(2, 3), be(3, 2)].concat()),
            Expr::Compare { from, op, value: bytes } => {
                let op = match op {
                    Cmp::Equal => 0,
                    Cmp::NotEqual => 1,
                };
                ("cmp", [attr(1, &from.bytes()), be(2, op), value(3, bytes)].concat())
            }
            Expr::Load { to, value: bytes } => ("immediate", [attr(1, &to.bytes()), value(2, bytes)].concat()),
            Expr::Lookup { set, from, to, inverted } => ("lookup", lookup(set, *from, *to, *inverted)),
            Expr::Random { to, below } => ("numgen", [attr(1, &to.bytes()), be(2, *below), be(3, 1)].concat()),
            Expr::DestinationNat { family, address, port } => {
                let ends = [be(1, 1), be(2, u32::from(*family))].concat();
                ("nat", [ends, attr(3, &address.bytes()), attr(5, &port.bytes())].concat())
            }
            Expr::Masquerade => ("masq", Vec::new()),
            Expr::Remember { set, key, data, timeout_ms } => {
                let ends = [attr_text(1, set), be(3, 1), attr(4, &key.bytes()), attr(5, &data.bytes())].concat();
                ("dynset", [ends, attr(6, &timeout_ms.to_be_bytes())].concat())
            }
            Expr::Reject { tcp: true } => ("reject", be(1, 1)),
            // Type 2 chooses the ICMP family by the packet; code 1 is "port unreachable".
            Expr::Reject { tcp: false } => ("reject", [be(1, 2), attr(2, &[1])].concat()),
            Expr::Verdict(v) => ("immediate", [be(1, 0), attr(2 | NESTED, &verdict(*v))].concat()),
        }
    }
}

fn payload(base: u32, to: Reg, offset: u32, len: u32) -> Vec<u8> {
    [attr(1, &to.bytes()), be(2, base), be(3, offset), be(4, len)].concat()
}

fn lookup(set: &str, from: Reg, to: Option<Reg>, inverted: bool) -> Vec<u8> {
    let mut body = [attr_text(1, set), attr(2, &from.bytes())].concat();
    if let Some(to) = to {
        body.extend(attr(3, &to.bytes()));
    }
    if inverted {
        body.extend(be(5, 1));
    }
    body
}
