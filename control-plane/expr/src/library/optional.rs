//! Optional values.

use super::Cost::One;
use super::{Def, args, operators};
use crate::value::{Fail, Out, Val};

pub(super) const DEFS: &[Def] = &[
    Def("optional.of(A) optional(A)", One, |_, a| args!(a, [x] => Ok(Val::some(x.clone())))),
    Def(
        "optional.ofNonZeroValue(A) optional(A)",
        One,
        |_, a| args!(a, [x] => Ok(if is_zero(x) { Val::Optional(None) } else { Val::some(x.clone()) })),
    ),
    Def("optional.none() optional(A)", One, |_, _| Ok(Val::Optional(None))),
    Def("optional(A)::hasValue() bool", One, |_, a| args!(a, [Val::Optional(x)] => Ok(Val::Bool(x.is_some())))),
    Def("optional(A)::value() A", One, |_, a| {
        args!(a, [Val::Optional(x)] => match x {
            Some(x) => Ok((**x).clone()),
            None => Err(Fail::new("optional.none() dereference")),
        })
    }),
    Def(
        "optional(A)::or(optional(A)) optional(A)",
        One,
        |_, a| args!(a, [x, y] => Ok(if matches!(x, Val::Optional(Some(_))) { x.clone() } else { y.clone() })),
    ),
    Def(
        "optional(A)::orValue(A) A",
        One,
        |_, a| args!(a, [Val::Optional(x), y] => Ok(x.as_ref().map_or_else(|| y.clone(), |x| (**x).clone()))),
    ),
    Def("_[?_](list(A), int) optional(A)", One, |_, a| args!(a, [of, key] => index(of, key))),
    Def("_[?_](optional(list(A)), int) optional(A)", One, |_, a| args!(a, [of, key] => index(of, key))),
    Def("_[?_](map(A, B), A) optional(B)", One, |_, a| args!(a, [of, key] => index(of, key))),
    Def("_[?_](optional(map(A, B)), A) optional(B)", One, |_, a| args!(a, [of, key] => index(of, key))),
    Def("optional.unwrap(list(optional(A))) list(A)", One, |_, a| args!(a, [list] => unwrap(list))),
    Def("list(optional(A))::unwrapOpt() list(A)", One, |_, a| args!(a, [list] => unwrap(list))),
];

/// The element at a key, if there is one.
pub(crate) fn index<'a>(of: &Val<'a>, key: &Val<'a>) -> Out<'a> {
    let of = match of {
        Val::Optional(None) => return Ok(Val::Optional(None)),
        Val::Optional(Some(held)) => held,
        of => of,
    };
    if of.is_map() {
        return Ok(match operators::member(of, key) {
            Some(found) => Val::some(found?),
            None => Val::Optional(None),
        });
    }
    let Some(items) = of.items() else { return Err(Fail::no_overload()) };
    let at = match key {
        Val::Int(n) => usize::try_from(*n).ok(),
        Val::Uint(n) => usize::try_from(*n).ok(),
        _ => return Err(Fail::no_overload()),
    };
    Ok(match at.and_then(|i| items.get(i)) {
        Some(found) => Val::some(found?),
        None => Val::Optional(None),
    })
}

fn unwrap<'a>(list: &Val<'a>) -> Out<'a> {
    let mut out = Vec::new();
    for item in list.items().ok_or_else(Fail::no_overload)?.iter() {
        match item? {
            Val::Optional(Some(held)) => out.push((*held).clone()),
            Val::Optional(None) => {}
            _ => return Err(Fail::no_overload()),
        }
    }
    Ok(Val::list(out))
}

fn is_zero(x: &Val<'_>) -> bool {
    match x {
        Val::Null | Val::Optional(None) => true,
        Val::Bool(b) => !b,
        Val::Int(n) => *n == 0,
        Val::Uint(n) => *n == 0,
        Val::Double(n) => *n == 0.0,
        Val::Duration(n) => *n == 0,
        Val::String(_) | Val::Bytes(_) | Val::List(_) | Val::Map(_) | Val::Tree(_) => x.size() == Some(0),
        Val::Timestamp(_) | Val::Type(_) | Val::Optional(Some(_)) | Val::Special(_) => false,
    }
}
