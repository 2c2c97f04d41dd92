//! Values of an evaluation. What comes from outside stays where it is and is read when it is asked for.

use crate::data::{Data, View};
use crate::decl::{Decl, Identity, Shape};
use crate::library::format::Format;
use crate::library::quantity::Quantity;
use crate::library::url::Url;
use crate::types::{self, Type};
use jiff::Timestamp;
use std::collections::HashMap;
use std::net::IpAddr;
use std::rc::Rc;

/// The result of a step: a value, or why there is none.
pub type Out<'a> = Result<Val<'a>, Fail>;

/// Why an evaluation has no value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fail {
    /// In upstream's words.
    Error(Rc<str>),
    /// The evaluation cost more than it may.
    CostLimit,
}

impl Fail {
    pub(crate) fn new(text: impl Into<Rc<str>>) -> Fail {
        Fail::Error(text.into())
    }

    pub(crate) fn no_overload() -> Fail {
        Fail::new("no such overload")
    }

    pub(crate) fn no_key(key: &Val<'_>) -> Fail {
        Fail::new(format!("no such key: {}", crate::library::convert::plain(key)))
    }
}

impl std::fmt::Display for Fail {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Fail::Error(text) => f.write_str(text),
            Fail::CostLimit => f.write_str("operation cancelled: actual cost limit exceeded"),
        }
    }
}

impl std::error::Error for Fail {}

#[derive(Clone, Debug)]
pub enum Val<'a> {
    Null,
    Bool(bool),
    Int(i64),
    Uint(u64),
    Double(f64),
    String(Text<'a>),
    Bytes(Rc<[u8]>),
    /// In nanoseconds.
    Duration(i64),
    Timestamp(Timestamp),
    List(Rc<Vec<Val<'a>>>),
    Map(Rc<Dict<'a>>),
    /// A list, map or object of somebody's tree.
    Tree(Tree<'a>),
    Type(Type),
    Optional(Option<Rc<Val<'a>>>),
    Special(Rc<Special>),
}

/// A string: of the tree, of the program, or computed.
#[derive(Clone, Debug)]
pub enum Text<'a> {
    Borrowed(&'a str),
    Owned(Rc<str>),
}

impl std::ops::Deref for Text<'_> {
    type Target = str;

    fn deref(&self) -> &str {
        match self {
            Text::Borrowed(text) => text,
            Text::Owned(text) => text,
        }
    }
}

/// A value of a library.
#[derive(Clone, Debug, PartialEq)]
pub enum Special {
    Quantity(Quantity),
    Url(Url),
    Semver(semver::Version),
    Format(&'static Format),
    Ip(IpAddr),
    Cidr { address: IpAddr, prefix: u8 },
}

/// A node of a tree, read as its declaration says.
#[derive(Clone, Copy)]
pub struct Tree<'a> {
    pub(crate) decl: &'a Decl,
    pub(crate) node: &'a dyn Data,
}

impl std::fmt::Debug for Tree<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Tree({:?})", self.node.view())
    }
}

/// A map that an expression made, in the order in which it was made.
#[derive(Clone, Debug, Default)]
pub struct Dict<'a> {
    pub(crate) entries: Vec<(Val<'a>, Val<'a>)>,
    index: HashMap<Hash, usize>,
}

/// A key in the form in which equal keys of different numeric types are equal.
#[derive(Clone, Debug, PartialEq, Eq, std::hash::Hash)]
pub(crate) enum Hash {
    Bool(bool),
    Number(i128),
    /// The bits of a number with a fraction.
    Fraction(u64),
    Text(Rc<str>),
}

impl Hash {
    pub(crate) fn of(key: &Val<'_>) -> Option<Hash> {
        match key {
            Val::Bool(b) => Some(Hash::Bool(*b)),
            Val::Int(n) => Some(Hash::Number(i128::from(*n))),
            Val::Uint(n) => Some(Hash::Number(i128::from(*n))),
            Val::Double(n) if n.fract() == 0.0 && n.abs() < 1e19 => Some(Hash::Number(*n as i128)),
            Val::Double(n) => Some(Hash::Fraction(n.to_bits())),
            Val::String(s) => Some(Hash::Text((&**s).into())),
            _ => None,
        }
    }
}

impl<'a> Dict<'a> {
    pub(crate) fn get(&self, key: &Val<'_>) -> Option<&Val<'a>> {
        self.index.get(&Hash::of(key)?).map(|i| &self.entries[*i].1)
    }

    /// Adds an entry; a key that is there already is an error.
    pub(crate) fn insert(&mut self, key: Val<'a>, value: Val<'a>) -> Result<(), Fail> {
        let twice = format!("insert failed: key {} already exists", crate::library::convert::plain(&key));
        match self.put(key, value)? {
            None => Ok(()),
            Some(_) => Err(Fail::new(twice)),
        }
    }

    /// Adds an entry in the place of the one that has its key. What was there comes back.
    pub(crate) fn put(&mut self, key: Val<'a>, value: Val<'a>) -> Result<Option<Val<'a>>, Fail> {
        let Some(hash) = Hash::of(&key) else {
            return Err(Fail::new(format!("unsupported key type: {}", key.type_name())));
        };
        if let Some(place) = self.index.get(&hash) {
            return Ok(Some(std::mem::replace(&mut self.entries[*place].1, value)));
        }
        self.index.insert(hash, self.entries.len());
        self.entries.push((key, value));
        Ok(None)
    }
}

impl<'a> Val<'a> {
    pub(crate) fn text(text: impl Into<Rc<str>>) -> Val<'a> {
        Val::String(Text::Owned(text.into()))
    }

    pub(crate) fn list(items: Vec<Val<'a>>) -> Val<'a> {
        Val::List(Rc::new(items))
    }

    pub(crate) fn some(value: Val<'a>) -> Val<'a> {
        Val::Optional(Some(Rc::new(value)))
    }

    pub(crate) fn special(special: Special) -> Val<'a> {
        Val::Special(Rc::new(special))
    }

    /// Reads a node as its declaration says. What does not fit it is read as what it is.
    pub(crate) fn read(decl: &'a Decl, node: &'a dyn Data) -> Out<'a> {
        Ok(match (node.view(), &decl.shape) {
            (View::Null, _) => Val::Null,
            (View::Bool(b), _) => Val::Bool(b),
            (View::Int(n), Shape::Double) => Val::Double(n as f64),
            (View::Int(n), _) => Val::Int(n),
            (View::Double(n), Shape::Int) if n.fract() == 0.0 => Val::Int(n as i64),
            (View::Double(n), _) => Val::Double(n),
            (View::String(s), Shape::Bytes) => Val::Bytes(crate::library::convert::base64(s)?.into()),
            (View::String(s), Shape::Duration) => Val::Duration(
                crate::library::time::duration(s)
                    .map_err(|_| Fail::new(format!("Invalid duration {s}, caused by time: invalid duration {s:?}")))?,
            ),
            (View::String(s), Shape::Date) => Val::Timestamp(crate::library::time::date(s)?),
            (View::String(s), Shape::DateTime) => Val::Timestamp(crate::library::time::timestamp(s)?),
            (View::String(s), _) => Val::String(Text::Borrowed(s)),
            (View::List(_) | View::Map(_), _) => Val::Tree(Tree { decl, node }),
        })
    }

    pub(crate) fn type_of(&self) -> Type {
        match self {
            Val::Null => Type::Null,
            Val::Bool(_) => Type::Bool,
            Val::Int(_) => Type::Int,
            Val::Uint(_) => Type::Uint,
            Val::Double(_) => Type::Double,
            Val::String(_) => Type::String,
            Val::Bytes(_) => Type::Bytes,
            Val::Duration(_) => Type::Duration,
            Val::Timestamp(_) => Type::Timestamp,
            Val::List(_) => Type::list(Type::Dyn),
            Val::Map(_) => Type::map(Type::Dyn, Type::Dyn),
            Val::Tree(tree) => match (tree.node.view(), &tree.decl.shape) {
                (View::List(_), _) => Type::list(Type::Dyn),
                (_, Shape::Object(object)) => Type::Object(object.clone()),
                _ => Type::map(Type::Dyn, Type::Dyn),
            },
            Val::Type(_) => Type::Type(std::sync::Arc::new(Type::Dyn)),
            Val::Optional(_) => Type::optional(Type::Dyn),
            Val::Special(special) => Type::Opaque(match &**special {
                Special::Quantity(_) => types::QUANTITY,
                Special::Url(_) => types::URL,
                Special::Semver(_) => types::SEMVER,
                Special::Format(_) => types::FORMAT,
                Special::Ip(_) => types::IP,
                Special::Cidr { .. } => types::CIDR,
            }),
        }
    }

    pub(crate) fn type_name(&self) -> String {
        self.type_of().name().to_owned()
    }

    /// What `size()` says, where a value has a size.
    pub(crate) fn size(&self) -> Option<usize> {
        match self {
            Val::String(s) => Some(s.chars().count()),
            Val::Bytes(b) => Some(b.len()),
            Val::List(items) => Some(items.len()),
            Val::Map(dict) => Some(dict.entries.len()),
            Val::Tree(tree) => Some(tree.len()),
            Val::Special(special) => match &**special {
                Special::Ip(ip) => Some(address_bytes(ip)),
                Special::Cidr { address, prefix } => {
                    // The bytes that the prefix covers.
                    let bytes = usize::from(prefix.div_ceil(8));
                    Some(bytes.min(address_bytes(address)))
                }
                _ => None,
            },
            _ => None,
        }
    }

    /// The items of a list.
    pub(crate) fn items(&self) -> Option<Items<'a>> {
        match self {
            Val::List(items) => Some(Items::Made(items.clone())),
            Val::Tree(tree) => match (tree.node.view(), &tree.decl.shape) {
                (View::List(n), Shape::List { items, .. }) => Some(Items::Read(items, tree.node, n)),
                (View::List(n), _) => Some(Items::Read(tree.decl, tree.node, n)),
                _ => None,
            },
            _ => None,
        }
    }

    pub(crate) fn is_list(&self) -> bool {
        match self {
            Val::List(_) => true,
            Val::Tree(tree) => matches!(tree.node.view(), View::List(_)),
            _ => false,
        }
    }

    pub(crate) fn is_map(&self) -> bool {
        match self {
            Val::Map(_) => true,
            Val::Tree(tree) => matches!(tree.node.view(), View::Map(_)),
            _ => false,
        }
    }

    /// The entries of a map, and of an object those fields that it has and that are declared.
    pub(crate) fn entries(&self) -> Option<Result<Vec<(Val<'a>, Val<'a>)>, Fail>> {
        match self {
            Val::Map(dict) => Some(Ok(dict.entries.clone())),
            Val::Tree(tree) => matches!(tree.node.view(), View::Map(_)).then(|| tree.entries()),
            _ => None,
        }
    }
}

fn address_bytes(ip: &IpAddr) -> usize {
    if ip.is_ipv4() { 4 } else { 16 }
}

/// The items of a list, wherever it is.
pub(crate) enum Items<'a> {
    Made(Rc<Vec<Val<'a>>>),
    Read(&'a Decl, &'a dyn Data, usize),
}

impl<'a> Items<'a> {
    pub(crate) fn len(&self) -> usize {
        match self {
            Items::Made(items) => items.len(),
            Items::Read(_, _, len) => *len,
        }
    }

    pub(crate) fn get(&self, index: usize) -> Option<Out<'a>> {
        match self {
            Items::Made(items) => items.get(index).cloned().map(Ok),
            Items::Read(decl, node, _) => node.item(index).map(|item| Val::read(decl, item)),
        }
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = Out<'a>> + '_ {
        (0..self.len()).map_while(|i| self.get(i))
    }

    /// All of them, which fails with the first that can't be read.
    pub(crate) fn collect(&self) -> Result<Vec<Val<'a>>, Fail> {
        self.iter().collect()
    }
}

impl<'a> Tree<'a> {
    pub(crate) fn len(&self) -> usize {
        match (self.node.view(), &self.decl.shape) {
            (View::List(n), _) => n,
            (View::Map(_), Shape::Object(object)) => {
                object.fields.values().filter(|f| self.node.member(&f.json).is_some()).count()
            }
            (View::Map(n), _) => n,
            _ => 0,
        }
    }

    /// The field of an object by its identifier, or the value of a map by its key.
    pub(crate) fn member(&self, name: &str) -> Option<Out<'a>> {
        match &self.decl.shape {
            Shape::Object(object) => {
                let field = object.field(name)?;
                Some(Val::read(&field.decl, self.node.member(&field.json)?))
            }
            Shape::Map { values } => Some(Val::read(values, self.node.member(name)?)),
            _ => Some(Val::read(self.decl, self.node.member(name)?)),
        }
    }

    fn entries(&self) -> Result<Vec<(Val<'a>, Val<'a>)>, Fail> {
        let mut out = Vec::new();
        if let Shape::Object(object) = &self.decl.shape {
            for (name, field) in &object.fields {
                if let Some(node) = self.node.member(&field.json) {
                    out.push((Val::String(Text::Borrowed(name)), Val::read(&field.decl, node)?));
                }
            }
            return Ok(out);
        }
        let values = match &self.decl.shape {
            Shape::Map { values } => values,
            _ => self.decl,
        };
        for i in 0.. {
            let Some((key, node)) = self.node.entry(i) else { break };
            out.push((Val::String(Text::Borrowed(key)), Val::read(values, node)?));
        }
        Ok(out)
    }

    pub(crate) fn identity(&self) -> &'a Identity {
        match &self.decl.shape {
            Shape::List { identity, .. } => identity,
            _ => &Identity::Place,
        }
    }
}
