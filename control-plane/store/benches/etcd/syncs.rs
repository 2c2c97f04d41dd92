//! How often this process has asked the disk to keep what it was given.

use std::ffi::c_int;
use std::os::fd::BorrowedFd;
use std::sync::atomic::{AtomicU64, Ordering};

static SYNCS: AtomicU64 = AtomicU64::new(0);

/// Until now: the log's, and the tables'.
pub fn so_far() -> u64 {
    SYNCS.load(Ordering::Relaxed)
}

/// In the place of the C library's, which `std` and redb call: counts, and asks the kernel.
// SAFETY: the name is that function's, with its signature; there is one definition in the program.
#[unsafe(no_mangle)]
extern "C" fn fdatasync(fd: c_int) -> c_int {
    SYNCS.fetch_add(1, Ordering::Relaxed);
    // SAFETY: the caller has it open for as long as it waits for this call.
    let fd = unsafe { BorrowedFd::borrow_raw(fd) };
    // A figure from a disk that fails is none: the panic ends the process here.
    rustix::fs::fdatasync(fd).expect("the disk syncs");
    0
}
