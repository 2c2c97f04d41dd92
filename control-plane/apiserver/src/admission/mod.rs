//! Admission: the plugins in upstream's order, mutating ones first.

use crate::authn::User;
use crate::ctx::Ctx;
use crate::request::RequestInfo;
use api::{Kind, Object, Status, Value};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Operation {
    Create,
    Update,
    Delete,
    Connect,
}

/// One write on its way to the registry.
pub(crate) struct Admission<'a> {
    pub kind: &'a Kind,
    pub info: &'a RequestInfo,
    pub operation: Operation,
    pub user: &'a User,
    /// The object as it is stored: Update and Delete.
    pub old: Option<&'a Object>,
    /// The object as it will be: Create and Update; the options object of a Connect.
    pub object: Option<Object>,
    pub dry_run: bool,
    /// The CreateOptions, UpdateOptions, PatchOptions or DeleteOptions of the request.
    pub options: &'a Value,
    /// For `Warning` headers.
    pub warnings: Vec<String>,
}

/// Runs before defaulting and validation; may change `object`.
pub(crate) async fn mutate(_ctx: &Ctx, _admission: &mut Admission<'_>) -> Result<(), Status> {
    Ok(())
}

/// Runs after validation; may only add warnings.
pub(crate) async fn validate(_ctx: &Ctx, _admission: &mut Admission<'_>) -> Result<(), Status> {
    Ok(())
}
