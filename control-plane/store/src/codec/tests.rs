//! What is written is read back; what was not written is refused, never guessed.

use openraft::EntryPayload;
use proptest::prelude::*;

use super::*;

fn bytes() -> impl Strategy<Value = Bytes> {
    prop::collection::vec(any::<u8>(), 0..20).prop_map(Bytes::from)
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        (bytes(), bytes(), any::<u64>()).prop_map(|(key, value, lease)| Op::Put { key, value, lease }),
        bytes().prop_map(|key| Op::Delete { key }),
    ]
}

fn command() -> impl Strategy<Value = Command> {
    let compare = (bytes(), any::<u64>()).prop_map(|(key, at)| Compare::ModRevision(key, Revision(at)));
    let compares = prop::collection::vec(compare, 0..3);
    let txn = (compares, prop::collection::vec(op(), 0..4), any::<bool>());
    prop_oneof![
        txn.prop_map(|(compare, ops, volatile)| Command::Txn(Txn { compare, ops, volatile })),
        any::<u64>().prop_map(|at| Command::Compact(Revision(at))),
        any::<u64>().prop_map(|ttl_seconds| Command::Grant { ttl_seconds }),
        any::<u64>().prop_map(|lease| Command::Revoke { lease }),
    ]
}

fn log_id() -> impl Strategy<Value = LogIdOf> {
    let parts = (any::<u64>(), any::<u64>(), any::<u64>());
    parts.prop_map(|(term, node_id, index)| LogId { leader_id: LeaderId { term, node_id }, index })
}

fn record() -> impl Strategy<Value = Record> {
    let group = prop::collection::vec(command(), 0..4);
    prop_oneof![
        (log_id(), group).prop_map(|(log_id, commands)| {
            let payload = EntryPayload::Normal(Group { commands: Arc::new(commands) });
            Record::Entry(Entry { log_id, payload })
        }),
        log_id().prop_map(|log_id| Record::Entry(Entry { log_id, payload: EntryPayload::Blank })),
        log_id().prop_map(|log_id| {
            let members = Membership::new_with_defaults(vec![[log_id.index].into()], []);
            Record::Entry(Entry { log_id, payload: EntryPayload::Membership(members) })
        }),
        (log_id(), any::<bool>())
            .prop_map(|(id, committed)| Record::Vote(VoteOf { leader_id: id.leader_id, committed })),
        prop::option::of(log_id()).prop_map(Record::Truncate),
        log_id().prop_map(Record::Purge),
    ]
}

proptest! {
    #[test]
    fn a_record_comes_back_and_none_of_its_pieces_does(record in record(), cut in any::<prop::sample::Index>()) {
        let mut out = Vec::new();
        put_record(&mut out, &record);
        let short = Bytes::copy_from_slice(&out[..cut.index(out.len())]);
        prop_assert_eq!(get_record(Bytes::from(out)).unwrap(), record);
        prop_assert!(get_record(short).is_err());
    }

    #[test]
    fn any_bytes_are_read_or_refused(noise in prop::collection::vec(any::<u8>(), 0..200)) {
        if let Ok(record) = get_record(Bytes::from(noise)) {
            let mut out = Vec::new();
            put_record(&mut out, &record);
            prop_assert_eq!(get_record(Bytes::from(out)).unwrap(), record);
        }
    }
}
