//! A group that stands for a whole machine: what is inside sees it as the root of every hierarchy.

use super::{CONTROLLERS, Cgroup, ROOT};
use nix::mount::{MsFlags, mount};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// Of the two hierarchies that a task may enter only when these are filled.
const CPUSET: [&str; 2] = ["cpuset.cpus", "cpuset.mems"];
/// Where the machine's first processes are in version 2, which lets no group with groups below it hold processes.
const LEAF: &str = "init";

impl Cgroup {
    /// Makes the group in every hierarchy.
    pub fn create(&self) -> io::Result<()> {
        for directory in self.directories() {
            fs::create_dir_all(&directory).map_err(doing("make", &directory))?;
        }
        if self.unified {
            return self.steps().iter().try_for_each(|parent| delegate(parent));
        }
        let parent = self.root.join("cpuset");
        let steps = self.path.components().scan(parent.clone(), |at, step| {
            let above = at.clone();
            at.push(step);
            Some((above, at.clone()))
        });
        for (above, at) in steps.filter(|_| parent.is_dir()) {
            for file in CPUSET {
                if fs::read_to_string(at.join(file)).is_ok_and(|text| text.trim().is_empty()) {
                    let value = fs::read_to_string(above.join(file)).map_err(doing("read", &above.join(file)))?;
                    fs::write(at.join(file), value.trim()).map_err(doing("write", &at.join(file)))?;
                }
            }
        }
        Ok(())
    }

    /// The directories above the group's own, from the root down (version 2).
    fn steps(&self) -> Vec<PathBuf> {
        let mut all: Vec<PathBuf> = self.path.ancestors().skip(1).map(|path| self.root.join(path)).collect();
        all.reverse();
        all
    }

    /// Moves this process into the group.
    pub fn enter(&self) -> io::Result<()> {
        self.directories().iter().try_for_each(|directory| move_here(directory))
    }

    /// Makes the group the root of every hierarchy as this process sees them. To be called in it, once the process has a
    /// cgroup namespace and a mount namespace of its own, whose mounts do not spread.
    pub fn become_root(&self) -> io::Result<()> {
        if self.unified {
            let leaf = self.root.join(&self.path).join(LEAF);
            fs::create_dir_all(&leaf).map_err(doing("make", &leaf))?;
            move_here(&leaf)?;
            delegate(&self.root.join(&self.path))?;
        }
        let roots: Vec<PathBuf> = match self.unified {
            true => vec![PathBuf::from(ROOT)],
            false => CONTROLLERS.iter().map(|c| self.root.join(c)).filter(|d| d.is_dir()).collect(),
        };
        for (directory, root) in self.directories().iter().zip(&roots) {
            mount(Some(directory), root, None::<&str>, MsFlags::MS_BIND, None::<&str>)
                .map_err(|errno| doing("show as a root", directory)(errno.into()))?;
        }
        Ok(())
    }

    /// Removes the group and all groups below it, which must be empty.
    pub fn remove_all(&self) -> io::Result<()> {
        self.directories().iter().try_for_each(|directory| remove_tree(directory))
    }
}

fn doing<'a>(what: &'a str, path: &'a Path) -> impl FnOnce(io::Error) -> io::Error + 'a {
    move |error| io::Error::new(error.kind(), format!("{what} {}: {error}", path.display()))
}

fn move_here(directory: &Path) -> io::Result<()> {
    let file = directory.join("cgroup.procs");
    // 0 is the process that writes.
    fs::write(&file, "0").map_err(doing("enter by", &file))
}

/// Lets groups below have every controller that the group itself has.
fn delegate(directory: &Path) -> io::Result<()> {
    let (from, to) = (directory.join("cgroup.controllers"), directory.join("cgroup.subtree_control"));
    let names = fs::read_to_string(&from).map_err(doing("read", &from))?;
    for name in names.split_whitespace() {
        // One that cannot be shared (a real-time CPU group, say) leaves the others as they are.
        if let Err(error) = fs::write(&to, format!("+{name}")) {
            tracing::debug!(name, %error, "a controller is not passed on");
        }
    }
    Ok(())
}

fn remove_tree(directory: &Path) -> io::Result<()> {
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            remove_tree(&entry.path())?;
        }
    }
    match fs::remove_dir(directory) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(doing("remove", directory)(error)),
        _ => Ok(()),
    }
}
