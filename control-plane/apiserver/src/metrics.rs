//! `/metrics`: what the server counts, in the text form of Prometheus and with upstream's names.

use crate::ctx::Ctx;
use crate::request::RequestInfo;
use crate::respond;
use crate::server::Body;
use http::{HeaderValue, Response, StatusCode};
use parking_lot::Mutex;
use std::collections::HashMap;
use std::fmt::Write;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

/// Upper bounds of the latency histogram, in seconds: upstream's.
const BOUNDS: [f64; 24] = [
    0.005, 0.025, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8, 1.0, 1.25, 1.5, 2.0, 3.0, 4.0, 5.0, 6.0, 8.0, 10.0, 15.0, 20.0, 30.0,
    45.0, 60.0, 90.0,
];
/// Series at most: a client could otherwise make one with each invented path.
const SERIES: usize = 2000;

/// What a request was for, as labels name it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
struct Target {
    verb: String,
    group: String,
    version: String,
    resource: String,
    subresource: String,
    scope: &'static str,
    dry_run: &'static str,
}

impl Target {
    /// Requests for what is not there are counted without its name.
    fn of(info: &RequestInfo, code: StatusCode) -> Target {
        let verb = match info.verb.as_str() {
            "update" => "PUT".to_owned(),
            "create" => "POST".to_owned(),
            verb => verb.to_uppercase(),
        };
        if !info.is_resource || code == StatusCode::NOT_FOUND {
            return Target { verb, ..Target::default() };
        }
        let scope = match (info.verb.as_str(), info.name.is_empty(), info.namespace.is_empty()) {
            ("create", ..) | (_, false, _) => "resource",
            (_, true, false) => "namespace",
            (_, true, true) => "cluster",
        };
        let dry_run = if info.query.get("dryRun") == "All" { "All" } else { "" };
        let (group, version) = (info.group.clone(), info.version.clone());
        let (resource, subresource) = (info.resource.clone(), info.subresource.clone());
        Target { verb, group, version, resource, subresource, scope, dry_run }
    }

    fn labels(&self) -> String {
        let Target { verb, group, version, resource, subresource, scope, dry_run } = self;
        format!(
            "component=\"apiserver\",dry_run=\"{dry_run}\",group=\"{group}\",resource=\"{resource}\",scope=\"{scope}\",\
             subresource=\"{subresource}\",verb=\"{verb}\",version=\"{version}\""
        )
    }
}

/// How long requests of one target took.
#[derive(Default, Clone)]
struct Latency {
    /// One more for those above the last bound.
    buckets: [u64; BOUNDS.len() + 1],
    seconds: f64,
}

#[derive(Default)]
struct Counted {
    requests: HashMap<(Target, u16), u64>,
    latency: HashMap<Target, Latency>,
}

#[derive(Default)]
pub(crate) struct Metrics {
    counted: Mutex<Counted>,
    /// Requests under way that change something, and those that only read.
    mutating: AtomicI64,
    reading: AtomicI64,
}

/// A request under way; it ends when this is dropped.
pub(crate) struct UnderWay<'a>(&'a AtomicI64);

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Metrics {
    pub(crate) fn begin(&self, info: &RequestInfo) -> UnderWay<'_> {
        let reads = matches!(info.verb.as_str(), "get" | "list" | "watch" | "head");
        let gauge = if reads { &self.reading } else { &self.mutating };
        gauge.fetch_add(1, Ordering::Relaxed);
        UnderWay(gauge)
    }

    pub(crate) fn observe(&self, info: &RequestInfo, code: StatusCode, took: Duration) {
        let target = Target::of(info, code);
        let mut counted = self.counted.lock();
        // A watch lasts as long as its client likes: its time says nothing of the server.
        if info.verb != "watch" && (counted.latency.len() < SERIES || counted.latency.contains_key(&target)) {
            let latency = counted.latency.entry(target.clone()).or_default();
            let bucket = BOUNDS.iter().position(|b| took.as_secs_f64() <= *b).unwrap_or(BOUNDS.len());
            latency.buckets[bucket] += 1;
            latency.seconds += took.as_secs_f64();
        }
        let series = (target, code.as_u16());
        if counted.requests.len() < SERIES || counted.requests.contains_key(&series) {
            *counted.requests.entry(series).or_default() += 1;
        }
    }

    fn text(&self) -> String {
        let (mut requests, mut latency): (Vec<_>, Vec<_>) = {
            let counted = self.counted.lock();
            (
                counted.requests.iter().map(|(l, n)| (l.clone(), *n)).collect(),
                counted.latency.iter().map(|(l, n)| (l.clone(), n.clone())).collect(),
            )
        };
        requests.sort();
        latency.sort_by(|(a, _), (b, _)| a.cmp(b));
        let mut out = String::new();
        head(&mut out, "apiserver_request_total", "counter", "Counter of apiserver requests.");
        for ((target, code), count) in requests {
            // Writing to a String never fails.
            let _ = writeln!(out, "apiserver_request_total{{code=\"{code}\",{}}} {count}", target.labels());
        }
        const NAME: &str = "apiserver_request_duration_seconds";
        head(&mut out, NAME, "histogram", "Response latency distribution in seconds, watches apart.");
        for (target, latency) in latency {
            let (labels, mut sum) = (target.labels(), 0);
            for (bound, count) in BOUNDS.iter().map(f64::to_string).chain(["+Inf".to_owned()]).zip(latency.buckets) {
                sum += count;
                let _ = writeln!(out, "{NAME}_bucket{{{labels},le=\"{bound}\"}} {sum}");
            }
            let seconds = latency.seconds;
            let _ = writeln!(out, "{NAME}_sum{{{labels}}} {seconds}\n{NAME}_count{{{labels}}} {sum}");
        }
        const INFLIGHT: &str = "apiserver_current_inflight_requests";
        head(&mut out, INFLIGHT, "gauge", "Requests under way, by their kind.");
        for (kind, gauge) in [("mutating", &self.mutating), ("readOnly", &self.reading)] {
            let _ = writeln!(out, "{INFLIGHT}{{request_kind=\"{kind}\"}} {}", gauge.load(Ordering::Relaxed));
        }
        out
    }
}

fn head(out: &mut String, name: &str, kind: &str, help: &str) {
    let _ = writeln!(out, "# HELP {name} {help}\n# TYPE {name} {kind}");
}

pub(crate) fn handle(ctx: &Ctx) -> Response<Body> {
    let mut text = ctx.metrics.text();
    head(&mut text, "wherry_cache_revision", "gauge", "The store revision that the watch cache has reached.");
    let _ = writeln!(text, "wherry_cache_revision {}", ctx.registry.caches().applied());
    respond::with(200, HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8"), text)
}
