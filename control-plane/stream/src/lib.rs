//! The protocols that exec, attach and port-forward speak, as codecs: SPDY/3.1, and the channels of Kubernetes's
//! WebSocket subprotocols. Bytes in, frames out; no IO.

pub mod channel;
pub mod spdy;
