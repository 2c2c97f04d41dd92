//! What the containers of a pod share and the pod process holds: namespaces, shared memory, sysctls.

use ::container::Sandbox;
use nix::errno::Errno;
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use nix::unistd::{ForkResult, Pid, fork};
use std::path::{Path, PathBuf};

/// The size of the pod's shared memory, as container runtimes have agreed on.
const SHM_OPTIONS: &str = "mode=1777,size=67108864";

/// Forks the first process of the pod's shared process namespace. It reaps and does nothing else.
pub(super) fn pause() -> Result<Pid, String> {
    let own = std::fs::File::open("/proc/self/ns/pid").map_err(|e| format!("open the process namespace: {e}"))?;
    unshare(CloneFlags::CLONE_NEWPID).map_err(|e| format!("make the pod's process namespace: {e}"))?;
    // SAFETY: this process has a single thread, so the child may do anything.
    let forked = unsafe { fork() }.map_err(|e| format!("fork: {e}"))?;
    match forked {
        ForkResult::Child => {
            let _ = prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL as libc::c_ulong);
            // SAFETY: plain system calls. What owned the descriptors is never dropped in this child; ignoring SIGCHLD
            // makes the kernel reap; pause waits for ever.
            unsafe {
                libc::syscall(libc::SYS_close_range, 3, libc::c_uint::MAX, 0);
                libc::signal(libc::SIGCHLD, libc::SIG_IGN);
                loop {
                    libc::pause();
                }
            }
        }
        ForkResult::Parent { child } => {
            nix::sched::setns(own, CloneFlags::CLONE_NEWPID)
                .map_err(|e| format!("return to the process namespace: {e}"))?;
            Ok(child)
        }
    }
}

pub(super) fn mount_shm(shm: &Path) -> Result<(), String> {
    std::fs::create_dir_all(shm).map_err(|e| format!("make {}: {e}", shm.display()))?;
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
    mount(Some("shm"), shm, Some("tmpfs"), flags, Some(SHM_OPTIONS))
        .map_err(|e| format!("mount {}: {e}", shm.display()))
}

/// Sets the pod's sysctls of its own ipc and host name namespaces; those of the network are set where that is made.
pub(super) fn set_sysctls(sandbox: &Sandbox) -> Result<(), String> {
    for (name, value) in sandbox.sysctls.iter().filter(|(name, _)| !name.starts_with("net.")) {
        let allowed =
            ["kernel.shm", "kernel.msg", "kernel.sem", "fs.mqueue."].iter().any(|prefix| name.starts_with(prefix));
        if !allowed || name.contains('/') || name.contains("..") {
            return Err(format!("sysctl {name:?} is not one that a pod has of its own"));
        }
        let file = PathBuf::from("/proc/sys").join(name.replace('.', "/"));
        std::fs::write(&file, value).map_err(|e| format!("set sysctl {name} to {value:?}: {e}"))?;
    }
    Ok(())
}

pub(super) fn prctl(option: i32, value: libc::c_ulong) -> nix::Result<()> {
    // SAFETY: the options used here take one number.
    Errno::result(unsafe { libc::prctl(option, value, 0, 0, 0) }).map(drop)
}

pub(super) fn name_process() {
    // SAFETY: PR_SET_NAME reads a string of at most 16 bytes that ends with a zero.
    unsafe { libc::prctl(libc::PR_SET_NAME, c"wherry-pod".as_ptr(), 0, 0, 0) };
}
