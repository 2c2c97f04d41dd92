//! The executor as the shim sees it, with a real host process and guests in WebAssembly text.

mod commands;
mod faults;
mod harness;
mod http;
mod sockets;
