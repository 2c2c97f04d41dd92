//! Exec and attach: the client's channels on one side, the executor's streams on the other.

use super::Streams;
use super::forward::{Connection, Stream};
use super::transport::Transport;
use crate::shim::Shim;
use bytes::Bytes;
use container::{ExecSpec, Stdio};
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;
use stream::channel::{self, Channel, Message};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio::sync::mpsc;

/// Bytes in flight between a client and a process, each way.
const PIPE: usize = 32 * 1024;
/// A SPDY client opens its streams one after another; one that stops half-way is given up.
const STREAMS_LIMIT: Duration = Duration::from_secs(30);

/// The client's ends of a process's streams.
struct Ends {
    stdin: Option<DuplexStream>,
    stdout: Option<DuplexStream>,
    stderr: Option<DuplexStream>,
    resize: Option<mpsc::Sender<(u16, u16)>>,
}

fn connect(streams: Streams) -> (Stdio, Ends) {
    let pipe = |wanted: bool| wanted.then(|| tokio::io::duplex(PIPE)).unzip();
    let (stdin, in_end) = pipe(streams.stdin);
    let (stdout, out_end) = pipe(streams.stdout);
    // A terminal has one output.
    let (stderr, err_end) = pipe(streams.stderr && !streams.tty);
    let (resize, sizes) = streams.tty.then(|| mpsc::channel(4)).unzip();
    let stdio = Stdio {
        stdin: stdin.map(|s| Box::new(s) as _),
        stdout: stdout.map(|s| Box::new(s) as _),
        stderr: stderr.map(|s| Box::new(s) as _),
        resize: sizes,
    };
    (stdio, Ends { stdin: in_end, stdout: out_end, stderr: err_end, resize })
}

/// Runs the command, or attaches, and returns the `Status` that ends the session.
async fn act(shim: &Shim, id: &str, command: Option<Vec<String>>, tty: bool, stdio: Stdio) -> String {
    let result = async {
        let record = shim.container(id).map_err(|status| status.message().to_owned())?;
        let executor = shim.executor(&record.executor).map_err(|status| status.message().to_owned())?;
        match command {
            Some(command) => executor.exec(id, &ExecSpec { command, tty }, stdio).await,
            None => executor.attach(id, stdio).await.map(|()| 0),
        }
        .map_err(|error| error.to_string())
    };
    match result.await {
        Ok(code) => channel::exit_status(code),
        Err(message) => {
            serde_json::json!({ "metadata": {}, "status": "Failure", "message": message, "reason": "InternalError", "code": 500 })
                .to_string()
        }
    }
}

fn size(data: &[u8]) -> Option<(u16, u16)> {
    #[derive(serde::Deserialize)]
    struct Size {
        #[serde(rename = "Width")]
        width: u16,
        #[serde(rename = "Height")]
        height: u16,
    }
    serde_json::from_slice::<Size>(data).ok().map(|size| (size.width, size.height))
}

/// The channel protocols, versions 4 and 5.
pub async fn websocket(
    shim: &Arc<Shim>,
    id: &str,
    command: Option<Vec<String>>,
    streams: Streams,
    transport: Transport,
) {
    let (stdio, ends) = connect(streams);
    let Transport { mut incoming, outgoing } = transport;
    let output = async |from: Option<DuplexStream>, number: Channel| {
        let Some(mut from) = from else { return };
        let mut buffer = vec![0; PIPE];
        while let Ok(count @ 1..) = from.read(&mut buffer).await {
            let message = Message::Data(number, Bytes::copy_from_slice(&buffer[..count]));
            if outgoing.send(channel::encode(&message)).await.is_err() {
                return;
            }
        }
    };
    let session = async {
        let (status, (), ()) = tokio::join!(
            act(shim, id, command, streams.tty, stdio),
            output(ends.stdout, Channel::Stdout),
            output(ends.stderr, Channel::Stderr),
        );
        let _ = outgoing.send(channel::encode(&Message::Data(Channel::Error, status.into()))).await;
    };
    let mut stdin = ends.stdin;
    let input = async {
        while let Some(message) = incoming.recv().await {
            match channel::decode(&message) {
                Ok(Message::Data(Channel::Stdin, data)) => {
                    if let Some(pipe) = &mut stdin
                        && pipe.write_all(&data).await.is_err()
                    {
                        stdin = None;
                    }
                }
                Ok(Message::Data(Channel::Resize, data)) => {
                    if let (Some(resize), Some(size)) = (&ends.resize, size(&data)) {
                        let _ = resize.send(size).await;
                    }
                }
                Ok(Message::Close(Channel::Stdin)) => stdin = None,
                Ok(Message::Data(..) | Message::Close(_)) => {}
                Err(_) => return,
            }
        }
    };
    // A client that leaves ends its session, and with it the command.
    tokio::select! {
        () = session => {}
        () = input => {}
    }
}

/// SPDY streams of version 4, as kubectl before 1.31 speaks: each stream is named by its `streamtype` header.
pub async fn spdy(shim: &Arc<Shim>, id: &str, command: Option<Vec<String>>, streams: Streams, transport: Transport) {
    let (connection, mut opened) = Connection::start(transport);
    let wanted = [
        ("error", true),
        ("stdin", streams.stdin),
        ("stdout", streams.stdout),
        ("stderr", streams.stderr && !streams.tty),
        ("resize", streams.tty),
    ];
    let mut named: HashMap<String, Stream> = HashMap::new();
    let gather = async {
        while wanted.iter().any(|(name, wanted)| *wanted && !named.contains_key(*name)) {
            let stream = opened.recv().await?;
            named.insert(stream.header("streamtype").unwrap_or_default().to_owned(), stream);
        }
        Some(())
    };
    if !matches!(tokio::time::timeout(STREAMS_LIMIT, gather).await, Ok(Some(()))) {
        return;
    }
    let (stdio, ends) = connect(streams);
    let Some(error) = named.remove("error") else { return };
    let (out_stream, err_stream) = (named.remove("stdout"), named.remove("stderr"));
    let output = async |from: Option<DuplexStream>, to: Option<Stream>| {
        if let (Some(from), Some(to)) = (from, to) {
            to.send_all(from).await;
        }
    };
    let session = async {
        let (status, (), ()) = tokio::join!(
            act(shim, id, command, streams.tty, stdio),
            output(ends.stdout, out_stream),
            output(ends.stderr, err_stream),
        );
        // Version 4: a Status either way.
        error.send(status.into()).await;
        error.finish().await;
    };
    let mut stdin = ends.stdin;
    let mut in_stream = named.remove("stdin");
    let mut resize_stream = named.remove("resize");
    let input = async {
        if let (Some(pipe), Some(stream)) = (&mut stdin, &mut in_stream) {
            while let Some(data) = stream.receive().await {
                if pipe.write_all(&data).await.is_err() {
                    break;
                }
            }
        }
        stdin = None;
    };
    let sizes = async {
        if let (Some(resize), Some(stream)) = (&ends.resize, &mut resize_stream) {
            while let Some(data) = stream.receive().await {
                if let Some(size) = size(&data) {
                    let _ = resize.send(size).await;
                }
            }
        }
    };
    let inputs = async {
        tokio::join!(input, sizes);
    };
    let left = async { while opened.recv().await.is_some() {} };
    tokio::select! {
        () = session => {}
        () = left => {}
        () = async { inputs.await; std::future::pending::<()>().await } => {}
    }
    connection.finish();
}
