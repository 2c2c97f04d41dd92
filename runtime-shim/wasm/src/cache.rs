//! Compiled code on disk, keyed by engine and content hash, and mapped into memory by everyone who runs it.
//!
//! INVARIANT: what is in here is machine code that the host runs unchecked. The directory is 0700, its files 0600 and
//! ours; a file that is anything else is compiled anew, never loaded.

use crate::compile::Compiler;
use container::Error;
use sha2::{Digest, Sha256};
use std::hash::{Hash, Hasher};
use std::io::Read;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};
use wasmtime::component::Component;
use wasmtime::{Engine, Module, Precompiled};

/// The largest WebAssembly file: compiling takes about a hundred times its size in memory.
const FILE_LIMIT: u64 = 256 << 20;

/// Compiled code.
#[derive(Clone)]
pub enum Code {
    Module(Module),
    Component(Component),
}

/// The cache of one node.
#[derive(Debug)]
pub struct Cache {
    dir: PathBuf,
    /// Names the engine: version, configuration and processor features.
    engine_key: String,
    compiler: Compiler,
}

impl Cache {
    pub fn open(dir: &Path, engine: &Engine, compiler: Compiler) -> std::io::Result<Cache> {
        std::fs::DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
        let mut hasher = Fnv::default();
        engine.precompile_compatibility_hash().hash(&mut hasher);
        Ok(Cache { dir: dir.to_owned(), engine_key: format!("{:016x}", hasher.finish()), compiler })
    }

    /// The code of the WebAssembly file at `path`, compiled now unless it was before. Blocks.
    /// `digest` is what the file's content must have; `name` is for messages.
    pub fn load(&self, engine: &Engine, path: &Path, digest: &str, name: &str) -> Result<Code, Error> {
        let key =
            digest.strip_prefix("sha256:").filter(|hex| hex.len() == 64 && hex.bytes().all(|b| b.is_ascii_hexdigit()));
        let key =
            key.ok_or_else(|| Error::Invalid(format!("image {name:?} has the digest {digest:?}, which is no sha256")))?;
        let file = self.dir.join(format!("{}-{key}.cwasm", self.engine_key));
        if trusted(&file)
            && let Ok(code) = map(engine, &file)
        {
            return Ok(code);
        }
        let bytes = read(path)?;
        if !key.eq_ignore_ascii_case(&hex(&Sha256::digest(&bytes))) {
            return Err(Error::Invalid(format!(
                "the file of image {name:?} is not what was pulled: its content is not {digest}. Remove the image and pull it again"
            )));
        }
        check_form(&bytes, name)?;
        self.compile(engine, &bytes, &file, name)?;
        map(engine, &file)
            .map_err(|err| Error::failed(format!("loading compiled code from {}", file.display()), err.to_string()))
    }
}

impl Cache {
    /// Compiles beside and renames, so that a crash leaves no half of a file and a mapping in use stays what it was.
    fn compile(&self, engine: &Engine, wasm: &[u8], file: &Path, name: &str) -> Result<(), Error> {
        let fresh = file.with_extension(format!("{}.new", std::process::id()));
        let _ = std::fs::remove_file(&fresh);
        let compiled = self.compiler.compile(engine, wasm, &fresh, name);
        if compiled.is_err() {
            let _ = std::fs::remove_file(&fresh);
        }
        compiled?;
        std::fs::rename(&fresh, file)
            .map_err(|err| Error::failed(format!("writing compiled code to {}", file.display()), err))
    }
}

fn read(path: &Path) -> Result<Vec<u8>, Error> {
    let failed = |err| Error::failed(format!("reading {}", path.display()), err);
    let mut bytes = Vec::new();
    std::fs::File::open(path).map_err(failed)?.take(FILE_LIMIT + 1).read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() as u64 > FILE_LIMIT {
        return Err(Error::Invalid(format!(
            "{} is larger than {FILE_LIMIT} bytes, the most a guest may have",
            path.display()
        )));
    }
    Ok(bytes)
}

/// Whether the first bytes are those of a module or a component.
fn check_form(bytes: &[u8], name: &str) -> Result<(), Error> {
    match bytes {
        [0, b'a', b's', b'm', 1, 0, 0, 0, ..] | [0, b'a', b's', b'm', _, 0, 1, 0, ..] => Ok(()),
        [0, b'a', b's', b'm', ..] => Err(Error::Invalid(format!(
            "image {name:?} is WebAssembly of a version that is not known; modules of version 1 and components are"
        ))),
        _ => Err(Error::Invalid(format!(
            "image {name:?} is not WebAssembly: its file does not begin with \"\\0asm\". Build it for wasm32-wasip1 or wasm32-wasip2"
        ))),
    }
}

/// Whether the file is ours alone.
fn trusted(file: &Path) -> bool {
    // SAFETY: geteuid cannot fail and touches no memory.
    let me = unsafe { libc::geteuid() };
    std::fs::symlink_metadata(file).is_ok_and(|meta| meta.is_file() && meta.uid() == me && meta.mode() & 0o077 == 0)
}

fn map(engine: &Engine, file: &Path) -> wasmtime::Result<Code> {
    // SAFETY: the file is code that this engine compiled: see the module's invariant. wasmtime refuses another engine's.
    unsafe {
        match Engine::detect_precompiled_file(file)? {
            Some(Precompiled::Module) => Module::deserialize_file(engine, file).map(Code::Module),
            Some(Precompiled::Component) => Component::deserialize_file(engine, file).map(Code::Component),
            None => Err(wasmtime::Error::msg("the file is not compiled code")),
        }
    }
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write;
    bytes.iter().fold(String::new(), |mut hex, byte| {
        let _ = write!(hex, "{byte:02x}");
        hex
    })
}

/// FNV-1a: the same over restarts, which the standard library's hasher does not promise.
struct Fnv(u64);

impl Default for Fnv {
    fn default() -> Fnv {
        Fnv(0xcbf2_9ce4_8422_2325)
    }
}

impl Hasher for Fnv {
    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    /// Writes `bytes` and gives their digest.
    fn file(path: &Path, bytes: &[u8]) -> String {
        std::fs::write(path, bytes).unwrap();
        format!("sha256:{}", hex(&Sha256::digest(bytes)))
    }

    #[test]
    fn code_is_compiled_once_and_never_loaded_from_a_file_that_others_can_write() {
        let dir = tempfile::tempdir().unwrap();
        let engine = Engine::default();
        let cache = Cache::open(&dir.path().join("cache"), &engine, Compiler::Here).unwrap();
        let wasm = dir.path().join("m.wasm");
        let digest = file(&wasm, &wat::parse_str("(module)").unwrap());
        cache.load(&engine, &wasm, &digest, "m").unwrap();
        let code = std::fs::read_dir(dir.path().join("cache")).unwrap().next().unwrap().unwrap().path();
        let made = std::fs::metadata(&code).unwrap();
        assert_eq!(made.mode() & 0o777, 0o600);
        cache.load(&engine, &wasm, &digest, "m").unwrap();
        assert_eq!(std::fs::metadata(&code).unwrap().ino(), made.ino(), "compiled again");
        std::fs::set_permissions(&code, std::fs::Permissions::from_mode(0o666)).unwrap();
        let held = std::fs::File::open(&code).unwrap();
        cache.load(&engine, &wasm, &digest, "m").unwrap();
        assert_ne!(std::fs::metadata(&code).unwrap().ino(), made.ino(), "loaded code that anybody could have written");
        drop(held);
    }

    #[test]
    fn what_is_not_webassembly_is_refused_by_name() {
        let dir = tempfile::tempdir().unwrap();
        let engine = Engine::default();
        let cache = Cache::open(dir.path(), &engine, Compiler::Here).unwrap();
        let cases: [(&[u8], &str); 4] = [
            (b"#!/bin/sh\n", "image \"x\" is not WebAssembly"),
            (b"", "image \"x\" is not WebAssembly"),
            (b"\0asm\x07\0\0\0", "of a version that is not known"),
            (b"\0asm\x01\0\0\0\xff", "is not valid WebAssembly"),
        ];
        let wasm = dir.path().join("x.wasm");
        let message = |digest: &str| match cache.load(&engine, &wasm, digest, "x") {
            Err(Error::Invalid(message)) => message,
            Err(other) => panic!("{other}"),
            Ok(_) => panic!("accepted"),
        };
        for (bytes, says) in cases {
            let message = message(&file(&wasm, bytes));
            assert!(message.contains(says), "{message}");
        }
        assert!(message(&format!("sha256:{}", "0".repeat(64))).contains("not what was pulled"));
        assert!(message("md5:1").contains("no sha256"));
    }
}
