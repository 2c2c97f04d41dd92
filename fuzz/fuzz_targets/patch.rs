//! The three patches, on an object of any kind: two documents of JSON, one after the other, split by a zero byte.
#![no_main]

use api::codec::json;
use api::kinds;
use api::patch::{json as json_patch, merge, strategic};

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let Some((which, rest)) = bytes.split_first() else { return };
    let mut parts = rest.splitn(2, |b| *b == 0);
    let (Some(Ok(target)), Some(Ok(patch))) = (parts.next().map(json::decode), parts.next().map(json::decode)) else {
        return;
    };
    let all = kinds::all();
    let kind = &all[usize::from(*which) % all.len()];
    drop(json_patch::apply(&target.value, &patch.value));
    if merge::check(&patch.value).is_ok() {
        merge::apply(&target.value, &patch.value);
    }
    drop(strategic::apply(&kind.type_name, &target.value, &patch.value));
});
