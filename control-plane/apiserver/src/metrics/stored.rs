//! What the store holds and how long it takes.

use super::SECONDS;
use super::text::Text;
use crate::ctx::Ctx;
use crate::registry;
use api::Kind;
use std::collections::BTreeMap;

pub(super) async fn write(ctx: &Ctx, text: &mut Text) {
    const REQUESTS: &str = "etcd_request_duration_seconds";
    let storage = ctx.registry.storage();
    text.family(REQUESTS, "histogram", "[ALPHA] Etcd request latency in seconds for each operation and object type.");
    let mut totals = Vec::new();
    for ((operation, group, resource), seconds) in storage.times() {
        let labels = format!("group=\"{group}\",operation=\"{operation}\",resource=\"{resource}\"");
        text.histogram(REQUESTS, &labels, &SECONDS, &seconds);
        totals.push((labels, seconds.count()));
    }
    const TOTAL: &str = "etcd_requests_total";
    text.family(TOTAL, "counter", "[ALPHA] Etcd request counts for each operation and object type.");
    totals.iter().for_each(|(labels, count)| text.sample(TOTAL, labels, count));
    let (mut counts, mut events) = (BTreeMap::new(), BTreeMap::new());
    for kind in ctx.registry.kinds().iter().filter(|kind| is_stored(kind)) {
        // Versions of one resource share their objects.
        let of = (kind.names.group.to_string(), kind.names.plural.to_string());
        let count = storage.count(&registry::prefix(kind)).await.map_or(-1, |count| count as i64);
        if let Some(received) = ctx.registry.caches().received(&registry::prefix(kind)) {
            events.insert(of.clone(), received);
        }
        counts.entry(of).or_insert(count);
    }
    const EVENTS: &str = "apiserver_storage_events_received_total";
    text.family(EVENTS, "counter", "[BETA] Number of etcd events received split by kind.");
    for ((group, resource), received) in &events {
        text.sample(EVENTS, &format!("group=\"{group}\",resource=\"{resource}\""), received);
    }
    const OBJECTS: &str = "apiserver_storage_objects";
    text.family(OBJECTS, "gauge", "[STABLE] [DEPRECATED, consider using apiserver_resource_objects instead] Number of stored objects at the time of last check split by kind. In case of a fetching error, the value will be -1.");
    for ((group, resource), count) in &counts {
        let dot = if group.is_empty() { "" } else { "." };
        text.sample(OBJECTS, &format!("resource=\"{resource}{dot}{group}\""), count);
    }
    const RESOURCES: &str = "apiserver_resource_objects";
    text.family(
        RESOURCES,
        "gauge",
        "[ALPHA] Number of stored objects at the time of last check split by kind. In case of a fetching error, the value will be -1.",
    );
    for ((group, resource), count) in &counts {
        text.sample(RESOURCES, &format!("group=\"{group}\",resource=\"{resource}\""), count);
    }
    const SIZE: &str = "apiserver_storage_size_bytes";
    text.family(SIZE, "gauge", "[STABLE] Size of the storage database file physically allocated in bytes.");
    let dir = ctx.config.data_dir.join("store");
    let size = tokio::task::spawn_blocking(move || bytes_below(&dir)).await.unwrap_or(0);
    text.sample(SIZE, "storage_cluster_id=\"etcd-0\"", size);
}

/// Reviews and the like are answered and gone; components are looked at when somebody asks.
fn is_stored(kind: &Kind) -> bool {
    kind.verbs.iter().any(|verb| verb == "list") && kind.names.plural != "componentstatuses"
}

/// The bytes of all files of a folder. Links are not followed.
fn bytes_below(dir: &std::path::Path) -> u64 {
    let Ok(entries) = std::fs::read_dir(dir) else { return 0 };
    let sizes = entries.flatten().map(|entry| match entry.file_type() {
        Ok(kind) if kind.is_dir() => bytes_below(&entry.path()),
        Ok(kind) if kind.is_file() => entry.metadata().map_or(0, |m| m.len()),
        Ok(_) | Err(_) => 0,
    });
    sizes.sum()
}
