//! nftables over netlink: the few messages and expressions that the proxy's table needs, and the transaction that
//! carries them. No `nft` program has to be on the node.
//!
//! Numbers are those of the kernel's `linux/netfilter/nf_tables.h`; everything on the wire is big-endian unless the
//! kernel compares it in a register, where it is as the kernel holds it.

mod expr;
mod message;
mod socket;

pub use expr::{Cmp, Expr, LOAD_MARK, Reg, Rule, Verdict};
pub use message::{Chain, Hook, Set, SetFlags, Transaction};
pub use socket::send;

/// A failure to talk to the kernel.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("{doing}: {source}")]
    Io {
        doing: &'static str,
        #[source]
        source: std::io::Error,
    },
    /// The kernel refused the transaction; nothing of it took effect.
    #[error("the kernel refused step {step} of the rules ({what}): {source}")]
    Refused {
        step: u32,
        what: String,
        #[source]
        source: std::io::Error,
    },
}
