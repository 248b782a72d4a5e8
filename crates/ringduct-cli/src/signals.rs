//! SIGINT and SIGTERM as a request to end, so that a ring can be closed first.
//!
//! The first signal only leaves a mark, for which every loop looks at least five times a second,
//! and interrupts a system call that waits. A second one of the same kind ends the program at once,
//! as it would have without this.
#![expect(
    unsafe_code,
    reason = "libc alone sets a handler that interrupts calls"
)]

use std::sync::atomic::{AtomicI32, Ordering};
use std::time::{Duration, Instant};

use crate::failure::Failure;

/// The signal that came, or zero.
static CAME: AtomicI32 = AtomicI32::new(0);

/// How long to wait before looking whether the program was asked to end.
pub(crate) const MOMENT: Duration = Duration::from_millis(200);

extern "C" fn note(signal: libc::c_int) {
    CAME.store(signal, Ordering::Relaxed);
}

/// From now on the first SIGINT or SIGTERM only leaves a mark.
pub(crate) fn catch() {
    let handler: extern "C" fn(libc::c_int) = note;
    // SAFETY: all bytes zero are a valid `sigaction`: no handler, no flags, an empty mask.
    let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
    action.sa_sigaction = handler as libc::sighandler_t;
    action.sa_flags = libc::SA_RESETHAND; // and no SA_RESTART: a call that waits is interrupted
    for signal in [libc::SIGINT, libc::SIGTERM] {
        // SAFETY: the handler does nothing but one atomic store, which is async-signal-safe, and
        // lives as long as the program; `action` is valid for reading; no old action is asked for.
        unsafe { libc::sigaction(signal, &raw const action, std::ptr::null_mut()) };
    }
}

/// The end of a program that was asked to end, once it was.
///
/// Returns a failure with the exit code 128 and the signal's number, and nothing to say.
pub(crate) fn check() -> Result<(), Failure> {
    match CAME.load(Ordering::Relaxed) {
        0 => Ok(()),
        signal => Err(Failure::signal(signal)),
    }
}

/// The instant at which a wait that begins now has to look for signals again, or the deadline if
/// that comes first.
pub(crate) fn a_moment_until(deadline: Option<Instant>) -> Instant {
    let now = Instant::now();
    let moment = now.checked_add(MOMENT).unwrap_or(now);
    deadline.map_or(moment, |deadline| deadline.min(moment))
}
