//! Finds the two streams of a forwarded connection: they arrive one after the other, among those of other connections.

use crate::streaming::mux::Stream;
use std::collections::HashMap;
use std::time::Duration;
use tokio::time::Instant;

/// What a stream is for.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Label {
    request: String,
    port: u16,
    kind: Kind,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Data,
    Error,
}

impl Label {
    /// Reads the headers `port`, `streamtype` and `requestid` of the stream `id`.
    pub(super) fn read<'a>(id: u32, header: impl Fn(&str) -> Option<&'a str>) -> Result<Label, String> {
        let needed = |name: &str| header(name).filter(|v| !v.is_empty()).ok_or(format!("{name:?} header is required"));
        let port = needed("port")?;
        let kind = match needed("streamtype")? {
            "data" => Kind::Data,
            "error" => Kind::Error,
            other => return Err(format!("invalid stream type {other:?}")),
        };
        let number = port.parse().ok().filter(|p| *p > 0);
        let port = number.ok_or_else(|| format!("{port:?} is no port"))?;
        // Clients without request ids open the error stream first and the data stream right after it.
        let request = header("requestid").map_or_else(
            || match kind {
                Kind::Error => id.to_string(),
                Kind::Data => id.saturating_sub(2).to_string(),
            },
            str::to_owned,
        );
        Ok(Label { request, port, kind })
    }
}

/// Both streams of a connection.
pub(super) struct Pair {
    pub port: u16,
    pub data: Stream,
    pub error: Stream,
}

/// A connection with one of its streams.
pub(super) struct Half {
    data: Option<Stream>,
    error: Option<Stream>,
    port: u16,
    since: Instant,
}

impl Half {
    /// Tells the client that the other stream did not come.
    pub(super) async fn give_up(self) {
        if let Some(Stream { output, .. }) = self.error {
            // A client that left needs to be told nothing.
            let _ = output.data("timed out waiting for streams".into()).await;
            let _ = output.finish().await;
        }
        if let Some(data) = self.data {
            let _ = data.output.reset().await;
        }
    }
}

/// Connections that lack a stream. The connection bounds how many streams there are.
#[derive(Default)]
pub(super) struct Pairs(HashMap<String, Half>);

/// What a new stream led to.
pub(super) enum Added {
    Waits,
    Whole(Box<Pair>),
    /// The connection has that stream already.
    Twice(Box<Stream>),
}

impl Pairs {
    pub(super) fn add(&mut self, label: Label, stream: Stream, now: Instant) -> Added {
        let mut half = self.0.remove(&label.request).unwrap_or(Half { data: None, error: None, port: 0, since: now });
        let place = match label.kind {
            Kind::Data => &mut half.data,
            Kind::Error => &mut half.error,
        };
        if place.is_some() {
            self.0.insert(label.request, half);
            return Added::Twice(Box::new(stream));
        }
        *place = Some(stream);
        half.port = label.port;
        match half {
            Half { data: Some(data), error: Some(error), port, .. } => {
                Added::Whole(Box::new(Pair { port, data, error }))
            }
            half => {
                self.0.insert(label.request, half);
                Added::Waits
            }
        }
    }

    /// When the one that waits longest began to.
    pub(super) fn oldest(&self) -> Option<Instant> {
        self.0.values().map(|half| half.since).min()
    }

    /// Takes out what has waited for `limit`.
    pub(super) fn expire(&mut self, now: Instant, limit: Duration) -> Vec<Half> {
        self.0.extract_if(|_, half| now.duration_since(half.since) >= limit).map(|(_, half)| half).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(id: u32, headers: &[(&str, &'static str)]) -> Result<Label, String> {
        Label::read(id, |name| headers.iter().find(|(n, _)| *n == name).map(|(_, v)| *v))
    }

    #[test]
    fn headers_say_what_a_stream_is_for() {
        let label = |request: &str, kind| Ok(Label { request: request.into(), port: 80, kind });
        let (port, data, error) = (("port", "80"), ("streamtype", "data"), ("streamtype", "error"));
        assert_eq!(read(1, &[port, data, ("requestid", "7")]), label("7", Kind::Data));
        assert_eq!(read(1, &[port, error]), label("1", Kind::Error));
        assert_eq!(read(3, &[port, data]), label("1", Kind::Data));
        for (headers, why) in [
            (&[data][..], "\"port\" header is required"),
            (&[port], "\"streamtype\" header is required"),
            (&[port, ("streamtype", "x")], "invalid stream type \"x\""),
            (&[data, ("port", "0")], "\"0\" is no port"),
            (&[data, ("port", "65536")], "\"65536\" is no port"),
        ] {
            assert_eq!(read(1, headers), Err(why.to_owned()));
        }
    }
}
