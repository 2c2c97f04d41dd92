//! Protobuf of a body, as any type: what is read passes the schema and is written again.
#![no_main]

use api::codec::protobuf;
use api::{Object, kinds, schema};

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    drop(protobuf::envelope(bytes));
    let Some((which, message)) = bytes.split_first() else { return };
    let all = kinds::all();
    let kind = &all[usize::from(*which) % all.len()];
    if let Ok(map) = protobuf::message(&kind.type_name, message) {
        let mut object = Object(map);
        if schema::check(&kind.type_name, &mut object).error.is_none() {
            drop(protobuf::encode(&kind.type_name, &object.0));
        }
    }
});
