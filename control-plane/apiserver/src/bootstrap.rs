//! The objects that a new cluster has: namespaces, roles and bindings, priority classes, flow schemas.

use crate::{Error, ctx::Ctx};

/// Creates what is missing, and repairs what must be as it was. Runs at every start.
pub(crate) async fn run(_ctx: &Ctx) -> Result<(), Error> {
    Ok(())
}
