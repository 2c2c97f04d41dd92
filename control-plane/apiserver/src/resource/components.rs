//! `componentstatuses`, which are asked for and never stored.

use super::Call;
use super::selection;
use crate::cache::Entry;
use crate::presence;
use crate::registry::{encode, not_found};
use crate::respond;
use crate::server::Body;
use crate::shape::ListMeta;
use api::Status;
use http::Response;
use std::sync::Arc;

pub(super) async fn answer(call: &Call<'_>) -> Result<Response<Body>, Status> {
    let objects = presence::statuses(call.ctx, &call.kind).await?;
    let revision = call.ctx.registry.storage().revision();
    let mut entries = objects.iter().map(|object| {
        let name = object.name().to_owned().into();
        Arc::new(Entry::new(name, encode(&call.kind, object), revision))
    });
    if call.info.verb == "get" {
        let found = entries.find(|e| e.name == call.info.name.as_bytes());
        let found = found.ok_or_else(|| not_found(&call.kind, &call.info.name))?;
        return Ok(respond::encoded(200, &call.accept, call.shown().object(&found)?));
    }
    let (_, selection) = selection::asked(&call.kind, call.info, false)?;
    let entries = entries.filter(|e| selection.takes(&call.kind, e)).collect();
    let meta = ListMeta { revision, ..ListMeta::default() };
    Ok(respond::chunks(200, &call.accept, call.shown().list(entries, &meta)?))
}
