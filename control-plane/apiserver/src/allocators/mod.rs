//! Addresses and ports of Services.

use crate::ctx::Ctx;
use api::{Kind, Object, Status};

pub(crate) struct Allocators {}

impl Allocators {
    pub(crate) fn new() -> Allocators {
        Allocators {}
    }
}

/// What was taken for one write. Dropped without [`Reservation::commit`], it is given back.
#[must_use]
pub(crate) struct Reservation {}

impl Reservation {
    /// The write is done: what the new object holds stays taken, what only the old one held is given back.
    pub(crate) async fn commit(self, _ctx: &Ctx) {}
}

/// Runs after validation and before the write of a create or an update: fills in addresses and ports.
/// With `dry_run` nothing stays taken.
pub(crate) async fn reserve(
    _ctx: &Ctx,
    _kind: &Kind,
    _object: &mut Object,
    _old: Option<&Object>,
    _dry_run: bool,
) -> Result<Reservation, Status> {
    Ok(Reservation {})
}

/// The object is gone from the store: gives back what it held.
pub(crate) async fn release(_ctx: &Ctx, _kind: &Kind, _object: &Object) {}
