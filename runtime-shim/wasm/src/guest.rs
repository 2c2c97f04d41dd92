//! What one instance of a guest is given: arguments, environment, directories, streams, and its share of memory.

use crate::engine::TICK;
use crate::memory::{Account, Share};
use crate::outgoing::Outgoing;
use crate::resolve::Resolver;
use crate::stdio::{Sink, Stdin};
use crate::tls::Trust;
use crate::view::Preopen;
use std::sync::Arc;
use wasmtime::component::ResourceTable;
use wasmtime::{Engine, Store};
use wasmtime_wasi::p1::WasiP1Ctx;
use wasmtime_wasi::{FsPerms, WasiCtx, WasiCtxBuilder, WasiCtxView, WasiView};
use wasmtime_wasi_http::{WasiHttpCtx, WasiHttpCtxView, WasiHttpView};

/// Resources (streams, sockets, files, requests) that an instance may hold at once: they are host memory.
const RESOURCES: usize = 10_000;

/// What every instance of a container is given.
#[derive(Clone)]
pub struct Given {
    pub args: Vec<String>,
    pub env: Arc<[(String, String)]>,
    pub working_dir: String,
    pub preopens: Arc<[Preopen]>,
    pub memory: Arc<Account>,
    pub resolver: Arc<Resolver>,
    pub trust: Arc<Trust>,
}

/// The streams of one instance.
pub struct Streams {
    pub stdin: Option<Stdin>,
    pub stdout: Sink,
    pub stderr: Sink,
}

impl Given {
    fn wasi(&self, streams: Streams) -> wasmtime::Result<WasiCtxBuilder> {
        let mut wasi = WasiCtxBuilder::new();
        wasi.args(&self.args).envs(&self.env).stdout(streams.stdout).stderr(streams.stderr);
        // Confinement is the namespace's, as for every pod: what NetworkPolicy lets through, a guest may reach.
        wasi.inherit_network().allow_ip_name_lookup(true).allow_tcp(true).allow_udp(true);
        if let Some(stdin) = streams.stdin {
            wasi.stdin(stdin);
        }
        if !self.working_dir.is_empty() {
            wasi.initial_cwd(&self.working_dir);
        }
        for preopen in self.preopens.iter() {
            let perms = if preopen.readonly { FsPerms::ReadOnly } else { FsPerms::ReadWrite };
            wasi.preopened_dir(&preopen.host, &preopen.guest, perms)?;
        }
        Ok(wasi)
    }
}

/// The state of a component's instance.
pub struct ComponentGuest {
    wasi: WasiCtx,
    pub table: ResourceTable,
    http: WasiHttpCtx,
    hooks: Outgoing,
    memory: Share,
}

impl ComponentGuest {
    pub fn store(engine: &Engine, given: &Given, streams: Streams) -> wasmtime::Result<Store<ComponentGuest>> {
        let mut table = ResourceTable::new();
        table.set_max_capacity(RESOURCES);
        let guest = ComponentGuest {
            wasi: given.wasi(streams)?.build(),
            table,
            http: WasiHttpCtx::new(),
            hooks: Outgoing { resolver: given.resolver.clone(), trust: given.trust.clone() },
            memory: Share::new(given.memory.clone()),
        };
        Ok(ready(Store::new(engine, guest), |guest| &mut guest.memory))
    }

    pub fn resolver(&self) -> &Arc<Resolver> {
        &self.hooks.resolver
    }
}

impl WasiView for ComponentGuest {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        WasiCtxView { ctx: &mut self.wasi, table: &mut self.table }
    }
}

impl WasiHttpView for ComponentGuest {
    fn http(&mut self) -> WasiHttpCtxView<'_> {
        WasiHttpCtxView { hooks: &mut self.hooks, table: &mut self.table, ctx: &mut self.http }
    }
}

/// The state of a core module's instance.
pub struct ModuleGuest {
    pub wasi: WasiP1Ctx,
    memory: Share,
}

impl ModuleGuest {
    pub fn store(engine: &Engine, given: &Given, streams: Streams) -> wasmtime::Result<Store<ModuleGuest>> {
        let guest = ModuleGuest { wasi: given.wasi(streams)?.build_p1(), memory: Share::new(given.memory.clone()) };
        Ok(ready(Store::new(engine, guest), |guest| &mut guest.memory))
    }
}

/// Bound in memory, and yielding at every tick so that a loop can be stopped and others run.
fn ready<T: 'static>(
    mut store: Store<T>,
    memory: impl FnMut(&mut T) -> &mut Share + Send + Sync + 'static,
) -> Store<T> {
    let mut memory = memory;
    store.limiter(move |guest| memory(guest));
    const { assert!(!TICK.is_zero()) };
    store.set_epoch_deadline(1);
    store.epoch_deadline_async_yield_and_update(1);
    store
}
