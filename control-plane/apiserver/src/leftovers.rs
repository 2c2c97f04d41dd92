//! Bodies of requests that were answered without being read to their end. Over HTTP/1.1 the next request stands behind
//! them: the rest is taken and thrown away before the answer goes out, or the answer says that the connection ends.

use bytes::Bytes;
use http::header::{CONNECTION, EXPECT};
use http::{HeaderValue, Request, Response, Version};
use http_body::{Body, Frame, SizeHint};
use parking_lot::Mutex;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

/// What is thrown away at most, as upstream: with more to come it is cheaper to connect again.
const MOST: u64 = 256 << 10;
/// How long the rest may take to come.
const LONGEST: Duration = Duration::from_secs(5);

/// The body that a handler reads.
pub(crate) struct Read<B>(Arc<Mutex<B>>);

/// The same body, for when the handler is done.
pub(crate) struct Rest<B> {
    body: Arc<Mutex<B>>,
    /// The client sends its body only when it is asked for.
    waits: bool,
    shares: bool,
}

/// The request for its handler, and what is left of it afterwards.
pub(crate) fn split<B>(request: Request<B>) -> (Request<Read<B>>, Rest<B>) {
    let waits = request.headers().contains_key(EXPECT);
    let shares = request.version() < Version::HTTP_2;
    let (parts, body) = request.into_parts();
    let body = Arc::new(Mutex::new(body));
    (Request::from_parts(parts, Read(body.clone())), Rest { body, waits, shares })
}

impl<B: Body<Data = Bytes> + Unpin> Rest<B> {
    /// The answer, when what stands before the next request is gone.
    pub(crate) async fn before<T>(self, mut response: Response<T>) -> Response<T> {
        // A handler that goes on reading keeps its body.
        let Some(body) = Arc::into_inner(self.body).map(Mutex::into_inner).filter(|_| self.shares) else {
            return response;
        };
        if body.is_end_stream() {
            return response;
        }
        let over = self.waits || body.size_hint().lower() > MOST;
        if over || !tokio::time::timeout(LONGEST, thrown_away(body)).await.unwrap_or(false) {
            response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
        }
        response
    }
}

/// Whether the end of a body was reached.
async fn thrown_away<B: Body<Data = Bytes> + Unpin>(mut body: B) -> bool {
    let mut left = MOST;
    loop {
        match std::future::poll_fn(|context| Pin::new(&mut body).poll_frame(context)).await {
            None => return true,
            Some(Err(_)) => return false,
            Some(Ok(frame)) => {
                let size = frame.data_ref().map_or(0, |data| data.len() as u64);
                let Some(less) = left.checked_sub(size) else { return false };
                left = less;
            }
        }
    }
}

impl<B: Body + Unpin> Body for Read<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        Pin::new(&mut *self.0.lock()).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.0.lock().is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.0.lock().size_hint()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::StatusCode;
    use http_body_util::Empty;
    use hyper::body::Incoming;
    use hyper_util::rt::TokioIo;
    use std::convert::Infallible;
    use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt, DuplexStream};

    /// A connection to a server that answers 404 whatever it is sent, and reads nothing of it.
    fn refusing() -> DuplexStream {
        let (near, far) = tokio::io::duplex(16 << 10);
        let service = hyper::service::service_fn(|request: Request<Incoming>| async move {
            let (request, rest) = split(request);
            drop(request);
            let mut response = Response::new(Empty::<Bytes>::new());
            *response.status_mut() = StatusCode::NOT_FOUND;
            Ok::<_, Infallible>(rest.before(response).await)
        });
        tokio::spawn(hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(far), service));
        near
    }

    /// The head of an answer without a body.
    async fn head(connection: &mut (impl AsyncRead + Unpin)) -> String {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(connection.read_u8().await.expect("an answer"));
        }
        String::from_utf8(head).expect("text").to_lowercase()
    }

    async fn send(connection: &mut DuplexStream, headers: &str, body: &[u8]) -> String {
        let request = format!("POST / HTTP/1.1\r\nhost: here\r\n{headers}\r\n");
        connection.write_all(request.as_bytes()).await.expect("sent");
        // The server may answer, and end the connection, before it has seen all of a large body.
        let (mut reads, mut writes) = tokio::io::split(&mut *connection);
        let writing = async {
            for part in body.chunks(1000) {
                if writes.write_all(part).await.is_err() {
                    return;
                }
                tokio::task::yield_now().await;
            }
        };
        tokio::join!(writing, head(&mut reads)).1
    }

    #[tokio::test]
    async fn a_connection_carries_on_behind_a_body_that_nobody_read() {
        let mut connection = refusing();
        for size in [100, 0, 200 << 10, 100] {
            let headers = format!("content-length: {size}\r\n");
            let answer = send(&mut connection, &headers, &vec![b'a'; size]).await;
            assert!(answer.starts_with("http/1.1 404"), "{size}: {answer}");
            assert!(!answer.contains("connection: close"), "{size}: {answer}");
        }
        let answer = send(&mut connection, "transfer-encoding: chunked\r\n", b"3\r\nabc\r\n0\r\n\r\n").await;
        assert!(!answer.contains("connection: close"), "{answer}");
    }

    #[tokio::test]
    async fn an_answer_says_that_the_connection_ends() {
        let large = vec![b'a'; 300 << 10];
        let answer = send(&mut refusing(), &format!("content-length: {}\r\n", large.len()), &large).await;
        assert!(answer.contains("connection: close"), "{answer}");
        let mut connection = refusing();
        let request = "POST / HTTP/1.1\r\nhost: here\r\nexpect: 100-continue\r\ncontent-length: 10\r\n\r\n";
        connection.write_all(request.as_bytes()).await.expect("sent");
        let answer = head(&mut connection).await;
        assert!(answer.starts_with("http/1.1 404") && answer.contains("connection: close"), "{answer}");
    }
}
