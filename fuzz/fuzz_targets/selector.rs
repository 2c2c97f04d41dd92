//! Label and field selectors, and quantities: short texts out of a query or a body.
#![no_main]

use api::Quantity;
use api::selector::{FieldSelector, LabelSelector};

libfuzzer_sys::fuzz_target!(|text: &str| {
    if let Ok(selector) = LabelSelector::parse(text) {
        selector.matches(|key| (key.len() % 2 == 0).then_some("x"));
    }
    drop(FieldSelector::parse(text));
    let _ = Quantity::parse(text);
});
