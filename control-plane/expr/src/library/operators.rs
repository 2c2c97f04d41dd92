//! Arithmetic, logic, indexing, sizes.

use super::Cost::{Conditional, Free, InList, Index, Join2, JoinLists, Logic, One};
use super::{Def, args, compare, optional};
use crate::decl::Identity;
use crate::value::{Fail, Out, Val};
use std::rc::Rc;

pub(super) const DEFS: &[Def] = &[
    // The evaluator takes the branches of these itself.
    Def("_?_:_(bool, A, A) A", Conditional, |_, _| Err(Fail::no_overload())),
    Def("_&&_(bool, bool) bool", Logic, |_, _| Err(Fail::no_overload())),
    Def("_||_(bool, bool) bool", Logic, |_, _| Err(Fail::no_overload())),
    Def("@not_strictly_false(bool) bool", One, |_, a| Ok(Val::Bool(!matches!(a, [Val::Bool(false)])))),
    Def("!_(bool) bool", One, |_, a| args!(a, [Val::Bool(b)] => Ok(Val::Bool(!b)))),
    Def("-_(int) int", One, |_, a| args!(a, [Val::Int(n)] => int(n.checked_neg()))),
    Def("-_(double) double", One, |_, a| args!(a, [Val::Double(n)] => Ok(Val::Double(-n)))),
    Def(
        "_+_(bytes, bytes) bytes",
        Join2,
        |_, a| args!(a, [Val::Bytes(x), Val::Bytes(y)] => Ok(Val::Bytes([&**x, &**y].concat().into()))),
    ),
    Def("_+_(double, double) double", One, |_, a| args!(a, [Val::Double(x), Val::Double(y)] => Ok(Val::Double(x + y)))),
    Def(
        "_+_(duration, duration) duration",
        One,
        |_, a| args!(a, [Val::Duration(x), Val::Duration(y)] => span(x.checked_add(*y))),
    ),
    Def(
        "_+_(duration, timestamp) timestamp",
        One,
        |_, a| args!(a, [Val::Duration(x), Val::Timestamp(t)] => super::time::later(*t, *x)),
    ),
    Def(
        "_+_(timestamp, duration) timestamp",
        One,
        |_, a| args!(a, [Val::Timestamp(t), Val::Duration(x)] => super::time::later(*t, *x)),
    ),
    Def("_+_(int, int) int", One, |_, a| args!(a, [Val::Int(x), Val::Int(y)] => int(x.checked_add(*y)))),
    Def("_+_(list(A), list(A)) list(A)", JoinLists, |_, a| args!(a, [x, y] => concat(x, y))),
    Def(
        "_+_(string, string) string",
        Join2,
        |_, a| args!(a, [Val::String(x), Val::String(y)] => Ok(Val::text(format!("{}{}", &**x, &**y)))),
    ),
    Def("_+_(uint, uint) uint", One, |_, a| args!(a, [Val::Uint(x), Val::Uint(y)] => uint(x.checked_add(*y)))),
    Def("_-_(double, double) double", One, |_, a| args!(a, [Val::Double(x), Val::Double(y)] => Ok(Val::Double(x - y)))),
    Def(
        "_-_(duration, duration) duration",
        One,
        |_, a| args!(a, [Val::Duration(x), Val::Duration(y)] => span(x.checked_sub(*y))),
    ),
    Def("_-_(int, int) int", One, |_, a| args!(a, [Val::Int(x), Val::Int(y)] => int(x.checked_sub(*y)))),
    Def("_-_(timestamp, duration) timestamp", One, |_, a| {
        args!(a, [Val::Timestamp(t), Val::Duration(x)] => match x.checked_neg() {
            Some(back) => super::time::later(*t, back),
            None => Err(Fail::new("integer overflow")),
        })
    }),
    Def("_-_(timestamp, timestamp) duration", One, |_, a| {
        args!(a, [Val::Timestamp(x), Val::Timestamp(y)] => {
            span(i64::try_from(x.as_nanosecond() - y.as_nanosecond()).ok())
        })
    }),
    Def("_-_(uint, uint) uint", One, |_, a| args!(a, [Val::Uint(x), Val::Uint(y)] => uint(x.checked_sub(*y)))),
    Def("_*_(double, double) double", One, |_, a| args!(a, [Val::Double(x), Val::Double(y)] => Ok(Val::Double(x * y)))),
    Def("_*_(int, int) int", One, |_, a| args!(a, [Val::Int(x), Val::Int(y)] => int(x.checked_mul(*y)))),
    Def("_*_(uint, uint) uint", One, |_, a| args!(a, [Val::Uint(x), Val::Uint(y)] => uint(x.checked_mul(*y)))),
    Def("_/_(double, double) double", One, |_, a| args!(a, [Val::Double(x), Val::Double(y)] => Ok(Val::Double(x / y)))),
    Def(
        "_/_(int, int) int",
        One,
        |_, a| args!(a, [Val::Int(x), Val::Int(y)] => if *y == 0 { by_zero() } else { int(x.checked_div(*y)) }),
    ),
    Def(
        "_/_(uint, uint) uint",
        One,
        |_, a| args!(a, [Val::Uint(x), Val::Uint(y)] => if *y == 0 { by_zero() } else { uint(x.checked_div(*y)) }),
    ),
    Def(
        "_%_(int, int) int",
        One,
        |_, a| args!(a, [Val::Int(x), Val::Int(y)] => if *y == 0 { modulus() } else { int(x.checked_rem(*y)) }),
    ),
    Def(
        "_%_(uint, uint) uint",
        One,
        |_, a| args!(a, [Val::Uint(x), Val::Uint(y)] => if *y == 0 { modulus() } else { uint(x.checked_rem(*y)) }),
    ),
    // The evaluator indexes without them.
    Def("_[_](list(A), int) A", Index, |_, _| Err(Fail::no_overload())),
    Def("_[_](map(A, B), A) B", Index, |_, _| Err(Fail::no_overload())),
    Def("_[_](optional(list(A)), int) optional(A)", One, |_, _| Err(Fail::no_overload())),
    Def("_[_](optional(map(A, B)), A) optional(B)", One, |_, _| Err(Fail::no_overload())),
    Def("@in(A, list(A)) bool", InList, |_, a| args!(a, [x, list] => contains(list, x))),
    Def("@in(A, map(A, B)) bool", One, |_, a| args!(a, [key, map] => Ok(Val::Bool(member(map, key).is_some())))),
    Def("size(bytes) int", One, size),
    Def("bytes::size() int", One, size),
    Def("size(list(A)) int", One, size),
    Def("list(A)::size() int", One, size),
    Def("size(map(A, B)) int", One, size),
    Def("map(A, B)::size() int", One, size),
    Def("size(string) int", One, size),
    Def("string::size() int", One, size),
    Def("type(A) type(A)", One, |_, a| args!(a, [x] => Ok(Val::Type(x.type_of())))),
    Def("dyn(A) dyn", Free, |_, a| args!(a, [x] => Ok(x.clone()))),
];

fn int<'a>(n: Option<i64>) -> Out<'a> {
    n.map(Val::Int).ok_or_else(|| Fail::new("integer overflow"))
}

fn uint<'a>(n: Option<u64>) -> Out<'a> {
    n.map(Val::Uint).ok_or_else(|| Fail::new("unsigned integer overflow"))
}

fn span<'a>(n: Option<i64>) -> Out<'a> {
    n.map(Val::Duration).ok_or_else(|| Fail::new("integer overflow"))
}

fn by_zero<'a>() -> Out<'a> {
    Err(Fail::new("division by zero"))
}

fn modulus<'a>() -> Out<'a> {
    Err(Fail::new("modulus by zero"))
}

fn size<'a>(_: &super::Tools<'_>, args: &[Val<'a>]) -> Out<'a> {
    args!(args, [x] => match x.size() {
        Some(n) => Ok(Val::Int(n as i64)),
        None => Err(Fail::no_overload()),
    })
}

/// The element of a list or map at a key.
pub(crate) fn index<'a>(of: &Val<'a>, key: &Val<'a>) -> Out<'a> {
    if matches!(of, Val::Optional(_)) {
        return optional::index(of, key);
    }
    if let Some(items) = of.items() {
        let at = match key {
            Val::Int(n) => usize::try_from(*n).ok(),
            Val::Uint(n) => usize::try_from(*n).ok(),
            Val::Double(n) if n.fract() == 0.0 => usize::try_from(*n as i64).ok(),
            Val::Double(n) => return Err(Fail::new(format!("unsupported index value {n} in list"))),
            other => {
                return Err(Fail::new(format!("unsupported index type '{}' in list", other.type_name())));
            }
        };
        return at
            .and_then(|i| items.get(i))
            .unwrap_or_else(|| Err(Fail::new(format!("index out of bounds: {}", super::convert::plain(key)))));
    }
    match (of, key) {
        // Upstream reads it as a map of texts.
        (Val::Tree(_), key) if !matches!(key, Val::String(_)) => Err(Fail::no_overload()),
        _ => member(of, key).unwrap_or_else(|| Err(Fail::no_key(key))),
    }
}

/// The value of a map at a key.
pub(crate) fn member<'a>(map: &Val<'a>, key: &Val<'_>) -> Option<Out<'a>> {
    match map {
        Val::Map(dict) => dict.get(key).cloned().map(Ok),
        Val::Tree(tree) => match key {
            Val::String(name) => tree.member(name),
            _ => None,
        },
        _ => None,
    }
}

fn contains<'a>(list: &Val<'a>, x: &Val<'a>) -> Out<'a> {
    let items = list.items().ok_or_else(Fail::no_overload)?;
    for item in items.iter() {
        if compare::equal(&item?, x)? {
            return Ok(Val::Bool(true));
        }
    }
    Ok(Val::Bool(false))
}

/// Two lists in one. Lists that a schema declares as sets or maps stay such: an item that is there already is merged.
fn concat<'a>(x: &Val<'a>, y: &Val<'a>) -> Out<'a> {
    let (Some(left), Some(right)) = (x.items(), y.items()) else { return Err(Fail::no_overload()) };
    let mut out = left.collect()?;
    let identity = match x {
        Val::Tree(tree) => tree.identity(),
        _ => &Identity::Place,
    };
    match identity {
        Identity::Place => out.extend(right.collect()?),
        Identity::Value => {
            for item in right.iter() {
                let item = item?;
                if !any(&out, |o| compare::equal(o, &item))? {
                    out.push(item);
                }
            }
        }
        Identity::Keys(keys) => {
            for item in right.iter() {
                let item = item?;
                let mut place = None;
                for (i, o) in out.iter().enumerate() {
                    if compare::same_keys(o, &item, keys)? {
                        place = Some(i);
                    }
                }
                match place {
                    Some(i) => out[i] = item,
                    None => out.push(item),
                }
            }
        }
    }
    Ok(Val::List(Rc::new(out)))
}

/// Whether any item passes.
pub(super) fn any<'a>(items: &[Val<'a>], mut passes: impl FnMut(&Val<'a>) -> Result<bool, Fail>) -> Result<bool, Fail> {
    for item in items {
        if passes(item)? {
            return Ok(true);
        }
    }
    Ok(false)
}
