//! exec and attach over SPDY/3.1: the client opens a stream for each channel and names it in the header `streamtype`.
//! The versions differ in whether there is one for the sizes of a terminal, and in how the end is told.

use super::resize::Sizes;
use super::{Client, Outlet, Session, Wants};
use crate::streaming::connection::Limits;
use crate::streaming::mux::{Connection, Stream};
use std::collections::HashMap;
use stream::channel::Dialect;

/// Serves one connection to its end.
pub(in crate::streaming) async fn serve(
    session: Session,
    mut connection: Connection,
    dialect: Dialect,
    limits: Limits,
) {
    let wanted = names(session.wants, dialect);
    match tokio::time::timeout(limits.opening, streams(&mut connection, &wanted)).await {
        Ok(Ok(streams)) => {
            if let Some(client) = client(streams, &connection, dialect) {
                session.run(client, limits).await;
            }
        }
        Ok(Err(why)) => tracing::debug!("a client of exec or attach is turned away: {why}"),
        Err(_) => tracing::debug!("timed out waiting for client to create streams"),
    }
    connection.finish().await;
}

/// The streams that a client opens for what it asked.
fn names(wants: Wants, dialect: Dialect) -> Vec<&'static str> {
    let names = [
        ("error", true),
        ("stdin", wants.stdin),
        ("stdout", wants.stdout),
        ("stderr", wants.stderr),
        ("resize", wants.tty && dialect.resize),
    ];
    names.into_iter().filter(|(_, wanted)| *wanted).map(|(name, _)| name).collect()
}

type Streams = HashMap<&'static str, Stream>;

async fn streams(connection: &mut Connection, wanted: &[&'static str]) -> Result<Streams, String> {
    let mut streams = Streams::new();
    while streams.len() < wanted.len() {
        let stream = connection.accept().await.ok_or("it left")?;
        let kind = stream.header("streamtype").unwrap_or_default();
        let name = wanted.iter().find(|name| **name == kind && !streams.contains_key(*name));
        let Some(name) = name else {
            let why = format!("unexpected stream type {kind:?}");
            let _ = stream.output.reset().await;
            return Err(why);
        };
        stream.output.reply().await.map_err(|_| "it left")?;
        streams.insert(name, stream);
    }
    Ok(streams)
}

fn client(mut streams: Streams, connection: &Connection, dialect: Dialect) -> Option<Client> {
    let error = Outlet::Spdy(streams.remove("error")?.output);
    let sizes = streams.remove("resize").map(|stream| {
        let (sizes, receiver) = Sizes::new();
        tokio::spawn(async move {
            let Stream { input, output, .. } = stream;
            sizes.read(input).await;
            drop(output);
        });
        receiver
    });
    let mut outlet = |name| streams.remove(name).map(|stream| Outlet::Spdy(stream.output));
    let (stdout, stderr) = (outlet("stdout"), outlet("stderr"));
    let (stdin, held) = streams.remove("stdin").map(|stream| (stream.input, stream.output)).unzip();
    let held = held.into_iter().collect();
    Some(Client { stdin, stdout, stderr, sizes, error, dialect, gone: connection.gone().clone(), held })
}
