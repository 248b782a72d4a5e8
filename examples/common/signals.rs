//! An interrupt (Ctrl-C) or a request to end as a flag, so that a program can close its ring.
#![expect(unsafe_code, reason = "libc alone sets a handler")]

use std::process::ExitCode;
use std::sync::atomic::{AtomicI32, Ordering};

/// The signal that came, or zero.
static CAME: AtomicI32 = AtomicI32::new(0);

extern "C" fn note(signal: libc::c_int) {
    CAME.store(signal, Ordering::Relaxed);
}

/// From now on SIGINT and SIGTERM only raise the flag.
pub(crate) fn catch() {
    let handler: extern "C" fn(libc::c_int) = note;
    for signal in [libc::SIGINT, libc::SIGTERM] {
        // SAFETY: the handler does nothing but one atomic store, which is async-signal-safe, and
        // it is a function that lives as long as the program.
        unsafe { libc::signal(signal, handler as libc::sighandler_t) };
    }
}

/// The exit code of a program that was asked to end, once it was: 128 and the signal's number.
pub(crate) fn asked_to_end() -> Option<ExitCode> {
    match CAME.load(Ordering::Relaxed) {
        0 => None,
        signal => Some(ExitCode::from(
            u8::try_from(signal).unwrap_or(0).saturating_add(128),
        )),
    }
}
