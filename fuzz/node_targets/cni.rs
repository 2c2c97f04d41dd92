//! Network configurations as a runtime hands them to the CNI executable: read or refused with a code, and nothing done.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    // A command that there is not, so that a configuration that can be read changes nothing here.
    let called = cni::executable::call("NOTHING", "c", "/none", bytes);
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    let refused = runtime.block_on(called).expect_err("there is no such command");
    assert!(refused["code"].as_u64().is_some_and(|code| [1, 4, 6].contains(&code)), "{refused}");
    let name = cni::host_link_name(&String::from_utf8_lossy(bytes));
    assert!(name.len() <= 15 && name.is_ascii());
});
