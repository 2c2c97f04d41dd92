//! One container as its pod process holds it: state, streams and log.

use super::helper;
use crate::cgroup::Cgroup;
use crate::runtime::{self, Io};
use crate::wire;
use container::log::{Log, Stream};
use container::{Event, Exit, Spec, State, persist};
use jiff::Timestamp;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};

/// The name of the file with a container's state, in its directory.
pub const STATE_FILE: &str = "state.json";
/// The name of the file with what was asked for.
pub const SPEC_FILE: &str = "spec.json";

#[derive(Debug)]
pub struct Container {
    pub id: String,
    dir: PathBuf,
    pub state: State,
    pub pid: i32,
    pub tty: bool,
    pub stdin_once: bool,
    log: Log,
    group: Cgroup,
    /// What comes out: stdout and stderr, or the console's master in the first place.
    pub outputs: [Option<File>; 2],
    /// Where standard input goes; `None` where there is none (any more).
    pub input: Option<File>,
}

/// What is needed of a spec while the container runs.
impl Container {
    /// Makes the container whose `spec.json` lies in `dir`.
    pub fn create(dir: &Path, pause: Option<i32>) -> Result<Container, String> {
        let spec: Spec = persist::read(&dir.join(SPEC_FILE)).map_err(|e| format!("read the container's spec: {e}"))?;
        let log = Log::open(&spec.log_path).map_err(|e| format!("open the log {}: {e}", spec.log_path.display()))?;
        let group = Cgroup::of(&spec.sandbox.cgroup_parent, &spec.id);
        let own = std::process::id() as i32;
        let made = if spec.tty { with_console(dir, &spec, own, pause) } else { with_pipes(dir, &spec, own, pause) };
        let (pid, outputs, input) = match made {
            Ok(made) => made,
            Err(reason) => {
                let _ = helper::run(&[], || runtime::delete(dir, &group));
                return Err(reason);
            }
        };
        let state = State::Created { created_at: now_ns() };
        let container = Container {
            id: spec.id.clone(),
            dir: dir.to_owned(),
            state,
            pid,
            tty: spec.tty,
            stdin_once: spec.stdin_once,
            log,
            group,
            outputs,
            input,
        };
        container.save()?;
        Ok(container)
    }

    pub fn start(&mut self) -> Result<u32, String> {
        let started = Event::Started { at: now_ns(), pid: self.pid as u32 };
        let next = self.state.clone().on(started).map_err(|e| e.to_string())?;
        let (dir, id) = (&self.dir, &self.id);
        helper::run(&[], || runtime::start(dir, id))?;
        if let Some(next) = next {
            self.state = next;
        }
        self.save()?;
        Ok(self.pid as u32)
    }

    /// Takes note that the first process has ended.
    pub fn ended(&mut self, code: i32) -> Option<Exit> {
        let oom = self.group.oom_kills() > 0 && code == 137;
        let reason = match (code, oom) {
            (_, true) => "OOMKilled",
            (0, false) => "Completed",
            (_, false) => "Error",
        };
        let exit = Exit { code, finished_at: now_ns(), reason: reason.to_owned(), message: String::new() };
        let next = self.state.clone().on(Event::Exited(exit.clone())).ok()??;
        self.state = next;
        self.pid = 0;
        self.input = None;
        // Processes that left the first one's namespace (a shared one) end with it.
        for pid in self.group.processes() {
            let _ = nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), nix::sys::signal::Signal::SIGKILL);
        }
        // A state that cannot be written (a full disk) is still told to whoever asks; nothing better can be done here.
        let _ = self.save();
        Some(exit)
    }

    pub fn delete(&mut self) -> Result<(), String> {
        self.state.clone().on(Event::Deleted).map_err(|e| e.to_string())?;
        if self.pid > 0 {
            let _ = nix::sys::signal::kill(nix::unistd::Pid::from_raw(self.pid), nix::sys::signal::Signal::SIGKILL);
            let _ = nix::sys::wait::waitpid(nix::unistd::Pid::from_raw(self.pid), None);
            self.pid = 0;
        }
        let (dir, group) = (&self.dir, &self.group);
        helper::run(&[], || runtime::delete(dir, group))
    }

    /// Runs a command beside the container's own. With `tty`, returns the console's master.
    pub fn exec(&self, command: Vec<String>, streams: Option<[OwnedFd; 3]>) -> Result<(i32, Option<OwnedFd>), String> {
        match &self.state {
            State::Running { .. } => {}
            State::Created { .. } | State::Exited { .. } => {
                return Err(format!("the container is {}; a command runs in a running one", self.state.name()));
            }
        }
        let (dir, id) = (&self.dir, &self.id);
        match streams {
            Some([stdin, stdout, stderr]) => {
                let keep = [stdin.as_raw_fd(), stdout.as_raw_fd(), stderr.as_raw_fd()];
                let pid =
                    helper::run(&keep, || runtime::exec(dir, id, command, Io::Streams { stdin, stdout, stderr }))?;
                Ok((pid, None))
            }
            None => {
                let (pid, master) = console(dir, |socket| runtime::exec(dir, id, command, Io::Console(socket)))?;
                Ok((pid, Some(master)))
            }
        }
    }

    /// Reads what is there on one output, logs it, and returns it. `None` when the output has ended.
    pub fn read(&mut self, index: usize) -> Option<Vec<u8>> {
        let stream = if index == 0 { Stream::Stdout } else { Stream::Stderr };
        let file = self.outputs[index].as_mut()?;
        let mut buffer = [0u8; 16 * 1024];
        match file.read(&mut buffer) {
            Ok(0) => {}
            Ok(count) => {
                // A log that cannot be written (a full disk) must not stop the container.
                let _ = self.log.write(stream, Timestamp::now(), &buffer[..count]);
                return Some(buffer[..count].to_vec());
            }
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => {
                return Some(Vec::new());
            }
            // EIO is how a console says that its last user has left.
            Err(_) => {}
        }
        let _ = self.log.finish(stream, Timestamp::now());
        self.outputs[index] = None;
        None
    }

    pub fn reopen_log(&mut self) -> Result<(), String> {
        self.log.reopen().map_err(|e| format!("open the log anew: {e}"))
    }

    /// Passes input on; returns how much was taken.
    pub fn feed(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match &mut self.input {
            Some(input) => input.write(bytes),
            None => Ok(bytes.len()),
        }
    }

    fn save(&self) -> Result<(), String> {
        persist::write(&self.dir.join(STATE_FILE), &self.state).map_err(|e| format!("write the container's state: {e}"))
    }
}

type Made = (i32, [Option<File>; 2], Option<File>);

fn with_pipes(dir: &Path, spec: &Spec, own: i32, pause: Option<i32>) -> Result<Made, String> {
    let pipe = || nix::unistd::pipe2(OFlag::O_CLOEXEC).map_err(|e| format!("make a pipe: {e}"));
    let (out_reader, stdout) = pipe()?;
    let (err_reader, stderr) = pipe()?;
    let (stdin, input) = if spec.stdin {
        let (reader, writer) = pipe()?;
        (reader, Some(nonblocking(writer)?))
    } else {
        (OwnedFd::from(File::open("/dev/null").map_err(|e| format!("open /dev/null: {e}"))?), None)
    };
    let keep = [stdin.as_raw_fd(), stdout.as_raw_fd(), stderr.as_raw_fd()];
    let pid = helper::run(&keep, || runtime::create(dir, spec, own, pause, Io::Streams { stdin, stdout, stderr }))?;
    Ok((pid, [Some(nonblocking(out_reader)?), Some(nonblocking(err_reader)?)], input))
}

fn with_console(dir: &Path, spec: &Spec, own: i32, pause: Option<i32>) -> Result<Made, String> {
    let (pid, master) = console(dir, |socket| runtime::create(dir, spec, own, pause, Io::Console(socket)))?;
    let master = nonblocking(master)?;
    let input =
        if spec.stdin { Some(master.try_clone().map_err(|e| format!("duplicate the console: {e}"))?) } else { None };
    Ok((pid, [Some(master), None], input))
}

/// Runs `work` in a child with a socket to send a console's master to, and receives it.
fn console(dir: &Path, work: impl FnOnce(PathBuf) -> Result<i32, String>) -> Result<(i32, OwnedFd), String> {
    const NAME: &str = "console.sock";
    let listener = wire::listen(dir, NAME).map_err(|e| format!("listen for the console: {e}"))?;
    listener.set_nonblocking(true).map_err(|e| format!("listen for the console: {e}"))?;
    let socket = dir.join(NAME);
    let result = helper::run(&[], || work(socket.clone()));
    let _ = std::fs::remove_file(&socket);
    let pid = result?;
    // The library has connected and sent before it returned, so nothing here waits.
    let (connection, _) = listener.accept().map_err(|e| format!("accept the console: {e}"))?;
    let mut inbox = wire::Inbox::default();
    inbox.read(&connection).map_err(|e| format!("receive the console: {e}"))?;
    let master = inbox.into_fd().ok_or("the runtime library sent no console")?;
    Ok((pid, master))
}

pub fn nonblocking(fd: OwnedFd) -> Result<File, String> {
    let flags = fcntl(&fd, FcntlArg::F_GETFL).map_err(|e| format!("read a pipe's flags: {e}"))?;
    let flags = OFlag::from_bits_retain(flags) | OFlag::O_NONBLOCK;
    fcntl(&fd, FcntlArg::F_SETFL(flags)).map_err(|e| format!("set a pipe's flags: {e}"))?;
    Ok(File::from(fd))
}

/// Nanoseconds since the Unix epoch.
pub fn now_ns() -> i64 {
    i64::try_from(Timestamp::now().as_nanosecond()).unwrap_or(i64::MAX)
}
