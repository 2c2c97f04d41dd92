//! `/metrics/resource`, which metrics-server scrapes for `kubectl top`, and `/metrics/cadvisor`, whose names dashboards
//! know: what the runtime says of pods and containers, in Prometheus' text format.

use super::Here;
use super::exposition::{Kind, Page, Sample};
use crate::board::Shown;
use crate::identity::{CONTAINER_NAME, POD_NAME, POD_NAMESPACE, POD_UID};
use crate::node::{Node, object};
use crate::observed::{Container, State as Life};
use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use rpc::cri;
use std::collections::HashMap;

/// What a page is made from.
pub struct Found {
    pub sandboxes: Vec<cri::PodSandboxStats>,
    /// By id.
    pub containers: HashMap<String, Container>,
    pub node: object::Usage,
    pub cores: usize,
    /// The runtime did not answer.
    pub failed: bool,
}

/// One container's statistics with what its pod's worker knows of it.
struct One<'a> {
    labels: Vec<(&'static str, String)>,
    stats: &'a cri::ContainerStats,
    known: Option<&'a Container>,
}

pub async fn resource(State(node): Here) -> Response {
    text(resource_page(&found(&node).await))
}

pub async fn cadvisor(State(node): Here) -> Response {
    text(cadvisor_page(&found(&node).await))
}

fn text(page: Page) -> Response {
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], page.text()).into_response()
}

async fn found(node: &Node) -> Found {
    let sandboxes = node.runtime.sandbox_stats().await;
    if let Err(error) = &sandboxes {
        tracing::warn!(%error, "reading statistics of pods");
    }
    let failed = sandboxes.is_err();
    let shown = node.board.all().into_iter().flat_map(|Shown { containers, .. }| containers);
    Found {
        sandboxes: sandboxes.unwrap_or_default(),
        containers: shown.map(|c| (c.id.clone(), c)).collect(),
        node: object::usage(),
        cores: std::thread::available_parallelism().map_or(1, usize::from),
        failed,
    }
}

/// A value, and when it was measured, in milliseconds.
type Reading = (f64, Option<i64>);

fn number(value: Option<&cri::UInt64Value>) -> Option<f64> {
    value.map(|v| v.value as f64)
}

/// Nanoseconds as seconds.
fn seconds(value: Option<&cri::UInt64Value>) -> Option<f64> {
    number(value).map(|ns| ns / 1e9)
}

/// When it was measured, in the page's milliseconds; of a runtime that does not say, when it is scraped.
fn at(nanoseconds: i64) -> Option<i64> {
    Some(nanoseconds / 1_000_000).filter(|ms| *ms > 0)
}

fn cpu(usage: Option<&cri::CpuUsage>) -> Option<Reading> {
    usage.and_then(|u| Some((seconds(u.usage_core_nano_seconds.as_ref())?, at(u.timestamp))))
}

fn working_set(usage: Option<&cri::MemoryUsage>) -> Option<Reading> {
    usage.and_then(|u| Some((number(u.working_set_bytes.as_ref())?, at(u.timestamp))))
}

fn named(labels: &HashMap<String, String>, key: &str) -> String {
    labels.get(key).cloned().unwrap_or_default()
}

fn sample(labels: &[(&'static str, String)], value: Option<Reading>) -> Option<Sample> {
    value.map(|(value, at)| Sample { labels: labels.to_vec(), value, at })
}

fn containers<'a>(
    found: &'a Found,
    labels: impl Fn(&cri::ContainerStats, Option<&Container>) -> Labels,
) -> Vec<One<'a>> {
    let all = found.sandboxes.iter().filter_map(|s| s.linux.as_ref()).flat_map(|l| &l.containers);
    all.map(|stats| {
        let known = stats.attributes.as_ref().and_then(|a| found.containers.get(&a.id));
        One { labels: labels(stats, known), stats, known }
    })
    .collect()
}

type Labels = Vec<(&'static str, String)>;

fn samples(all: &[One<'_>], read: &dyn Fn(&One<'_>) -> Option<Reading>) -> Vec<Sample> {
    all.iter().filter_map(|one| sample(&one.labels, read(one))).collect()
}

fn started(one: &One<'_>) -> Option<Reading> {
    match one.known?.state {
        Life::Running { started } => Some((started.as_millisecond() as f64 / 1e3, None)),
        Life::Created | Life::Exited(_) | Life::Unknown => None,
    }
}

/// Upstream's stable names, as metrics-server reads them.
pub fn resource_page(found: &Found) -> Page {
    let mut page = Page::default();
    let of_container = |s: &cri::ContainerStats, _: Option<&Container>| {
        let labels = s.attributes.clone().unwrap_or_default().labels;
        vec![
            ("container", named(&labels, CONTAINER_NAME)),
            ("namespace", named(&labels, POD_NAMESPACE)),
            ("pod", named(&labels, POD_NAME)),
        ]
    };
    let all = containers(found, of_container);
    let each = |f: &dyn Fn(&One<'_>) -> Option<Reading>| samples(&all, f);
    page.family(
        "container_cpu_usage_seconds_total",
        Kind::Counter,
        "[STABLE] Cumulative cpu time consumed by the container in core-seconds",
        each(&|one| cpu(one.stats.cpu.as_ref())),
    );
    page.family(
        "container_memory_working_set_bytes",
        Kind::Gauge,
        "[STABLE] Current working set of the container in bytes",
        each(&|one| working_set(one.stats.memory.as_ref())),
    );
    page.family(
        "container_start_time_seconds",
        Kind::Gauge,
        "[STABLE] Start time of the container since unix epoch in seconds",
        each(&started),
    );
    let (cpu_s, memory) = (found.node.cpu_seconds, found.node.working_set_bytes);
    page.family(
        "node_cpu_usage_seconds_total",
        Kind::Counter,
        "[STABLE] Cumulative cpu time consumed by the node in core-seconds",
        cpu_s.map(|s| Sample::plain(s, found.node.at_ms)).into_iter().collect(),
    );
    page.family(
        "node_memory_working_set_bytes",
        Kind::Gauge,
        "[STABLE] Current working set of the node in bytes",
        vec![Sample::plain(memory, found.node.at_ms)],
    );
    pods(found, &mut page);
    let failed = if found.failed { 1.0 } else { 0.0 };
    page.family(
        "resource_scrape_error",
        Kind::Gauge,
        "[STABLE] 1 if there was an error while getting container metrics, 0 otherwise",
        vec![Sample::plain(failed, None)],
    );
    page
}

fn pods(found: &Found, page: &mut Page) {
    let each = |f: &dyn Fn(&cri::LinuxPodSandboxStats) -> Option<Reading>| -> Vec<Sample> {
        let pods = found.sandboxes.iter().filter_map(|s| Some((s.attributes.as_ref()?, s.linux.as_ref()?)));
        pods.filter_map(|(attributes, stats)| {
            let labels =
                [("namespace", named(&attributes.labels, POD_NAMESPACE)), ("pod", named(&attributes.labels, POD_NAME))];
            sample(&labels, f(stats))
        })
        .collect()
    };
    page.family(
        "pod_cpu_usage_seconds_total",
        Kind::Counter,
        "[STABLE] Cumulative cpu time consumed by the pod in core-seconds",
        each(&|s| cpu(s.cpu.as_ref())),
    );
    page.family(
        "pod_memory_working_set_bytes",
        Kind::Gauge,
        "[STABLE] Current working set of the pod in bytes",
        each(&|s| working_set(s.memory.as_ref())),
    );
}

/// cAdvisor's names.
pub fn cadvisor_page(found: &Found) -> Page {
    let mut page = Page::default();
    let of_container = |s: &cri::ContainerStats, known: Option<&Container>| {
        let attributes = s.attributes.clone().unwrap_or_default();
        let label = |key: &str| named(&attributes.labels, key);
        vec![
            ("container", label(CONTAINER_NAME)),
            ("id", format!("/kubepods/pod{}/{}", label(POD_UID), attributes.id)),
            ("image", known.map(|c| c.image.clone()).unwrap_or_default()),
            ("name", attributes.id.clone()),
            ("namespace", label(POD_NAMESPACE)),
            ("pod", label(POD_NAME)),
        ]
    };
    let all = containers(found, of_container);
    let each = |f: &dyn Fn(&One<'_>) -> Option<Reading>| samples(&all, f);
    let mut cpu_samples = each(&|one| cpu(one.stats.cpu.as_ref()));
    cpu_samples.iter_mut().for_each(|s| s.labels.insert(1, ("cpu", "total".into())));
    page.family(
        "container_cpu_usage_seconds_total",
        Kind::Counter,
        "Cumulative cpu time consumed in seconds.",
        cpu_samples,
    );
    type Field = fn(&cri::MemoryUsage) -> Option<&cri::UInt64Value>;
    let fields: [(&str, &str, Field); 3] = [
        ("container_memory_working_set_bytes", "Current working set in bytes.", |m| m.working_set_bytes.as_ref()),
        ("container_memory_usage_bytes", "Current memory usage in bytes, including all memory.", |m| {
            m.usage_bytes.as_ref()
        }),
        ("container_memory_rss", "Size of RSS in bytes.", |m| m.rss_bytes.as_ref()),
    ];
    for (name, help, field) in fields {
        let of = |one: &One<'_>| {
            let memory = one.stats.memory.as_ref()?;
            Some((number(field(memory))?, at(memory.timestamp)))
        };
        page.family(name, Kind::Gauge, help, each(&of));
    }
    page.family(
        "container_fs_usage_bytes",
        Kind::Gauge,
        "Number of bytes that are consumed by the container on this filesystem.",
        each(&|one| Some((number(one.stats.writable_layer.as_ref()?.used_bytes.as_ref())?, None))),
    );
    page.family(
        "container_start_time_seconds",
        Kind::Gauge,
        "Start time of the container since unix epoch in seconds.",
        each(&started),
    );
    limits(&all, &mut page);
    network(found, &mut page);
    let cores = vec![Sample::plain(found.cores as f64, None)];
    page.family("machine_cpu_cores", Kind::Gauge, "Number of logical CPU cores.", cores);
    let memory = vec![Sample::plain(found.node.memory_bytes, None)];
    page.family("machine_memory_bytes", Kind::Gauge, "Amount of memory installed on the machine.", memory);
    page
}

/// Only of containers that have them.
fn limits(all: &[One<'_>], page: &mut Page) {
    let each = |f: &dyn Fn(&crate::translate::resources::Figures) -> i64| -> Vec<Sample> {
        let known = all.iter().filter_map(|one| Some((one, one.known?.figures.as_ref()?)));
        known
            .filter(|(_, figures)| f(figures) > 0)
            .map(|(one, figures)| Sample { labels: one.labels.clone(), value: f(figures) as f64, at: None })
            .collect()
    };
    page.family(
        "container_spec_memory_limit_bytes",
        Kind::Gauge,
        "Memory limit for the container.",
        each(&|f| f.memory_bytes),
    );
    page.family("container_spec_cpu_quota", Kind::Gauge, "CPU quota of the container.", each(&|f| f.cpu_quota_us));
    page.family(
        "container_spec_cpu_period",
        Kind::Gauge,
        "CPU period of the container.",
        each(&|f| if f.cpu_quota_us > 0 { crate::translate::resources::PERIOD_US } else { 0 }),
    );
    page.family("container_spec_cpu_shares", Kind::Gauge, "CPU share of the container.", each(&|f| f.cpu_shares));
}

fn network(found: &Found, page: &mut Page) {
    type Field = fn(&cri::NetworkInterfaceUsage) -> Option<&cri::UInt64Value>;
    let fields: [(&str, &str, Field); 4] = [
        ("container_network_receive_bytes_total", "Cumulative count of bytes received", |i| i.rx_bytes.as_ref()),
        ("container_network_receive_errors_total", "Cumulative count of errors encountered while receiving", |i| {
            i.rx_errors.as_ref()
        }),
        ("container_network_transmit_bytes_total", "Cumulative count of bytes transmitted", |i| i.tx_bytes.as_ref()),
        ("container_network_transmit_errors_total", "Cumulative count of errors encountered while transmitting", |i| {
            i.tx_errors.as_ref()
        }),
    ];
    for (name, help, field) in fields {
        let pods =
            found.sandboxes.iter().filter_map(|s| Some((s.attributes.as_ref()?, s.linux.as_ref()?.network.as_ref()?)));
        let samples = pods.filter_map(|(attributes, network)| {
            let interface = network.default_interface.as_ref()?;
            let label = |key: &str| named(&attributes.labels, key);
            let labels = vec![
                ("container", String::new()),
                ("id", format!("/kubepods/pod{}", label(POD_UID))),
                ("image", String::new()),
                ("interface", interface.name.clone()),
                ("name", attributes.id.clone()),
                ("namespace", label(POD_NAMESPACE)),
                ("pod", label(POD_NAME)),
            ];
            Some(Sample { labels, value: number(field(interface))?, at: at(network.timestamp) })
        });
        page.family(name, Kind::Counter, help, samples.collect());
    }
}
