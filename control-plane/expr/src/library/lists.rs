//! Lists: Kubernetes' library and CEL's extended one.

use super::Cost::{Elements, Flatten, One, Pairs, PairsOfKeys, Range, Reverse, Slice};
use super::{Def, args, compare};
use crate::value::{Fail, Out, Val};
use std::cmp::Ordering;

/// The most elements of a list that a number alone can ask for: memory is not what costs count.
const MAX_RANGE: i64 = 1_000_000;

/// A method for each type of elements that can be ordered.
macro_rules! ordered {
    ($name:literal, $result:literal, $cost:expr, $run:expr) => {
        [
            Def(concat!("list(int)::", $name, "() ", $result), $cost, $run),
            Def(concat!("list(uint)::", $name, "() ", $result), $cost, $run),
            Def(concat!("list(double)::", $name, "() ", $result), $cost, $run),
            Def(concat!("list(bool)::", $name, "() ", $result), $cost, $run),
            Def(concat!("list(duration)::", $name, "() ", $result), $cost, $run),
            Def(concat!("list(timestamp)::", $name, "() ", $result), $cost, $run),
            Def(concat!("list(string)::", $name, "() ", $result), $cost, $run),
            Def(concat!("list(bytes)::", $name, "() ", $result), $cost, $run),
        ]
    };
}

/// The same where the result is of the elements' type.
macro_rules! picked {
    ($name:literal, $run:expr, [$($of:literal),*]) => {
        [$(Def(concat!("list(", $of, ")::", $name, "() ", $of), Elements, $run)),*]
    };
}

const IS_SORTED: [Def; 8] = ordered!("isSorted", "bool", Elements, |_, a| args!(a, [list] => is_sorted(list)));
const MIN: [Def; 8] = picked!(
    "min",
    |_, a| args!(a, [list] => extreme(list, "min", Ordering::is_lt)),
    ["int", "uint", "double", "bool", "duration", "timestamp", "string", "bytes"]
);
const MAX: [Def; 8] = picked!(
    "max",
    |_, a| args!(a, [list] => extreme(list, "max", Ordering::is_gt)),
    ["int", "uint", "double", "bool", "duration", "timestamp", "string", "bytes"]
);

pub(super) const SORTED: &[Def] = &IS_SORTED;
pub(super) const LEAST: &[Def] = &MIN;
pub(super) const MOST: &[Def] = &MAX;

pub(super) const DEFS: &[Def] = &[
    Def("list(int)::sum() int", Elements, |_, a| args!(a, [list] => sum(list, Val::Int(0)))),
    Def("list(uint)::sum() uint", Elements, |_, a| args!(a, [list] => sum(list, Val::Uint(0)))),
    Def("list(double)::sum() double", Elements, |_, a| args!(a, [list] => sum(list, Val::Double(0.0)))),
    Def("list(duration)::sum() duration", Elements, |_, a| args!(a, [list] => sum(list, Val::Duration(0)))),
    Def("list(A)::indexOf(A) int", Elements, |_, a| args!(a, [list, x] => position(list, x, false))),
    Def("list(A)::lastIndexOf(A) int", Elements, |_, a| args!(a, [list, x] => position(list, x, true))),
    Def(
        "list(A)::slice(int, int) list(A)",
        Slice,
        |_, a| args!(a, [list, Val::Int(from), Val::Int(to)] => slice(list, *from, *to)),
    ),
    Def("list(list(A))::flatten() list(A)", Flatten, |_, a| args!(a, [list] => flatten(list, 1))),
    Def("list(dyn)::flatten(int) list(dyn)", Flatten, |_, a| {
        args!(a, [list, Val::Int(depth)] => match *depth {
            d if d < 0 => Err(Fail::new("level must be non-negative")),
            d => flatten(list, d),
        })
    }),
    Def("lists.range(int) list(int)", Range, |_, a| {
        args!(a, [Val::Int(n)] => match *n {
            n if n > MAX_RANGE => Err(Fail::CostLimit),
            n => Ok(Val::list((0..n).map(Val::Int).collect())),
        })
    }),
    Def("list(A)::reverse() list(A)", Reverse, |_, a| {
        args!(a, [list] => {
            let mut items = list.items().ok_or_else(Fail::no_overload)?.collect()?;
            items.reverse();
            Ok(Val::list(items))
        })
    }),
    Def("list(A)::distinct() list(A)", Pairs, |_, a| {
        args!(a, [list] => {
            let mut out: Vec<Val<'_>> = Vec::new();
            for item in list.items().ok_or_else(Fail::no_overload)?.iter() {
                let item = item?;
                if !super::operators::any(&out, |o| compare::equal(o, &item))? {
                    out.push(item);
                }
            }
            Ok(Val::list(out))
        })
    }),
    Def("list(A)::sort() list(A)", Pairs, |_, a| args!(a, [list] => sort(list, list))),
    Def("list(A)::first() optional(A)", One, |_, a| args!(a, [list] => end(list, |_| Some(0)))),
    Def("list(A)::last() optional(A)", One, |_, a| args!(a, [list] => end(list, |n| n.checked_sub(1)))),
    Def(
        "@sortByAssociatedKeys(list(A), list(B)) list(A)",
        PairsOfKeys,
        |_, a| args!(a, [list, keys] => sort(list, keys)),
    ),
];

fn unordered() -> Fail {
    Fail::no_overload()
}

fn is_sorted<'a>(list: &Val<'a>) -> Out<'a> {
    let mut before: Option<Val<'a>> = None;
    for item in list.items().ok_or_else(Fail::no_overload)?.iter() {
        let item = item?;
        if let Some(before) = &before
            && compare::order(before, &item).ok_or_else(unordered)?.is_gt()
        {
            return Ok(Val::Bool(false));
        }
        before = Some(item);
    }
    Ok(Val::Bool(true))
}

fn extreme<'a>(list: &Val<'a>, name: &str, better: fn(Ordering) -> bool) -> Out<'a> {
    let mut best: Option<Val<'a>> = None;
    for item in list.items().ok_or_else(Fail::no_overload)?.iter() {
        let item = item?;
        best = Some(match best {
            Some(best) if !better(compare::order(&item, &best).ok_or_else(unordered)?) => best,
            _ => item,
        });
    }
    best.ok_or_else(|| Fail::new(format!("{name} called on empty list")))
}

fn sum<'a>(list: &Val<'a>, zero: Val<'a>) -> Out<'a> {
    let mut total = zero;
    for item in list.items().ok_or_else(Fail::no_overload)?.iter() {
        total = match (total, item?) {
            (Val::Int(x), Val::Int(y)) => {
                x.checked_add(y).map(Val::Int).ok_or_else(|| Fail::new("integer overflow"))?
            }
            (Val::Uint(x), Val::Uint(y)) => {
                x.checked_add(y).map(Val::Uint).ok_or_else(|| Fail::new("unsigned integer overflow"))?
            }
            (Val::Double(x), Val::Double(y)) => Val::Double(x + y),
            (Val::Duration(x), Val::Duration(y)) => {
                x.checked_add(y).map(Val::Duration).ok_or_else(|| Fail::new("duration overflow"))?
            }
            // The elements' type was not known before: the first one tells it.
            (Val::Int(0), first @ (Val::Uint(_) | Val::Double(_) | Val::Duration(_))) => first,
            _ => return Err(Fail::no_overload()),
        };
    }
    Ok(total)
}

fn position<'a>(list: &Val<'a>, x: &Val<'a>, last: bool) -> Out<'a> {
    let mut found = -1;
    for (i, item) in list.items().ok_or_else(Fail::no_overload)?.iter().enumerate() {
        if compare::equal(&item?, x)? {
            found = i as i64;
            if !last {
                break;
            }
        }
    }
    Ok(Val::Int(found))
}

fn slice<'a>(list: &Val<'a>, from: i64, to: i64) -> Out<'a> {
    let items = list.items().ok_or_else(Fail::no_overload)?;
    let shown = |what: &str| Fail::new(format!("cannot slice({from}, {to}), {what}"));
    if from < 0 || to < 0 {
        return Err(shown("negative indexes not supported"));
    }
    if from > to {
        return Err(shown("start index must be less than or equal to end index"));
    }
    let (from, to) = (from as usize, to as usize);
    if to > items.len() {
        return Err(shown(&format!("list is length {}", items.len())));
    }
    Ok(Val::list((from..to).filter_map(|i| items.get(i)).collect::<Result<_, _>>()?))
}

fn flatten<'a>(list: &Val<'a>, depth: i64) -> Out<'a> {
    let mut out = Vec::new();
    // What is left to look at, the next last, each with the levels that may still be opened.
    let mut rest: Vec<(Val<'a>, i64)> =
        list.items().ok_or_else(Fail::no_overload)?.collect()?.into_iter().rev().map(|i| (i, depth)).collect();
    while let Some((item, depth)) = rest.pop() {
        match item.items() {
            Some(inner) if depth > 0 => rest.extend(inner.collect()?.into_iter().rev().map(|i| (i, depth - 1))),
            _ => out.push(item),
        }
    }
    Ok(Val::list(out))
}

fn end<'a>(list: &Val<'a>, which: fn(usize) -> Option<usize>) -> Out<'a> {
    let items = list.items().ok_or_else(Fail::no_overload)?;
    match which(items.len()).and_then(|i| items.get(i)) {
        Some(item) => Ok(Val::some(item?)),
        None => Ok(Val::Optional(None)),
    }
}

/// The list in the order of its keys.
fn sort<'a>(list: &Val<'a>, keys: &Val<'a>) -> Out<'a> {
    let items = list.items().ok_or_else(Fail::no_overload)?.collect()?;
    let keys = keys.items().ok_or_else(Fail::no_overload)?.collect()?;
    if let Some(first) = keys.first() {
        let t = first.type_of();
        if keys.iter().any(|k| k.type_of() != t) {
            return Err(Fail::new("list elements must have the same type"));
        }
        if compare::order(first, first).is_none() {
            return Err(Fail::new("list elements must be comparable"));
        }
    }
    let mut pairs: Vec<(Val<'a>, Val<'a>)> = keys.into_iter().zip(items).collect();
    pairs.sort_by(|(x, _), (y, _)| compare::order(x, y).unwrap_or(Ordering::Equal));
    Ok(Val::list(pairs.into_iter().map(|(_, item)| item).collect()))
}
