//! `/healthz`, `/livez` and `/readyz`: one line, or one line per check, each of which has a path of its own too.

use crate::ctx::Ctx;
use crate::request::RequestInfo;
use crate::respond;
use crate::server::Body;
use http::{HeaderValue, Response};
use std::sync::Arc;

/// Of an answer that is no error, as upstream's.
const TEXT: HeaderValue = HeaderValue::from_static("text/plain; charset=utf-8");

/// What a check looks at.
#[derive(Debug, Clone, Copy)]
enum Look {
    /// It answers.
    Alive,
    /// The store reads.
    Store,
    /// The watch cache is as new as the store.
    Caches,
    /// A part of the start that had to end well.
    Started,
    /// Nobody has asked the server to end.
    Stays,
}

/// The checks in the order in which they are shown, with upstream's names for what is done here as well; the roots that
/// have one are those whose letter it names: `h`ealthz, `l`ivez, `r`eadyz.
const CHECKS: [(&str, &str, Look); 15] = [
    ("ping", "hlr", Look::Alive),
    ("log", "hlr", Look::Alive),
    ("etcd", "hlr", Look::Store),
    ("etcd-readiness", "r", Look::Store),
    ("informer-sync", "r", Look::Caches),
    ("poststarthook/crd-informer-synced", "hlr", Look::Started),
    ("poststarthook/start-system-namespaces-controller", "hlr", Look::Started),
    ("poststarthook/start-cluster-authentication-info-controller", "hlr", Look::Started),
    ("poststarthook/start-service-ip-repair-controllers", "hlr", Look::Started),
    ("poststarthook/rbac/bootstrap-roles", "hlr", Look::Started),
    ("poststarthook/scheduling/bootstrap-system-priority-classes", "hlr", Look::Started),
    ("poststarthook/priority-and-fairness-config-producer", "hlr", Look::Started),
    ("poststarthook/bootstrap-controller", "hlr", Look::Started),
    ("autoregister-completion", "hlr", Look::Started),
    ("shutdown", "r", Look::Stays),
];

/// Where each check is asked for alone.
pub(crate) fn paths() -> impl Iterator<Item = String> {
    let roots = [("healthz", 'h'), ("livez", 'l'), ("readyz", 'r')];
    let of = |(root, letter): (&'static str, char)| {
        let checks = CHECKS.iter().filter(move |(_, roots, _)| roots.contains(letter));
        checks.map(move |(name, ..)| format!("/{root}/{name}"))
    };
    roots.into_iter().flat_map(of)
}

/// Answers below the three paths; `None` for any other.
pub(crate) async fn handle(ctx: &Arc<Ctx>, info: &RequestInfo) -> Option<Response<Body>> {
    let path = info.path.trim_start_matches('/');
    let (root, one) = path.split_once('/').unwrap_or((path, ""));
    let (root, letter) = match root {
        "healthz" => ("healthz", 'h'),
        "livez" => ("livez", 'l'),
        "readyz" => ("readyz", 'r'),
        _ => return None,
    };
    let checks = CHECKS.iter().filter(|(_, roots, _)| roots.contains(letter));
    if one.is_empty() {
        return Some(all(ctx, info, root, checks).await);
    }
    Some(match checks.into_iter().find(|(name, ..)| *name == one) {
        None => respond::text(404, "404 page not found\n"),
        Some((_, _, look)) => match failure(ctx, *look).await {
            None => respond::with(200, TEXT, "ok"),
            Some(why) => respond::text(500, format!("internal server error: {why}\n")),
        },
    })
}

async fn all(
    ctx: &Arc<Ctx>,
    info: &RequestInfo,
    root: &'static str,
    checks: impl Iterator<Item = &'static (&'static str, &'static str, Look)>,
) -> Response<Body> {
    let mut excluded: Vec<&str> = info.query.all("exclude").collect();
    excluded.sort_unstable();
    excluded.dedup();
    let (mut lines, mut failed) = (String::new(), false);
    for (name, _, look) in checks {
        if excluded.contains(name) {
            excluded.retain(|e| e != name);
            lines += &format!("[+]{name} excluded: ok\n");
            continue;
        }
        let failure = failure(ctx, *look).await;
        ctx.metrics.checked(root, name, failure.is_none());
        lines += &match failure {
            None => format!("[+]{name} ok\n"),
            Some(why) => {
                tracing::warn!(root, check = name, why, "not healthy");
                failed = true;
                format!("[-]{name} failed: reason withheld\n")
            }
        };
    }
    if !excluded.is_empty() {
        let unknown = excluded.iter().map(|e| format!("{e:?}")).collect::<Vec<_>>().join(",");
        lines += &format!("warn: some health checks cannot be excluded: no matches for {unknown}\n");
    }
    match (failed, info.query.has("verbose")) {
        (true, _) => respond::text(500, format!("{lines}{root} check failed\n")),
        (false, true) => respond::text(200, format!("{lines}{root} check passed\n")),
        (false, false) => respond::text(200, "ok"),
    }
}

async fn failure(ctx: &Ctx, look: Look) -> Option<String> {
    match look {
        Look::Alive => None,
        Look::Store => ctx.registry.storage().get(crate::registry::ROOT).await.err().map(|e| e.message),
        Look::Caches => ctx.registry.caches().fresh().await.err().map(|e| e.message),
        Look::Started => (!*ctx.ready.borrow() && !ctx.stop.is_cancelled()).then(|| "not finished".to_owned()),
        Look::Stays => ctx.stop.is_cancelled().then(|| "process is shutting down".to_owned()),
    }
}
