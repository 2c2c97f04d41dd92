//! The kinds of CustomResourceDefinitions: built when a definition is established, dropped when it is gone.
//!
//! Establishing is the work of ordinary controllers; here the result is read.

use crate::Registry;
use crate::cache::{Cursor, Entry};
use crate::ctx::Ctx;
use crate::expressions;
use crate::lookup;
use api::kind::custom;
use api::{Kind, Status};
use bytes::Bytes;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

/// Between attempts to read the definitions after the cache broke.
const RETRY: Duration = Duration::from_millis(100);

/// What was built from a definition at a revision.
#[derive(Default)]
pub(crate) struct Built(HashMap<Bytes, (u64, Vec<Arc<Kind>>)>);

impl Built {
    /// Serves the kinds of the definitions as they are now, and returns a cursor behind them.
    pub(crate) async fn update(&mut self, registry: &Registry) -> Result<Cursor, Status> {
        let kind = registry.known(lookup::DEFINITIONS)?;
        let cache = registry.cache(&kind).await?;
        registry.caches().fresh().await?;
        let (entries, cursor) = cache.snapshot(None);
        let mut next = HashMap::with_capacity(entries.len());
        let mut served = Vec::new();
        let mut changed = false;
        for entry in entries {
            let kinds = match self.0.remove(&entry.name) {
                Some((revision, kinds)) if revision == entry.revision => kinds,
                _ => {
                    changed = true;
                    build(&kind, &entry)
                }
            };
            served.extend(kinds.iter().cloned());
            next.insert(entry.name.clone(), (entry.revision, kinds));
        }
        // What is left belongs to definitions that are gone.
        changed |= !self.0.is_empty();
        self.0 = next;
        if changed {
            registry.serve_custom(served);
        }
        Ok(cursor)
    }
}

fn build(kind: &Kind, entry: &Entry) -> Vec<Arc<Kind>> {
    let built = match entry.decode(kind) {
        Ok(definition) => custom::kinds(&definition).map_err(|e| e.to_string()),
        Err(status) => Err(status.message),
    };
    match built {
        Ok(kinds) => kinds.into_iter().map(expressions::with_rules).map(Arc::new).collect(),
        Err(error) => {
            let name = String::from_utf8_lossy(&entry.name);
            tracing::error!(%name, error, "a CustomResourceDefinition cannot be served");
            Vec::new()
        }
    }
}

/// Follows the definitions until the server stops.
pub(crate) async fn follow(ctx: Arc<Ctx>) {
    loop {
        let updated = ctx.definitions.lock().await.update(&ctx.registry).await;
        match updated {
            Ok(mut cursor) => {
                tokio::select! {
                    () = changed(&mut cursor) => {}
                    () = ctx.stop.cancelled() => return,
                }
            }
            Err(status) => {
                tracing::warn!(error = status.message, "CustomResourceDefinitions cannot be read");
                tokio::select! {
                    () = tokio::time::sleep(RETRY) => {}
                    () = ctx.stop.cancelled() => return,
                }
            }
        }
    }
}

/// Serves what any server's store knows at this moment.
///
/// Whoever has seen a definition become established may ask for its objects at once, also at another server; so a
/// request for what is not served waits for this before it is told that.
pub(crate) async fn catch_up(ctx: &Ctx) -> Result<(), Status> {
    ctx.registry.caches().newest().await?;
    ctx.definitions.lock().await.update(&ctx.registry).await.map(drop)
}

/// Returns when something has changed, or the cursor is good for nothing any more.
pub(crate) async fn changed(cursor: &mut Cursor) {
    while cursor.ready().is_ok_and(|changes| changes.is_empty()) {
        cursor.changed().await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::authn::{Identity, InternalUser};
    use crate::pipeline::{self, Caller};
    use crate::server::Body;
    use crate::{Config, bootstrap};
    use http::Request;

    const DEFINITIONS: &str = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";

    async fn ask(ctx: &Arc<Ctx>, method: &str, path: &str, media: &str, body: String) -> u16 {
        let request = Request::builder().method(method).uri(path).header("content-type", media);
        let request = request.body(Body::from(body)).expect("a request");
        let caller = Caller::Inside(Identity::internal(&InternalUser::Admin));
        pipeline::serve(ctx.clone(), caller, request).await.status().as_u16()
    }

    fn definition(plural: &str) -> String {
        let kind = plural.to_uppercase();
        format!(
            r#"{{"apiVersion":"apiextensions.k8s.io/v1","kind":"CustomResourceDefinition","metadata":{{"name":"{plural}.{plural}.example"}},
            "spec":{{"group":"{plural}.example","scope":"Cluster","names":{{"plural":"{plural}","kind":"{kind}"}},
            "versions":[{{"name":"v1","served":true,"storage":true,"schema":{{"openAPIV3Schema":{{"type":"object"}}}}}}]}}}}"#
        )
    }

    /// Nobody follows the definitions here: what is served is what the request itself has asked for.
    #[tokio::test]
    async fn an_established_definition_is_served_to_the_first_who_asks() {
        let dir = tempfile::tempdir().expect("a directory");
        let store = store::Store::open(store::Config::new(dir.path().join("store"))).await.expect("the folder is ours");
        let config = Config::on_loopback(dir.path());
        let ctx = Arc::new(Ctx::open(config, store.clone(), 0).expect("it opens"));
        bootstrap::run(&ctx).await.expect("a new cluster");
        for (plural, path) in
            [("as", "/apis/as.example/v1"), ("bs", "/apis/bs.example"), ("cs", "/apis/cs.example/v1/cs")]
        {
            assert_eq!(ask(&ctx, "GET", path, "application/json", String::new()).await, 404, "{path}");
            assert_eq!(ask(&ctx, "POST", DEFINITIONS, "application/json", definition(plural)).await, 201);
            let status = format!(
                r#"{{"status":{{"acceptedNames":{{"plural":"{plural}","kind":"{}"}},"storedVersions":["v1"],
                "conditions":[{{"type":"Established","status":"True"}},{{"type":"NamesAccepted","status":"True"}}]}}}}"#,
                plural.to_uppercase()
            );
            let at = format!("{DEFINITIONS}/{plural}.{plural}.example/status");
            assert_eq!(ask(&ctx, "PATCH", &at, "application/merge-patch+json", status).await, 200);
            assert_eq!(ask(&ctx, "GET", path, "application/json", String::new()).await, 200, "{path}");
        }
        ctx.stop.cancel();
        drop(ctx);
        store.close().await.expect("it closes");
    }
}
