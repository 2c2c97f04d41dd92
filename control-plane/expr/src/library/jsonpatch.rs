//! Paths of JSON patches.

use super::Cost::CopyArgument;
use super::{Def, args};
use crate::value::Val;

pub(super) const DEFS: &[Def] = &[Def(
    "jsonpatch.escapeKey(string) string",
    CopyArgument,
    |_, a| args!(a, [Val::String(key)] => Ok(Val::text(key.replace('~', "~0").replace('/', "~1")))),
)];
