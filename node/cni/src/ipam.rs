//! Addresses of the node's range, as leases in files: `ips/<address>` names the container, `containers/<id>` the
//! address. The exclusive creation of the first is the allocation, so two processes never hand out one address.

use crate::{Config, Error, Result, plan};
use std::collections::HashSet;
use std::fs;
use std::io::{ErrorKind, Write};
use std::net::IpAddr;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

fn ips(config: &Config) -> PathBuf {
    config.state_dir.join("ips")
}

fn containers(config: &Config) -> PathBuf {
    config.state_dir.join("containers")
}

fn container_file(config: &Config, id: &str) -> Result<PathBuf> {
    if id.is_empty() || id.starts_with('.') || !id.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b)) {
        return Err(Error::Invalid(format!("container id {id:?} may hold letters, digits, '.', '_' and '-' only")));
    }
    Ok(containers(config).join(id))
}

fn create(path: &Path, content: &str) -> std::io::Result<()> {
    let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(content.as_bytes())
}

/// The address that a container holds.
pub fn held(config: &Config, id: &str) -> Result<Option<IpAddr>> {
    match fs::read_to_string(container_file(config, id)?) {
        Ok(text) => Ok(text.trim().parse().ok()),
        Err(e) if e.kind() == ErrorKind::NotFound => Ok(None),
        Err(e) => Err(Error::io(format!("reading the lease of {id}"))(e)),
    }
}

/// Leases an address; the one it has already, if any.
pub fn take(config: &Config, id: &str) -> Result<IpAddr> {
    if let Some(address) = held(config, id)? {
        return Ok(address);
    }
    for dir in [ips(config), containers(config)] {
        let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(&dir);
        made.map_err(Error::io(format!("making {}", dir.display())))?;
    }
    let cursor = config.state_dir.join("last");
    let last = fs::read_to_string(&cursor).ok().and_then(|t| t.trim().parse::<IpAddr>().ok());
    for address in candidates(config, last) {
        match create(&ips(config).join(address.to_string()), id) {
            Ok(()) => {
                fs::write(&cursor, address.to_string()).map_err(Error::io("noting the last address"))?;
                let file = container_file(config, id)?;
                create(&file, &address.to_string()).map_err(Error::io(format!("writing the lease of {id}")))?;
                return Ok(address);
            }
            Err(e) if e.kind() == ErrorKind::AlreadyExists => {}
            Err(e) => return Err(Error::io(format!("leasing {address}"))(e)),
        }
    }
    Err(Error::Exhausted(config.pod_cidr))
}

/// The addresses to try, beginning after the last one given: an address just freed rests as long as it can.
fn candidates(config: &Config, last: Option<IpAddr>) -> impl Iterator<Item = IpAddr> {
    let gateway = plan::gateway(config);
    let usable = move |a: &IpAddr| *a != gateway;
    let after = config.pod_cidr.hosts().filter(move |a| last.is_none_or(|l| *a > l));
    let before = config.pod_cidr.hosts().take_while(move |a| last.is_some_and(|l| *a <= l));
    after.chain(before).filter(usable)
}

pub fn give_back(config: &Config, id: &str) -> Result<()> {
    let file = container_file(config, id)?;
    if let Some(address) = held(config, id)? {
        remove(&ips(config).join(address.to_string()))?;
    }
    remove(&file)
}

pub fn collect(config: &Config, live: &HashSet<String>) -> Result<()> {
    let Ok(entries) = fs::read_dir(ips(config)) else { return Ok(()) };
    for entry in entries.flatten() {
        let holder = fs::read_to_string(entry.path()).unwrap_or_default();
        if !live.contains(holder.trim()) {
            remove(&entry.path())?;
            if let Ok(file) = container_file(config, holder.trim()) {
                remove(&file)?;
            }
        }
    }
    Ok(())
}

fn remove(path: &Path) -> Result<()> {
    match fs::remove_file(path) {
        Err(e) if e.kind() != ErrorKind::NotFound => Err(Error::io(format!("removing {}", path.display()))(e)),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(dir: &Path, range: &str) -> Config {
        let pod_cidr = range.parse().expect("a network");
        Config { bridge: "b".into(), pod_cidr, state_dir: dir.into(), mtu: 1500 }
    }

    #[test]
    fn leases_are_unique_kept_and_rest_after_use() {
        let dir = tempfile::tempdir().expect("a directory");
        let c = config(dir.path(), "10.1.0.0/29");
        let first = take(&c, "a").expect("an address");
        assert_eq!(first.to_string(), "10.1.0.2", "the first address is the bridge's");
        assert_eq!(take(&c, "a").expect("the same"), first);
        assert_ne!(take(&c, "b").expect("another"), first);
        give_back(&c, "a").expect("given back");
        give_back(&c, "a").expect("twice is fine");
        assert_eq!(take(&c, "d").expect("a rested one").to_string(), "10.1.0.4");
    }

    #[test]
    fn a_full_range_says_so_and_collect_frees_the_dead() {
        let dir = tempfile::tempdir().expect("a directory");
        let c = config(dir.path(), "10.1.0.0/30");
        take(&c, "a").expect("the only address");
        assert!(matches!(take(&c, "b"), Err(Error::Exhausted(_))));
        collect(&c, &HashSet::new()).expect("collected");
        take(&c, "b").expect("free again");
    }

    #[test]
    fn an_id_cannot_leave_the_directory() {
        let dir = tempfile::tempdir().expect("a directory");
        for id in ["", "../x", "a/b", "."] {
            assert!(matches!(take(&config(dir.path(), "10.1.0.0/29"), id), Err(Error::Invalid(_))), "{id:?}");
        }
    }
}
