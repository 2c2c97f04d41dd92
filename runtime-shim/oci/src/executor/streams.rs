//! Commands and attached terminals: moves bytes between the client's streams and the pipes or console of the pod process.

use super::{Entry, blocking, open_call, unexpected, watch};
use crate::pod;
use crate::wire::{Reply, Request};
use container::{Error, ExecSpec, Result, Stdio};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::io::unix::AsyncFd;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::unix::pipe;
use tokio::sync::mpsc::Receiver;

/// How long output is awaited after a command has ended: something that it left behind may hold the pipe for ever.
const DRAIN_LIMIT: Duration = Duration::from_secs(2);

type Reader = Box<dyn AsyncRead + Send + Unpin>;
type Writer = Box<dyn AsyncWrite + Send + Unpin>;

/// Runs a command and returns its exit code. Dropping the future ends the command.
pub(super) async fn exec(entry: Entry, id: &str, exec: &ExecSpec, stdio: Stdio) -> Result<i32> {
    if exec.command.is_empty() {
        return Err(Error::Invalid("no command was given to run".to_owned()));
    }
    let (pipes, fds) = Pipes::new(&stdio, exec.tty)?;
    let request = Request::Exec {
        id: id.to_owned(),
        command: exec.command.clone(),
        tty: exec.tty,
        stdin: pipes.stdin.is_some(),
        stdout: pipes.stdout.is_some(),
        stderr: pipes.stderr.is_some(),
    };
    let (reply, received, socket, mut inbox) = blocking(move || open_call(&entry.pod, &request, &fds)).await?;
    if !matches!(reply, Reply::Started { .. }) {
        return Err(unexpected(reply));
    }
    let early = inbox.take::<Reply>().ok().flatten().map(|(reply, _)| reply);
    let Stdio { stdin, stdout, stderr, resize } = stdio;
    let (input, output) = if exec.tty {
        let console = received.into_iter().next().ok_or_else(|| Error::Invalid("no console came back".to_owned()))?;
        let (reader, writer) = Console::split(console, resize)?;
        (
            tokio::spawn(copy_in(stdin, Some(Box::new(writer) as Writer))),
            tokio::spawn(copy_out(Box::new(reader), stdout)),
        )
    } else {
        let input = tokio::spawn(copy_in(stdin, pipes.stdin.map(|w| Box::new(w) as Writer)));
        let out = pipes.stdout.map(|r| Box::new(r) as Reader);
        let err = pipes.stderr.map(|r| Box::new(r) as Reader);
        let output = tokio::spawn(async move {
            tokio::join!(copy_maybe(out, stdout), copy_maybe(err, stderr));
        });
        (input, output)
    };
    let code = match early {
        Some(Reply::Ended { code }) => Ok(code),
        _ => ended(socket).await,
    };
    let _ = tokio::time::timeout(DRAIN_LIMIT, output).await;
    input.abort();
    code
}

/// Joins a container's streams until either side ends.
pub(super) async fn attach(entry: Entry, id: &str, stdio: Stdio) -> Result<()> {
    let (pipes, fds) = Pipes::new(&stdio, false)?;
    let request = Request::Attach {
        id: id.to_owned(),
        stdin: pipes.stdin.is_some(),
        stdout: pipes.stdout.is_some(),
        stderr: pipes.stderr.is_some(),
    };
    let tty = entry.tty;
    let (reply, _, socket, _) = blocking(move || open_call(&entry.pod, &request, &fds)).await?;
    if !matches!(reply, Reply::Done) {
        return Err(unexpected(reply));
    }
    let Stdio { stdin, stdout, stderr, resize } = stdio;
    if let (true, Some(resize)) = (tty, resize) {
        let socket = socket.try_clone().map_err(|e| Error::failed("attach", e))?;
        tokio::spawn(forward_sizes(socket, resize));
    }
    let input = tokio::spawn(copy_in(stdin, pipes.stdin.map(|w| Box::new(w) as Writer)));
    let out = pipes.stdout.map(|r| Box::new(r) as Reader);
    let err = pipes.stderr.map(|r| Box::new(r) as Reader);
    let listens = out.is_some() || err.is_some();
    let output = async { tokio::join!(copy_maybe(out, stdout), copy_maybe(err, stderr)) };
    tokio::pin!(output);
    let result = tokio::select! {
        ended = ended(socket) => {
            if listens {
                let _ = tokio::time::timeout(DRAIN_LIMIT, &mut output).await;
            }
            ended.map(drop)
        }
        _ = &mut output, if listens => Ok(()),
    };
    input.abort();
    result
}

async fn forward_sizes(socket: UnixStream, mut resize: Receiver<(u16, u16)>) {
    while let Some((columns, rows)) = resize.recv().await {
        if crate::wire::send(&socket, &Request::Resize { columns, rows }, &[]).is_err() {
            return;
        }
    }
}

/// Waits for the end that the pod process tells.
async fn ended(socket: UnixStream) -> Result<i32> {
    let mut lines = watch::lines(socket)?;
    while let Some(line) = lines.next_line().await.map_err(|e| Error::failed("read from the pod process", e))? {
        if let Ok(Reply::Ended { code }) = serde_json::from_str(&line) {
            return Ok(code);
        }
    }
    Err(Error::Invalid("the pod process ended before the command".to_owned()))
}

async fn copy_in(from: Option<Reader>, to: Option<Writer>) {
    let Some(mut to) = to else { return };
    if let Some(mut from) = from {
        let _ = tokio::io::copy(&mut from, &mut to).await;
    }
    let _ = to.shutdown().await;
}

async fn copy_maybe(from: Option<Reader>, to: Option<Writer>) {
    if let Some(from) = from {
        copy_out(from, to).await;
    }
}

async fn copy_out(mut from: Reader, to: Option<Writer>) {
    let Some(mut to) = to else {
        let _ = tokio::io::copy(&mut from, &mut tokio::io::sink()).await;
        return;
    };
    let mut buffer = vec![0; 16 * 1024];
    // A console's end is an error of its reader: what came before it has been passed on.
    while let Ok(count @ 1..) = from.read(&mut buffer).await {
        if to.write_all(&buffer[..count]).await.is_err() || to.flush().await.is_err() {
            break;
        }
    }
    let _ = to.shutdown().await;
}

/// Our ends of the pipes; the others go to the pod process.
struct Pipes {
    stdin: Option<pipe::Sender>,
    stdout: Option<pipe::Receiver>,
    stderr: Option<pipe::Receiver>,
}

impl Pipes {
    fn new(stdio: &Stdio, tty: bool) -> Result<(Pipes, Vec<OwnedFd>)> {
        let failed = |e: std::io::Error| Error::failed("make a pipe", e);
        let mut fds = Vec::new();
        let mut pipes = Pipes { stdin: None, stdout: None, stderr: None };
        if tty {
            return Ok((pipes, fds));
        }
        if stdio.stdin.is_some() {
            let (reader, writer) = std::io::pipe().map_err(failed)?;
            fds.push(OwnedFd::from(reader));
            pipes.stdin = Some(pipe::Sender::from_owned_fd(writer.into()).map_err(failed)?);
        }
        for (wanted, receiver) in
            [(stdio.stdout.is_some(), &mut pipes.stdout), (stdio.stderr.is_some(), &mut pipes.stderr)]
        {
            if wanted {
                let (reader, writer) = std::io::pipe().map_err(failed)?;
                fds.push(OwnedFd::from(writer));
                *receiver = Some(pipe::Receiver::from_owned_fd(reader.into()).map_err(failed)?);
            }
        }
        Ok((pipes, fds))
    }
}

/// One half of a console's master.
struct Console(AsyncFd<std::fs::File>);

impl Console {
    fn new(master: std::fs::File) -> std::io::Result<Console> {
        // SAFETY: a File keeps its descriptor open and the same until it is dropped, and nothing here replaces it.
        Ok(Console(unsafe { AsyncFd::register(master)? }))
    }

    fn split(master: OwnedFd, resize: Option<Receiver<(u16, u16)>>) -> Result<(Console, Console)> {
        let failed = |e: std::io::Error| Error::failed("use the console", e);
        let master = pod::container::nonblocking(master).map_err(Error::Invalid)?;
        let writer = master.try_clone().map_err(failed)?;
        if let Some(mut resize) = resize {
            let console = master.try_clone().map_err(failed)?;
            tokio::spawn(async move {
                while let Some((columns, rows)) = resize.recv().await {
                    pod::resize(&console.as_fd(), columns, rows);
                }
            });
        }
        Ok((Console::new(master).map_err(failed)?, Console::new(writer).map_err(failed)?))
    }
}

impl AsyncRead for Console {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<std::io::Result<()>> {
        loop {
            let mut guard = ready!(self.0.poll_read_ready(cx))?;
            let read = guard.try_io(|inner| {
                let mut file = inner.get_ref();
                std::io::Read::read(&mut file, buf.initialize_unfilled())
            });
            match read {
                Ok(Ok(count)) => {
                    buf.advance(count);
                    return Poll::Ready(Ok(()));
                }
                Ok(Err(error)) => return Poll::Ready(Err(error)),
                Err(_) => {}
            }
        }
    }
}

impl AsyncWrite for Console {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<std::io::Result<usize>> {
        loop {
            let mut guard = ready!(self.0.poll_write_ready(cx))?;
            let written = guard.try_io(|inner| {
                let mut file = inner.get_ref();
                std::io::Write::write(&mut file, bytes)
            });
            // Otherwise it was not ready after all: wait again.
            if let Ok(result) = written {
                return Poll::Ready(result);
            }
        }
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    /// A console has no half that could be closed: its end of input is a character (^D), which a client sends itself.
    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
