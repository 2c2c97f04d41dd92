//! Selections through indexes take what a scan takes, and a watcher is told of what concerns it, and of little else.

use super::index::FEW;
use super::{Cursor, Entry, Facet, KindCache, Place, Wanted};
use api::Kind;
use bytes::Bytes;
use proptest::prelude::*;
use std::sync::Arc;

fn pods() -> Arc<Kind> {
    let found = api::kinds::all().iter().find(|k| k.names.plural == "pods" && k.names.group.is_empty());
    Arc::new((*found.expect("pods are built in")).clone())
}

fn write(cache: &KindCache, revision: u64, key: &str, labels: &[(&str, String)], node: &str) {
    let labels: Vec<String> = labels.iter().map(|(k, v)| format!("\"{k}\":\"{v}\"")).collect();
    let value = format!(
        "{{\"metadata\":{{\"name\":\"x\",\"labels\":{{{}}}}},\"spec\":{{\"nodeName\":\"{node}\"}}}}",
        labels.join(",")
    );
    cache.apply(Bytes::copy_from_slice(key.as_bytes()), Some(value.into()), revision);
}

fn place(below: &str, wanted: Vec<Wanted>) -> Place {
    Place { kind: pods(), below: below.into(), key: None, wanted }
}

fn label(key: &str, values: &[&str]) -> Wanted {
    Wanted { facet: Facet::Label(key.into()), values: values.iter().map(|v| (*v).into()).collect() }
}

fn node(value: &str) -> Wanted {
    Wanted { facet: Facet::field(&pods(), "spec.nodeName"), values: vec![value.into()] }
}

fn fits(place: &Place, entry: &Entry) -> bool {
    entry.name.starts_with(place.below.as_bytes())
        && place.wanted.iter().all(|w| match &w.facet {
            Facet::Label(key) => entry.label(key).is_some_and(|v| w.values.contains(v)),
            Facet::Field { field, .. } => w.values.contains(&entry.field(&place.kind, field)),
        })
}

fn names(entries: &[Arc<Entry>]) -> Vec<Bytes> {
    entries.iter().map(|e| e.name.clone()).collect()
}

/// What a selection takes by way of the cache.
fn selected(cache: &KindCache, place: &Place) -> Vec<Bytes> {
    let (entries, _) = cache.select(place);
    names(&entries.into_iter().filter(|e| fits(place, e)).collect::<Vec<_>>())
}

fn scanned(cache: &KindCache, place: &Place) -> Vec<Bytes> {
    names(&cache.entries("").into_iter().filter(|e| fits(place, e)).collect::<Vec<_>>())
}

#[test]
fn an_index_is_made_when_scans_have_cost_as_much() {
    let cache = KindCache::empty();
    for i in 0..200 {
        write(&cache, i + 1, &format!("a/{i:03}"), &[("app", (i % 50).to_string())], "");
    }
    write(&cache, 300, "b/one", &[("app", "7".into())], "");
    let wanted = place("", vec![label("app", &["7", "8"])]);
    assert_eq!(cache.select(&wanted).0.len(), 201, "a scan");
    let (found, modified) = cache.select(&wanted);
    assert_eq!((found.len(), modified), (9, 300), "the index has them");
    assert_eq!(names(&found), scanned(&cache, &wanted), "in the order of their keys");
    assert_eq!(cache.select(&place("b/", vec![label("app", &["7"])])).0.len(), 1);
    assert_eq!(cache.select(&place("", vec![label("app", &["none"])])).0.len(), 0);
    let key = Place { key: Some("b/one".into()), ..place("b/", Vec::new()) };
    assert_eq!(names(&cache.select(&key).0), [Bytes::from("b/one")]);
}

#[test]
fn a_small_part_of_a_kind_is_not_worth_an_index_at_once() {
    let cache = KindCache::empty();
    for i in 0..1000_u64 {
        let namespace = if i < FEW as u64 { "small" } else { "large" };
        write(&cache, i + 1, &format!("{namespace}/{i:04}"), &[("app", i.to_string())], "");
    }
    let wanted = place("small/", vec![label("app", &["7"])]);
    let scans = (0..100).take_while(|_| cache.select(&wanted).0.len() == FEW).count();
    assert_eq!(scans, 1000_usize.div_ceil(FEW));
    assert_eq!(cache.select(&wanted).0.len(), 1);
}

fn revisions(cursor: &mut Cursor) -> Vec<u64> {
    cursor.ready().expect("it has not lapsed").iter().map(|change| change.revision).collect()
}

#[test]
fn a_watcher_sleeps_through_what_does_not_concern_it() {
    let cache = KindCache::empty();
    let mut cursors: Vec<Cursor> = [
        place("", vec![node("n1")]),
        place("", vec![label("app", &["x", "y"])]),
        place("b/", Vec::new()),
        Place { key: Some("a/p".into()), ..place("a/", Vec::new()) },
        place("", Vec::new()),
    ]
    .iter()
    .map(|place| cache.after(0, Some(place)).expect("nothing has happened"))
    .collect();
    let seen = |cursors: &mut Vec<Cursor>| cursors.iter_mut().map(revisions).collect::<Vec<_>>();
    write(&cache, 1, "a/p", &[("app", "x".into())], "n1");
    assert_eq!(seen(&mut cursors), [vec![1], vec![1], vec![], vec![1], vec![1]]);
    write(&cache, 2, "b/q", &[], "n2");
    assert_eq!(seen(&mut cursors), [vec![], vec![], vec![2], vec![], vec![2]]);
    // It leaves what two of them select: they are told.
    write(&cache, 3, "a/p", &[("app", "z".into())], "n3");
    assert_eq!(seen(&mut cursors), [vec![3], vec![3], vec![], vec![3], vec![3]]);
    cache.apply(Bytes::from_static(b"b/q"), None, 4);
    assert_eq!(seen(&mut cursors), [vec![], vec![], vec![4], vec![], vec![4]]);
    drop(cursors);
    assert!(cache.interests.lock().is_empty());
}

#[test]
fn who_sleeps_is_not_cut_and_who_is_slow_is() {
    let cache = KindCache::empty();
    let mut sleeper = cache.after(0, Some(&place("", vec![node("n1")]))).expect("a place");
    let mut slow = cache.after(0, Some(&place("", vec![node("n2")]))).expect("a place");
    let mut all = cache.after(0, None).expect("a place");
    for revision in 1..=5000 {
        write(&cache, revision, &format!("a/{}", revision % 7), &[], "n2");
    }
    assert!(sleeper.ready().expect("nothing concerned it").is_empty());
    assert!(slow.ready().is_err());
    assert!(all.ready().is_err());
    write(&cache, 5001, "a/p", &[], "n1");
    assert_eq!(revisions(&mut sleeper), [5001]);
    cache.retire();
    assert!(sleeper.ready().is_err_and(|lapsed| lapsed.retired));
}

#[tokio::test]
async fn a_sleeper_is_woken() {
    let cache = KindCache::empty();
    let mut cursor = cache.after(0, Some(&place("", vec![node("n1")]))).expect("a place");
    assert!(cursor.ready().expect("nothing yet").is_empty());
    let waiting = tokio::spawn(async move {
        cursor.changed().await;
        revisions(&mut cursor)
    });
    tokio::task::yield_now().await;
    write(&cache, 1, "a/p", &[], "n2");
    tokio::task::yield_now().await;
    assert!(!waiting.is_finished());
    write(&cache, 2, "a/p", &[], "n1");
    assert_eq!(waiting.await.expect("it ends"), [2]);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn selections_are_what_a_scan_finds(
        writes in prop::collection::vec((0..3_u8, 0..60_u8, 0..4_u8, 0..4_u8, prop::bool::weighted(0.2)), 1..300),
        asked in prop::collection::vec((0..4_u8, 0..5_u8, 0..5_u8), 1..6),
    ) {
        let cache = KindCache::empty();
        let places: Vec<Place> = asked.iter().map(|(namespace, app, n)| {
            let below = if *namespace == 3 { String::new() } else { format!("{namespace}/") };
            let mut wanted = Vec::new();
            if *app < 4 {
                wanted.push(label("app", &[&app.to_string(), "0"]));
            }
            if *n < 4 {
                wanted.push(node(&n.to_string()));
            }
            place(&below, wanted)
        }).collect();
        for (i, wanted) in places.iter().flat_map(|p| &p.wanted).enumerate() {
            if i % 2 == 0 {
                cache.make_index(&wanted.facet, &pods());
            }
        }
        let mut watching: Vec<(Cursor, Vec<Bytes>)> = places.iter().map(|place| {
            let (entries, cursor) = cache.snapshot(Some(place));
            (cursor, names(&entries))
        }).collect();
        for (i, (namespace, name, app, n, gone)) in writes.iter().enumerate() {
            let (key, revision) = (format!("{namespace}/{name}"), i as u64 + 1);
            match gone {
                true => cache.apply(key.into(), None, revision),
                false => write(&cache, revision, &key, &[("app", app.to_string())], &n.to_string()),
            }
            if i == writes.len() / 2 {
                places.iter().flat_map(|p| &p.wanted).for_each(|w| cache.make_index(&w.facet, &pods()));
            }
        }
        for place in &places {
            prop_assert_eq!(selected(&cache, place), scanned(&cache, place));
        }
        for ((cursor, there), place) in watching.iter_mut().zip(&places) {
            // Followed to the end, the events of a selection make it what it is.
            loop {
                let changes = cursor.ready().expect("the window holds them all");
                if changes.is_empty() {
                    break;
                }
                for change in changes {
                    let was = change.previous.as_ref().filter(|e| fits(place, e));
                    let is = change.current.as_ref().filter(|e| fits(place, e));
                    there.retain(|name| was.is_none_or(|e| e.name != *name));
                    there.extend(is.map(|e| e.name.clone()));
                }
            }
            there.sort_unstable();
            prop_assert_eq!(&*there, &scanned(&cache, place));
        }
    }
}

/// The names and revisions of what was there at a revision, from a key on.
fn past(
    cache: &KindCache,
    place: &Place,
    from: &str,
    most: usize,
    revision: u64,
) -> Option<(Vec<(Bytes, u64)>, usize)> {
    let found = cache.past(place, from, most, revision)?;
    let fit = found.entries.iter().filter(|e| fits(place, e));
    Some((fit.map(|e| (e.name.clone(), e.revision)).collect(), found.left))
}

#[test]
fn the_near_past_is_as_it_was_and_the_far_past_is_the_stores() {
    let cache = KindCache::empty();
    for revision in 1..=5000 {
        write(&cache, revision, &format!("a/p{:02}", revision % 50), &[], "n");
    }
    let all = place("", vec![]);
    assert!(past(&cache, &all, "", 0, 1000).is_none(), "the window does not reach that far");
    let (entries, left) = past(&cache, &all, "a/p01", 3, 4000).expect("in the window");
    let found: Vec<(&[u8], u64)> = entries.iter().map(|(n, r)| (&n[..], *r)).collect();
    assert_eq!(found, [(&b"a/p01"[..], 3951), (b"a/p02", 3952), (b"a/p03", 3953)]);
    assert_eq!(left, 46);
}

proptest! {
    /// Whatever was written and removed: each past that is in the window is what the cache held at that time.
    #[test]
    fn every_past_is_what_was_there(steps in prop::collection::vec((0..12u8, 0..3u8, any::<bool>()), 1..60), index: bool) {
        let cache = KindCache::empty();
        let places = [place("", vec![]), place("a/", vec![]), place("", vec![label("l", &["1"])])];
        if index {
            cache.make_index(&Facet::Label("l".into()), &pods());
        }
        let mut history = Vec::new();
        for (i, (key, value, remove)) in steps.iter().enumerate() {
            let (revision, name) = (i as u64 + 1, format!("{}/p{key}", if key % 2 == 0 { "a" } else { "b" }));
            match remove {
                true => cache.apply(name.into(), None, revision),
                false => write(&cache, revision, &name, &[("l", value.to_string())], "n"),
            }
            history.push(places.each_ref().map(|place| {
                let held = cache.entries("").into_iter().filter(|e| fits(place, e));
                held.map(|e| (e.name.clone(), e.revision)).collect::<Vec<_>>()
            }));
        }
        for (i, held) in history.iter().enumerate() {
            for (place, held) in places.iter().zip(held) {
                let (found, left) = past(&cache, place, "", 0, i as u64 + 1).expect("in the window");
                prop_assert_eq!((&found, left), (held, 0));
                if place.wanted.is_empty() && let Some((last, _)) = held.get(held.len() / 2) {
                    let from = String::from_utf8_lossy(last).into_owned();
                    let (found, left) = past(&cache, place, &from, 2, i as u64 + 1).expect("in the window");
                    let rest = &held[held.len() / 2..];
                    prop_assert_eq!(&found[..], &rest[..rest.len().min(2)]);
                    prop_assert_eq!(left, rest.len().saturating_sub(2));
                }
            }
        }
    }
}
