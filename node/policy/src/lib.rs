//! NetworkPolicy as nftables rules.
