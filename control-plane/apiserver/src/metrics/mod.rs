//! `/metrics`: what the server counts, in the text form of Prometheus and with upstream's names and labels; and
//! `/metrics/slis`, how often it was healthy.

mod door;
mod expressions;
mod process;
mod stored;
mod target;
mod text;

pub(crate) use expressions::{COMPILATION, EVALUATION};
pub(crate) use target::scope;
pub(crate) use text::Histogram;

use crate::admission::Operation;
use crate::chunks::Chunks;
use crate::ctx::Ctx;
use crate::negotiate;
use crate::request::RequestInfo;
use crate::respond;
use crate::server::Body;
use http::{HeaderMap, HeaderValue, Response, StatusCode};
use parking_lot::Mutex;
use std::collections::{BTreeMap, HashMap};
use std::hash::Hash;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::time::Duration;
use target::Target;
use text::Text;

/// Upper bounds of latencies, in seconds: upstream's.
pub(crate) const SECONDS: [f64; 23] = [
    0.005, 0.025, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8, 1.0, 1.25, 1.5, 2.0, 3.0, 4.0, 5.0, 6.0, 8.0, 10.0, 15.0, 20.0, 30.0,
    45.0, 60.0,
];
/// Of what requests take by themselves.
const OWN_SECONDS: &[f64] = SECONDS.split_at(2).1;
/// Of admission, in seconds.
const ADMISSION_SECONDS: [f64; 6] = [0.005, 0.025, 0.1, 0.5, 1.0, 2.5];
/// Of responses and of a watch's events, in bytes.
const SIZES: [f64; 7] = [1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9];
const EVENT_SIZES: [f64; 8] = [1024.0, 2048.0, 4096.0, 8192.0, 16384.0, 32768.0, 65536.0, 131072.0];
/// Of watches that begin with a list, in seconds.
const LIST_SECONDS: [f64; 17] =
    [0.05, 0.1, 0.2, 0.4, 0.6, 0.8, 1.0, 2.0, 4.0, 6.0, 8.0, 10.0, 15.0, 20.0, 30.0, 45.0, 60.0];
/// Series of a family at most: definitions of custom resources make more, without end.
const SERIES: usize = 2000;

/// The size of a response whose body comes in pieces, for who counts it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Size(pub usize);

/// Text in this form from elsewhere in the process: of the controllers' queues, say.
pub(crate) type Source = Box<dyn Fn() -> String + Send + Sync>;

#[derive(Default)]
struct Counted {
    requests: HashMap<(Target, &'static str, &'static str, u16), u64>,
    latency: HashMap<(Target, &'static str), Histogram>,
    /// The same without waiting for a place and without dry runs apart.
    own: HashMap<Target, Histogram>,
    /// Requests that were ended without an answer of their own.
    ended: HashMap<(Target, u16), u64>,
    sizes: HashMap<Target, Histogram>,
    long: HashMap<Target, Arc<AtomicI64>>,
    deprecated: BTreeMap<(&'static str, &'static str, &'static str), ()>,
    admission: HashMap<(&'static str, &'static str, bool), Histogram>,
    plugins: HashMap<(&'static str, &'static str, &'static str, bool), Histogram>,
    checks: BTreeMap<(&'static str, &'static str), Checked>,
}

/// How a check of health went.
#[derive(Default, Clone, Copy)]
struct Checked {
    good: u64,
    bad: u64,
    now: bool,
}

#[derive(Default)]
pub(crate) struct Metrics {
    counted: Mutex<Counted>,
    watched: Mutex<HashMap<[String; 3], Arc<Watched>>>,
    /// Requests under way that change something, and those that only read.
    mutating: AtomicI64,
    reading: AtomicI64,
    sources: Mutex<Vec<Source>>,
    pub(crate) door: door::Door,
}

/// A request under way.
pub(crate) struct Begun<'a> {
    /// `None`: it is not counted.
    target: Option<Target>,
    dry_run: &'static str,
    system_client: &'static str,
    lasts: Option<Arc<LongRunning>>,
    /// What is not said to last counts as under way until this is dropped.
    _under_way: Option<UnderWay<'a>>,
    is_admitted: AtomicBool,
    /// How long it waited for its place, in microseconds.
    waited_us: AtomicU64,
}

impl Begun<'_> {
    /// For whoever goes on with the request after it is answered; `None` where nobody does.
    pub(crate) fn lasts(&self) -> Option<Arc<LongRunning>> {
        self.lasts.clone()
    }

    /// The caller may ask this. Who may not is not counted among the requests, as upstream.
    pub(crate) fn admitted(&self) {
        self.is_admitted.store(true, Ordering::Relaxed);
    }

    pub(crate) fn waited(&self, time: Duration) {
        self.waited_us.store(u64::try_from(time.as_micros()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }
}

struct UnderWay<'a>(&'a AtomicI64);

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A watch or a stream, for as long as it lasts.
pub(crate) struct LongRunning(Arc<AtomicI64>);

impl Drop for LongRunning {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// What watches of one resource were sent.
#[derive(Default)]
pub(crate) struct Watched {
    events: AtomicU64,
    sizes: Mutex<Histogram>,
    /// How long the lists took that they began with, by scope.
    lists: Mutex<BTreeMap<&'static str, Histogram>>,
}

impl Watched {
    pub(crate) fn event(&self, bytes: usize) {
        self.events.fetch_add(1, Ordering::Relaxed);
        self.sizes.lock().observe(&EVENT_SIZES, bytes as f64);
    }

    /// All that was there at the start has been sent.
    pub(crate) fn listed(&self, scope: &'static str, took: Duration) {
        self.lists.lock().entry(scope).or_default().observe(&LIST_SECONDS, took.as_secs_f64());
    }
}

/// The place of a series, unless there are too many.
fn series<K: Eq + Hash, V: Default>(map: &mut HashMap<K, V>, key: K) -> Option<&mut V> {
    if map.len() >= SERIES && !map.contains_key(&key) {
        return None;
    }
    Some(map.entry(key).or_default())
}

/// The subresources whose requests last.
pub(crate) fn is_stream(subresource: &str) -> bool {
    matches!(subresource, "log" | "exec" | "attach" | "portforward" | "proxy")
}

impl Metrics {
    /// `known` says whether the resource is one that is served.
    pub(crate) fn begin(&self, info: &RequestInfo, headers: &HeaderMap, known: bool) -> Begun<'_> {
        let target = Target::of(info, headers, known);
        let lasts = info.is_resource && (info.verb == "watch" || is_stream(&info.subresource));
        let lasts = target.clone().filter(|_| lasts).map(|target| {
            let gauge = series(&mut self.counted.lock().long, target).cloned()?;
            gauge.fetch_add(1, Ordering::Relaxed);
            Some(Arc::new(LongRunning(gauge)))
        });
        let under_way = lasts.is_none().then(|| {
            let reads = matches!(info.verb.as_str(), "get" | "list" | "watch" | "head");
            let gauge = if reads { &self.reading } else { &self.mutating };
            gauge.fetch_add(1, Ordering::Relaxed);
            UnderWay(gauge)
        });
        Begun {
            target,
            dry_run: target::dry_run(info),
            system_client: target::system_client(headers),
            lasts: lasts.flatten(),
            _under_way: under_way,
            is_admitted: AtomicBool::new(false),
            waited_us: AtomicU64::new(0),
        }
    }

    /// Counts a request that was answered. The answer's body goes on counting as long as it lasts.
    pub(crate) fn end(&self, begun: Begun<'_>, response: Response<Body>, took: Duration) -> Response<Body> {
        let Begun { target, dry_run, system_client, lasts, is_admitted, waited_us, .. } = begun;
        if let Some(target) = target.filter(|_| is_admitted.into_inner()) {
            let own = took.saturating_sub(Duration::from_micros(waited_us.into_inner()));
            self.answered(target, (dry_run, system_client), &response, [took, own]);
        }
        match lasts {
            Some(lasts) => held(response, lasts),
            None => response,
        }
    }

    fn answered(
        &self,
        target: Target,
        (dry_run, system_client): (&'static str, &'static str),
        response: &Response<Body>,
        [took, own]: [Duration; 2],
    ) {
        let mut counted = self.counted.lock();
        // A watch lasts as long as its client likes: its time says nothing of the server.
        if !target.is_watch() {
            if let Some(latency) = series(&mut counted.latency, (target.clone(), dry_run)) {
                latency.observe(&SECONDS, took.as_secs_f64());
            }
            if let Some(latency) = series(&mut counted.own, target.clone()) {
                latency.observe(OWN_SECONDS, own.as_secs_f64());
            }
        }
        if let Some(size) = size(response).filter(|_| target.reads())
            && let Some(sizes) = series(&mut counted.sizes, target.clone())
        {
            sizes.observe(&SIZES, size as f64);
        }
        let key = (target, dry_run, system_client, response.status().as_u16());
        if let Some(count) = series(&mut counted.requests, key) {
            *count += 1;
        }
    }

    /// A request that was ended without an answer of its own: there was no place for it, or nobody to ask.
    pub(crate) fn ended(&self, info: &RequestInfo, headers: &HeaderMap, component: &'static str, code: u16) {
        let key = (Target::any(info, headers, component), code);
        if let Some(count) = series(&mut self.counted.lock().ended, key) {
            *count += 1;
        }
    }

    pub(crate) fn deprecated(&self, group: &'static str, version: &'static str, resource: &'static str) {
        self.counted.lock().deprecated.insert((group, version, resource), ());
    }

    /// All plugins of a phase (`admit`, `validate`) together.
    pub(crate) fn admission(&self, kind: &'static str, operation: Operation, rejected: bool, took: Duration) {
        let mut counted = self.counted.lock();
        let seconds = counted.admission.entry((kind, operation_label(operation), rejected)).or_default();
        seconds.observe(&ADMISSION_SECONDS, took.as_secs_f64());
    }

    /// One of them.
    pub(crate) fn plugin(
        &self,
        name: &'static str,
        kind: &'static str,
        operation: Operation,
        rejected: bool,
        took: Duration,
    ) {
        let mut counted = self.counted.lock();
        let seconds = counted.plugins.entry((name, kind, operation_label(operation), rejected)).or_default();
        seconds.observe(&ADMISSION_SECONDS, took.as_secs_f64());
    }

    /// A check of `/healthz`, `/livez` or `/readyz`.
    pub(crate) fn checked(&self, root: &'static str, check: &'static str, good: bool) {
        let mut counted = self.counted.lock();
        let checked = counted.checks.entry((check, root)).or_default();
        checked.now = good;
        *(if good { &mut checked.good } else { &mut checked.bad }) += 1;
    }

    pub(crate) fn watched(&self, info: &RequestInfo) -> Arc<Watched> {
        let key = [info.group.clone(), info.version.clone(), info.resource.clone()];
        let mut watched = self.watched.lock();
        series(&mut watched, key).map(|w| w.clone()).unwrap_or_default()
    }

    pub(crate) fn add(&self, source: Source) {
        self.sources.lock().push(source);
    }

    fn write(&self, text: &mut Text) {
        self.write_requests(text);
        let counted = self.counted.lock();
        const DEPRECATED: &str = "apiserver_requested_deprecated_apis";
        text.family(DEPRECATED, "gauge", "[STABLE] Gauge of deprecated APIs that have been requested, broken out by API group, version, resource, subresource, and removed_release.");
        for (group, version, resource) in counted.deprecated.keys() {
            let labels = format!(
                "group=\"{group}\",removed_release=\"\",resource=\"{resource}\",subresource=\"\",version=\"{version}\""
            );
            text.sample(DEPRECATED, &labels, 1);
        }
        const ADMISSION: &str = "apiserver_admission_step_admission_duration_seconds";
        text.family(ADMISSION, "histogram", "[STABLE] Admission sub-step latency histogram in seconds, broken out for each operation and API resource and step type (validate or admit).");
        for ((kind, operation, rejected), seconds) in sorted(&counted.admission) {
            let labels = format!("operation=\"{operation}\",rejected=\"{rejected}\",type=\"{kind}\"");
            text.histogram(ADMISSION, &labels, &ADMISSION_SECONDS, &seconds);
        }
        const PLUGIN: &str = "apiserver_admission_controller_admission_duration_seconds";
        let help = "[STABLE] Admission controller latency histogram in seconds, identified by name and broken out for each operation and API resource and type (validate or admit).";
        text.family(PLUGIN, "histogram", help);
        for ((name, kind, operation, rejected), seconds) in sorted(&counted.plugins) {
            let labels = format!("name=\"{name}\",operation=\"{operation}\",rejected=\"{rejected}\",type=\"{kind}\"");
            text.histogram(PLUGIN, &labels, &ADMISSION_SECONDS, &seconds);
        }
        drop(counted);
        self.write_watched(text);
    }

    fn write_requests(&self, text: &mut Text) {
        let counted = self.counted.lock();
        const TOTAL: &str = "apiserver_request_total";
        text.family(TOTAL, "counter", "[STABLE] Counter of apiserver requests broken out for each verb, dry run value, group, version, resource, scope, component, and HTTP response code.");
        for ((target, dry_run, system_client, code), count) in sorted(&counted.requests) {
            let labels =
                format!("code=\"{code}\",dry_run=\"{dry_run}\",system_client=\"{system_client}\",{}", target.labels());
            text.sample(TOTAL, &labels, count);
        }
        const LATENCY: &str = "apiserver_request_duration_seconds";
        text.family(LATENCY, "histogram", "[STABLE] Response latency distribution in seconds for each verb, dry run value, group, version, resource, subresource, scope and component.");
        for ((target, dry_run), seconds) in sorted(&counted.latency) {
            text.histogram(LATENCY, &format!("dry_run=\"{dry_run}\",{}", target.labels()), &SECONDS, &seconds);
        }
        const OWN: &str = "apiserver_request_sli_duration_seconds";
        text.family(OWN, "histogram", "[ALPHA] Response latency distribution (not counting webhook duration and priority & fairness queue wait times) in seconds for each verb, group, version, resource, subresource, scope and component.");
        for (target, seconds) in sorted(&counted.own) {
            text.histogram(OWN, &target.labels(), OWN_SECONDS, &seconds);
        }
        const ENDED: &str = "apiserver_request_terminations_total";
        text.family(ENDED, "counter", "[ALPHA] Number of requests which apiserver terminated in self-defense.");
        for ((target, code), count) in sorted(&counted.ended) {
            text.sample(ENDED, &format!("code=\"{code}\",{}", target.labels()), count);
        }
        const RESPONSES: &str = "apiserver_response_sizes";
        text.family(RESPONSES, "histogram", "[STABLE] Response size distribution in bytes for each group, version, verb, resource, subresource, scope and component.");
        for (target, sizes) in sorted(&counted.sizes) {
            text.histogram(RESPONSES, &target.labels(), &SIZES, &sizes);
        }
        const LONG: &str = "apiserver_longrunning_requests";
        text.family(LONG, "gauge", "[STABLE] Gauge of all active long-running apiserver requests broken out by verb, group, version, resource, scope and component. Not all requests are tracked this way.");
        for (target, gauge) in sorted(&counted.long) {
            text.sample(LONG, &target.labels(), gauge.load(Ordering::Relaxed));
        }
        const INFLIGHT: &str = "apiserver_current_inflight_requests";
        text.family(INFLIGHT, "gauge", "[STABLE] Maximal number of currently used inflight request limit of this apiserver per request kind in last second.");
        for (kind, gauge) in [("mutating", &self.mutating), ("readOnly", &self.reading)] {
            text.sample(INFLIGHT, &format!("request_kind=\"{kind}\""), gauge.load(Ordering::Relaxed));
        }
    }

    fn write_watched(&self, text: &mut Text) {
        let watched = sorted(&self.watched.lock());
        let labels = |[group, version, resource]: &[String; 3]| {
            format!("group=\"{group}\",resource=\"{resource}\",version=\"{version}\"")
        };
        const EVENTS: &str = "apiserver_watch_events_total";
        text.family(EVENTS, "counter", "[ALPHA] Number of events sent in watch clients");
        for (of, watched) in &watched {
            text.sample(EVENTS, &labels(of), watched.events.load(Ordering::Relaxed));
        }
        const BYTES: &str = "apiserver_watch_events_sizes";
        text.family(BYTES, "histogram", "[ALPHA] Watch event size distribution in bytes");
        for (of, watched) in &watched {
            text.histogram(BYTES, &labels(of), &EVENT_SIZES, &watched.sizes.lock());
        }
        const LISTS: &str = "apiserver_watch_list_duration_seconds";
        text.family(LISTS, "histogram", "[BETA] Response latency distribution in seconds for watch list requests broken by group, version, resource and scope.");
        for ([group, version, resource], watched) in &watched {
            for (scope, seconds) in watched.lists.lock().iter() {
                let labels =
                    format!("group=\"{group}\",resource=\"{resource}\",scope=\"{scope}\",version=\"{version}\"");
                text.histogram(LISTS, &labels, &LIST_SECONDS, seconds);
            }
        }
    }

    fn checks(&self) -> Text {
        let (counted, mut text) = (self.counted.lock(), Text::default());
        const NOW: &str = "kubernetes_healthcheck";
        text.family(NOW, "gauge", "[STABLE] This metric records the result of a single healthcheck.");
        for ((check, root), checked) in &counted.checks {
            text.sample(NOW, &format!("name=\"{check}\",type=\"{root}\""), u8::from(checked.now));
        }
        const TOTAL: &str = "kubernetes_healthchecks_total";
        text.family(TOTAL, "counter", "[STABLE] This metric records the results of all healthcheck.");
        for ((check, root), checked) in &counted.checks {
            for (status, count) in [("error", checked.bad), ("success", checked.good)] {
                if count > 0 {
                    text.sample(TOTAL, &format!("name=\"{check}\",status=\"{status}\",type=\"{root}\""), count);
                }
            }
        }
        text
    }
}

fn operation_label(operation: Operation) -> &'static str {
    match operation {
        Operation::Create => "CREATE",
        Operation::Update => "UPDATE",
        Operation::Delete => "DELETE",
        Operation::Connect => "CONNECT",
    }
}

fn sorted<K: Ord + Clone, V: Clone>(map: &HashMap<K, V>) -> Vec<(K, V)> {
    let mut all: Vec<_> = map.iter().map(|(k, v)| (k.clone(), v.clone())).collect();
    all.sort_by(|(a, _), (b, _)| a.cmp(b));
    all
}

fn size(response: &Response<Body>) -> Option<usize> {
    use http_body::Body as _;
    let told = response.extensions().get::<Size>().map(|size| size.0);
    told.or_else(|| usize::try_from(response.body().size_hint().exact()?).ok())
}

/// A response whose body keeps the request under way until it ends.
fn held(response: Response<Body>, lasts: Arc<LongRunning>) -> Response<Body> {
    use futures::StreamExt;
    if response.status() == StatusCode::SWITCHING_PROTOCOLS {
        // Whoever speaks then holds it.
        return response;
    }
    response.map(|body| {
        Body::from_stream(body.into_data_stream().map(move |piece| {
            let _ = &lasts;
            piece
        }))
    })
}

pub(crate) async fn handle(ctx: &Ctx, path: &str, headers: &HeaderMap) -> Response<Body> {
    const TEXT: HeaderValue =
        HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8; escaping=underscores");
    let text = match path {
        "/metrics/slis" => ctx.metrics.checks(),
        _ => all(ctx).await,
    };
    match negotiate::takes_gzip(headers) {
        true => respond::gzipped(200, TEXT, Chunks::whole(text.into_string().into_bytes())),
        false => respond::with(200, TEXT, text.into_string()),
    }
}

async fn all(ctx: &Ctx) -> Text {
    let mut text = Text::default();
    ctx.metrics.write(&mut text);
    ctx.metrics.door.write(&mut text);
    write_aggregated(ctx, &mut text);
    stored::write(ctx, &mut text).await;
    text.single(
        "wherry_cache_revision",
        "gauge",
        "The store revision that the watch cache has reached.",
        ctx.registry.caches().applied(),
    );
    text.family("kubernetes_build_info", "gauge", "A metric with a constant '1' value labeled by what was built.");
    text.sample("kubernetes_build_info", &crate::discovery::build_labels(), 1);
    expressions::write(&mut text);
    process::write(&mut text);
    for source in ctx.metrics.sources.lock().iter() {
        text.append(&source());
    }
    text
}

/// Which APIServices are not available, and how often each was no longer, and why.
fn write_aggregated(ctx: &Ctx, text: &mut Text) {
    let (now, lost) = ctx.aggregation.availability();
    const NOW: &str = "aggregator_unavailable_apiservice";
    let help = "[ALPHA] Gauge of APIServices which are marked as unavailable broken down by APIService name.";
    text.family(NOW, "gauge", help);
    for (name, is_available) in &now {
        text.sample(NOW, &format!("name=\"{name}\""), u8::from(!is_available));
    }
    const LOST: &str = "aggregator_unavailable_apiservice_total";
    let help =
        "[ALPHA] Counter of APIServices which are marked as unavailable broken down by APIService name and reason.";
    text.family(LOST, "counter", help);
    for ((name, reason), count) in &lost {
        text.sample(LOST, &format!("name=\"{name}\",reason={reason:?}"), count);
    }
}
