//! What macros call, by names that no source can spell.

use super::Cost::One;
use super::{Def, args};
use crate::value::{Dict, Fail, Out, Val};
use std::rc::Rc;

pub(super) const DEFS: &[Def] = &[
    Def(
        "cel.@mapInsert(map(A, B), A, B) map(A, B)",
        One,
        |_, a| args!(a, [map, key, value] => insert(map, vec![(key.clone(), value.clone())])),
    ),
    Def(
        "cel.@mapInsert(map(A, B), map(A, B)) map(A, B)",
        One,
        |_, a| args!(a, [map, more] => insert(map, more.entries().unwrap_or_else(|| Err(Fail::no_overload()))?)),
    ),
];

fn insert<'a>(map: &Val<'a>, entries: Vec<(Val<'a>, Val<'a>)>) -> Out<'a> {
    let Val::Map(dict) = map else { return Err(Fail::no_overload()) };
    let mut dict: Dict<'a> = (**dict).clone();
    for (key, value) in entries {
        dict.insert(key, value)?;
    }
    Ok(Val::Map(Rc::new(dict)))
}
