//! The host's side of a connection: one call, its streams, its reply.

use super::Host;
use crate::guest::Streams;
use crate::stdio::{Sink, Stdin};
use crate::wire::{Call, Ended, Kind, PROTOCOL, Reply, Request, read_frame, read_message, write_frame, write_message};
use crate::worlds::End;
use container::Error;
use container::log::Stream;
use std::io;
use std::sync::Arc;
use tokio::io::AsyncWrite;
use tokio::net::unix::ReadHalf;
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{broadcast, mpsc};

/// Pieces of output that wait for the client of an exec; the guest waits with them.
const OUTPUT: usize = 64;

/// Takes calls until one of them ends the host, and returns that one's connection: its end tells the caller that the host
/// is gone.
pub async fn accept(host: Arc<Host>, listener: UnixListener) -> Option<UnixStream> {
    let (stop, mut stopped) = mpsc::channel(1);
    loop {
        let stream = tokio::select! {
            last = stopped.recv() => return last,
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => stream,
                Err(err) => {
                    tracing::error!("accepting a call: {err}");
                    tokio::time::sleep(std::time::Duration::from_millis(50)).await;
                    continue;
                }
            },
        };
        let (host, stop) = (host.clone(), stop.clone());
        tokio::spawn(async move {
            match call(&host, stream).await {
                Ok(Some(last)) => drop(stop.send(last).await),
                Ok(None) => {}
                Err(err) => tracing::debug!("a call ended: {err}"),
            }
        });
    }
}

/// Serves one connection; gives it back if the host is to end.
async fn call(host: &Arc<Host>, mut stream: UnixStream) -> io::Result<Option<UnixStream>> {
    let call: Call = read_message(&mut stream).await?;
    if call.protocol != PROTOCOL {
        let message = format!(
            "the Wasm host speaks protocol {PROTOCOL} and this shim {}: end the node's WebAssembly pods and run `wherry reset`, \
             or start the version of Wherry that runs them",
            call.protocol
        );
        write_message(&mut stream, &Reply::Failed(Error::Invalid(message).into())).await?;
        return Ok(None);
    }
    let reply = match call.request {
        Request::Exec { id, command, tty, stdin } => exec(host, &mut stream, &id, command, tty, stdin).await,
        Request::Attach { id, stdin } => attach(host, &mut stream, &id, stdin).await,
        Request::Watch => {
            watch(host, &mut stream).await?;
            return Ok(None);
        }
        Request::Shutdown => {
            write_message(&mut stream, &Reply::Done).await?;
            return Ok(Some(stream));
        }
        request => answer(host, request).await,
    };
    write_message(&mut stream, &reply.unwrap_or_else(|err| Reply::Failed(err.into()))).await?;
    Ok(None)
}

async fn answer(host: &Arc<Host>, request: Request) -> Result<Reply, Error> {
    match request {
        Request::Create(spec) => host.create(*spec).await?,
        Request::Start { id } => host.start(&id).await?,
        Request::Kill { id, signal } => host.kill(&id, signal)?,
        Request::Delete { id } => host.delete(&id)?,
        Request::CloseSandbox { id } => host.close_sandbox(&id).await?,
        Request::State { id } => return Ok(Reply::State(host.table.get(&id)?.state())),
        Request::Stats { id } => {
            let (cpu_ns, memory_bytes) = host.table.get(&id)?.stats();
            return Ok(Reply::Stats { cpu_ns, memory_bytes });
        }
        Request::Update { id, resources } => host.table.get(&id)?.update(&resources),
        Request::ReopenLog { id } => {
            let container = host.table.get(&id)?;
            container.live()?.output.reopen().map_err(|err| Error::failed("opening the log anew", err))?;
        }
        Request::Exec { .. } | Request::Attach { .. } | Request::Watch | Request::Shutdown => {
            return Err(Error::Unsupported("the call needs a connection".into()));
        }
    }
    Ok(Reply::Done)
}

async fn watch(host: &Arc<Host>, stream: &mut UnixStream) -> io::Result<()> {
    let mut ended = host.ended.subscribe();
    let states = host.table.all().iter().map(|container| (container.spec.id.clone(), container.state())).collect();
    write_message(stream, &Reply::States(states)).await?;
    let (mut read, mut write) = stream.split();
    loop {
        tokio::select! {
            event = ended.recv() => match event {
                Ok((id, exit)) => write_message(&mut write, &Ended { id, exit }).await?,
                // The shim starts over with all states.
                Err(broadcast::error::RecvError::Lagged(_) | broadcast::error::RecvError::Closed) => return Ok(()),
            },
            gone = read_frame(&mut read) => return gone.map(drop),
        }
    }
}

async fn exec(
    host: &Arc<Host>,
    stream: &mut UnixStream,
    id: &str,
    command: Vec<String>,
    tty: bool,
    stdin: bool,
) -> Result<Reply, Error> {
    let container = host.table.get(id)?;
    let live = container.running()?;
    let Some(world) = live.world.command() else {
        return Err(Error::Unsupported(format!(
            "container {:?} is a wasi:http guest without a command world: it has no program, no shell and no process that \
             exec could run something in",
            container.spec.name
        )));
    };
    let (pipe, mut output) = mpsc::channel(OUTPUT);
    let input = stdin.then(|| Stdin::new(tty));
    let sink = |stream| Sink::Pipe { pipe: pipe.clone(), stream, terminal: tty };
    let stderr = if tty { Stream::Stdout } else { Stream::Stderr };
    let streams = Streams { stdin: input.clone(), stdout: sink(Stream::Stdout), stderr: sink(stderr) };
    drop(pipe);
    let mut given = live.given.clone();
    given.args = command;
    let host_ = host.clone();
    let container_ = container.clone();
    let mut running = host.guests.spawn(async move {
        let live = container_.live()?;
        tokio::select! {
            biased;
            end = host_.confined(live, world, given, streams) => Ok::<_, Error>(end),
            () = container_.over.cancelled() => Ok(End::Code(OUT_OF_LIFE)),
        }
    });
    let (read, mut write) = stream.split();
    let gone = feed(read, input, true);
    tokio::pin!(gone);
    let end = loop {
        tokio::select! {
            piece = output.recv() => match piece {
                Some((stream, bytes)) => send(&mut write, stream, &bytes).await?,
                None => break (&mut running).await.map_err(|err| Error::failed("running the command", err))??,
            },
            () = &mut gone => {
                running.abort();
                return Err(Error::Invalid("the client has gone".into()));
            }
        }
    };
    let (code, message) = match end {
        End::Code(code) => (code, String::new()),
        End::OutOfMemory(message) => (super::run::OUT_OF_MEMORY, message),
        End::Trap(message) => (super::run::TRAP, message),
    };
    if !message.is_empty() {
        send(&mut write, stderr, format!("{message}\n").as_bytes()).await?;
    }
    Ok(Reply::Code(code))
}

/// The code of a command whose container ended under it.
const OUT_OF_LIFE: i32 = 137;

async fn attach(host: &Arc<Host>, stream: &mut UnixStream, id: &str, stdin: bool) -> Result<Reply, Error> {
    let container = host.table.get(id)?;
    let live = container.running()?;
    if stdin && live.stdin.is_none() {
        return Err(Error::Invalid(format!(
            "container {:?} has no standard input: its manifest does not say `stdin: true`",
            container.spec.name
        )));
    }
    let mut output = live.output.attach();
    let (read, mut write) = stream.split();
    let once = container.spec.stdin_once;
    let input = live.stdin.clone().filter(|_| stdin);
    let gone = feed(read, input, once);
    tokio::pin!(gone);
    loop {
        tokio::select! {
            biased;
            piece = output.recv() => match piece {
                Ok((stream, bytes)) => send(&mut write, stream, &bytes).await?,
                Err(broadcast::error::RecvError::Lagged(_)) => {}
                Err(broadcast::error::RecvError::Closed) => return Ok(Reply::Done),
            },
            () = container.over.cancelled() => return Ok(Reply::Done),
            () = &mut gone => return Ok(Reply::Done),
        }
    }
}

async fn send(to: &mut (impl AsyncWrite + Unpin), stream: Stream, bytes: &[u8]) -> Result<(), Error> {
    let kind = match stream {
        Stream::Stdout => Kind::Stdout,
        Stream::Stderr => Kind::Stderr,
    };
    write_frame(to, kind, bytes).await.map_err(|err| Error::failed("sending output", err))
}

/// Passes the client's input on until the client goes.
async fn feed(mut read: ReadHalf<'_>, input: Option<Stdin>, close: bool) {
    let end = || {
        if let Some(input) = input.as_ref().filter(|_| close) {
            input.close();
        }
    };
    loop {
        match read_frame(&mut read).await {
            Ok(Some((Kind::Stdin, bytes))) => {
                if let Some(input) = &input {
                    input.feed(&bytes).await;
                }
            }
            Ok(Some((Kind::StdinEnd, _))) => end(),
            Ok(Some((Kind::Message | Kind::Stdout | Kind::Stderr, _)) | None) | Err(_) => return end(),
        }
    }
}
