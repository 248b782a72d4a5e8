//! Helpers of the unit tests: forked children and what they report, and being alone for a while.
#![expect(unsafe_code, reason = "forks and waits")]

use std::sync::{PoisonError, RwLock, RwLockWriteGuard};

/// Keeps tests that fork away from tests that take leases.
///
/// A child forked between the opening and the closing of a lease's descriptor inherits the lock
/// for as long as it lives, so the two must not run at the same time in one process.
pub(crate) fn alone() -> RwLockWriteGuard<'static, ()> {
    static ALONE: RwLock<()> = RwLock::new(());
    // A test that failed while holding it has said so already.
    ALONE.write().unwrap_or_else(PoisonError::into_inner)
}

/// Runs `body` in a forked child and returns its exit code, 0 to 255.
///
/// The child of a threaded process may do little: no allocation that could meet a lock another
/// thread held, no printing, no panic. A child killed by a signal reports 1000 and the signal.
pub(crate) fn in_child(body: impl FnOnce() -> i32) -> i32 {
    wait_for(fork_child(body))
}

/// Starts a child that runs `body` and exits with what it returns.
pub(crate) fn fork_child(body: impl FnOnce() -> i32) -> i32 {
    // SAFETY: the child runs only `body`, which keeps to what the function asks of it, and exits
    // without returning into the test harness.
    let pid = unsafe { libc::fork() };
    assert!(pid >= 0, "fork");
    if pid == 0 {
        let code = body();
        // SAFETY: ends the child at once: no destructors, no exit handlers of the harness.
        unsafe { libc::_exit(code) };
    }
    pid
}

/// Waits for a child and returns its exit code, or 1000 and the signal that killed it.
pub(crate) fn wait_for(pid: i32) -> i32 {
    let mut status = 0;
    loop {
        // SAFETY: `status` is a valid place for the answer.
        let done = unsafe { libc::waitpid(pid, &raw mut status, 0) };
        if done == pid {
            break;
        }
        let error = std::io::Error::last_os_error();
        assert_eq!(error.kind(), std::io::ErrorKind::Interrupted, "waitpid");
    }
    if libc::WIFEXITED(status) {
        libc::WEXITSTATUS(status)
    } else {
        1000_i32.wrapping_add(libc::WTERMSIG(status)) // at most 1127
    }
}
