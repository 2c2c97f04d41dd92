//! The shim's side: the [`container::Executor`] that passes everything on to the Wasm host.

use crate::launch;
use crate::wire::{Ended, Kind, Reply, Request, read_frame, read_message, write_frame};
use container::{Error, ExecSpec, Exit, Resources, Result, Sandbox, Spec, State, Stats, Stdio};
use parking_lot::Mutex;
use std::collections::HashMap;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::broadcast;

/// Ends that a slow subscriber may lag behind.
const EXITS: usize = 4096;

/// The pause before a host that crashed is started again: it may crash again at once.
const RESTART_PAUSE: Duration = Duration::from_secs(1);

/// Input is passed on in pieces of at most this.
const PIECE: usize = 32 << 10;

/// Where the host lives.
#[derive(Debug, Clone)]
pub struct Config {
    /// The host's directory: socket, records, compiled code, log.
    pub root: PathBuf,
    /// The binary that becomes a host when run with [`crate::HOST_COMMAND`].
    pub exe: PathBuf,
}

/// Runs WebAssembly guests. Nothing is started before the first one.
#[derive(Clone)]
pub struct Executor(Arc<Inner>);

struct Inner {
    config: Config,
    exits: broadcast::Sender<(String, Exit)>,
    /// Containers whose end has not been told yet (`true`), and those whose end is known.
    alive: Mutex<HashMap<String, bool>>,
    watched: AtomicBool,
    /// The host has been told to end, so its end is no crash.
    ended: AtomicBool,
    starting: tokio::sync::Mutex<()>,
}

impl Executor {
    pub fn new(config: Config) -> Executor {
        Executor(Arc::new(Inner {
            config,
            exits: broadcast::channel(EXITS).0,
            alive: Mutex::default(),
            watched: AtomicBool::new(false),
            ended: AtomicBool::new(false),
            starting: tokio::sync::Mutex::new(()),
        }))
    }

    /// Ends the host and every guest in it. Without a host nothing happens.
    pub async fn shutdown(&self) -> Result<()> {
        self.0.ended.store(true, Ordering::SeqCst);
        match launch::call(&self.0.config.root, Request::Shutdown).await {
            Ok(mut stream) => {
                launch::reply(&mut stream).await?;
                // The host closes the connection when it goes.
                let _ = read_frame(&mut stream).await;
                Ok(())
            }
            Err(err) if launch::absent(&err) => Ok(()),
            Err(err) => Err(Error::failed("reaching the Wasm host", err)),
        }
    }
}

impl Inner {
    /// Makes sure that there is a host and that its events are heard.
    async fn ensure(self: &Arc<Self>) -> Result<()> {
        if self.watched.load(Ordering::SeqCst) {
            return Ok(());
        }
        let _one = self.starting.lock().await;
        if self.watched.load(Ordering::SeqCst) {
            return Ok(());
        }
        let root = &self.config.root;
        let mut stream = match launch::call(root, Request::Watch).await {
            Ok(stream) => stream,
            Err(err) if launch::absent(&err) => {
                launch::start(&self.config.exe, root).await?;
                launch::call(root, Request::Watch).await.map_err(|err| Error::failed("reaching the Wasm host", err))?
            }
            Err(err) => return Err(Error::failed("reaching the Wasm host", err)),
        };
        let Reply::States(states) = launch::reply(&mut stream).await? else { return Err(unexpected()) };
        self.ended.store(false, Ordering::SeqCst);
        self.take_over(states);
        self.watched.store(true, Ordering::SeqCst);
        tokio::spawn(self.clone().watch(stream));
        Ok(())
    }

    /// Tells the ends that happened while nobody listened, of containers that were known to be alive.
    fn take_over(&self, states: Vec<(String, State)>) {
        let mut alive = self.alive.lock();
        let mut news = Vec::new();
        for (id, state) in states {
            match state {
                State::Exited { exit, .. } => {
                    if alive.insert(id.clone(), false) == Some(true) {
                        news.push((id, exit));
                    }
                }
                State::Created { .. } | State::Running { .. } => drop(alive.insert(id, true)),
            }
        }
        drop(alive);
        for exit in news {
            let _ = self.exits.send(exit);
        }
    }

    /// Boxed, since it goes on with [`Inner::ensure`], which spawned it.
    fn watch(self: Arc<Self>, stream: UnixStream) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        Box::pin(self.listen(stream))
    }

    async fn listen(self: Arc<Self>, mut stream: UnixStream) {
        while let Ok(Ended { id, exit }) = read_message(&mut stream).await {
            if self.alive.lock().insert(id.clone(), false) != Some(false) {
                let _ = self.exits.send((id, exit));
            }
        }
        self.watched.store(false, Ordering::SeqCst);
        // The next host marks what ran as ended, and its states tell us so.
        while !self.ended.load(Ordering::SeqCst) && launch::has_records(&self.config.root) {
            match self.ensure().await {
                Ok(()) => return,
                Err(err) => tracing::error!("the Wasm host ended and cannot be started again: {err}"),
            }
            tokio::time::sleep(RESTART_PAUSE).await;
        }
    }

    /// A call about a container that exists, if any does; `None` where there is neither host nor record.
    async fn open(self: &Arc<Self>, request: impl Fn() -> Request) -> Result<Option<UnixStream>> {
        match launch::call(&self.config.root, request()).await {
            Ok(stream) => Ok(Some(stream)),
            Err(err) if launch::absent(&err) && !launch::has_records(&self.config.root) => Ok(None),
            Err(err) if launch::absent(&err) => self.open_anew(request()).await.map(Some),
            Err(err) => Err(Error::failed("reaching the Wasm host", err)),
        }
    }

    /// A call to a host that is started for it: whoever was watched before has gone, seen or not.
    async fn open_anew(self: &Arc<Self>, request: Request) -> Result<UnixStream> {
        self.watched.store(false, Ordering::SeqCst);
        self.ensure().await?;
        launch::call(&self.config.root, request).await.map_err(|err| Error::failed("reaching the Wasm host", err))
    }

    async fn create(self: &Arc<Self>, spec: &Spec) -> Result<()> {
        let request = || Request::Create(Box::new(spec.clone()));
        self.ensure().await?;
        let mut stream = match launch::call(&self.config.root, request()).await {
            Err(err) if launch::absent(&err) => self.open_anew(request()).await?,
            called => called.map_err(|err| Error::failed("reaching the Wasm host", err))?,
        };
        launch::reply(&mut stream).await.map(drop)
    }

    async fn ask(self: &Arc<Self>, id: &str, request: impl Fn() -> Request) -> Result<Reply> {
        match self.open(request).await? {
            Some(mut stream) => launch::reply(&mut stream).await,
            None => Err(Error::NotFound(id.to_owned())),
        }
    }

    /// As [`Inner::ask`], for what is done where there is nothing.
    async fn release(self: &Arc<Self>, request: impl Fn() -> Request) -> Result<()> {
        match self.open(request).await? {
            Some(mut stream) => launch::reply(&mut stream).await.map(drop),
            None => Ok(()),
        }
    }

    /// Carries the streams of an exec or attach until the host replies.
    async fn carry(&self, stream: UnixStream, stdio: Stdio) -> Result<Reply> {
        let (read, write) = stream.into_split();
        let Stdio { stdin, stdout, stderr, resize: _ } = stdio;
        let input = send_input(write, stdin);
        let output = receive_output(read, stdout, stderr);
        tokio::pin!(input, output);
        tokio::select! {
            reply = &mut output => reply,
            // The connection's write half lives as long as the session: its end would end the command.
            never = &mut input => match never {},
        }
    }
}

fn unexpected() -> Error {
    Error::failed("reading the Wasm host's answer", "it is of another kind than the question")
}

async fn send_input(
    mut write: OwnedWriteHalf,
    stdin: Option<Box<dyn tokio::io::AsyncRead + Send + Unpin>>,
) -> std::convert::Infallible {
    if let Some(mut stdin) = stdin {
        let mut piece = vec![0; PIECE];
        loop {
            match stdin.read(&mut piece).await {
                Ok(0) | Err(_) => {
                    let _ = write_frame(&mut write, Kind::StdinEnd, &[]).await;
                    break;
                }
                Ok(length) => {
                    if write_frame(&mut write, Kind::Stdin, &piece[..length]).await.is_err() {
                        break;
                    }
                }
            }
        }
    }
    std::future::pending().await
}

async fn receive_output(
    mut read: OwnedReadHalf,
    mut stdout: Option<Box<dyn tokio::io::AsyncWrite + Send + Unpin>>,
    mut stderr: Option<Box<dyn tokio::io::AsyncWrite + Send + Unpin>>,
) -> Result<Reply> {
    let doing = "reading the command's output from the Wasm host";
    loop {
        let frame = read_frame(&mut read).await.map_err(|err| Error::failed(doing, err))?;
        let (to, bytes) = match frame {
            Some((Kind::Stdout, bytes)) => (&mut stdout, bytes),
            Some((Kind::Stderr, bytes)) => (&mut stderr, bytes),
            Some((Kind::Message, message)) => {
                return match serde_json::from_slice(&message).map_err(|err| Error::failed(doing, err))? {
                    Reply::Failed(failure) => Err(failure.into()),
                    reply => Ok(reply),
                };
            }
            Some((Kind::Stdin | Kind::StdinEnd, _)) => return Err(unexpected()),
            None => return Err(Error::failed(doing, "the Wasm host ended")),
        };
        if let Some(writer) = to {
            // A client that went away is noticed by the host when the session is dropped.
            writer.write_all(&bytes).await.map_err(|err| Error::failed("sending the command's output", err))?;
            let _ = writer.flush().await;
        }
    }
}

#[async_trait::async_trait]
impl container::Executor for Executor {
    fn name(&self) -> &'static str {
        "wasm"
    }

    /// Containers of a pod share its network namespace, which exists; the host opens it for each of them.
    async fn open_sandbox(&self, _sandbox: &Arc<Sandbox>) -> Result<()> {
        Ok(())
    }

    async fn close_sandbox(&self, sandbox_id: &str) -> Result<()> {
        self.0.release(|| Request::CloseSandbox { id: sandbox_id.to_owned() }).await
    }

    async fn create(&self, spec: &Spec) -> Result<()> {
        self.0.alive.lock().insert(spec.id.clone(), true);
        let created = self.0.create(spec).await;
        if created.is_err() {
            self.0.alive.lock().remove(&spec.id);
        }
        created
    }

    async fn start(&self, id: &str) -> Result<u32> {
        self.0.ensure().await?;
        self.0.ask(id, || Request::Start { id: id.to_owned() }).await.map(|_| 0)
    }

    async fn kill(&self, id: &str, signal: i32) -> Result<()> {
        self.0.ask(id, || Request::Kill { id: id.to_owned(), signal }).await.map(drop)
    }

    async fn delete(&self, id: &str) -> Result<()> {
        self.0.release(|| Request::Delete { id: id.to_owned() }).await?;
        self.0.alive.lock().remove(id);
        Ok(())
    }

    async fn state(&self, id: &str) -> Result<State> {
        match self.0.ask(id, || Request::State { id: id.to_owned() }).await? {
            Reply::State(state) => Ok(state),
            _ => Err(unexpected()),
        }
    }

    async fn stats(&self, id: &str) -> Result<Stats> {
        self.0.ask(id, || Request::Stats { id: id.to_owned() }).await?.stats().ok_or_else(unexpected)
    }

    async fn update(&self, id: &str, resources: &Resources) -> Result<()> {
        self.0.ask(id, || Request::Update { id: id.to_owned(), resources: resources.clone() }).await.map(drop)
    }

    async fn exec(&self, id: &str, exec: &ExecSpec, stdio: Stdio) -> Result<i32> {
        let stdin = stdio.stdin.is_some();
        let request = || Request::Exec { id: id.to_owned(), command: exec.command.clone(), tty: exec.tty, stdin };
        let stream = self.0.open(request).await?.ok_or_else(|| Error::NotFound(id.to_owned()))?;
        match self.0.carry(stream, stdio).await? {
            Reply::Code(code) => Ok(code),
            _ => Err(unexpected()),
        }
    }

    async fn attach(&self, id: &str, stdio: Stdio) -> Result<()> {
        let stdin = stdio.stdin.is_some();
        let request = || Request::Attach { id: id.to_owned(), stdin };
        let stream = self.0.open(request).await?.ok_or_else(|| Error::NotFound(id.to_owned()))?;
        self.0.carry(stream, stdio).await.map(drop)
    }

    async fn reopen_log(&self, id: &str) -> Result<()> {
        self.0.ask(id, || Request::ReopenLog { id: id.to_owned() }).await.map(drop)
    }

    /// Starts the host only if there is something to recover.
    async fn recover(&self) -> Result<Vec<(String, State)>> {
        if !launch::has_records(&self.0.config.root) {
            return Ok(Vec::new());
        }
        self.0.ensure().await?;
        match launch::call(&self.0.config.root, Request::Watch).await {
            Ok(mut stream) => match launch::reply(&mut stream).await? {
                Reply::States(states) => Ok(states),
                _ => Err(unexpected()),
            },
            Err(err) => Err(Error::failed("reaching the Wasm host", err)),
        }
    }

    fn exits(&self) -> broadcast::Receiver<(String, Exit)> {
        self.0.exits.subscribe()
    }
}
