//! The pod process: one small single-threaded process per pod of containers. It holds the namespaces that the pod's
//! containers share, is the parent of their processes, writes their logs, and runs commands in them. It outlives the shim
//! and the kubelet; it refuses to decide anything: it does what it is asked and remembers how it ended.

pub mod container;
mod helper;
mod sessions;
mod shared;

use crate::process::Process;
use crate::wire::{self, Reply, Request};
use ::container::{NamespaceMode, Sandbox, persist};
use container::Container;
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sched::{CloneFlags, unshare};
use nix::sys::signal::{SigSet, Signal, kill};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;
use sessions::{Session, Sessions};
use std::collections::BTreeMap;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixListener;
use std::path::Path;

/// The socket that a pod process listens on, in its directory.
pub const SOCKET: &str = "pod.sock";
/// What the pod is, in its directory.
pub const SANDBOX_FILE: &str = "sandbox.json";
const PROCESS_FILE: &str = "pod.json";

pub struct Pod {
    listener: UnixListener,
    signals: SignalFd,
    containers: BTreeMap<String, Container>,
    sessions: Sessions,
    /// The process that holds the pod's shared process namespace.
    pause: Option<Pid>,
    /// How to end: after a shutdown was asked for.
    leaving: bool,
}

/// The pod process recorded in `dir`, if it still runs.
pub fn recorded(dir: &Path) -> Option<Process> {
    persist::read::<Process>(&dir.join(PROCESS_FILE)).ok().filter(Process::alive)
}

/// Makes what the pod's containers share.
pub fn open(dir: &Path) -> Result<Pod, String> {
    let sandbox: Sandbox =
        persist::read(&dir.join(SANDBOX_FILE)).map_err(|e| format!("read the pod's sandbox: {e}"))?;
    let _ = std::env::set_current_dir("/");
    shared::prctl(libc::PR_SET_CHILD_SUBREAPER, 1).map_err(|e| format!("become the reaper of the pod: {e}"))?;
    shared::name_process();
    let mut flags = CloneFlags::empty();
    if sandbox.netns.is_some() {
        flags |= CloneFlags::CLONE_NEWUTS;
    }
    if matches!(sandbox.ipc, NamespaceMode::Pod | NamespaceMode::Target(_)) {
        flags |= CloneFlags::CLONE_NEWIPC;
    }
    unshare(flags).map_err(|e| format!("make the pod's namespaces: {e}"))?;
    if sandbox.netns.is_some() && !sandbox.hostname.is_empty() {
        nix::unistd::sethostname(&sandbox.hostname)
            .map_err(|e| format!("set the host name {:?}: {e}", sandbox.hostname))?;
    }
    if let (Some(shm), false) = (&sandbox.shm, sandbox.ipc == NamespaceMode::Node) {
        shared::mount_shm(shm)?;
    }
    shared::set_sysctls(&sandbox)?;
    let mut blocked = SigSet::empty();
    for signal in [Signal::SIGCHLD, Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP, Signal::SIGPIPE] {
        blocked.add(signal);
    }
    let pause = if sandbox.pid == NamespaceMode::Pod { Some(shared::pause()?) } else { None };
    blocked.thread_block().map_err(|e| format!("block signals: {e}"))?;
    let mut listened = SigSet::empty();
    listened.add(Signal::SIGCHLD);
    let signals = SignalFd::with_flags(&listened, SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC)
        .map_err(|e| format!("listen for signals: {e}"))?;
    let listener = wire::listen(dir, SOCKET).map_err(|e| format!("listen in {}: {e}", dir.display()))?;
    listener.set_nonblocking(true).map_err(|e| format!("listen in {}: {e}", dir.display()))?;
    let own = Process::find(std::process::id() as i32).ok_or("read /proc/self/stat")?;
    persist::write(&dir.join(PROCESS_FILE), &own).map_err(|e| format!("record the pod process: {e}"))?;
    Ok(Pod { listener, signals, containers: BTreeMap::new(), sessions: Sessions::default(), pause, leaving: false })
}

/// What woke the loop.
#[derive(Debug, Clone, Copy)]
enum Source {
    Listener,
    Signals,
    Connection(u64),
    /// An attach session's standard input.
    Input(u64),
    /// A container takes input again.
    Feed(u64),
    /// An attach session's pending output.
    Drain(u64, usize),
    Output(usize, usize),
}

impl Pod {
    /// Serves until the pod is shut down.
    pub fn run(mut self) {
        while !self.leaving {
            for source in self.wait() {
                self.handle(source);
            }
        }
        self.end();
    }

    fn wait(&self) -> Vec<Source> {
        let mut watched: Vec<(Source, BorrowedFd<'_>, PollFlags)> = vec![
            (Source::Listener, self.listener.as_fd(), PollFlags::POLLIN),
            (Source::Signals, self.signals.as_fd(), PollFlags::POLLIN),
        ];
        for (number, container) in self.containers.values().enumerate() {
            if self.sessions.congested(&container.id) {
                continue;
            }
            for (index, output) in container.outputs.iter().enumerate() {
                if let Some(output) = output {
                    watched.push((Source::Output(number, index), output.as_fd(), PollFlags::POLLIN));
                }
            }
        }
        self.sessions.watch(&mut watched);
        for (id, container) in self.sessions.feeding() {
            if let Some(input) = self.containers.get(container).and_then(|container| container.input.as_ref()) {
                watched.push((Source::Feed(id), input.as_fd(), PollFlags::POLLOUT));
            }
        }
        let mut fds: Vec<PollFd<'_>> = watched.iter().map(|(_, fd, flags)| PollFd::new(*fd, *flags)).collect();
        match poll(&mut fds, PollTimeout::NONE) {
            Ok(_) => {}
            Err(_) => return Vec::new(),
        }
        let ready = |fd: &PollFd<'_>| fd.revents().is_some_and(|events| !events.is_empty());
        fds.iter().zip(&watched).filter(|(fd, _)| ready(fd)).map(|(_, (source, ..))| *source).collect()
    }

    fn handle(&mut self, source: Source) {
        match source {
            Source::Listener => {
                if let Ok((connection, _)) = self.listener.accept() {
                    self.sessions.add(connection);
                }
            }
            Source::Signals => {
                while let Ok(Some(_)) = self.signals.read_signal() {}
                self.reap();
            }
            Source::Connection(id) => self.serve(id),
            Source::Input(id) => {
                self.sessions.read_input(id);
                self.feed(id);
            }
            Source::Feed(id) => self.feed(id),
            Source::Drain(id, index) => self.sessions.drain(id, index),
            Source::Output(number, index) => {
                let Some(id) = self.containers.keys().nth(number).cloned() else { return };
                self.read(&id, index);
            }
        }
    }

    fn read(&mut self, id: &str, index: usize) {
        let Some(container) = self.containers.get_mut(id) else { return };
        match container.read(index) {
            Some(bytes) => self.sessions.output(id, index, &bytes),
            None => {
                if container.outputs.iter().all(Option::is_none) {
                    self.sessions.end_attached(id, exit_code(container));
                }
            }
        }
    }

    fn serve(&mut self, id: u64) {
        let requests = match self.sessions.receive(id) {
            Some(requests) => requests,
            None => {
                self.closed(id);
                return;
            }
        };
        for (request, fds) in requests {
            self.answer(id, request, fds);
        }
    }

    /// A client has left. A command that ran for it ends; a container goes on.
    fn closed(&mut self, id: u64) {
        match self.sessions.remove(id) {
            Some(Session::Exec { pid }) => {
                let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
            }
            Some(Session::Attach { container, stdin, .. }) => {
                if stdin.is_some() {
                    self.input_ended(&container);
                }
            }
            Some(Session::Plain | Session::Watch) | None => {}
        }
    }

    fn answer(&mut self, id: u64, request: Request, fds: Vec<OwnedFd>) {
        let reply = match request {
            Request::Create { dir } => done(self.create(&dir)),
            Request::Start { id } => match self.find(&id).map(Container::start) {
                Ok(Ok(pid)) => Reply::Started { pid },
                Ok(Err(reason)) => Reply::Failed(reason),
                Err(reply) => reply,
            },
            Request::Kill { id, signal } => self.kill(&id, signal),
            Request::Delete { id } => self.delete(&id),
            Request::Exec { id: container, command, tty, stdin, stdout, stderr } => {
                match self.exec(id, &container, command, tty, [stdin, stdout, stderr], fds) {
                    Ok(()) => return,
                    Err(reply) => reply,
                }
            }
            Request::Attach { id: container, stdin, stdout, stderr } => {
                match self.attach(id, container, [stdin, stdout, stderr], fds) {
                    Ok(()) => return,
                    Err(reply) => reply,
                }
            }
            Request::Resize { columns, rows } => {
                if let Some(container) = self.sessions.attached_to(id)
                    && let Some(container) = self.containers.get(container)
                    && let (true, Some(console)) = (container.tty, &container.outputs[0])
                {
                    resize(console, columns, rows);
                }
                return;
            }
            Request::ReopenLog { id } => match self.find(&id).map(Container::reopen_log) {
                Ok(result) => done(result),
                Err(reply) => reply,
            },
            Request::States => self.states(),
            Request::Watch => {
                self.sessions.set(id, Session::Watch);
                self.states()
            }
            Request::Shutdown => {
                self.leaving = true;
                self.shut();
                Reply::Done
            }
        };
        self.sessions.send(id, &reply, &[]);
    }

    fn states(&self) -> Reply {
        Reply::States(self.containers.values().map(|c| (c.id.clone(), c.state.clone())).collect())
    }

    fn find(&mut self, id: &str) -> Result<&mut Container, Reply> {
        self.containers.get_mut(id).ok_or_else(|| Reply::NotFound(id.to_owned()))
    }

    fn create(&mut self, dir: &Path) -> Result<(), String> {
        let container = Container::create(dir, self.pause.map(Pid::as_raw))?;
        self.containers.insert(container.id.clone(), container);
        Ok(())
    }

    fn kill(&mut self, id: &str, signal: i32) -> Reply {
        match self.find(id) {
            Err(reply) => reply,
            // It has ended already: what was wanted of a kill is reached.
            Ok(container) if container.pid == 0 => Reply::Done,
            Ok(container) => {
                // SAFETY: a plain system call on numbers; the process is our own child and not yet reaped.
                let sent = unsafe { libc::kill(container.pid, signal) };
                match sent {
                    0 => Reply::Done,
                    _ => Reply::Invalid(format!("send signal {signal}: {}", Errno::last())),
                }
            }
        }
    }

    fn delete(&mut self, id: &str) -> Reply {
        let Some(container) = self.containers.get_mut(id) else { return Reply::Done };
        match container.delete() {
            Ok(()) => {
                let code = exit_code(container);
                self.containers.remove(id);
                self.sessions.end_attached(id, code);
                Reply::Done
            }
            Err(reason) => Reply::Failed(reason),
        }
    }

    fn exec(
        &mut self,
        session: u64,
        id: &str,
        command: Vec<String>,
        tty: bool,
        named: [bool; 3],
        fds: Vec<OwnedFd>,
    ) -> Result<(), Reply> {
        let streams = if tty { None } else { Some(streams(named, fds).map_err(Reply::Invalid)?) };
        let (pid, master) = self.find(id)?.exec(command, streams).map_err(Reply::Invalid)?;
        self.sessions.set(session, Session::Exec { pid });
        let reply = Reply::Started { pid: pid as u32 };
        match &master {
            Some(master) => self.sessions.send(session, &reply, std::slice::from_ref(master)),
            None => self.sessions.send(session, &reply, &[]),
        }
        Ok(())
    }

    fn attach(&mut self, session: u64, id: String, named: [bool; 3], fds: Vec<OwnedFd>) -> Result<(), Reply> {
        let container = self.find(&id)?;
        if named[0] && container.input.is_none() {
            return Err(Reply::Invalid(
                "the container has no standard input: set `stdin: true` in its manifest".into(),
            ));
        }
        let over = container.outputs.iter().all(Option::is_none).then(|| exit_code(container));
        let mut fds = fds.into_iter();
        let mut next = |wanted: bool| wanted.then(|| fds.next()).flatten().map(container::nonblocking).transpose();
        let stdin = next(named[0]).map_err(Reply::Failed)?;
        let stdout = next(named[1]).map_err(Reply::Failed)?;
        let stderr = next(named[2]).map_err(Reply::Failed)?;
        self.sessions.set(session, Session::attach(id, stdin, [stdout, stderr]));
        self.sessions.send(session, &Reply::Done, &[]);
        if let Some(code) = over {
            self.sessions.end(session, code);
        }
        Ok(())
    }

    /// Moves input from an attach session to its container.
    fn feed(&mut self, id: u64) {
        let Some(container_id) = self.sessions.attached_to(id).map(str::to_owned) else { return };
        let ended = match self.containers.get_mut(&container_id) {
            Some(container) => self.sessions.feed(id, container),
            None => false,
        };
        if ended {
            self.input_ended(&container_id);
        }
    }

    fn input_ended(&mut self, container: &str) {
        if let Some(container) = self.containers.get_mut(container)
            && container.stdin_once
            && !container.tty
        {
            container.input = None;
        }
    }

    /// Takes note of every process that has ended.
    fn reap(&mut self) {
        loop {
            let (pid, code) = match waitpid(None, Some(WaitPidFlag::WNOHANG)) {
                Ok(WaitStatus::Exited(pid, code)) => (pid.as_raw(), code),
                Ok(WaitStatus::Signaled(pid, signal, _)) => (pid.as_raw(), 128 + signal as i32),
                Ok(WaitStatus::StillAlive) | Err(_) => return,
                Ok(_) => continue,
            };
            self.ended(pid, code);
        }
    }

    fn ended(&mut self, pid: i32, code: i32) {
        if self.pause.is_some_and(|pause| pause.as_raw() == pid) {
            self.pause = None;
        }
        if let Some(session) = self.sessions.exec_of(pid) {
            self.sessions.end(session, code);
            return;
        }
        let Some(id) = self.containers.values().find(|c| c.pid == pid).map(|c| c.id.clone()) else { return };
        // Everything that it wrote is in the log before anyone hears of its end.
        for index in [0, 1] {
            self.empty(&id, index);
        }
        let Some(container) = self.containers.get_mut(&id) else { return };
        if let Some(exit) = container.ended(code) {
            self.sessions.tell(&Reply::Exited { id: id.clone(), exit });
        }
        for index in [0, 1] {
            self.empty(&id, index);
        }
    }

    /// Reads an output until nothing is there.
    fn empty(&mut self, id: &str, index: usize) {
        loop {
            let Some(container) = self.containers.get_mut(id) else { return };
            if container.outputs[index].is_none() {
                return;
            }
            match container.read(index) {
                Some(bytes) if bytes.is_empty() => return,
                Some(bytes) => self.sessions.output(id, index, &bytes),
                None => {
                    if container.outputs.iter().all(Option::is_none) {
                        self.sessions.end_attached(id, exit_code(container));
                    }
                    return;
                }
            }
        }
    }

    /// Ends every container and releases it.
    fn shut(&mut self) {
        for container in self.containers.values_mut() {
            if container.pid > 0 {
                let pid = Pid::from_raw(container.pid);
                let _ = kill(pid, Signal::SIGKILL);
                let _ = waitpid(pid, None);
                container.ended(128 + Signal::SIGKILL as i32);
            }
            let _ = container.delete();
        }
    }

    fn end(self) {
        if let Some(pause) = self.pause {
            let _ = kill(pause, Signal::SIGKILL);
            let _ = waitpid(pause, None);
        }
    }
}

fn done(result: Result<(), String>) -> Reply {
    match result {
        Ok(()) => Reply::Done,
        Err(reason) => Reply::Invalid(reason),
    }
}

fn exit_code(container: &Container) -> i32 {
    match &container.state {
        ::container::State::Exited { exit, .. } => exit.code,
        ::container::State::Created { .. } | ::container::State::Running { .. } => 0,
    }
}

/// Three descriptors for a process: those that came along, and /dev/null for the rest.
fn streams(named: [bool; 3], fds: Vec<OwnedFd>) -> Result<[OwnedFd; 3], String> {
    let mut fds = fds.into_iter();
    let mut next = |wanted: bool| -> Result<OwnedFd, String> {
        if wanted {
            return fds.next().ok_or_else(|| "a stream was named but did not come along".to_owned());
        }
        let null = std::fs::OpenOptions::new().read(true).write(true).open("/dev/null");
        null.map(OwnedFd::from).map_err(|e| format!("open /dev/null: {e}"))
    };
    Ok([next(named[0])?, next(named[1])?, next(named[2])?])
}

/// Sets a console's size.
pub fn resize(console: &impl AsFd, columns: u16, rows: u16) {
    use std::os::fd::AsRawFd;
    let size = libc::winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
    // SAFETY: the descriptor is open and TIOCSWINSZ reads one winsize. A console that has gone needs no size.
    unsafe { libc::ioctl(console.as_fd().as_raw_fd(), libc::TIOCSWINSZ, &size) };
}
