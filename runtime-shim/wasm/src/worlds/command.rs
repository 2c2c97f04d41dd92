//! `wasi:cli/command` of WASI 0.2: a component that exports `wasi:cli/run`.

use super::End;
use crate::guest::{ComponentGuest, Given, Streams};
use wasmtime::Engine;
use wasmtime::component::InstancePre;
use wasmtime_wasi::p2::bindings::CommandPre;

pub fn offered(exports: &[&str]) -> bool {
    exports.iter().any(|export| export.starts_with("wasi:cli/run@0.2."))
}

#[derive(Clone)]
pub struct Pre(CommandPre<ComponentGuest>);

impl Pre {
    pub fn new(pre: InstancePre<ComponentGuest>) -> wasmtime::Result<Pre> {
        CommandPre::new(pre).map(Pre)
    }

    pub async fn run(&self, engine: &Engine, given: &Given, streams: Streams) -> wasmtime::Result<End> {
        let mut store = ComponentGuest::store(engine, given, streams)?;
        let command = self.0.instantiate_async(&mut store).await?;
        let result = command.wasi_cli_run().call_run(&mut store).await?;
        Ok(End::Code(if result.is_ok() { 0 } else { 1 }))
    }
}
