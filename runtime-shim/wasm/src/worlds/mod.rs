//! The worlds that a guest can be written for, in the order in which one is chosen. A world is one file and one line here.

mod command;
mod command_p1;
pub mod http;

use crate::cache::Code;
use crate::guest::{ComponentGuest, Given, ModuleGuest, Streams};
use crate::lookup;
use crate::memory::OverLimit;
use container::Error;
use wasmtime::component::{Component, Linker};
use wasmtime::{Engine, Module};

/// A guest that is ready to be instantiated any number of times.
#[derive(Clone)]
pub enum World {
    /// `wasi:http/proxy`: an instance for each request. May have a command world besides.
    Http { proxy: http::Pre, command: Option<command::Pre> },
    /// WASI 0.2 `wasi:cli/run`.
    Command(command::Pre),
    /// WASI 0.1: a core module with `_start`.
    CommandP1(command_p1::Pre),
}

/// How a command ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum End {
    /// Its exit code.
    Code(i32),
    /// It wanted more memory than it may have.
    OutOfMemory(String),
    Trap(String),
}

/// What guests are linked with; made once.
pub struct Linkers {
    component: Linker<ComponentGuest>,
    module: wasmtime::Linker<ModuleGuest>,
}

impl Linkers {
    pub fn new(engine: &Engine) -> wasmtime::Result<Linkers> {
        let mut component = Linker::new(engine);
        wasmtime_wasi::p2::add_to_linker_async(&mut component)?;
        wasmtime_wasi_http::p2::add_only_http_to_linker_async(&mut component)?;
        component.allow_shadowing(true);
        lookup::add_to_linker(&mut component)?;
        let mut module = wasmtime::Linker::new(engine);
        wasmtime_wasi::p1::add_to_linker_async(&mut module, |guest: &mut ModuleGuest| &mut guest.wasi)?;
        Ok(Linkers { component, module })
    }

    /// Finds the world of `code`; `name` is for messages.
    pub fn world(&self, engine: &Engine, code: &Code, name: &str) -> Result<World, Error> {
        match code {
            Code::Module(module) => self.module_world(module, name),
            Code::Component(component) => self.component_world(engine, component, name),
        }
    }

    fn module_world(&self, module: &Module, name: &str) -> Result<World, Error> {
        if !command_p1::offered(module) {
            return Err(Error::Invalid(format!(
                "image {name:?} is a core module without a function \"_start\": it is a library, not a program. \
                 Build it as a command for wasm32-wasip1"
            )));
        }
        let pre = self.module.instantiate_pre(module).map_err(|err| not_linked(name, &err))?;
        Ok(World::CommandP1(command_p1::Pre::new(pre)))
    }

    fn component_world(&self, engine: &Engine, component: &Component, name: &str) -> Result<World, Error> {
        let ty = component.component_type();
        let exports: Vec<&str> = ty.exports(engine).map(|(export, _)| export).collect();
        let (proxy, command) = (http::offered(&exports), command::offered(&exports));
        if !proxy && !command {
            return Err(Error::Invalid(format!(
                "image {name:?} is a component whose world we do not offer: it exports {}. Offered are wasi:http/proxy@0.2 \
                 (export wasi:http/incoming-handler) and wasi:cli/command@0.2 (export wasi:cli/run)",
                if exports.is_empty() { "nothing".to_owned() } else { exports.join(", ") }
            )));
        }
        let pre = self.component.instantiate_pre(component).map_err(|err| not_linked(name, &err))?;
        let command =
            if command { Some(command::Pre::new(pre.clone()).map_err(|err| not_linked(name, &err))?) } else { None };
        match command {
            Some(command) if !proxy => Ok(World::Command(command)),
            command => Ok(World::Http { proxy: http::Pre::new(pre).map_err(|err| not_linked(name, &err))?, command }),
        }
    }
}

fn not_linked(name: &str, err: &wasmtime::Error) -> Error {
    Error::Invalid(format!("image {name:?} is for a world we do not offer: {err:#}"))
}

impl World {
    /// The command that `exec` can run, if there is one.
    pub fn command(&self) -> Option<Command> {
        match self {
            World::Http { command, .. } => command.clone().map(Command::P2),
            World::Command(pre) => Some(Command::P2(pre.clone())),
            World::CommandP1(pre) => Some(Command::P1(pre.clone())),
        }
    }
}

/// A guest with a command world.
#[derive(Clone)]
pub enum Command {
    P2(command::Pre),
    P1(command_p1::Pre),
}

impl Command {
    /// Runs a fresh instance to its end. To be polled within the container's walls.
    pub async fn run(self, engine: Engine, given: Given, streams: Streams) -> End {
        let result = match self {
            Command::P2(pre) => pre.run(&engine, &given, streams).await,
            Command::P1(pre) => pre.run(&engine, &given, streams).await,
        };
        result.unwrap_or_else(|err| End::of(&err))
    }
}

impl End {
    /// The end that an error of a guest's call means.
    pub fn of(err: &wasmtime::Error) -> End {
        if let Some(exit) = err.downcast_ref::<wasmtime_wasi::I32Exit>() {
            return End::Code(exit.0);
        }
        if let Some(over) = err.downcast_ref::<OverLimit>() {
            return End::OutOfMemory(over.to_string());
        }
        End::Trap(format!("{err:?}"))
    }
}
