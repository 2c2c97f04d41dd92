//! Questions to the authoriser. They are declared, so that policies compile; whoever evaluates policies brings the answers.

use super::Cost::{Check, CopyArgument, One};
use super::{Def, Tools};
use crate::value::{Fail, Out, Val};

pub(super) const DEFS: &[Def] = &[
    Def("authorizer::path(string) pathCheck", One, absent),
    Def("authorizer::group(string) groupCheck", One, absent),
    Def("authorizer::serviceAccount(string, string) authorizer", One, absent),
    Def("groupCheck::resource(string) resourceCheck", One, absent),
    Def("resourceCheck::subresource(string) resourceCheck", One, absent),
    Def("resourceCheck::namespace(string) resourceCheck", One, absent),
    Def("resourceCheck::name(string) resourceCheck", One, absent),
    Def("resourceCheck::fieldSelector(string) resourceCheck", CopyArgument, absent),
    Def("resourceCheck::labelSelector(string) resourceCheck", CopyArgument, absent),
    Def("pathCheck::check(string) decision", Check, absent),
    Def("resourceCheck::check(string) decision", Check, absent),
    Def("decision::errored() bool", One, absent),
    Def("decision::error() string", One, absent),
    Def("decision::allowed() bool", One, absent),
    Def("decision::reason() string", One, absent),
];

fn absent<'a>(_: &Tools<'_>, _: &[Val<'a>]) -> Out<'a> {
    Err(Fail::new("no authorizer is at hand"))
}
