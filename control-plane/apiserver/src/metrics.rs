//! `/metrics`: what the server counts, in the text form of Prometheus and with upstream's names.

use crate::ctx::Ctx;
use crate::request::RequestInfo;
use crate::respond;
use crate::server::Body;
use http::{HeaderValue, Response, StatusCode};
use parking_lot::Mutex;
use std::collections::HashMap;
use std::fmt::Write;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Upper bounds of the latency histogram, in seconds.
const BOUNDS: [f64; 8] = [0.005, 0.025, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0];
/// Series at most: a client could otherwise make one with each invented path.
const SERIES: usize = 2000;

/// Requests by verb, group, version, resource, subresource and code.
type Labels = (String, String, String, String, String, u16);

#[derive(Default)]
pub(crate) struct Metrics {
    requests: Mutex<HashMap<Labels, u64>>,
    /// Of requests that are not watches; one more for those above the last bound.
    latency: [AtomicU64; BOUNDS.len() + 1],
    latency_micros: AtomicU64,
}

impl Metrics {
    pub(crate) fn observe(&self, info: &RequestInfo, code: StatusCode, took: Duration) {
        if info.verb != "watch" {
            let bucket = BOUNDS.iter().position(|b| took.as_secs_f64() <= *b).unwrap_or(BOUNDS.len());
            self.latency[bucket].fetch_add(1, Ordering::Relaxed);
            self.latency_micros.fetch_add(u64::try_from(took.as_micros()).unwrap_or(u64::MAX), Ordering::Relaxed);
        }
        let known = info.is_resource && code != StatusCode::NOT_FOUND;
        let text = |t: &str| if known { t.to_owned() } else { String::new() };
        let labels = (
            info.verb.to_uppercase(),
            text(&info.group),
            text(&info.version),
            text(&info.resource),
            text(&info.subresource),
            code.as_u16(),
        );
        let mut requests = self.requests.lock();
        if requests.len() < SERIES || requests.contains_key(&labels) {
            *requests.entry(labels).or_default() += 1;
        }
    }

    fn text(&self) -> String {
        let mut out = String::from(
            "# HELP apiserver_request_total Counter of apiserver requests.\n# TYPE apiserver_request_total counter\n",
        );
        let mut requests: Vec<_> = self.requests.lock().iter().map(|(l, n)| (l.clone(), *n)).collect();
        requests.sort();
        for ((verb, group, version, resource, subresource, code), count) in requests {
            // Writing to a String never fails.
            let _ = writeln!(
                out,
                "apiserver_request_total{{code=\"{code}\",group=\"{group}\",resource=\"{resource}\",\
                 subresource=\"{subresource}\",verb=\"{verb}\",version=\"{version}\"}} {count}"
            );
        }
        const NAME: &str = "apiserver_request_duration_seconds";
        let _ = writeln!(out, "# HELP {NAME} Response latency in seconds, watches apart.\n# TYPE {NAME} histogram");
        let mut sum = 0;
        for (bound, count) in BOUNDS.iter().map(f64::to_string).chain(["+Inf".to_owned()]).zip(&self.latency) {
            sum += count.load(Ordering::Relaxed);
            let _ = writeln!(out, "{NAME}_bucket{{le=\"{bound}\"}} {sum}");
        }
        let seconds = Duration::from_micros(self.latency_micros.load(Ordering::Relaxed)).as_secs_f64();
        let _ = writeln!(out, "{NAME}_sum {seconds}\n{NAME}_count {sum}");
        out
    }
}

pub(crate) fn handle(ctx: &Ctx) -> Response<Body> {
    let mut text = ctx.metrics.text();
    let _ = writeln!(
        text,
        "# HELP wherry_cache_revision The store revision that the watch cache has reached.\n\
         # TYPE wherry_cache_revision gauge\nwherry_cache_revision {}",
        ctx.registry.caches().applied()
    );
    respond::with(200, HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8"), text)
}
