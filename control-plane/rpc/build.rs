//! Compiles the contracts in `proto/` without a `protoc` on the machine.

fn main() {
    println!("cargo:rerun-if-changed=proto");
    let descriptors = protox::compile(["proto/cri.proto"], ["proto"]).expect("proto/cri.proto compiles");
    tonic_prost_build::configure().compile_fds(descriptors).expect("stubs of proto/cri.proto");
}
