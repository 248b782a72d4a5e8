//! Errors instead of SIGBUS, for rings in files that somebody may truncate or that can not be read.
//!
//! Memory that is mapped from a file is gone where the file was cut off, where the disk can not
//! read it, and where a hole is stored to on a full file system. The kernel answers an access there
//! with the signal SIGBUS, which ends the process. With the guard [installed](install) the call
//! that met it returns an error instead, and so does every later call of that end: `Corrupt`, with
//! [`Damage::FileTruncated`](crate::Damage::FileTruncated) or
//! [`Damage::PageLost`](crate::Damage::PageLost). No message is made of what was not there: what a
//! receive copied is looked at again before it is given out, what a send wrote before it is
//! published.
//!
//! ```
//! # let dir = tempfile::tempdir()?;
//! # let path = dir.path().join("orders.ring");
//! # let place = ringduct::Location::from(path.clone());
//! use ringduct::{Damage, Options, TryRecvError};
//! ringduct::guard::install()?;
//! let ring = Options::new().create(&place)?;
//! let mut rx = ring.consumer()?;
//! std::fs::File::options().write(true).open(path)?.set_len(0)?; // somebody's mistake
//! let Err(TryRecvError::Corrupt(found)) = rx.try_recv(&mut [0; 100]) else {
//!     panic!("an error instead of a signal");
//! };
//! assert_eq!((found.what, found.found), (Damage::FileTruncated, 0));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # What it does
//!
//! It is one handler for the whole process. Where a fault lies in a ring that this process has
//! mapped, it puts empty memory of this process in the place of all of that ring, notes that in
//! memory of its own, and returns. Every other fault, and every SIGBUS that was sent by somebody,
//! goes to the handler that was there before: its flags and its mask are taken over. Where there was
//! none, the process ends as if there were no guard. A handler that is installed later gets
//! everything first, and passes on what is not its own by calling the one it has replaced, as
//! handlers do.
//!
//! The handler allocates nothing, takes no lock, keeps `errno`, and runs on the alternate stack
//! where a thread has one. It stays as long as the process; a forked child has it too, for the rings
//! that it maps itself.
//!
//! # What it can not do
//!
//! - Borrowed views ([`Consumer::try_view`](crate::Consumer::try_view)) and in-place slices are read
//!   and written by the program. Such a slice shows zeros where its page was lost; whether it did is
//!   told by the next call. A claim that was hit is not published.
//! - A hole that was punched into the file, or a file that was cut off and then extended again,
//!   reads as zeros and raises no signal. An empty commit word is no message; zeros in the middle
//!   of a payload are found by checksums only.
//! - A thread that has blocked SIGBUS is ended by a fault: the kernel runs no handler then.
//! - An observer that was inherited by a forked child is not guarded there.

#![expect(
    unsafe_code,
    reason = "a signal handler, and memory put in the place of a lost mapping"
)]

mod handler;
mod table;

use std::io;

pub(crate) use table::Region;

/// Installs the guard for this process, for as long as it lives. Rings that are open already are
/// guarded too; a second call does nothing.
///
/// # Errors
///
/// What the kernel says, such as the verdict of a seccomp filter.
///
/// ```
/// ringduct::guard::install()?;
/// assert!(ringduct::guard::is_installed());
/// # Ok::<(), std::io::Error>(())
/// ```
pub fn install() -> io::Result<()> {
    handler::install()
}

/// Whether [`install`] has succeeded in this process, or in the one it was forked from.
///
/// Somebody may have put another handler in its place since: nobody can tell whether that one
/// passes on.
///
/// ```
/// ringduct::guard::install()?;
/// assert!(ringduct::guard::is_installed());
/// # Ok::<(), std::io::Error>(())
/// ```
pub fn is_installed() -> bool {
    handler::is_installed()
}
