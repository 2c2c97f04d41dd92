//! The one wasmtime engine of the host: its limits, and the ticks at which guests yield.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;
use wasmtime::{Config, Engine, InstanceAllocationStrategy, PoolingAllocationConfig};

/// How long a guest runs before it lets others of its thread run. Also how late a kill can be.
pub const TICK: Duration = Duration::from_millis(2);

/// The ticks that the clock goes on after the last guest stopped: waking it costs more than a few idle ones.
const IDLE_TICKS: u32 = 25;

/// Instances alive at once on a node, most wanted first: each reserves 4 GiB of address space, which some kernels
/// or rlimits do not give.
const INSTANCES: [u32; 3] = [4096, 512, 64];

/// Core instances and memories of one component: the largest toolchains' components have around ten.
const CORE_INSTANCES_PER_COMPONENT: u32 = 32;
const MEMORIES_PER_COMPONENT: u32 = 4;
const TABLES_PER_COMPONENT: u32 = 16;

/// Bytes of an instance's memory that are zeroed by hand instead of given back to the kernel: what a small guest touches.
const KEEP_RESIDENT: usize = 128 << 10;

/// Slots that keep their memory mapped after use, so that the next instance of the same module starts warm.
const WARM_SLOTS: u32 = 16;

/// The host's engine. Everything compiled is for an engine of the same configuration.
pub fn engine() -> wasmtime::Result<Engine> {
    let mut last = None;
    for instances in INSTANCES {
        match Engine::new(&config(instances)) {
            Ok(engine) => return Ok(engine),
            Err(err) => last = Some(err),
        }
    }
    Err(last.expect("INSTANCES is not empty"))
}

fn config(instances: u32) -> Config {
    let mut pool = PoolingAllocationConfig::new();
    pool.total_component_instances(instances)
        .total_core_instances(instances * 4)
        .total_memories(instances)
        .total_tables(instances * 2)
        .total_stacks(instances)
        .total_gc_heaps(instances.min(64))
        .max_core_instances_per_component(CORE_INSTANCES_PER_COMPONENT)
        .max_memories_per_component(MEMORIES_PER_COMPONENT)
        .max_tables_per_component(TABLES_PER_COMPONENT)
        .max_memories_per_module(1)
        .max_tables_per_module(4)
        .max_memory_size(4 << 30)
        .linear_memory_keep_resident(KEEP_RESIDENT)
        .table_keep_resident(KEEP_RESIDENT)
        .max_unused_warm_slots(WARM_SLOTS);
    let mut config = Config::new();
    config
        .epoch_interruption(true)
        .wasm_component_model(true)
        .memory_init_cow(true)
        .wasm_backtrace_max_frames(std::num::NonZeroUsize::new(16))
        .allocation_strategy(InstanceAllocationStrategy::Pooling(pool));
    config
}

/// Advances the engine's epoch while guests run, and sleeps while none does.
#[derive(Debug)]
pub struct Ticker {
    running: AtomicUsize,
    asleep: AtomicBool,
    thread: std::thread::Thread,
}

impl Ticker {
    /// Starts the clock of `engine`. It ends with the engine.
    pub fn start(engine: &Engine) -> std::io::Result<Arc<Ticker>> {
        let weak = engine.weak();
        let (send, receive) = std::sync::mpsc::channel::<Arc<Ticker>>();
        let handle = std::thread::Builder::new().name("wasm-ticker".into()).spawn(move || {
            let Ok(ticker) = receive.recv() else { return };
            let mut idle = 0;
            loop {
                std::thread::sleep(TICK);
                let Some(engine) = weak.upgrade() else { return };
                engine.increment_epoch();
                drop(engine);
                idle = if ticker.running.load(Ordering::SeqCst) == 0 { idle + 1 } else { 0 };
                if idle > IDLE_TICKS {
                    ticker.sleep();
                    idle = 0;
                }
            }
        })?;
        let ticker = Arc::new(Ticker {
            running: AtomicUsize::new(0),
            asleep: AtomicBool::new(false),
            thread: handle.thread().clone(),
        });
        send.send(ticker.clone()).expect("the ticker's thread waits for it");
        Ok(ticker)
    }

    /// Until the guard is dropped a guest runs, so time must pass.
    pub fn running(&self) -> Running<'_> {
        self.running.fetch_add(1, Ordering::SeqCst);
        if self.asleep.load(Ordering::SeqCst) && self.asleep.swap(false, Ordering::SeqCst) {
            self.thread.unpark();
        }
        Running(self)
    }

    /// Marks first and looks then, so that a guest that starts in between sees the mark and wakes the clock.
    fn sleep(&self) {
        self.asleep.store(true, Ordering::SeqCst);
        while self.asleep.load(Ordering::SeqCst) {
            if self.running.load(Ordering::SeqCst) > 0 {
                self.asleep.store(false, Ordering::SeqCst);
                return;
            }
            std::thread::park();
        }
    }
}

/// A guest is being polled.
pub struct Running<'a>(&'a Ticker);

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.0.running.fetch_sub(1, Ordering::SeqCst);
    }
}
