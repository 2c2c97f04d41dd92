//! The store, in this process.

use std::path::Path;
use std::time::Duration;

use store::{Config, Event, Keep, Op, Store, Txn, Watch};

use crate::measure::{self, Costs, Side, Watcher};
use crate::syncs;

#[derive(Clone)]
pub struct Embedded(Store);

impl Embedded {
    pub async fn open(dir: &Path) -> Self {
        // As etcd here: history is kept until it is asked to forget it.
        let keep = Keep { changes: u64::MAX, bytes: u64::MAX, ..Keep::default() };
        let mut config = Config::new(dir.join("store"));
        config.keep = keep;
        Self(Store::open(config).await.expect("the store opens"))
    }
}

impl Side for Embedded {
    type Watcher = Watch;

    async fn put(&self, key: String, value: Vec<u8>) {
        let op = Op::Put { key: key.into(), value: value.into(), lease: 0 };
        self.0.txn(Txn { ops: vec![op], ..Txn::default() }).await.expect("put");
    }

    async fn renew(&self, key: String, value: Vec<u8>) {
        let op = Op::Put { key: key.into(), value: value.into(), lease: 0 };
        self.0.txn(Txn { ops: vec![op], volatile: true, ..Txn::default() }).await.expect("renewed");
    }

    async fn get(&self, key: String) {
        self.0.get(key.as_bytes(), None).await.expect("got").expect("it is there");
    }

    async fn watch(&self, prefix: &str) -> Watch {
        self.0.watch(prefix.as_bytes(), self.0.revision()).await.expect("watched")
    }

    async fn compact(&self) {
        self.0.compact(self.0.revision()).await.expect("compacted");
    }

    async fn costs(&self) -> Costs {
        measure::costs("self", processor(), syncs::so_far())
    }
}

impl Watcher for Watch {
    async fn next(&mut self) -> usize {
        let events = Watch::next(self).await.expect("the store is open").expect("nothing is compacted");
        events.iter().filter(|event| !matches!(event, Event::Progress(_))).count()
    }
}

/// Of all threads of this process, also of those that have ended.
fn processor() -> Duration {
    let mut ran = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the pointer is valid for the call, which writes nothing but the time.
    let answer = unsafe { libc::clock_gettime(libc::CLOCK_PROCESS_CPUTIME_ID, &raw mut ran) };
    assert_eq!(answer, 0, "every Linux has this clock");
    Duration::new(ran.tv_sec as u64, ran.tv_nsec as u32)
}

/// As a kill does.
pub fn die() -> ! {
    let own = rustix::process::getpid();
    rustix::process::kill_process(own, rustix::process::Signal::KILL).expect("killed");
    unreachable!("the signal cannot be caught")
}
