//! Compiling apart from the guests: a module that is made to exhaust the compiler ends a process that runs nothing else,
//! and what the compiler takes of memory goes back to the node when it is done.

use crate::engine::engine;
use container::Error;
use nix::sys::resource::{Resource, setrlimit};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};
use wasmtime::Engine;

/// The most memory that a compilation may take. A component of 4.5 MiB takes some 400 MiB.
const MEMORY_LIMIT: u64 = 4 << 30;

/// The most CPU time that a compilation may take, in seconds; a component of 4.5 MiB takes 3 here.
const CPU_LIMIT: u64 = 300;

/// How much lower its priority is than that of running guests.
const NICE: i32 = 5;

/// The most that is told of what the compiler says.
const MESSAGE_LIMIT: u64 = 4096;

/// Who compiles.
#[derive(Debug, Clone, Copy)]
pub enum Compiler {
    /// This process.
    #[cfg(test)]
    Here,
    /// This binary once more, with `--compile`.
    Apart,
}

impl Compiler {
    /// Compiles `wasm` into the new file `out`; `name` is for messages.
    pub fn compile(self, engine: &Engine, wasm: &[u8], out: &Path, name: &str) -> Result<(), Error> {
        let _ = engine;
        match self {
            #[cfg(test)]
            Compiler::Here => compile(engine, wasm, out).map_err(|message| invalid(name, &message)),
            Compiler::Apart => apart(wasm, out, name),
        }
    }
}

fn invalid(name: &str, message: &str) -> Error {
    Error::Invalid(format!("image {name:?} is not valid WebAssembly: {message}"))
}

fn apart(wasm: &[u8], out: &Path, name: &str) -> Result<(), Error> {
    let failed = |err: io::Error| Error::failed(format!("compiling image {name:?}"), err);
    // The link names the running binary even where its file has been replaced since.
    let mut command = Command::new("/proc/self/exe");
    command.arg(crate::HOST_COMMAND).arg("--compile").arg(out);
    command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped());
    let mut child = command.spawn().map_err(failed)?;
    // A compiler that ends early says why on its other stream.
    let fed = child.stdin.take().map_or(Ok(()), |mut stdin| stdin.write_all(wasm));
    let mut message = String::new();
    if let Some(stderr) = child.stderr.take() {
        let _ = stderr.take(MESSAGE_LIMIT).read_to_string(&mut message);
    }
    let status = child.wait().map_err(failed)?;
    match (status.success(), status.signal()) {
        (true, _) => fed.map_err(failed),
        (false, Some(signal)) => Err(Error::Invalid(format!(
            "image {name:?} cannot be compiled: the compiler was ended by signal {signal}; it may take {CPU_LIMIT} s of CPU and \
             {} GiB of memory",
            MEMORY_LIMIT >> 30
        ))),
        (false, None) => Err(invalid(name, message.trim())),
    }
}

/// The compiler's `main`: WebAssembly on standard input, compiled code into `out`, a complaint on standard error.
pub fn main(out: &Path) -> ExitCode {
    let _ = setrlimit(Resource::RLIMIT_DATA, MEMORY_LIMIT, MEMORY_LIMIT);
    let _ = setrlimit(Resource::RLIMIT_CPU, CPU_LIMIT, CPU_LIMIT);
    // SAFETY: changes the scheduling of this process only.
    unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, NICE) };
    let compiled = || {
        let mut wasm = Vec::new();
        io::stdin().read_to_end(&mut wasm).map_err(|err| err.to_string())?;
        let engine = engine().map_err(|err| format!("{err:#}"))?;
        compile(&engine, &wasm, out)
    };
    match compiled() {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("{message}");
            ExitCode::FAILURE
        }
    }
}

fn compile(engine: &Engine, wasm: &[u8], out: &Path) -> Result<(), String> {
    // A component has 1 where a module has 0: the layer, after the version.
    let component = wasm.get(6) == Some(&1);
    let code = if component { engine.precompile_component(wasm) } else { engine.precompile_module(wasm) };
    let code = code.map_err(|err| format!("{err:#}"))?;
    let file = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(out);
    file.and_then(|mut file| file.write_all(&code)).map_err(|err| format!("writing {}: {err}", out.display()))
}
