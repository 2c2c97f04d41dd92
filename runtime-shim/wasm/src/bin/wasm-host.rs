//! The Wasm host alone, for this crate's tests; in the product it is the one binary with the same first argument.

fn main() -> std::process::ExitCode {
    let mut args = std::env::args_os().skip(1);
    if args.next().is_some_and(|first| first == wasm::HOST_COMMAND) {
        return wasm::host_main(args);
    }
    eprintln!("usage: wasm-host {} --root DIR", wasm::HOST_COMMAND);
    std::process::ExitCode::from(2)
}
