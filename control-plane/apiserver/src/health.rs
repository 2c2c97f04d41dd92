//! `/healthz`, `/livez` and `/readyz`: one line, or one line per check.

use crate::ctx::Ctx;
use crate::request::RequestInfo;
use crate::respond;
use crate::server::Body;
use http::Response;
use std::sync::Arc;

/// The checks of each path, in the order in which they are shown.
const HEALTH: &[&str] = &["ping", "log", "etcd", "informer-sync", "poststarthook/bootstrap"];
const LIVE: &[&str] = &["ping", "log", "etcd"];
const READY: &[&str] = &["ping", "log", "etcd", "informer-sync", "poststarthook/bootstrap", "shutdown"];

/// Answers below the three paths; `None` for any other.
pub(crate) async fn handle(ctx: &Arc<Ctx>, info: &RequestInfo) -> Option<Response<Body>> {
    let path = info.path.trim_matches('/');
    let (root, one) = path.split_once('/').unwrap_or((path, ""));
    let checks = match root {
        "healthz" => HEALTH,
        "livez" => LIVE,
        "readyz" => READY,
        _ => return None,
    };
    if !one.is_empty() {
        let Some(check) = checks.iter().find(|c| **c == one) else {
            return Some(respond::text(404, "404 page not found\n"));
        };
        return Some(match failure(ctx, check).await {
            None => respond::text(200, "ok"),
            Some(why) => respond::text(500, format!("internal server error: {why}\n")),
        });
    }
    let excluded: Vec<&str> = info.query.all("exclude").collect();
    let (mut lines, mut failed) = (String::new(), Vec::new());
    for check in checks {
        let line = match (excluded.contains(check), failure(ctx, check).await) {
            (true, _) => format!("[+]{check} excluded: ok\n"),
            (false, None) => format!("[+]{check} ok\n"),
            (false, Some(_)) => {
                failed.push(*check);
                format!("[-]{check} failed: reason withheld\n")
            }
        };
        lines.push_str(&line);
    }
    if !failed.is_empty() {
        return Some(respond::text(500, format!("{lines}{root} check failed\n")));
    }
    Some(match info.query.has("verbose") {
        true => respond::text(200, format!("{lines}{root} check passed\n")),
        false => respond::text(200, "ok"),
    })
}

async fn failure(ctx: &Ctx, check: &str) -> Option<String> {
    match check {
        "etcd" => ctx.registry.storage().get(crate::registry::ROOT).await.err().map(|e| e.message),
        "informer-sync" => ctx.registry.caches().fresh().await.err().map(|e| e.message),
        "poststarthook/bootstrap" => {
            (!*ctx.ready.borrow() && !ctx.stop.is_cancelled()).then(|| "not finished".to_owned())
        }
        "shutdown" => ctx.stop.is_cancelled().then(|| "process is shutting down".to_owned()),
        _ => None,
    }
}
