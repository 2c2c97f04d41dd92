//! The Wasm host: the process in which every guest of the node runs.
//!
//! It outlives the shim that started it and takes its orders over a unix socket. A guest's trap, loop or hunger never ends
//! it; if it ends all the same, its next start marks what ran as ended with the reason `WasmHostExited`.

mod container;
mod http;
mod run;
mod session;
mod table;

use crate::cache::Cache;
use crate::compile::{self, Compiler};
use crate::engine::{Ticker, engine};
use crate::worlds::{Linkers, World};
use ::container::{Error, Exit, ImageContent, Spec};
use parking_lot::Mutex;
use std::collections::HashMap;
use std::ffi::OsString;
use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::{Arc, Weak};
use tokio::net::UnixListener;
use tokio::sync::{Semaphore, broadcast};
use wasmtime::Engine;

/// Events that a slow shim may lag behind; it then asks for all states anew.
const EVENTS: usize = 1024;

/// Compilations at once: one uses every core by itself, and each takes memory.
const COMPILATIONS: usize = 1;

/// The files of the host under its root.
pub struct Files {
    root: PathBuf,
}

impl Files {
    pub fn new(root: &Path) -> Files {
        Files { root: root.to_owned() }
    }

    pub fn socket(&self) -> PathBuf {
        self.root.join("host.sock")
    }

    pub fn log(&self) -> PathBuf {
        self.root.join("host.log")
    }

    pub fn records(&self) -> PathBuf {
        self.root.join("containers")
    }

    fn lock(&self) -> PathBuf {
        self.root.join("host.lock")
    }

    fn cache(&self) -> PathBuf {
        self.root.join("cache")
    }
}

/// What all containers of the host share.
pub struct Host {
    engine: Engine,
    linkers: Linkers,
    cache: Cache,
    ticker: Arc<Ticker>,
    /// Guests that did not finish in their first slice run here, apart from IO.
    guests: tokio::runtime::Handle,
    worlds: Mutex<HashMap<String, Weak<World>>>,
    compiling: Semaphore,
    table: table::Table,
    ended: broadcast::Sender<(String, Exit)>,
}

impl Host {
    fn new(files: &Files, guests: tokio::runtime::Handle) -> Result<Host, Error> {
        let failed = |err: wasmtime::Error| Error::failed("starting wasmtime", err.to_string());
        let engine = engine().map_err(failed)?;
        let linkers = Linkers::new(&engine).map_err(failed)?;
        let cache = Cache::open(&files.cache(), &engine, Compiler::Apart)
            .map_err(|err| Error::failed("opening the cache of compiled code", err))?;
        let ticker = Ticker::start(&engine).map_err(|err| Error::failed("starting the ticker", err))?;
        Ok(Host {
            engine,
            linkers,
            cache,
            ticker,
            guests,
            worlds: Mutex::default(),
            compiling: Semaphore::new(COMPILATIONS),
            table: table::Table::new(files.records()),
            ended: broadcast::channel(EVENTS).0,
        })
    }

    /// The guest of `spec`'s image, compiled and linked; shared with every container of the same content.
    async fn world(self: &Arc<Self>, spec: &Spec) -> Result<Arc<World>, Error> {
        let name = spec.image.reference.clone();
        let ImageContent::Wasm { file, digest } = spec.image.content.clone() else {
            return Err(Error::Invalid(format!(
                "image {name:?} is a container image, not WebAssembly: remove the RuntimeClass \"wasm\" from the pod"
            )));
        };
        if let Some(world) = self.worlds.lock().get(&digest).and_then(Weak::upgrade) {
            return Ok(world);
        }
        let _one = self.compiling.acquire().await.expect("the semaphore is never closed");
        if let Some(world) = self.worlds.lock().get(&digest).and_then(Weak::upgrade) {
            return Ok(world);
        }
        let host = self.clone();
        let key = digest.clone();
        let load = move || {
            let code = host.cache.load(&host.engine, &file, &digest, &name)?;
            host.linkers.world(&host.engine, &code, &name)
        };
        let world = tokio::task::spawn_blocking(load).await.map_err(|err| Error::failed("loading a guest", err))??;
        let world = Arc::new(world);
        let mut worlds = self.worlds.lock();
        worlds.retain(|_, world| world.strong_count() > 0);
        worlds.insert(key, Arc::downgrade(&world));
        Ok(world)
    }
}

/// The host's `main`: `args` are those after [`crate::HOST_COMMAND`]. Says `ready` on standard output when it can be reached.
pub fn host_main(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    let args: Vec<OsString> = args.into_iter().collect();
    let root = match args.as_slice() {
        [flag, root] if flag == "--root" => PathBuf::from(root),
        [flag, out] if flag == "--compile" => return compile::main(Path::new(out)),
        _ => {
            eprintln!("usage: wherry {} --root DIR (started by `wherry shim`, not by hand)", crate::HOST_COMMAND);
            return ExitCode::from(2);
        }
    };
    match serve(&root) {
        Ok(()) => ExitCode::SUCCESS,
        Err(err) => {
            let mut source = std::error::Error::source(&err);
            eprint!("the Wasm host cannot run: {err}");
            while let Some(cause) = source.take() {
                eprint!(": {cause}");
                source = cause.source();
            }
            eprintln!();
            ExitCode::FAILURE
        }
    }
}

fn serve(root: &Path) -> Result<(), Error> {
    let files = Files::new(root);
    let io = |doing: &'static str| move |err: std::io::Error| Error::failed(doing, err);
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(root).map_err(io("making the host's directory"))?;
    let mut only = lock(&files.lock())?;
    // For people and for tests: who holds the lock.
    let _ = only.set_len(0).and_then(|()| writeln!(only, "{}", std::process::id()));
    raise_file_limit();
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let runtime = |name: &'static str| {
        let mut builder = tokio::runtime::Builder::new_multi_thread();
        builder.worker_threads(cores).thread_name(name).enable_all().build().map_err(io("starting threads"))
    };
    let front = runtime("wasm-io")?;
    let guests = runtime("wasm-guest")?;
    let host = Arc::new(Host::new(&files, guests.handle().clone())?);
    let last = front.block_on(async {
        host.recover().await?;
        // Bound beside and renamed: who finds the socket finds a host behind it.
        let fresh = root.join("host.sock.new");
        let _ = std::fs::remove_file(&fresh);
        let listener = UnixListener::bind(&fresh).map_err(io("binding the host's socket"))?;
        std::fs::rename(&fresh, files.socket()).map_err(io("naming the host's socket"))?;
        println!("ready");
        let _ = std::io::stdout().flush();
        let last = session::accept(host.clone(), listener).await;
        let _ = std::fs::remove_file(files.socket());
        Ok::<_, Error>(last)
    })?;
    let _ = only.set_len(0);
    drop(only);
    drop(last);
    guests.shutdown_background();
    front.shutdown_background();
    Ok(())
}

/// Held for the life of the process: two hosts would run the same containers twice.
fn lock(path: &Path) -> Result<nix::fcntl::Flock<std::fs::File>, Error> {
    let file = std::fs::OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).open(path);
    let file = file.map_err(|err| Error::failed(format!("opening {}", path.display()), err))?;
    nix::fcntl::Flock::lock(file, nix::fcntl::FlockArg::LockExclusiveNonblock)
        .map_err(|(_, err)| Error::failed(format!("locking {} (does another Wasm host run?)", path.display()), err))
}

/// Each pod takes a few descriptors; what the kernel allows is taken.
fn raise_file_limit() {
    use nix::sys::resource::{Resource, getrlimit, setrlimit};
    if let Ok((_, hard)) = getrlimit(Resource::RLIMIT_NOFILE) {
        let _ = setrlimit(Resource::RLIMIT_NOFILE, hard, hard);
    }
}
