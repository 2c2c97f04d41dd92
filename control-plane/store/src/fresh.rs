//! Rows that the tables on disk do not have yet, and rows that they still have. The log has all of this: what is here may
//! be lost at any time.
//!
//! A clone is cheap and stays as it is: who reads takes one.

use bytes::Bytes;
use rpds::RedBlackTreeMapSync;

use crate::contract::Revision;
use crate::state::{Change, Numbers, Version};
use crate::tables::Applied;

/// `None` is a row that is removed.
pub type Map<K, V> = RedBlackTreeMapSync<K, Option<V>>;

/// What a row weighs beside its key and value: its place here, and its share of a page of the tables.
const ROW: usize = 512;

#[derive(Clone)]
pub struct Fresh {
    pub current: Map<Bytes, Version>,
    /// By key and the revision that the version was written at: the revision that ended it, and the version.
    pub past: Map<(Bytes, u64), (Revision, Version)>,
    pub changes: Map<(u64, u32), Change>,
    pub leases: Map<u64, u64>,
    pub lease_keys: Map<(u64, Bytes), ()>,
    /// As of these rows and all below.
    pub numbers: Numbers,
    pub applied: Applied,
    weight: u64,
    logged: u64,
}

impl Fresh {
    /// No rows yet.
    pub fn after(numbers: Numbers, applied: Applied) -> Self {
        Self {
            current: Map::default(),
            past: Map::default(),
            changes: Map::default(),
            leases: Map::default(),
            lease_keys: Map::default(),
            numbers,
            applied,
            weight: 0,
            logged: 0,
        }
    }

    /// About the memory that the rows take, or the log that they stand in, whichever is more.
    pub fn weight(&self) -> u64 {
        self.weight.max(self.logged)
    }

    /// Whether the tables have all of this.
    pub fn is_stored(&self, stored: &Applied) -> bool {
        self.weight == 0 && self.applied.log_id == stored.log_id
    }

    /// Counts bytes of the log that can be dropped once this is in the tables.
    pub fn note_logged(&mut self, bytes: u64) {
        self.logged += bytes;
    }

    pub fn note_row(&mut self, bytes: usize) {
        self.weight += (ROW + bytes) as u64;
    }
}
