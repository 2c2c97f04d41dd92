//! Messages of one transaction, encoded.

use super::expr::{Rule, Verdict};

const SUBSYSTEM: u16 = 10;
const BATCH_BEGIN: u16 = 16;
const BATCH_END: u16 = 17;
const NEW_TABLE: u16 = SUBSYSTEM << 8;
const DEL_TABLE: u16 = (SUBSYSTEM << 8) | 2;
const NEW_CHAIN: u16 = (SUBSYSTEM << 8) | 3;
const NEW_RULE: u16 = (SUBSYSTEM << 8) | 6;
const DEL_RULE: u16 = (SUBSYSTEM << 8) | 8;
const NEW_SET: u16 = (SUBSYSTEM << 8) | 9;
const DEL_SET: u16 = (SUBSYSTEM << 8) | 11;
const NEW_ELEMENT: u16 = (SUBSYSTEM << 8) | 12;
const DEL_ELEMENT: u16 = (SUBSYSTEM << 8) | 14;

const REQUEST: u16 = 1;
const ACK: u16 = 4;
const CREATE: u16 = 0x400;
const APPEND: u16 = 0x800;
const NESTED: u16 = 0x8000;

/// Elements of one message: an attribute's length is 16 bits, and the largest element here takes 72 bytes.
const ELEMENTS_PER_MESSAGE: usize = 500;

/// A chain at one of the kernel's hooks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hook {
    /// `nat` or `filter`.
    pub kind: &'static str,
    /// 0 prerouting, 1 input, 2 forward, 3 output, 4 postrouting.
    pub number: u32,
    pub priority: i32,
}

/// A named list of rules.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chain {
    pub name: &'static str,
    /// `None` for a chain that only others jump to.
    pub hook: Option<Hook>,
    pub rules: Vec<Rule>,
}

/// What a set or map is declared as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SetFlags {
    /// Elements carry data.
    pub map: bool,
    /// Rules add elements, which end by themselves.
    pub dynamic: bool,
}

/// A declared set or map; lengths in bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Set {
    pub name: String,
    pub key_len: u32,
    pub data_len: u32,
    pub flags: SetFlags,
}

/// Messages that take effect together or not at all.
pub struct Transaction {
    family: u8,
    table: String,
    bytes: Vec<u8>,
    /// What each message is about, by sequence number, for errors.
    pub(super) steps: Vec<String>,
    set_id: u32,
}

impl Transaction {
    /// `family` is 2 for IPv4 and 10 for IPv6 (`NFPROTO_*`).
    pub fn new(family: u8, table: &str) -> Transaction {
        let mut t = Transaction { family, table: table.to_owned(), bytes: Vec::new(), steps: Vec::new(), set_id: 0 };
        t.control(BATCH_BEGIN, "begin");
        t
    }

    /// Whether nothing has been added yet.
    pub fn is_empty(&self) -> bool {
        self.steps.len() == 1
    }

    pub fn add_table(&mut self) {
        let name = attr_text(1, &self.table);
        self.message(NEW_TABLE, CREATE, "table", &name);
    }

    pub fn delete_table(&mut self) {
        let name = attr_text(1, &self.table);
        self.message(DEL_TABLE, 0, "delete table", &name);
    }

    pub fn add_chain(&mut self, chain: &Chain) {
        let mut body = attr_text(1, &self.table);
        body.extend(attr_text(3, chain.name));
        if let Some(hook) = chain.hook {
            let number = [attr(1, &hook.number.to_be_bytes()), attr(2, &hook.priority.to_be_bytes())].concat();
            body.extend(attr(4 | NESTED, &number));
            body.extend(attr_text(7, hook.kind));
        }
        self.message(NEW_CHAIN, CREATE, &format!("chain {}", chain.name), &body);
    }

    /// Removes every rule of a chain.
    pub fn flush_chain(&mut self, chain: &str) {
        let body = [attr_text(1, &self.table), attr_text(2, chain)].concat();
        self.message(DEL_RULE, 0, &format!("flush {chain}"), &body);
    }

    pub fn add_rules(&mut self, chain: &Chain) {
        for (i, rule) in chain.rules.iter().enumerate() {
            let mut body = attr_text(1, &self.table);
            body.extend(attr_text(2, chain.name));
            let expressions: Vec<u8> = rule.0.iter().flat_map(|e| attr(1 | NESTED, &e.encode())).collect();
            body.extend(attr(4 | NESTED, &expressions));
            self.message(NEW_RULE, CREATE | APPEND, &format!("rule {i} of {}", chain.name), &body);
        }
    }

    pub fn add_set(&mut self, set: &Set) {
        const MAP: u32 = 8;
        const TIMEOUT: u32 = 0x10;
        const EVAL: u32 = 0x20;
        self.set_id += 1;
        let mut flags = 0;
        if set.flags.map {
            flags |= MAP;
        }
        if set.flags.dynamic {
            flags |= TIMEOUT | EVAL;
        }
        let mut body = [attr_text(1, &self.table), attr_text(2, &set.name), attr(3, &u32::to_be_bytes(flags))].concat();
        body.extend([attr(4, &0u32.to_be_bytes()), attr(5, &set.key_len.to_be_bytes())].concat());
        if set.flags.map {
            body.extend([attr(6, &0u32.to_be_bytes()), attr(7, &set.data_len.to_be_bytes())].concat());
        }
        body.extend(attr(10, &self.set_id.to_be_bytes()));
        self.message(NEW_SET, CREATE, &format!("set {}", set.name), &body);
    }

    pub fn delete_set(&mut self, name: &str) {
        let body = [attr_text(1, &self.table), attr_text(2, name)].concat();
        self.message(DEL_SET, 0, &format!("delete set {name}"), &body);
    }

    pub fn add_elements<'a>(&mut self, set: &str, elements: impl Iterator<Item = (&'a [u8], Option<&'a [u8]>)>) {
        self.elements(NEW_ELEMENT, CREATE, set, elements);
    }

    pub fn delete_elements<'a>(&mut self, set: &str, keys: impl Iterator<Item = &'a [u8]>) {
        self.elements(DEL_ELEMENT, 0, set, keys.map(|k| (k, None)));
    }

    /// Removes every element of a set.
    pub fn flush_set(&mut self, set: &str) {
        let body = [attr_text(1, &self.table), attr_text(2, set)].concat();
        self.message(DEL_ELEMENT, 0, &format!("flush {set}"), &body);
    }

    fn elements<'a>(
        &mut self,
        kind: u16,
        flags: u16,
        set: &str,
        all: impl Iterator<Item = (&'a [u8], Option<&'a [u8]>)>,
    ) {
        let mut all = all.peekable();
        while all.peek().is_some() {
            let mut list = Vec::new();
            for (key, data) in all.by_ref().take(ELEMENTS_PER_MESSAGE) {
                let mut element = attr(1 | NESTED, &attr(1, key));
                if let Some(data) = data {
                    element.extend(attr(2 | NESTED, &attr(1, data)));
                }
                list.extend(attr(1 | NESTED, &element));
            }
            let body = [attr_text(1, &self.table), attr_text(2, set), attr(3 | NESTED, &list)].concat();
            self.message(kind, flags, &format!("elements of {set}"), &body);
        }
    }

    /// The whole transaction as bytes, and the sequence number whose answer ends it.
    pub(super) fn finish(mut self) -> (Vec<u8>, u32, Vec<String>) {
        // The last real message asks for an answer; the end of the batch has none of its own.
        self.control(BATCH_END, "end");
        let last = self.steps.len().saturating_sub(2);
        let mut at = 0;
        for step in 0..self.steps.len() {
            let len = u32::from_ne_bytes(self.bytes[at..at + 4].try_into().expect("four bytes")) as usize;
            if step == last {
                let flags = u16::from_ne_bytes([self.bytes[at + 6], self.bytes[at + 7]]) | ACK;
                self.bytes[at + 6..at + 8].copy_from_slice(&flags.to_ne_bytes());
            }
            at += len.next_multiple_of(4);
        }
        (self.bytes, u32::try_from(last).unwrap_or(u32::MAX), self.steps)
    }

    fn control(&mut self, kind: u16, what: &str) {
        self.raw(kind, REQUEST, 0, SUBSYSTEM, what, &[]);
    }

    fn message(&mut self, kind: u16, flags: u16, what: &str, body: &[u8]) {
        self.raw(kind, REQUEST | flags, self.family, 0, what, body);
    }

    fn raw(&mut self, kind: u16, flags: u16, family: u8, resource: u16, what: &str, body: &[u8]) {
        let len = u32::try_from(20 + body.len()).expect("a message is bounded by ELEMENTS_PER_MESSAGE");
        let sequence = u32::try_from(self.steps.len()).unwrap_or(u32::MAX);
        self.steps.push(what.to_owned());
        self.bytes.extend(len.to_ne_bytes());
        self.bytes.extend(kind.to_ne_bytes());
        self.bytes.extend(flags.to_ne_bytes());
        self.bytes.extend(sequence.to_ne_bytes());
        self.bytes.extend(0u32.to_ne_bytes());
        self.bytes.extend([family, 0]);
        self.bytes.extend(resource.to_be_bytes());
        self.bytes.extend(body);
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
    }
}

/// One attribute, padded.
pub(super) fn attr(kind: u16, value: &[u8]) -> Vec<u8> {
    let len = u16::try_from(value.len() + 4).expect("an attribute is bounded by ELEMENTS_PER_MESSAGE");
    let mut out = Vec::with_capacity(value.len() + 8);
    out.extend(len.to_ne_bytes());
    out.extend(kind.to_ne_bytes());
    out.extend(value);
    out.resize(out.len().next_multiple_of(4), 0);
    out
}

/// A zero-terminated string.
pub(super) fn attr_text(kind: u16, text: &str) -> Vec<u8> {
    let mut bytes = text.as_bytes().to_vec();
    bytes.push(0);
    attr(kind, &bytes)
}

pub(super) fn verdict(verdict: Verdict) -> Vec<u8> {
    let (code, chain) = match verdict {
        Verdict::Accept => (1i32, None),
        Verdict::Drop => (0, None),
        Verdict::Jump(chain) => (-3, Some(chain)),
        Verdict::Return => (-5, None),
    };
    let mut inner = attr(1, &code.to_be_bytes());
    if let Some(chain) = chain {
        inner.extend(attr_text(2, chain));
    }
    attr(2 | NESTED, &inner)
}
