//! Finding the Wasm host, and starting it where there is none.

use crate::host::Files;
use crate::wire::{Call, PROTOCOL, Reply, Request, read_message, write_message};
use container::{Error, Result};
use std::io;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::net::UnixStream;

/// How long the host may take until it can be reached; it takes milliseconds, and longer when many containers come back.
const START_LIMIT: Duration = Duration::from_secs(60);

/// How much of the host's log is told when it does not start.
const LOG_TAIL: usize = 2000;

/// Connects and makes a call; what comes back is read by the caller.
pub async fn call(root: &Path, request: Request) -> io::Result<UnixStream> {
    let mut stream = UnixStream::connect(Files::new(root).socket()).await?;
    write_message(&mut stream, &Call { protocol: PROTOCOL, request }).await?;
    Ok(stream)
}

/// The reply to a call, a failure as an error.
pub async fn reply(stream: &mut UnixStream) -> Result<Reply> {
    match read_message(stream).await.map_err(|err| Error::failed("waiting for the Wasm host's answer", err))? {
        Reply::Failed(failure) => Err(failure.into()),
        reply => Ok(reply),
    }
}

/// Whether nobody listens on the socket.
pub fn absent(err: &io::Error) -> bool {
    matches!(err.kind(), io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused)
}

/// Whether the host, running or not, has containers.
pub fn has_records(root: &Path) -> bool {
    let json = |entry: io::Result<std::fs::DirEntry>| {
        entry.is_ok_and(|e| e.path().extension().is_some_and(|ext| ext == "json"))
    };
    std::fs::read_dir(Files::new(root).records()).is_ok_and(|mut entries| entries.any(json))
}

/// Starts the host, apart from this process's session so that it outlives it, and waits until it can be reached.
pub async fn start(exe: &Path, root: &Path) -> Result<()> {
    let files = Files::new(root);
    let failed = |err| Error::failed(format!("starting the Wasm host {}", exe.display()), err);
    std::fs::create_dir_all(root).map_err(failed)?;
    let log = std::fs::OpenOptions::new().create(true).append(true).open(files.log()).map_err(failed)?;
    let mut command = tokio::process::Command::new(exe);
    command.arg(crate::HOST_COMMAND).arg("--root").arg(root);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(log).current_dir("/");
    // SAFETY: setsid is safe to call between fork and exec.
    unsafe {
        command.pre_exec(|| nix::unistd::setsid().map(drop).map_err(io::Error::from));
    }
    let mut child = command.spawn().map_err(failed)?;
    let out = child.stdout.take().ok_or_else(|| failed(io::Error::other("its output is not there")))?;
    // Whoever started it reaps it; where the shim has gone, init does.
    tokio::spawn(async move { child.wait().await });
    let mut line = String::new();
    let mut out = BufReader::new(out);
    let read = tokio::time::timeout(START_LIMIT, out.read_line(&mut line)).await;
    match read {
        Ok(Ok(_)) if line.trim() == "ready" => Ok(()),
        Ok(Ok(_)) => {
            Err(failed(io::Error::other(format!("it ended at once; its log ends with: {}", tail(&files.log())))))
        }
        Ok(Err(err)) => Err(failed(err)),
        Err(_) => Err(failed(io::Error::other(format!("it was not ready after {} s", START_LIMIT.as_secs())))),
    }
}

fn tail(log: &PathBuf) -> String {
    let text = std::fs::read(log).unwrap_or_default();
    String::from_utf8_lossy(&text[text.len().saturating_sub(LOG_TAIL)..]).trim().to_owned()
}
