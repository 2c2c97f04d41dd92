//! A disk in memory that writes down what happens to it. It can be cut at any moment of what it wrote down, keeping of
//! what was not synced as much, and as torn, as chance has it; and one of its calls can be made to fail.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::Mutex;

use super::Chance;
use crate::disk::{Disk, DiskFile, Held, Opening};

const SECTOR: usize = 512;

/// One thing that happened.
#[derive(Debug, Clone)]
pub enum Step {
    Name(PathBuf, u64),
    Rename(PathBuf, PathBuf),
    Remove(PathBuf),
    Write(u64, u64, Vec<u8>),
    Length(u64, u64),
    Sync(u64),
    SyncNames,
    /// Not the disk's: what its user was told.
    Note(u64),
}

#[derive(Default, Clone)]
struct Content {
    files: BTreeMap<u64, Vec<u8>>,
    names: BTreeMap<PathBuf, u64>,
}

#[derive(Default)]
struct State {
    now: Content,
    before: Content,
    steps: Vec<Step>,
    next: u64,
    held: BTreeSet<PathBuf>,
    calls: u64,
    /// Nothing is carried out from this call on.
    dies_at: Option<u64>,
    fails_at: Option<u64>,
    failed: Option<String>,
}

/// Handles share the disk.
#[derive(Clone, Default)]
pub struct Simulated(Arc<Mutex<State>>);

impl fmt::Debug for Simulated {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Simulated")
    }
}

impl Simulated {
    fn holding(content: Content) -> Self {
        let next = content.files.keys().last().map_or(0, |last| last + 1);
        let state = State { now: content.clone(), before: content, next, ..State::default() };
        Self(Arc::new(Mutex::new(state)))
    }

    /// Has the nth call from now on fail, once.
    pub fn fail_at(&self, call: u64) {
        let mut state = self.0.lock();
        state.calls = 0;
        state.fails_at = Some(call);
    }

    /// Has the power go at the nth call from now on.
    pub fn die_at(&self, call: u64) {
        let mut state = self.0.lock();
        state.calls = 0;
        state.dies_at = Some(call);
    }

    pub fn is_dead(&self) -> bool {
        let state = self.0.lock();
        state.dies_at.is_some_and(|call| state.calls >= call)
    }

    /// Which call failed.
    pub fn failed(&self) -> Option<String> {
        self.0.lock().failed.clone()
    }

    pub fn note(&self, note: u64) {
        self.0.lock().steps.push(Step::Note(note));
    }

    pub fn steps(&self) -> Vec<Step> {
        self.0.lock().steps.clone()
    }

    /// The disk as the next process finds it when this one ended without a word.
    pub fn after_kill(&self) -> Self {
        Self::holding(self.0.lock().now.clone())
    }

    /// The disk as it is found when the power went now.
    pub fn after_cut_now(&self, chance: &mut Chance) -> Self {
        let steps = self.0.lock().steps.len();
        self.after_cut(steps, chance)
    }

    /// The disk as it is found when the power went before the step.
    pub fn after_cut(&self, before: usize, chance: &mut Chance) -> Self {
        let state = self.0.lock();
        let mut platter = Platter { durable: state.before.clone(), ..Platter::default() };
        for step in &state.steps[..before] {
            platter.take(step);
        }
        Self::holding(platter.cut(chance))
    }

    fn call<T>(&self, what: &str, path: &Path, with: impl FnOnce(&mut State) -> io::Result<T>) -> io::Result<T> {
        let mut state = self.0.lock();
        state.calls += 1;
        if state.dies_at.is_some_and(|call| state.calls >= call) {
            return Err(io::Error::other("the power is gone"));
        }
        if state.fails_at == Some(state.calls) {
            state.failed = Some(format!("{what} {}", path.display()));
            return Err(io::Error::other("made to fail"));
        }
        with(&mut state)
    }
}

/// What the disk surely has, and what it may have.
#[derive(Default)]
struct Platter {
    durable: Content,
    writes: BTreeMap<u64, Vec<Step>>,
    names: Vec<Step>,
}

impl Platter {
    fn take(&mut self, step: &Step) {
        match step {
            Step::Name(_, file) => {
                self.durable.files.entry(*file).or_default();
                self.names.push(step.clone());
            }
            Step::Rename(..) | Step::Remove(_) => self.names.push(step.clone()),
            Step::Write(file, ..) | Step::Length(file, _) => {
                self.writes.entry(*file).or_default().push(step.clone());
            }
            Step::Sync(file) => {
                for step in self.writes.remove(file).unwrap_or_default() {
                    self.durable.apply(&step);
                }
            }
            Step::SyncNames => {
                for step in std::mem::take(&mut self.names) {
                    self.durable.apply(&step);
                }
            }
            Step::Note(_) => {}
        }
    }

    fn cut(mut self, chance: &mut Chance) -> Content {
        // Names are journalled: an earlier change never misses when a later one is there.
        let kept = chance.below(self.names.len() as u64 + 1) as usize;
        for step in &self.names[..kept] {
            self.durable.apply(step);
        }
        for steps in self.writes.values() {
            let how = chance.below(4);
            let kept = match how {
                0 => 0,
                1 => steps.len(),
                2 => chance.below(steps.len() as u64 + 1) as usize,
                _ => steps.len(),
            };
            for step in &steps[..kept] {
                match step {
                    Step::Write(file, offset, bytes) if how == 3 => self.durable.tear(*file, *offset, bytes, chance),
                    _ => self.durable.apply(step),
                }
            }
        }
        self.durable
    }
}

impl Content {
    fn apply(&mut self, step: &Step) {
        match step {
            Step::Name(path, file) => drop(self.names.insert(path.clone(), *file)),
            Step::Rename(from, to) => {
                if let Some(file) = self.names.remove(from) {
                    self.names.insert(to.clone(), file);
                }
            }
            Step::Remove(path) => drop(self.names.remove(path)),
            Step::Write(file, offset, bytes) => self.write(*file, *offset as usize, bytes),
            Step::Length(file, length) => self.file(*file).resize(*length as usize, 0),
            Step::Sync(_) | Step::SyncNames | Step::Note(_) => {}
        }
    }

    fn file(&mut self, file: u64) -> &mut Vec<u8> {
        self.files.entry(file).or_default()
    }

    fn write(&mut self, file: u64, offset: usize, bytes: &[u8]) {
        let content = self.file(file);
        if content.len() < offset + bytes.len() {
            content.resize(offset + bytes.len(), 0);
        }
        content[offset..offset + bytes.len()].copy_from_slice(bytes);
    }

    /// Some sectors of a write, and of one of them only a part.
    fn tear(&mut self, file: u64, offset: u64, bytes: &[u8], chance: &mut Chance) {
        let mut at = 0;
        while at < bytes.len() {
            let in_sector = (offset as usize + at) % SECTOR;
            let length = (SECTOR - in_sector).min(bytes.len() - at);
            let kept = match chance.below(8) {
                0..3 => length,
                3 => chance.below(length as u64 + 1) as usize,
                _ => 0,
            };
            if kept > 0 {
                self.write(file, offset as usize + at, &bytes[at..at + kept]);
            }
            at += length;
        }
    }
}

impl State {
    fn step(&mut self, step: Step) {
        self.now.apply(&step);
        self.steps.push(step);
    }
}

fn missing(path: &Path) -> io::Error {
    io::Error::new(io::ErrorKind::NotFound, format!("there is no {}", path.display()))
}

impl Disk for Simulated {
    fn create_dir(&self, path: &Path) -> io::Result<()> {
        self.call("create", path, |_| Ok(()))
    }

    fn open(&self, path: &Path, opening: Opening) -> io::Result<Arc<dyn DiskFile>> {
        let file = self.call("open", path, |state| {
            let file = match (state.now.names.get(path).copied(), opening) {
                (None, Opening::Existing) => return Err(missing(path)),
                (None, Opening::OrEmpty | Opening::Emptied) => {
                    let file = state.next;
                    state.next += 1;
                    state.step(Step::Name(path.to_owned(), file));
                    file
                }
                (Some(file), Opening::Emptied) => {
                    state.step(Step::Length(file, 0));
                    file
                }
                (Some(file), Opening::Existing | Opening::OrEmpty) => file,
            };
            state.now.file(file);
            Ok(file)
        })?;
        Ok(Arc::new(Open { disk: self.clone(), file, path: path.to_owned() }))
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        self.call("list", dir, |state| {
            let inside = state.now.names.keys().filter(|path| path.parent() == Some(dir));
            Ok(inside.filter_map(|path| path.file_name()).map(|name| name.to_string_lossy().into_owned()).collect())
        })
    }

    fn exists(&self, path: &Path) -> io::Result<bool> {
        self.call("look for", path, |state| Ok(state.now.names.keys().any(|name| name.starts_with(path))))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.call("rename", from, |state| {
            state.step(Step::Rename(from.to_owned(), to.to_owned()));
            Ok(())
        })
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.call("remove", path, |state| {
            state.step(Step::Remove(path.to_owned()));
            Ok(())
        })
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        self.call("sync", dir, |state| {
            state.step(Step::SyncNames);
            Ok(())
        })
    }

    fn lock(&self, path: &Path) -> io::Result<Option<Held>> {
        let free = self.call("lock", path, |state| Ok(state.held.insert(path.to_owned())))?;
        let disk = self.clone();
        let path = path.to_owned();
        Ok(free.then(|| Box::new(Holding { disk, path }) as Held))
    }

    fn available(&self, dir: &Path) -> io::Result<u64> {
        self.call("measure", dir, |_| Ok(1 << 40))
    }
}

struct Holding {
    disk: Simulated,
    path: PathBuf,
}

impl Drop for Holding {
    fn drop(&mut self) {
        self.disk.0.lock().held.remove(&self.path);
    }
}

#[derive(Debug)]
struct Open {
    disk: Simulated,
    file: u64,
    path: PathBuf,
}

impl DiskFile for Open {
    fn len(&self) -> io::Result<u64> {
        self.disk.call("measure", &self.path, |state| Ok(state.now.file(self.file).len() as u64))
    }

    fn read_at(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.disk.call("read", &self.path, |state| {
            let content = state.now.file(self.file);
            let bytes = content.get(offset as usize..offset as usize + out.len());
            out.copy_from_slice(bytes.ok_or(io::ErrorKind::UnexpectedEof)?);
            Ok(())
        })
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.disk.call("write", &self.path, |state| {
            state.step(Step::Write(self.file, offset, bytes.to_vec()));
            Ok(())
        })
    }

    fn set_len(&self, length: u64) -> io::Result<()> {
        self.disk.call("resize", &self.path, |state| {
            state.step(Step::Length(self.file, length));
            Ok(())
        })
    }

    fn reserve(&self, length: u64) -> io::Result<()> {
        self.disk.call("reserve", &self.path, |state| {
            state.step(Step::Length(self.file, length));
            Ok(())
        })
    }

    fn sync(&self) -> io::Result<()> {
        self.disk.call("sync", &self.path, |state| {
            state.step(Step::Sync(self.file));
            Ok(())
        })
    }
}
