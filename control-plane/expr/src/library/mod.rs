//! The functions of CEL and of Kubernetes, one file per library: signature, cost, what it does.

mod authz;
pub(crate) mod compare;
pub(crate) mod convert;
pub(crate) mod format;
mod ip;
mod jsonpatch;
mod lists;
mod macros;
pub(crate) mod operators;
pub(crate) mod optional;
pub(crate) mod printf;
pub(crate) mod quantity;
pub(crate) mod regex;
mod semver;
mod sets;
mod signature;
mod strings;
pub(crate) mod time;
pub(crate) mod url;

use crate::types::{Param, Type};
use crate::value::{Out, Special, Val};
use signature::Signature;
use std::collections::HashMap;
use std::sync::LazyLock;

/// What a function may use beside its arguments.
pub(crate) struct Tools<'p> {
    /// The regular expressions that were compiled with the program.
    pub regexes: &'p HashMap<String, ::regex::Regex>,
}

/// What a function does. The target of a method is its first argument.
pub(crate) type Run = for<'a> fn(&Tools<'_>, &[Val<'a>]) -> Out<'a>;

/// A function for some types of arguments.
pub(crate) struct Overload {
    pub member: bool,
    pub params: Vec<Type>,
    pub result: Type,
    pub cost: Cost,
    pub run: Run,
}

/// How a function's cost follows from the sizes of its arguments. Upstream's published costs: users size rules by them.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Cost {
    /// One unit.
    One,
    Free,
    /// The branches are weighed by the estimator and the evaluator.
    Conditional,
    Logic,
    /// Indexing tells the size of what it gives.
    Index,
    Equality,
    /// Ordering of strings or bytes.
    Ordering,
    Join2,
    JoinLists,
    Prefix,
    StringToBytes,
    BytesToString,
    Quote,
    Printf,
    InList,
    Matches,
    Contains,
    /// Over the elements of a list.
    Elements,
    /// `indexOf` of strings.
    Seek,
    /// Reads the target and gives something at most as large.
    Copy,
    /// The same with an argument instead of a target.
    CopyArgument,
    Replace,
    Split,
    Join,
    Find,
    Parse,
    ParseTwice,
    ContainsIp {
        text: bool,
    },
    ContainsCidr {
        text: bool,
    },
    Validate,
    /// A question to the authoriser.
    Check,
    Sets(u8),
    Slice,
    Range,
    Reverse,
    Flatten,
    /// Compares each element with each.
    Pairs,
    /// The same over the keys, the second argument.
    PairsOfKeys,
}

/// One line of a library.
pub(crate) struct Def(&'static str, Cost, Run);

const LIBRARIES: &[&[Def]] = &[
    operators::DEFS,
    compare::DEFS,
    convert::DEFS,
    time::DEFS,
    strings::DEFS,
    printf::DEFS,
    lists::DEFS,
    lists::SORTED,
    lists::LEAST,
    lists::MOST,
    sets::DEFS,
    regex::DEFS,
    url::DEFS,
    ip::DEFS,
    quantity::DEFS,
    jsonpatch::DEFS,
    format::DEFS,
    semver::DEFS,
    optional::DEFS,
    macros::DEFS,
    authz::DEFS,
];

static FUNCTIONS: LazyLock<HashMap<&'static str, Vec<Overload>>> = LazyLock::new(|| {
    let mut all: HashMap<&'static str, Vec<Overload>> = HashMap::new();
    for Def(text, cost, run) in LIBRARIES.iter().copied().flatten() {
        let Signature { name, member, params, result } = Signature::parse(text);
        all.entry(name).or_default().push(Overload { member, params, result, cost: *cost, run: *run });
    }
    all
});

/// The functions of a name.
pub(crate) fn find(name: &str) -> Option<&'static [Overload]> {
    FUNCTIONS.get(name).map(Vec::as_slice)
}

impl Overload {
    /// Whether values of these types are what it takes.
    pub(crate) fn takes(&self, args: &[Val<'_>]) -> bool {
        self.params.len() == args.len() && self.params.iter().zip(args).all(|(p, a)| is_a(a, p))
    }
}

impl std::fmt::Debug for Overload {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:?} -> {}", self.params, self.result)
    }
}

/// Whether a value is of a type, as far as it shows without looking at elements.
fn is_a(value: &Val<'_>, t: &Type) -> bool {
    match t {
        Type::Dyn | Type::Error | Type::Param(Param::Named(_) | Param::Fresh(_)) => true,
        Type::List(_) => value.is_list(),
        Type::Map(_) => value.is_map(),
        Type::Optional(of) => match value {
            Val::Optional(Some(held)) => is_a(held, of),
            Val::Optional(None) => true,
            _ => false,
        },
        Type::Type(_) => matches!(value, Val::Type(_)),
        Type::Object(_) => value.is_map(),
        other => value.type_of() == *other,
    }
}

/// The special values of an argument, where a signature promises one.
fn special<'v>(value: &'v Val<'_>) -> Option<&'v Special> {
    match value {
        Val::Special(special) => Some(special),
        _ => None,
    }
}

/// Reads arguments into a pattern. The dispatcher has looked at the types, so anything else is no overload.
macro_rules! args {
    ($args:expr, [$($pattern:pat),* $(,)?] => $body:expr) => {
        match $args {
            [$($pattern),*] => $body,
            _ => Err($crate::value::Fail::no_overload()),
        }
    };
}
use args;
