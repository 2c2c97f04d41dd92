//! Random commands on the real rows, against a model that keeps every revision whole.

use std::collections::BTreeMap;

use proptest::prelude::*;
use redb::Database;
use redb::backends::InMemoryBackend;

use super::*;
use crate::contract::Error;
use crate::count::Counts;
use crate::layers::{self, Layers};
use crate::{read, tables};

type Keys = BTreeMap<Bytes, KeyValue>;

/// Every revision's keys and events; index 0 is revision [`FIRST`].
struct Model {
    revisions: Vec<(Keys, Vec<Event>)>,
    compacted: u64,
    leases: BTreeMap<u64, ()>,
    granted: u64,
}

impl Model {
    fn newest(&self) -> u64 {
        FIRST.0 + self.revisions.len() as u64 - 1
    }

    fn keys(&self, at: u64) -> &Keys {
        &self.revisions[(at - FIRST.0) as usize].0
    }

    fn change(&mut self, ops: &[Op]) {
        let revision = Revision(self.newest() + 1);
        let mut keys = self.keys(self.newest()).clone();
        let mut events = Vec::new();
        for op in ops {
            match op {
                Op::Put { key, value, lease } => {
                    let prev = keys.get(key).cloned();
                    let create_revision = prev.as_ref().map_or(revision, |prev| prev.create_revision);
                    let (key, value, lease) = (key.clone(), value.clone(), *lease);
                    let kv = KeyValue { key, value, create_revision, mod_revision: revision, lease };
                    keys.insert(kv.key.clone(), kv.clone());
                    events.push(Event::Put { kv, prev });
                }
                Op::Delete { key } => {
                    if let Some(prev) = keys.remove(key) {
                        events.push(Event::Delete { key: key.clone(), prev, revision });
                    }
                }
            }
        }
        if !events.is_empty() {
            self.revisions.push((keys, events));
        }
    }

    fn apply(&mut self, command: &Command) -> Outcome {
        match command {
            Command::Txn(txn) => {
                let now = self.keys(self.newest());
                let current: Vec<_> =
                    txn.compare.iter().map(|Compare::ModRevision(key, _)| now.get(key).cloned()).collect();
                let holds = txn.compare.iter().zip(&current).all(|(Compare::ModRevision(_, expected), now)| {
                    now.as_ref().map_or(Revision(0), |kv| kv.mod_revision) == *expected
                });
                if !holds {
                    return Outcome::Txn(TxnOutcome::Conflict { current, revision: Revision(self.newest()) });
                }
                for op in &txn.ops {
                    if let Op::Put { lease, .. } = op
                        && *lease != 0
                        && !self.leases.contains_key(lease)
                    {
                        return Outcome::NoLease(*lease);
                    }
                }
                self.change(&txn.ops);
                Outcome::Txn(TxnOutcome::Committed(Revision(self.newest())))
            }
            Command::Compact(at) => {
                self.compacted = self.compacted.max(at.0.min(self.newest()));
                Outcome::Compacted(Revision(self.compacted))
            }
            Command::Grant { .. } => {
                self.granted += 1;
                self.leases.insert(self.granted, ());
                Outcome::Granted(self.granted)
            }
            Command::Revoke { lease } => {
                if self.leases.remove(lease).is_none() {
                    return Outcome::NoLease(*lease);
                }
                let keys = self.keys(self.newest()).values().filter(|kv| kv.lease == *lease);
                let ops: Vec<_> = keys.map(|kv| Op::Delete { key: kv.key.clone() }).collect();
                self.change(&ops);
                Outcome::Revoked(Revision(self.newest()))
            }
        }
    }
}

fn key() -> impl Strategy<Value = Bytes> {
    prop::sample::select(vec!["/a", "/a/b", "/a\0", "/b", "/b/c", "/c"]).prop_map(Bytes::from_static_str)
}

trait FromStatic {
    fn from_static_str(text: &'static str) -> Self;
}

impl FromStatic for Bytes {
    fn from_static_str(text: &'static str) -> Self {
        Bytes::from_static(text.as_bytes())
    }
}

fn txn() -> impl Strategy<Value = Command> {
    let value = prop::collection::vec(any::<u8>(), 0..4).prop_map(Bytes::from);
    let op = prop_oneof![
        3 => (value, prop_oneof![4 => Just(0), 1 => 1..4u64]).prop_map(|(value, lease)| Some((value, lease))),
        1 => Just(None),
    ];
    let ops = prop::collection::btree_map(key(), op, 1..4);
    let compare = prop::collection::vec((key(), 0..12u64), 0..2);
    (compare, ops).prop_map(|(compare, ops)| {
        let compare = compare.into_iter().map(|(key, at)| Compare::ModRevision(key, Revision(at))).collect();
        let ops = ops.into_iter().map(|(key, put)| match put {
            Some((value, lease)) => Op::Put { key, value, lease },
            None => Op::Delete { key },
        });
        Command::Txn(Txn { compare, ops: ops.collect(), volatile: false })
    })
}

fn command() -> impl Strategy<Value = Command> {
    prop_oneof![
        10 => txn(),
        1 => (0..40u64).prop_map(|at| Command::Compact(Revision(at))),
        1 => Just(Command::Grant { ttl_seconds: 9 }),
        1 => (1..4u64).prop_map(|lease| Command::Revoke { lease }),
    ]
}

/// Applies one group as the machine does.
fn run(layers: &Layers, group: &[Command]) -> Vec<(Outcome, Vec<Event>)> {
    let changed = layers.change(|rows| {
        let mut numbers = rows.fresh.numbers;
        let answers =
            group.iter().map(|command| apply(&mut State { rows: &mut *rows, numbers: &mut numbers }, command));
        let answers = answers.collect::<Result<_, _>>()?;
        rows.fresh.numbers = numbers;
        Ok(answers)
    });
    changed.unwrap()
}

/// What becomes of the fresh rows after a group.
#[derive(Debug, Clone, Copy)]
enum Then {
    Stay,
    /// They get into the tables.
    Flush,
    /// They are on their way into the tables, and stay there.
    Fail,
}

fn then() -> impl Strategy<Value = Then> {
    prop_oneof![6 => Just(Then::Stay), 3 => Just(Then::Flush), 1 => Just(Then::Fail)]
}

fn check(layers: &Layers, counts: &Counts, model: &Model) {
    for at in FIRST.0..=model.newest() {
        let listed = read::list(layers, counts, b"/", b"0", Some(Revision(at)), 0);
        if at < model.compacted {
            assert!(matches!(listed, Err(Error::Compacted { .. })), "{at}");
            assert!(matches!(read::events(layers, b"", Revision(at), 10), Err(Error::Compacted { .. })));
            continue;
        }
        let expected: Vec<_> = model.keys(at).values().cloned().collect();
        assert_eq!(listed.unwrap().items, expected, "the list at {at}");
        for key in ["/a", "/a/b", "/a\0", "/b", "/b/c", "/c"] {
            let got = read::get(layers, key.as_bytes(), Some(Revision(at))).unwrap();
            assert_eq!(got.as_ref(), model.keys(at).get(key.as_bytes()), "{key} at {at}");
        }
        let page = read::list(layers, counts, b"/a", b"/b", Some(Revision(at)), 2).unwrap();
        let in_range: Vec<_> = expected.iter().filter(|kv| kv.key.starts_with(b"/a")).cloned().collect();
        assert_eq!((page.count, page.more), (in_range.len() as u64, in_range.len() > 2));
        assert_eq!(page.items, in_range[..in_range.len().min(2)]);
        let events = read::events(layers, b"/a", Revision(at), usize::MAX).unwrap();
        assert_eq!(events.upto.0, model.newest());
        let later = model.revisions[(at - FIRST.0) as usize + 1..].iter().flat_map(|(_, events)| events);
        let expected: Vec<_> = later.filter(|event| under_a(event)).cloned().collect();
        assert_eq!(events.events, expected, "events after {at}");
    }
}

fn under_a(event: &Event) -> bool {
    match event {
        Event::Put { kv, .. } => kv.key.starts_with(b"/a"),
        Event::Delete { key, .. } => key.starts_with(b"/a"),
        Event::Progress(_) => false,
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn rows_are_what_the_model_says(
        groups in prop::collection::vec((prop::collection::vec(command(), 1..4), then()), 1..15)
    ) {
        let database = Database::builder().create_with_backend(InMemoryBackend::new()).unwrap();
        tables::create(&database).unwrap();
        let layers = Layers::new(database, layers::ENOUGH).unwrap();
        let mut model = Model {
            revisions: vec![(Keys::new(), Vec::new())],
            compacted: FIRST.0,
            leases: BTreeMap::new(),
            granted: 0,
        };
        let counts = Counts::default();
        for (group, then) in &groups {
            // Asked between, so that the answer after has changes to make up for.
            let count = counts.count(&layers, b"/a", b"/b", Revision(model.newest())).unwrap();
            prop_assert_eq!(count, model.keys(model.newest()).keys().filter(|key| key.starts_with(b"/a")).count() as u64);
            for (command, (outcome, events)) in group.iter().zip(run(&layers, group)) {
                let before = model.newest();
                prop_assert_eq!(outcome, model.apply(command));
                let expected = if model.newest() > before { model.revisions.last().unwrap().1.clone() } else { vec![] };
                prop_assert_eq!(events, expected);
            }
            match then {
                Then::Stay => {}
                // After a failure it is not tried again.
                Then::Flush => drop(layers.flush(|| Ok(()))),
                Then::Fail => drop(layers.flush(|| Err(std::io::Error::other("the log fails")))),
            }
        }
        check(&layers, &counts, &model);
        let uncompacted = (model.compacted - FIRST.0) as usize + 1;
        let kept: usize = model.revisions[uncompacted..].iter().map(|(_, events)| events.len()).sum();
        prop_assert_eq!(layers.view().numbers().history, kept as u64, "no more history than there is");
    }
}
