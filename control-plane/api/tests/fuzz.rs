//! Nothing that a network or a manifest can say makes this crate panic.

use api::codec::{json, protobuf, yaml};
use api::cron::{self, Schedule};
use api::kind::Context;
use api::managed::{self, Writer};
use api::patch::{json as json_patch, merge, strategic};
use api::selector::{FieldSelector, LabelSelector};
use api::{Object, Quantity, Value, kinds, schema};
use proptest::prelude::*;

/// Keys that mean something somewhere, so that rules are reached.
const KEYS: &[&str] = &[
    "metadata",
    "spec",
    "status",
    "labels",
    "annotations",
    "name",
    "containers",
    "template",
    "ports",
    "port",
    "targetPort",
    "resources",
    "limits",
    "requests",
    "cpu",
    "volumes",
    "configMap",
    "selector",
    "matchLabels",
    "matchExpressions",
    "type",
    "data",
    "stringData",
    "subsets",
    "addresses",
    "strategy",
    "rollingUpdate",
    "conditions",
    "$patch",
    "$retainKeys",
    "$setElementOrder/containers",
    "$deleteFromPrimitiveList/finalizers",
    "finalizers",
    "env",
    "creationTimestamp",
    "items",
    "volumeClaimTemplates",
    "initContainers",
    "containerStatuses",
    "state",
    "terminated",
    "webhooks",
    "versions",
    "0",
];

const TEXTS: &[&str] = &[
    "",
    "x",
    "1",
    "replace",
    "delete",
    "merge",
    "ClusterIP",
    "NodePort",
    "LoadBalancer",
    "None",
    "100m",
    "1e3",
    "-5Gi",
    "2001-01-01T00:00:00Z",
    "YQ==",
    "!!",
    "Always",
    "RollingUpdate",
    "/spec/containers/0",
    "add",
    "\u{0}\u{ffff}é",
];

fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::Bool),
        any::<i64>().prop_map(Value::Int),
        (-3_i64..3).prop_map(Value::Int),
        any::<f64>().prop_filter("JSON has finite numbers", |f| f.is_finite()).prop_map(Value::Float),
        prop::sample::select(TEXTS).prop_map(Value::from),
        ".*".prop_map(Value::from),
    ];
    leaf.prop_recursive(6, 64, 6, |inner| {
        let key = prop_oneof![9 => prop::sample::select(KEYS).prop_map(str::to_owned), 1 => ".*"];
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::List),
            prop::collection::vec((key, inner), 0..6).prop_map(|pairs| Value::Map(pairs.into_iter().collect())),
        ]
    })
}

fn object(kind: &api::Kind, value: Value) -> Object {
    let mut object = Object(value.as_map().cloned().unwrap_or_default());
    object.set_type(&kind.api_version(), &kind.names.kind);
    object
}

proptest! {
    #[test]
    fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        drop(json::decode(&bytes));
        drop(yaml::decode(&bytes));
    }

    #[test]
    fn any_message_is_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..200), which in any::<prop::sample::Index>()) {
        drop(protobuf::envelope(&bytes));
        drop(protobuf::message(&which.get(kinds::all()).type_name, &bytes));
    }

    #[test]
    fn a_broken_message_is_read_or_refused(new in value(), which in any::<prop::sample::Index>(), at in any::<prop::sample::Index>(), byte: u8) {
        let kind = which.get(kinds::all());
        let mut object = object(kind, new);
        if schema::check(&kind.type_name, &mut object).error.is_none()
            && let Ok(mut bytes) = protobuf::encode(&kind.type_name, &object.0)
            && !bytes.is_empty()
        {
            let at = at.index(bytes.len());
            bytes[at] = byte;
            drop(protobuf::message(&kind.type_name, &bytes));
        }
    }

    #[test]
    fn an_object_is_the_same_in_protobuf(new in value(), which in any::<prop::sample::Index>()) {
        let kind = which.get(kinds::all());
        let mut object = object(kind, new);
        // The schemas in a definition may hold anything, of which protobuf keeps what it has fields for.
        prop_assume!(kind.names.kind != "CustomResourceDefinition");
        prop_assume!(schema::check(&kind.type_name, &mut object).error.is_none());
        if let Ok(bytes) = protobuf::encode(&kind.type_name, &object.0) {
            let mut back = Object(protobuf::message(&kind.type_name, &bytes).expect("what was written"));
            back.set_type(&kind.api_version(), &kind.names.kind);
            schema::check(&kind.type_name, &mut back);
            let text = |o: Object| String::from_utf8(json::encode(&Value::Map(o.0))).expect("UTF-8");
            prop_assert_eq!(text(back), text(object));
        }
    }

    #[test]
    fn any_text_is_read_or_refused(text in "[-{}\\[\\]:,\"'&*!|>#%@`? \n\ta-z0-9.~<=_\\\\]{0,80}") {
        drop(json::decode(text.as_bytes()));
        drop(yaml::decode(text.as_bytes()));
        let _ = Quantity::parse(&text);
        drop(LabelSelector::parse(&text));
        drop(FieldSelector::parse(&text));
        let mut paths = vec![text.clone(), "a".to_owned()];
        json::sort_paths(text.as_bytes(), &mut paths);
    }

    #[test]
    fn what_is_printed_is_read_back(value in value()) {
        let text = json::encode(&value);
        let back = json::decode(&text).expect("what was printed").value;
        prop_assert_eq!(json::encode(&back), text);
        let printed = yaml::encode(&value);
        let back = yaml::decode(&printed).unwrap_or_else(|e| panic!("{}: {e}", String::from_utf8_lossy(&printed))).value;
        prop_assert_eq!(json::encode(&back), json::encode(&value), "{}", String::from_utf8_lossy(&printed));
        prop_assert_eq!(value.to_typed::<Value>().expect("a value"), value);
    }

    #[test]
    fn any_object_of_any_kind_goes_through(new in value(), old in value(), which in any::<prop::sample::Index>()) {
        let kind = which.get(kinds::all());
        let (mut new, mut old) = (object(kind, new), object(kind, old));
        let context = Context { now: "2026-01-01T00:00:00Z", subresource: "" };
        for o in [&mut old, &mut new] {
            schema::check(&kind.type_name, o);
            (kind.default)(o);
        }
        let mut created = new.clone();
        (kind.prepare_create)(&mut created, context);
        (kind.selectable)(&created);
        let mut errors = Vec::new();
        (kind.validate)(&created, &mut errors);
        (kind.warnings)(&created);
        prop_assert!((kind.cells)(kind, &created, 0).len() >= kind.columns.len());
        for subresource in ["", "status", "finalize", "approval", "resize", "ephemeralcontainers"] {
            let context = Context { subresource, ..context };
            let mut new = new.clone();
            (kind.prepare_update)(&mut new, &old, context);
            let mut errors = Vec::new();
            (kind.validate)(&new, &mut errors);
            (kind.validate_update)(&new, &old, context, &mut errors);
        }
        // The pass settles: what it made it leaves alone.
        if schema::check(&kind.type_name, &mut created).error.is_none() {
            let mut again = created.clone();
            schema::check(&kind.type_name, &mut again);
            prop_assert_eq!(again, created);
        }
    }

    #[test]
    fn any_patch_applies_or_is_refused(target in value(), patch in value(), which in any::<prop::sample::Index>()) {
        let kind = which.get(kinds::all());
        drop(json_patch::apply(&target, &patch));
        merge::apply(&target, &patch);
        drop(strategic::apply(&kind.type_name, &target, &patch));
        drop(LabelSelector::from_value(&patch));
    }

    #[test]
    fn any_write_leaves_owners(first in value(), second in value(), third in value(), which in any::<prop::sample::Index>()) {
        let kind = which.get(kinds::all());
        let writer = |manager| Writer { manager, now: "2026-01-01T00:00:00Z", subresource: "" };
        let mut live = object(kind, first);
        managed::update(kind, None, &mut live, writer("a"));
        let configuration = object(kind, second);
        let mut applied = managed::apply(kind, Some(&live), &configuration, writer("b"), true).expect("forced");
        // Saying the same again changes nothing.
        let again = managed::apply(kind, Some(&applied), &configuration, writer("b"), false);
        prop_assert_eq!(again.map_err(|e| e.message), Ok(applied.clone()));
        managed::update(kind, Some(&live), &mut applied, writer("c"));
        drop(managed::apply(kind, Some(&applied), &object(kind, third), writer("b"), false));
    }

    #[test]
    fn any_schedule_is_read_or_refused(text in "(@every |@)?[0-9*/,@a-zA-Z? .µ-]{0,24}", second in jiff::Timestamp::MIN.as_second()..jiff::Timestamp::MAX.as_second()) {
        let zone = cron::zone("Europe/Berlin").expect("a zone");
        if let Ok(schedule) = Schedule::parse(&text) {
            let now = jiff::Timestamp::from_second(second).expect("in range");
            prop_assert!(schedule.next(now, &zone).is_none_or(|next| next > now));
        }
        drop(cron::zone(&text));
    }

    #[test]
    fn quantities_hold_their_value(number in -10_000_000_000_i64..10_000_000_000, suffix in prop::sample::select(&["", "m", "k", "Mi", "Gi", "u", "e2"][..])) {
        let quantity = Quantity::parse(&format!("{number}{suffix}")).expect("a quantity");
        prop_assert_eq!(Quantity::parse(&quantity.to_string()).expect("what was printed"), quantity);
    }
}
