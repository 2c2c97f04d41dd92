//! The shim's side: [`container::Executor`] by asking pod processes.

mod streams;
mod watch;

use crate::cgroup::{self, Cgroup};
use crate::pod::{self, container as files};
use crate::process::Process;
use crate::wire::{self, Inbox, Reply, Request};
use crate::zygote;
use container::{
    Error, ExecSpec, Executor, Exit, NamespaceMode, Resources, Result, Sandbox, Spec, State, Stats, Stdio, persist,
};
use std::collections::HashMap;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio as ProcessStdio};
use std::sync::{Arc, Mutex, MutexGuard};
use tokio::sync::broadcast;

/// Exits that a slow listener may lag behind; it can ask for states instead.
const EXITS_LIMIT: usize = 1024;
/// Group that we made for a pod, to be removed with it.
const GROUP_FILE: &str = "cgroup.json";

/// Runs containers by pod processes.
pub struct Oci {
    inner: Arc<Inner>,
}

struct Inner {
    /// One link a sandbox to the directory with its pod's files.
    root: PathBuf,
    zygote: Mutex<Option<(Child, UnixStream)>>,
    pods: Mutex<HashMap<String, Arc<Pod>>>,
    containers: Mutex<HashMap<String, Entry>>,
    exits: broadcast::Sender<(String, Exit)>,
}

#[derive(Debug)]
struct Pod {
    id: String,
    dir: PathBuf,
    process: Process,
}

#[derive(Debug, Clone)]
struct Entry {
    pod: Arc<Pod>,
    dir: PathBuf,
    tty: bool,
    group: Cgroup,
}

/// What an earlier process has left: containers with their states, and pods.
type Found = (Vec<(String, State)>, Vec<Arc<Pod>>);

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

impl Oci {
    /// An executor that keeps its records in `root`. [`Executor::recover`] finds what an earlier one has left there.
    pub fn new(root: PathBuf) -> Result<Oci> {
        std::fs::create_dir_all(&root).map_err(|e| Error::failed(format!("make {}", root.display()), e))?;
        let (exits, _) = broadcast::channel(EXITS_LIMIT);
        let inner =
            Inner { root, zygote: Mutex::default(), pods: Mutex::default(), containers: Mutex::default(), exits };
        Ok(Oci { inner: Arc::new(inner) })
    }

    fn entry(&self, id: &str) -> Result<Entry> {
        lock(&self.inner.containers).get(id).cloned().ok_or_else(|| Error::NotFound(id.to_owned()))
    }

    /// Asks a container's pod process.
    async fn ask(&self, id: &str, request: Request) -> Result<Reply> {
        let entry = self.entry(id)?;
        call(entry.pod, request).await
    }

    async fn done(&self, id: &str, request: Request) -> Result<()> {
        self.ask(id, request).await.map(drop)
    }
}

#[async_trait::async_trait]
impl Executor for Oci {
    fn name(&self) -> &'static str {
        "oci"
    }

    async fn open_sandbox(&self, sandbox: &Arc<Sandbox>) -> Result<()> {
        let inner = self.inner.clone();
        let sandbox = sandbox.clone();
        let pod = blocking(move || inner.open(&sandbox)).await?;
        watch::start(&self.inner, pod);
        Ok(())
    }

    async fn close_sandbox(&self, sandbox_id: &str) -> Result<()> {
        let inner = self.inner.clone();
        let id = sandbox_id.to_owned();
        blocking(move || inner.close(&id)).await
    }

    async fn create(&self, spec: &Spec) -> Result<()> {
        let pod = lock(&self.inner.pods).get(&spec.sandbox.id).cloned();
        let pod = pod.ok_or_else(|| Error::NotFound(spec.sandbox.id.clone()))?;
        if let Some(lack) = cgroup::lacking(&spec.resources) {
            return Err(Error::Invalid(lack));
        }
        let mut spec = spec.clone();
        if let NamespaceMode::Target(target) = &spec.sandbox.pid {
            let pid = self.running_pid(target)?;
            let mut sandbox = (*spec.sandbox).clone();
            sandbox.pid = NamespaceMode::Target(pid.to_string());
            spec.sandbox = Arc::new(sandbox);
        }
        let entry = Entry {
            pod: pod.clone(),
            dir: spec.state_dir.clone(),
            tty: spec.tty,
            group: Cgroup::of(&spec.sandbox.cgroup_parent, &spec.id),
        };
        persist::write(&spec.state_dir.join(files::SPEC_FILE), &spec)
            .map_err(|e| Error::failed("record the container", e))?;
        call(pod.clone(), Request::Create { dir: spec.state_dir.clone() }).await?;
        let link = pod.dir.join("containers").join(&spec.id);
        let linked = std::fs::create_dir_all(pod.dir.join("containers"))
            .and_then(|()| std::os::unix::fs::symlink(&spec.state_dir, &link));
        linked.map_err(|e| Error::failed("record the container", e))?;
        lock(&self.inner.containers).insert(spec.id.clone(), entry);
        Ok(())
    }

    async fn start(&self, id: &str) -> Result<u32> {
        match self.ask(id, Request::Start { id: id.to_owned() }).await? {
            Reply::Started { pid } => Ok(pid),
            other => Err(unexpected(other)),
        }
    }

    async fn kill(&self, id: &str, signal: i32) -> Result<()> {
        self.done(id, Request::Kill { id: id.to_owned(), signal }).await
    }

    async fn delete(&self, id: &str) -> Result<()> {
        let Ok(entry) = self.entry(id) else { return Ok(()) };
        if entry.pod.process.alive() {
            call(entry.pod.clone(), Request::Delete { id: id.to_owned() }).await?;
        } else {
            let entry = entry.clone();
            blocking(move || release(&entry.dir, &entry.group)).await?;
        }
        let _ = std::fs::remove_file(entry.pod.dir.join("containers").join(id));
        lock(&self.inner.containers).remove(id);
        Ok(())
    }

    async fn state(&self, id: &str) -> Result<State> {
        let entry = self.entry(id)?;
        read_state(&entry.dir)
    }

    async fn stats(&self, id: &str) -> Result<Stats> {
        Ok(self.entry(id)?.group.stats())
    }

    async fn update(&self, id: &str, resources: &Resources) -> Result<()> {
        if let Some(lack) = cgroup::lacking(resources) {
            return Err(Error::Invalid(lack));
        }
        self.entry(id)?.group.update(resources).map_err(|e| Error::failed("change the container's limits", e))
    }

    async fn exec(&self, id: &str, exec: &ExecSpec, stdio: Stdio) -> Result<i32> {
        streams::exec(self.entry(id)?, id, exec, stdio).await
    }

    async fn attach(&self, id: &str, stdio: Stdio) -> Result<()> {
        streams::attach(self.entry(id)?, id, stdio).await
    }

    async fn reopen_log(&self, id: &str) -> Result<()> {
        self.done(id, Request::ReopenLog { id: id.to_owned() }).await
    }

    async fn recover(&self) -> Result<Vec<(String, State)>> {
        let inner = self.inner.clone();
        let (states, pods) = blocking(move || inner.recover()).await?;
        for pod in pods {
            watch::start(&self.inner, pod);
        }
        Ok(states)
    }

    fn exits(&self) -> broadcast::Receiver<(String, Exit)> {
        self.inner.exits.subscribe()
    }
}

impl Oci {
    fn running_pid(&self, id: &str) -> Result<u32> {
        match read_state(&self.entry(id)?.dir)? {
            State::Running { pid, .. } => Ok(pid),
            state => Err(Error::Invalid(format!("container {id}, whose processes to join, is {}", state.name()))),
        }
    }
}

impl Inner {
    fn open(&self, sandbox: &Sandbox) -> Result<Arc<Pod>> {
        let dir = sandbox.state_dir.join("oci");
        std::fs::create_dir_all(&dir).map_err(|e| Error::failed(format!("make {}", dir.display()), e))?;
        persist::write(&dir.join(pod::SANDBOX_FILE), sandbox).map_err(|e| Error::failed("record the sandbox", e))?;
        record_group(&dir, &sandbox.cgroup_parent).map_err(|e| Error::failed("record the sandbox's cgroup", e))?;
        let link = self.root.join(&sandbox.id);
        let _ = std::fs::remove_file(&link);
        std::os::unix::fs::symlink(&dir, &link).map_err(|e| Error::failed(format!("link {}", link.display()), e))?;
        let process = self.fork(&dir)?;
        let pod = Arc::new(Pod { id: sandbox.id.clone(), dir, process });
        lock(&self.pods).insert(sandbox.id.clone(), pod.clone());
        Ok(pod)
    }

    /// Has the zygote fork a pod process, starting the zygote where there is none.
    fn fork(&self, dir: &Path) -> Result<Process> {
        let failed = |e: std::io::Error| Error::failed("start the pod process", e);
        let mut zygote = lock(&self.zygote);
        for _ in 0..2 {
            if zygote.is_none() {
                *zygote = Some(start_zygote().map_err(failed)?);
            }
            let Some((_, socket)) = zygote.as_ref() else { break };
            let answer = wire::send(socket, &zygote::Fork { dir: dir.to_owned() }, &[])
                .and_then(|()| wire::receive::<zygote::Forked>(socket, &mut Inbox::default()));
            match answer {
                Ok(Some((zygote::Forked::Ready(process), _))) => return Ok(process),
                Ok(Some((zygote::Forked::Failed(reason), _))) => {
                    return Err(Error::Invalid(format!("start the pod process: {reason}")));
                }
                // The zygote has gone: start another once.
                Ok(None) | Err(_) => {
                    if let Some((mut child, _)) = zygote.take() {
                        let _ = child.kill();
                        let _ = child.wait();
                    }
                }
            }
        }
        Err(Error::Invalid(format!(
            "start the pod process: the zygote does not answer (does this binary call oci::reexec first in main? It was started as `{} {}`)",
            std::env::current_exe().unwrap_or_default().display(),
            zygote::ARGUMENT
        )))
    }

    fn close(&self, id: &str) -> Result<()> {
        let link = self.root.join(id);
        let Ok(dir) = std::fs::read_link(&link) else { return Ok(()) };
        lock(&self.pods).remove(id);
        lock(&self.containers).retain(|_, entry| entry.pod.id != id);
        close_pod(&dir)?;
        std::fs::remove_file(&link).map_err(|e| Error::failed(format!("remove {}", link.display()), e))
    }

    /// Finds pods and containers that an earlier process has left.
    fn recover(&self) -> Result<Found> {
        let mut states = Vec::new();
        let mut pods = Vec::new();
        let links =
            std::fs::read_dir(&self.root).map_err(|e| Error::failed(format!("read {}", self.root.display()), e))?;
        for link in links.flatten() {
            let Ok(dir) = std::fs::read_link(link.path()) else { continue };
            let id = link.file_name().to_string_lossy().into_owned();
            // A pod process that has ended is no reason to forget its containers.
            let process = pod::recorded(&dir).unwrap_or(Process { pid: -1, start_time: 0 });
            let pod = Arc::new(Pod { id: id.clone(), dir: dir.clone(), process });
            for (container, dir) in containers_of(&dir) {
                let Ok(spec) = persist::read::<Spec>(&dir.join(files::SPEC_FILE)) else { continue };
                let group = Cgroup::of(&spec.sandbox.cgroup_parent, &spec.id);
                let state = if process.pid < 0 { lost(&dir, &group)? } else { read_state(&dir)? };
                states.push((container.clone(), state));
                let entry = Entry { pod: pod.clone(), dir, tty: spec.tty, group };
                lock(&self.containers).insert(container, entry);
            }
            lock(&self.pods).insert(id, pod.clone());
            pods.push(pod);
        }
        Ok((states, pods))
    }
}

/// Ends and releases everything that executors with this root have left behind. For a machine on which none runs.
pub fn reset(root: &Path) -> Result<()> {
    let links = match std::fs::read_dir(root) {
        Ok(links) => links,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(Error::failed(format!("read {}", root.display()), error)),
    };
    for link in links.flatten() {
        if let Ok(dir) = std::fs::read_link(link.path()) {
            close_pod(&dir)?;
        }
        let _ = std::fs::remove_file(link.path());
    }
    Ok(())
}

/// Ends a pod process with its containers, and removes its files.
fn close_pod(dir: &Path) -> Result<()> {
    if let Some(process) = pod::recorded(dir) {
        let asked = wire::connect(dir, pod::SOCKET).and_then(|socket| {
            wire::send(&socket, &Request::Shutdown, &[])?;
            wire::receive::<Reply>(&socket, &mut Inbox::default())
        });
        if !matches!(asked, Ok(Some(_))) {
            process.end();
        }
        watch::await_end(process);
    }
    for (_, container) in containers_of(dir) {
        if let Ok(spec) = persist::read::<Spec>(&container.join(files::SPEC_FILE)) {
            release(&container, &Cgroup::of(&spec.sandbox.cgroup_parent, &spec.id))?;
        }
    }
    if let Ok(sandbox) = persist::read::<Sandbox>(&dir.join(pod::SANDBOX_FILE))
        && let Some(shm) = &sandbox.shm
        && sandbox.ipc != NamespaceMode::Node
    {
        let _ = nix::mount::umount2(shm, nix::mount::MntFlags::MNT_DETACH);
    }
    for group in persist::read::<Vec<PathBuf>>(&dir.join(GROUP_FILE)).unwrap_or_default() {
        // Others may have come to use it; then it is theirs to remove.
        let _ = Cgroup::at(group).remove();
    }
    match std::fs::remove_dir_all(dir) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(Error::failed(format!("remove {}", dir.display()), error))
        }
        _ => Ok(()),
    }
}

/// Releases a container whose pod process has gone.
fn release(dir: &Path, group: &Cgroup) -> Result<()> {
    watch::end_group(group);
    crate::runtime::delete(dir, group).map_err(Error::Invalid)
}

/// The state of a container whose pod process has gone: if it ran, it has ended with it.
fn lost(dir: &Path, group: &Cgroup) -> Result<State> {
    let state = read_state(dir)?;
    let exit = Exit {
        code: 255,
        finished_at: files::now_ns(),
        reason: "PodProcessGone".to_owned(),
        message: "the process that kept this pod's containers ended; its containers ended with it".to_owned(),
    };
    match state.clone().on(container::Event::Exited(exit)) {
        Ok(Some(ended)) => {
            watch::end_group(group);
            persist::write(&dir.join(files::STATE_FILE), &ended).map_err(|e| Error::failed("record the end", e))?;
            Ok(ended)
        }
        Ok(None) | Err(_) => Ok(state),
    }
}

/// The groups above the pod's containers that do not exist yet, deepest first: they are ours to remove.
fn record_group(dir: &Path, parent: &str) -> std::io::Result<()> {
    let parent = Path::new("/").join(parent.trim_start_matches('/'));
    let missing: Vec<&Path> = parent
        .ancestors()
        .filter(|path| path.parent().is_some())
        .take_while(|path| !Cgroup::at(path).exists())
        .collect();
    persist::write(&dir.join(GROUP_FILE), &missing)
}

fn containers_of(dir: &Path) -> Vec<(String, PathBuf)> {
    let links = std::fs::read_dir(dir.join("containers")).into_iter().flatten().flatten();
    links
        .filter_map(|link| {
            let target = std::fs::read_link(link.path()).ok()?;
            Some((link.file_name().to_string_lossy().into_owned(), target))
        })
        .collect()
}

fn read_state(dir: &Path) -> Result<State> {
    persist::read(&dir.join(files::STATE_FILE)).map_err(|e| Error::failed("read the container's state", e))
}

fn start_zygote() -> std::io::Result<(Child, UnixStream)> {
    let (ours, theirs) = UnixStream::pair()?;
    let child = Command::new("/proc/self/exe")
        .arg(zygote::ARGUMENT)
        .stdin(ProcessStdio::from(OwnedFd::from(theirs)))
        .stdout(ProcessStdio::null())
        .current_dir("/")
        .spawn()?;
    Ok((child, ours))
}

impl Drop for Inner {
    fn drop(&mut self) {
        if let Some((mut child, socket)) = lock(&self.zygote).take() {
            drop(socket);
            let _ = child.wait();
        }
    }
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    tokio::task::spawn_blocking(work).await.map_err(|e| Error::failed("run a blocking call", e))?
}

/// One question to a pod process.
async fn call(pod: Arc<Pod>, request: Request) -> Result<Reply> {
    blocking(move || open_call(&pod, &request, &[]).map(|(reply, ..)| reply)).await
}

/// One question; the connection stays open for what follows.
fn open_call(pod: &Pod, request: &Request, fds: &[OwnedFd]) -> Result<(Reply, Vec<OwnedFd>, UnixStream, Inbox)> {
    let failed = |e: std::io::Error| Error::failed("ask the pod process", e);
    let socket = wire::connect(&pod.dir, pod::SOCKET).map_err(failed)?;
    let raw: Vec<i32> = fds.iter().map(AsRawFd::as_raw_fd).collect();
    wire::send(&socket, request, &raw).map_err(failed)?;
    let mut inbox = Inbox::default();
    match wire::receive::<Reply>(&socket, &mut inbox).map_err(failed)? {
        None => Err(Error::Invalid("the pod process ended while it was asked".to_owned())),
        Some((Reply::NotFound(id), _)) => Err(Error::NotFound(id)),
        Some((Reply::Invalid(reason) | Reply::Failed(reason), _)) => Err(Error::Invalid(reason)),
        Some((reply, fds)) => Ok((reply, fds, socket, inbox)),
    }
}

fn unexpected(reply: Reply) -> Error {
    Error::Invalid(format!("the pod process answered {reply:?}"))
}
