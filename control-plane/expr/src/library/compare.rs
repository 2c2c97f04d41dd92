//! Equality and order, across numeric types.

use super::Cost::{Equality, One, Ordering as Ordered};
use super::{Def, args};
use crate::decl::Identity;
use crate::value::{Fail, Hash, Special, Val};
use std::cmp::Ordering;

/// The overloads of one ordering: each pair of types that can be compared.
macro_rules! order {
    ($($name:literal => $test:expr),*) => {
        &[
            Def("_==_(A, A) bool", Equality, |_, a| args!(a, [x, y] => Ok(Val::Bool(equal(x, y)?)))),
            Def("_!=_(A, A) bool", Equality, |_, a| args!(a, [x, y] => Ok(Val::Bool(!equal(x, y)?)))),
            $(
                Def(concat!($name, "(bool, bool) bool"), One, |_, a| args!(a, [x, y] => holds(x, y, $test))),
                Def(concat!($name, "(int, int) bool"), One, |_, a| args!(a, [x, y] => holds(x, y, $test))),
                Def(concat!($name, "(int, double) bool"), One, |_, a| args!(a, [x, y] => holds(x, y, $test))),
                Def(concat!($name, "(int, uint) bool"), One, |_, a| args!(a, [x, y] => holds(x, y, $test))),
                Def(concat!($name, "(uint, uint) bool"), One, |_, a| args!(a, [x, y] => holds(x, y, $test))),
                Def(concat!($name, "(uint, double) bool"), One, |_, a| args!(a, [x, y] => holds(x, y, $test))),
                Def(concat!($name, "(uint, int) bool"), One, |_, a| args!(a, [x, y] => holds(x, y, $test))),
                Def(concat!($name, "(double, double) bool"), One, |_, a| args!(a, [x, y] => holds(x, y, $test))),
                Def(concat!($name, "(double, int) bool"), One, |_, a| args!(a, [x, y] => holds(x, y, $test))),
                Def(concat!($name, "(double, uint) bool"), One, |_, a| args!(a, [x, y] => holds(x, y, $test))),
                Def(concat!($name, "(string, string) bool"), Ordered, |_, a| args!(a, [x, y] => holds(x, y, $test))),
                Def(concat!($name, "(bytes, bytes) bool"), Ordered, |_, a| args!(a, [x, y] => holds(x, y, $test))),
                Def(concat!($name, "(timestamp, timestamp) bool"), One, |_, a| args!(a, [x, y] => holds(x, y, $test))),
                Def(concat!($name, "(duration, duration) bool"), One, |_, a| args!(a, [x, y] => holds(x, y, $test))),
            )*
        ]
    };
}

pub(super) const DEFS: &[Def] = order!(
    "_<_" => Ordering::is_lt,
    "_<=_" => Ordering::is_le,
    "_>_" => Ordering::is_gt,
    "_>=_" => Ordering::is_ge
);

fn holds<'a>(x: &Val<'a>, y: &Val<'a>, test: fn(Ordering) -> bool) -> crate::value::Out<'a> {
    match order(x, y) {
        Some(found) => Ok(Val::Bool(test(found))),
        // Only NaN has no place among the numbers.
        None if number(x).is_some() && number(y).is_some() => Err(Fail::new("NaN values cannot be ordered")),
        None => Err(Fail::no_overload()),
    }
}

/// A number of any type.
#[derive(Clone, Copy)]
enum Number {
    Whole(i128),
    Double(f64),
}

fn number(x: &Val<'_>) -> Option<Number> {
    match x {
        Val::Int(n) => Some(Number::Whole(i128::from(*n))),
        Val::Uint(n) => Some(Number::Whole(i128::from(*n))),
        Val::Double(n) => Some(Number::Double(*n)),
        _ => None,
    }
}

/// The order of two scalars of comparable types.
pub(super) fn order(x: &Val<'_>, y: &Val<'_>) -> Option<Ordering> {
    if let (Some(x), Some(y)) = (number(x), number(y)) {
        return match (x, y) {
            (Number::Whole(x), Number::Whole(y)) => Some(x.cmp(&y)),
            (Number::Double(x), Number::Double(y)) => x.partial_cmp(&y),
            (Number::Whole(x), Number::Double(y)) => whole_and_double(x, y),
            (Number::Double(x), Number::Whole(y)) => whole_and_double(y, x).map(Ordering::reverse),
        };
    }
    match (x, y) {
        (Val::Bool(x), Val::Bool(y)) => Some(x.cmp(y)),
        (Val::String(x), Val::String(y)) => Some((**x).cmp(&**y)),
        (Val::Bytes(x), Val::Bytes(y)) => Some(x.cmp(y)),
        (Val::Timestamp(x), Val::Timestamp(y)) => Some(x.cmp(y)),
        (Val::Duration(x), Val::Duration(y)) => Some(x.cmp(y)),
        _ => None,
    }
}

fn whole_and_double(x: i128, y: f64) -> Option<Ordering> {
    if y.is_nan() {
        return None;
    }
    // Beyond this a double has no fraction and every whole number of ours is smaller.
    if y.abs() >= 1e20 {
        return Some(if y > 0.0 { Ordering::Less } else { Ordering::Greater });
    }
    let floor = y.floor();
    Some(x.cmp(&(floor as i128)).then(if y > floor { Ordering::Less } else { Ordering::Equal }))
}

/// Whether two values are equal. Values of different types are not.
pub(crate) fn equal(x: &Val<'_>, y: &Val<'_>) -> Result<bool, Fail> {
    if let Some(found) = order(x, y) {
        return Ok(found.is_eq());
    }
    Ok(match (x, y) {
        (Val::Null, Val::Null) => true,
        (Val::Type(x), Val::Type(y)) => x.name() == y.name(),
        (Val::Optional(None), Val::Optional(None)) => true,
        (Val::Optional(Some(x)), Val::Optional(Some(y))) => equal(x, y)?,
        (Val::Special(x), Val::Special(y)) => specials(x, y),
        _ if x.is_list() && y.is_list() => lists(x, y)?,
        _ if x.is_map() && y.is_map() => maps(x, y)?,
        _ => false,
    })
}

fn specials(x: &Special, y: &Special) -> bool {
    match (x, y) {
        (Special::Format(x), Special::Format(y)) => x.name == y.name,
        (Special::Semver(x), Special::Semver(y)) => super::semver::cmp(x, y).is_eq(),
        (x, y) => x == y,
    }
}

fn lists(x: &Val<'_>, y: &Val<'_>) -> Result<bool, Fail> {
    let (Some(left), Some(right)) = (x.items(), y.items()) else { return Ok(false) };
    if left.len() != right.len() {
        return Ok(false);
    }
    let identity = match x {
        Val::Tree(tree) => tree.identity(),
        _ => &Identity::Place,
    };
    if *identity == Identity::Place {
        for (x, y) in left.iter().zip(right.iter()) {
            if !equal(&x?, &y?)? {
                return Ok(false);
            }
        }
        return Ok(true);
    }
    // Sets and maps have no order. Items that hash are looked up, the rest is searched.
    let mut rest = right.collect()?;
    let mut counted: std::collections::HashMap<Hash, usize> = std::collections::HashMap::new();
    for item in &rest {
        if let Some(hash) = Hash::of(item) {
            *counted.entry(hash).or_default() += 1;
        }
    }
    for item in left.iter() {
        let item = item?;
        if let Some(hash) = Hash::of(&item) {
            match counted.get_mut(&hash) {
                Some(left) if *left > 0 => *left -= 1,
                _ => return Ok(false),
            }
            continue;
        }
        let mut place = None;
        for (i, other) in rest.iter().enumerate() {
            if equal(&item, other)? {
                place = Some(i);
                break;
            }
        }
        match place {
            Some(i) => drop(rest.swap_remove(i)),
            None => return Ok(false),
        }
    }
    Ok(true)
}

fn maps(x: &Val<'_>, y: &Val<'_>) -> Result<bool, Fail> {
    let Some(left) = x.entries() else { return Ok(false) };
    let left = left?;
    if y.size() != Some(left.len()) {
        return Ok(false);
    }
    for (key, value) in &left {
        let same = match super::operators::member(y, key) {
            Some(other) => equal(value, &other?)?,
            None => false,
        };
        if !same {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Whether two items of a list map are the same item.
pub(super) fn same_keys(x: &Val<'_>, y: &Val<'_>, keys: &[String]) -> Result<bool, Fail> {
    for key in keys {
        let name = Val::text(crate::escape::escape(key).unwrap_or_else(|| key.clone()));
        let same = match (super::operators::member(x, &name), super::operators::member(y, &name)) {
            (Some(x), Some(y)) => equal(&x?, &y?)?,
            (None, None) => true,
            _ => false,
        };
        if !same {
            return Ok(false);
        }
    }
    Ok(true)
}
