//! Network namespaces, pinned by a bind mount so that they need no process.

use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sched::{CloneFlags, unshare};
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io;
use std::path::Path;

/// Makes a namespace with its loopback up and its sysctls set, pinned at `path`.
pub fn create(path: &Path, sysctls: &BTreeMap<String, String>) -> io::Result<()> {
    if let Some(directory) = path.parent() {
        fs::create_dir_all(directory)?;
    }
    File::create(path)?;
    let (target, sysctls) = (path.to_owned(), sysctls.clone());
    // A thread of its own: the namespace is entered by it alone and left by its end.
    let made = std::thread::spawn(move || -> io::Result<()> {
        unshare(CloneFlags::CLONE_NEWNET)?;
        loopback_up()?;
        for (name, value) in sysctls.iter().filter(|(name, _)| name.starts_with("net.")) {
            set_sysctl(name, value)?;
        }
        mount(Some("/proc/thread-self/ns/net"), &target, None::<&str>, MsFlags::MS_BIND, None::<&str>)?;
        Ok(())
    });
    let made = made.join().unwrap_or_else(|_| Err(io::Error::other("the thread that made it panicked")));
    if made.is_err() {
        let _ = fs::remove_file(path);
    }
    made
}

/// Whether a namespace is pinned at `path`: after the machine was started anew only the empty file is left.
pub fn pinned(path: &Path) -> bool {
    nix::sys::statfs::statfs(path).is_ok_and(|found| found.filesystem_type() == nix::sys::statfs::NSFS_MAGIC)
}

/// Unpins a namespace. Idempotent.
pub fn remove(path: &Path) -> io::Result<()> {
    match umount2(path, MntFlags::MNT_DETACH) {
        Ok(()) | Err(nix::errno::Errno::EINVAL | nix::errno::Errno::ENOENT) => {}
        Err(errno) => return Err(errno.into()),
    }
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

fn set_sysctl(name: &str, value: &str) -> io::Result<()> {
    if name.contains('/') || name.contains("..") {
        return Err(io::Error::other(format!("{name:?} is not the name of a sysctl")));
    }
    let file = Path::new("/proc/sys").join(name.replace('.', "/"));
    fs::write(&file, value)
        .map_err(|error| io::Error::new(error.kind(), format!("set sysctl {name} to {value:?}: {error}")))
}

fn loopback_up() -> io::Result<()> {
    // SAFETY: an interface request is plain data, zero is a valid value of it, the socket is closed below, and the kernel
    // reads and writes only the request.
    unsafe {
        let socket = libc::socket(libc::AF_INET, libc::SOCK_DGRAM | libc::SOCK_CLOEXEC, 0);
        if socket < 0 {
            return Err(io::Error::last_os_error());
        }
        let mut request: libc::ifreq = std::mem::zeroed();
        request.ifr_name[0] = b'l' as libc::c_char;
        request.ifr_name[1] = b'o' as libc::c_char;
        let mut result = libc::ioctl(socket, libc::SIOCGIFFLAGS, &mut request);
        if result == 0 {
            request.ifr_ifru.ifru_flags |= libc::IFF_UP as libc::c_short;
            result = libc::ioctl(socket, libc::SIOCSIFFLAGS, &mut request);
        }
        let error = io::Error::last_os_error();
        libc::close(socket);
        if result == 0 { Ok(()) } else { Err(error) }
    }
}
