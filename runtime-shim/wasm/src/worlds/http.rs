//! `wasi:http/proxy` of WASI 0.2: a fresh instance for each request.

use super::End;
use crate::guest::{ComponentGuest, Given, Streams};
use crate::timed::Timed;
use http::{Request, Response};
use tokio::sync::oneshot;
use wasmtime::Engine;
use wasmtime::component::InstancePre;
use wasmtime_wasi_http::WasiHttpView;
use wasmtime_wasi_http::p2::bindings::ProxyPre;
use wasmtime_wasi_http::p2::bindings::http::types::{ErrorCode, Scheme};
use wasmtime_wasi_http::p2::body::HyperOutgoingBody;

/// What a guest answers.
pub type Answer = Result<Response<HyperOutgoingBody>, ErrorCode>;

pub fn offered(exports: &[&str]) -> bool {
    exports.iter().any(|export| export.starts_with("wasi:http/incoming-handler@0.2."))
}

#[derive(Clone)]
pub struct Pre(ProxyPre<ComponentGuest>);

impl Pre {
    pub fn new(pre: InstancePre<ComponentGuest>) -> wasmtime::Result<Pre> {
        ProxyPre::new(pre).map(Pre)
    }

    /// Handles one request; the answer's head is sent as soon as the guest gives it, its body while the guest runs on.
    pub async fn handle(
        self,
        engine: Engine,
        given: Given,
        streams: Streams,
        request: Request<Timed>,
        answer: oneshot::Sender<Answer>,
    ) -> Result<(), End> {
        let handled = async {
            let mut store = ComponentGuest::store(&engine, &given, streams)?;
            let request = store.data_mut().http().new_incoming_request(Scheme::Http, request)?;
            let answer = store.data_mut().http().new_response_outparam(answer)?;
            let proxy = self.0.instantiate_async(&mut store).await?;
            proxy.wasi_http_incoming_handler().call_handle(&mut store, request, answer).await
        };
        handled.await.map_err(|err| End::of(&err))
    }
}
