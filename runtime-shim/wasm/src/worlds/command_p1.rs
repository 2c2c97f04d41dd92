//! WASI 0.1: a core module that exports `_start`.

use super::End;
use crate::guest::{Given, ModuleGuest, Streams};
use wasmtime::{Engine, ExternType, InstancePre, Module};

pub fn offered(module: &Module) -> bool {
    matches!(module.get_export("_start"), Some(ExternType::Func(ty)) if ty.params().len() == 0 && ty.results().len() == 0)
}

#[derive(Clone)]
pub struct Pre(InstancePre<ModuleGuest>);

impl Pre {
    pub fn new(pre: InstancePre<ModuleGuest>) -> Pre {
        Pre(pre)
    }

    pub async fn run(&self, engine: &Engine, given: &Given, streams: Streams) -> wasmtime::Result<End> {
        let mut store = ModuleGuest::store(engine, given, streams)?;
        let instance = self.0.instantiate_async(&mut store).await?;
        let start = instance.get_typed_func::<(), ()>(&mut store, "_start")?;
        start.call_async(&mut store, ()).await?;
        Ok(End::Code(0))
    }
}
