//! Lists as sets.

use super::Cost::Sets;
use super::{Def, args, compare, operators};
use crate::value::{Fail, Out, Val};

pub(super) const DEFS: &[Def] = &[
    Def("sets.contains(list(A), list(A)) bool", Sets(1), |_, a| args!(a, [x, y] => all_in(y, x))),
    Def("sets.equivalent(list(A), list(A)) bool", Sets(2), |_, a| {
        args!(a, [x, y] => match all_in(x, y)? {
            Val::Bool(true) => all_in(y, x),
            other => Ok(other),
        })
    }),
    Def("sets.intersects(list(A), list(A)) bool", Sets(1), |_, a| {
        args!(a, [x, y] => {
            let within = y.items().ok_or_else(Fail::no_overload)?.collect()?;
            for item in x.items().ok_or_else(Fail::no_overload)?.iter() {
                let item = item?;
                if operators::any(&within, |o| compare::equal(o, &item))? {
                    return Ok(Val::Bool(true));
                }
            }
            Ok(Val::Bool(false))
        })
    }),
];

fn all_in<'a>(these: &Val<'a>, within: &Val<'a>) -> Out<'a> {
    let within = within.items().ok_or_else(Fail::no_overload)?.collect()?;
    for item in these.items().ok_or_else(Fail::no_overload)?.iter() {
        let item = item?;
        if !operators::any(&within, |o| compare::equal(o, &item))? {
            return Ok(Val::Bool(false));
        }
    }
    Ok(Val::Bool(true))
}
