//! One container of the host: what it was made of and how far its life has gone.

use super::Host;
use super::table::{Record, after_a_crash};
use crate::confine::Walls;
use crate::guest::Given;
use crate::memory::Account;
use crate::meter::Meter;
use crate::netns::Netns;
use crate::resolve::Resolver;
use crate::stdio::{Output, Stdin};
use crate::tls::{self, Trust};
use crate::view;
use crate::worlds::World;
use container::{Error, Event, Exit, Resources, Spec, State};
use parking_lot::Mutex;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicI32, Ordering};
use std::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// A container.
pub struct Container {
    pub spec: Spec,
    state: Mutex<State>,
    /// What it runs with; a container found ended after a crash has nothing left to run.
    live: Option<Live>,
    /// Cancelled when it has ended.
    pub over: CancellationToken,
}

/// The running parts of a container.
pub struct Live {
    pub world: Arc<World>,
    pub given: Given,
    pub walls: Walls,
    pub output: Output,
    pub stdin: Option<Stdin>,
    /// No new requests; end when the present ones are done.
    pub drain: CancellationToken,
    /// End at once.
    pub kill: CancellationToken,
    /// The signal that ends it.
    signal: AtomicI32,
    /// The guests at work, for a drain to wait for.
    pub guests: TaskTracker,
}

/// Nanoseconds since the epoch.
pub fn now() -> i64 {
    jiff::Timestamp::now().as_nanosecond() as i64
}

impl Container {
    pub fn state(&self) -> State {
        self.state.lock().clone()
    }

    pub fn live(&self) -> Result<&Live, Error> {
        self.live.as_ref().ok_or_else(|| Error::Invalid(format!("container {:?} does not run any more", self.spec.id)))
    }

    /// The parts of a container that runs now.
    pub fn running(&self) -> Result<&Live, Error> {
        match self.state() {
            State::Running { .. } => self.live(),
            State::Created { .. } | State::Exited { .. } => {
                Err(Error::Invalid(format!("container {:?} is {}, not running", self.spec.id, self.state().name())))
            }
        }
    }

    /// Takes an event; tells whether the container still exists after it.
    pub fn on(&self, event: Event) -> Result<bool, Error> {
        let mut state = self.state.lock();
        match state.clone().on(event)? {
            Some(next) => {
                *state = next;
                Ok(true)
            }
            None => Ok(false),
        }
    }

    pub fn update(&self, resources: &Resources) {
        if let Some(live) = &self.live {
            live.walls.meter.limit(resources, Instant::now());
            live.given.memory.limit(resources.memory_limit_bytes);
        }
    }

    pub fn stats(&self) -> (u64, u64) {
        self.live.as_ref().map_or((0, 0), |live| (live.walls.meter.used_ns(), live.given.memory.used()))
    }
}

impl Live {
    /// Takes note of the signal and asks for the end that it means.
    pub fn end(&self, signal: i32) {
        self.signal.store(signal, Ordering::Relaxed);
        if signal == libc::SIGKILL {
            self.kill.cancel();
        }
        self.drain.cancel();
    }

    /// The exit of a container that a signal ended.
    pub fn killed(&self) -> Exit {
        let signal = self.signal.load(Ordering::Relaxed);
        Exit {
            code: 128 + signal,
            finished_at: now(),
            reason: "Error".into(),
            message: format!("ended by signal {signal}"),
        }
    }
}

impl Host {
    /// Prepares a container up to the point where only its start is missing.
    pub async fn create(self: &Arc<Self>, spec: Spec) -> Result<(), Error> {
        check_id(&spec.id)?;
        let live = self.prepare(&spec).await?;
        let state = Mutex::new(State::Created { created_at: now() });
        self.table.add(Container { spec, state, live: Some(live), over: CancellationToken::new() })?;
        Ok(())
    }

    async fn prepare(self: &Arc<Self>, spec: &Spec) -> Result<Live, Error> {
        let world = self.world(spec).await?;
        let host = self.clone();
        let spec = spec.clone();
        let make = move || host.assemble(&spec, world);
        tokio::task::spawn_blocking(make).await.map_err(|err| Error::failed("preparing a container", err))?
    }

    fn assemble(&self, spec: &Spec, world: Arc<World>) -> Result<Live, Error> {
        let sandbox = &spec.sandbox;
        let netns = match &sandbox.netns {
            Some(path) => Some(Arc::new(Netns::open(path).map_err(|err| {
                Error::failed(format!("opening the pod's network namespace {}", path.display()), err)
            })?)),
            None => None,
        };
        let preopens = view::build(&spec.mounts, &spec.state_dir.join("view"))?;
        let hosts = spec.mounts.iter().find(|mount| mount.container_path == Path::new("/etc/hosts"));
        let resolver = Resolver::new(sandbox, netns.clone(), hosts.map(|mount| mount.host_path.clone()));
        let cluster = spec.mounts.iter().find(|mount| mount.container_path == Path::new(tls::CLUSTER));
        let trust = Trust::new(cluster.map(|mount| mount.host_path.clone()));
        let log = container::log::Log::open(&spec.log_path)
            .map_err(|err| Error::failed(format!("opening the log {}", spec.log_path.display()), err))?;
        let working_dir = if spec.working_dir.is_empty() { &spec.image.working_dir } else { &spec.working_dir };
        let meter = Arc::new(Meter::new(&spec.resources, Instant::now()));
        Ok(Live {
            world,
            given: Given {
                args: args(spec),
                env: env(spec).into(),
                working_dir: working_dir.clone(),
                preopens: preopens.into(),
                memory: Arc::new(Account::new(spec.resources.memory_limit_bytes)),
                resolver: Arc::new(resolver),
                trust: Arc::new(trust),
            },
            walls: Walls { netns, meter, ticker: self.ticker.clone() },
            output: Output::new(log),
            stdin: spec.stdin.then(|| Stdin::new(spec.tty)),
            drain: CancellationToken::new(),
            kill: CancellationToken::new(),
            signal: AtomicI32::new(0),
            guests: TaskTracker::new(),
        })
    }

    /// Takes over what a former host left: what had not started is prepared again, what ran has ended.
    pub async fn recover(self: &Arc<Self>) -> Result<(), Error> {
        for Record { spec, state } in self.table.left()? {
            let ended = |started_at, exit| State::Exited { created_at: now(), started_at, exit };
            let (state, live) = match after_a_crash(state, now()) {
                State::Created { created_at } => match self.prepare(&spec).await {
                    Ok(live) => (State::Created { created_at }, Some(live)),
                    Err(err) => {
                        let exit = Exit {
                            code: 255,
                            finished_at: now(),
                            reason: "WasmHostExited".into(),
                            message: err.to_string(),
                        };
                        (ended(0, exit), None)
                    }
                },
                state => (state, None),
            };
            let over = CancellationToken::new();
            if live.is_none() {
                over.cancel();
            }
            self.table.add(Container { spec, state: Mutex::new(state), live, over })?;
        }
        Ok(())
    }

    /// Sends a signal, or the nearest that a guest has: it cannot catch one.
    pub fn kill(&self, id: &str, signal: i32) -> Result<(), Error> {
        let container = self.table.get(id)?;
        // It may have ended while the signal was on its way.
        if let State::Exited { .. } = container.state() {
            return Ok(());
        }
        let live = container.running()?;
        match signal {
            0 | libc::SIGCHLD | libc::SIGCONT | libc::SIGURG | libc::SIGWINCH => Ok(()),
            libc::SIGSTOP | libc::SIGTSTP | libc::SIGTTIN | libc::SIGTTOU => Err(Error::Unsupported(format!(
                "signal {signal} would stop the guest: a WebAssembly guest cannot be paused"
            ))),
            signal @ 1..=64 => {
                live.end(signal);
                Ok(())
            }
            signal => Err(Error::Invalid(format!("there is no signal {signal}"))),
        }
    }

    pub fn delete(&self, id: &str) -> Result<(), Error> {
        let container = match self.table.get(id) {
            Ok(container) => container,
            Err(Error::NotFound(_)) => return Ok(()),
            Err(err) => return Err(err),
        };
        container.on(Event::Deleted)?;
        view::remove(&container.spec.state_dir.join("view"))?;
        self.table.remove(id)
    }

    /// Ends and deletes all containers of a sandbox.
    pub async fn close_sandbox(&self, id: &str) -> Result<(), Error> {
        for container in self.table.all().into_iter().filter(|container| container.spec.sandbox.id == id) {
            if let Ok(live) = container.running() {
                live.end(libc::SIGKILL);
                container.over.cancelled().await;
            }
            self.delete(&container.spec.id)?;
        }
        Ok(())
    }

    /// Notes the end of a container: on disk, to the shim, and to whoever is attached.
    pub fn ended(&self, container: &Container, exit: Exit) {
        if let Some(live) = &container.live {
            live.output.finish();
        }
        if let Err(err) = container.on(Event::Exited(exit.clone())) {
            tracing::warn!("container {:?} ended twice: {err}", container.spec.id);
            return;
        }
        // On a full disk the state lives on in memory; only a crash of the host would lose it.
        if let Err(err) = self.table.write(container) {
            tracing::error!("{err}");
        }
        container.over.cancel();
        let _ = self.ended.send((container.spec.id.clone(), exit));
    }
}

/// An id becomes a file name.
fn check_id(id: &str) -> Result<(), Error> {
    let good = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    if id.is_empty() || id.len() > 200 || id.starts_with('.') || !id.bytes().all(good) {
        return Err(Error::Invalid(format!("{id:?} cannot be the id of a container")));
    }
    Ok(())
}

/// The pod's command and arguments over the image's, as CRI has it. Where no program is named, the image's name stands for it.
fn args(spec: &Spec) -> Vec<String> {
    let image = &spec.image;
    let (program, defaults) = match spec.command.is_empty() {
        true => (&image.entrypoint, image.cmd.as_slice()),
        false => (&spec.command, [].as_slice()),
    };
    let mut args = program.clone();
    if args.is_empty() {
        let name = image.reference.rsplit('/').next().unwrap_or_default();
        args.push(name.split(['@', ':']).next().unwrap_or_default().to_owned());
    }
    args.extend_from_slice(if spec.args.is_empty() { defaults } else { &spec.args });
    args
}

/// The pod's name as containers have it, the image's environment over it, and the pod's over that.
fn env(spec: &Spec) -> Vec<(String, String)> {
    let mut env: Vec<(String, String)> = Vec::new();
    if !spec.sandbox.hostname.is_empty() {
        env.push(("HOSTNAME".into(), spec.sandbox.hostname.clone()));
    }
    let image = spec.image.env.iter().filter_map(|pair| pair.split_once('='));
    let pod = spec.env.iter().map(|env| (env.name.as_str(), env.value.as_str()));
    for (name, value) in image.chain(pod) {
        match env.iter_mut().find(|(known, _)| known == name) {
            Some(known) => known.1 = value.to_owned(),
            None => env.push((name.to_owned(), value.to_owned())),
        }
    }
    env
}
