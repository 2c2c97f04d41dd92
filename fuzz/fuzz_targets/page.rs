//! A page of a proxied server on its way to a client: whatever it holds, its pieces make no difference.
#![no_main]

libfuzzer_sys::fuzz_target!(|page: &[u8]| {
    let whole = apiserver::proxied_page(page, usize::MAX);
    assert_eq!(apiserver::proxied_page(page, 1), whole);
    assert_eq!(apiserver::proxied_page(page, 7), whole);
});
