//! `wherry reset`: takes a cluster off this machine, whatever state it was left in.

use crate::data_dir;
use crate::machine;
use crate::machines::Machines;
use crate::node;
use crate::progress::Step;
use crate::shim;
use anyhow::{Context, bail};
use nix::mount::{MntFlags, umount2};
use std::path::Path;

pub async fn run(data_dir: &Path) -> anyhow::Result<()> {
    machine::require_root("reset")?;
    let path = data_dir.canonicalize().with_context(|| format!("there is no {}", data_dir.display()))?;
    let Some(settings) = data_dir::read(&path)? else { bail!("there is no cluster in {}", path.display()) };
    let _lock = data_dir::lock(&path)?;
    let step = Step::start(format!("removing {}", path.display()));
    shim::end(&path).await?;
    let root = shim::root(&path);
    tokio::task::spawn_blocking(move || cri::reset(&root)).await?.context("removing the pods")?;
    if let Some(machines) = Machines::of(&path, &settings) {
        machines.close(true).await?;
    }
    node::clear(&settings, &path).await?;
    unmount_below(&path)?;
    std::fs::remove_dir_all(&path).with_context(|| format!("removing {}", path.display()))?;
    step.done("");
    Ok(())
}

/// Unmounts what pods' volumes have mounted, the deepest first: removing files must never reach into a mount.
fn unmount_below(path: &Path) -> anyhow::Result<()> {
    let table = std::fs::read_to_string("/proc/self/mountinfo").context("reading the mounts")?;
    let mut points: Vec<&str> = table.lines().filter_map(|line| line.split(' ').nth(4)).collect();
    points.retain(|point| Path::new(point).starts_with(path) && Path::new(point) != path);
    points.sort_by_key(|point| std::cmp::Reverse(point.len()));
    for point in points {
        umount2(point, MntFlags::MNT_DETACH).with_context(|| format!("unmounting {point}"))?;
    }
    Ok(())
}
