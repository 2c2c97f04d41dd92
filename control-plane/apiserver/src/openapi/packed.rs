//! Documents as they are kept: compressed, a tenth of their megabytes, and sent so to whoever takes that.

use super::digest;
use crate::negotiate;
use crate::respond;
use crate::server::Body;
use api::Status;
use bytes::Bytes;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;
use http::{HeaderMap, HeaderValue, Response, header};
use std::io::{Read, Write};

#[derive(Clone)]
pub(super) struct Packed {
    /// The hash of the whole.
    pub tag: String,
    gzip: Bytes,
}

impl Packed {
    pub(super) fn new(body: &[u8]) -> Result<Packed, Status> {
        let mut gzip = GzEncoder::new(Vec::with_capacity(body.len() / 8), flate2::Compression::fast());
        let packed = gzip.write_all(body).and_then(|()| gzip.finish());
        let gzip = packed.map_err(|e| Status::internal(format!("compressing an OpenAPI document: {e}")))?.into();
        Ok(Packed { tag: digest(body), gzip })
    }

    fn whole(&self) -> Result<Vec<u8>, Status> {
        let mut out = Vec::with_capacity(self.gzip.len() * 10);
        let done = GzDecoder::new(&*self.gzip).read_to_end(&mut out);
        done.map_err(|e| Status::internal(format!("unpacking an OpenAPI document: {e}")))?;
        Ok(out)
    }

    /// The document as an answer to a request with these headers.
    pub(super) fn answer(self, content_type: HeaderValue, asked: &HeaderMap) -> Result<Response<Body>, Status> {
        if !negotiate::takes_gzip(asked) {
            return Ok(respond::with(200, content_type, self.whole()?));
        }
        let mut response = respond::with(200, content_type, self.gzip);
        response.headers_mut().insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
        Ok(response)
    }
}
