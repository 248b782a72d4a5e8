//! Leases: a role is a lock that the kernel holds for a process and drops when the process dies.
//!
//! Each lock is an exclusive open-file-description lock on one byte, on a description of its own.
//! A mapping of that description pins the lock; the descriptor is closed at once and the mapping
//! is not inherited by `fork`. So a forked child does not keep the role of its dead parent, and
//! closing any descriptor of the file in this process does not lose it.
//!
//! One gap cannot be closed: a child that another thread forks between opening the description
//! and closing it again, some microseconds later, inherits the descriptor and with it the lock,
//! until it executes another program or ends. With a ring that was handed over to a user who
//! cannot open it, the same holds of the attach lock for as long as an attach takes.
#![expect(unsafe_code, reason = "libc alone has the calls for these locks")]

use core::time::Duration;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::thread;
use std::time::Instant;

use libc::{c_int, c_short};
use memmap2::{Advice, MmapOptions};

use crate::error::OpenError;
use crate::fork::{ForkToken, OwnMapping};
use crate::layout::ATTACH_LOCK_BYTE;
use crate::region::{Object, OwnDescription};

/// The first and the longest pause between two tries for the attach lock.
const FIRST_PAUSE: Duration = Duration::from_micros(50);
const LONGEST_PAUSE: Duration = Duration::from_millis(5);

/// A lock on one byte, held until it is dropped or the process ends. Inert in a forked child.
#[derive(Debug)]
pub(crate) struct Lease {
    /// Pins the description that holds the lock; unmapping it is the release.
    pin: OwnMapping,
}

impl Lease {
    /// Takes the lock on `byte`; `None` if somebody else holds it now.
    pub(crate) fn try_take(object: &Object, byte: i64) -> Result<Option<Self>, OpenError> {
        // The descriptor is closed here and now, before a child can inherit it.
        Ok(Self::try_take_open(object, byte)?.map(|(lease, _descriptor)| lease))
    }

    /// The same with the descriptor still open.
    fn try_take_open(
        object: &Object,
        byte: i64,
    ) -> Result<Option<(Self, OwnDescription)>, OpenError> {
        let name = object.name();
        let failed = |action| move |error: io::Error| OpenError::os(name, action, error);
        let token = ForkToken::get().map_err(failed("prepare for forks"))?;
        let description = object.own_description()?;
        if !set_lock_alone(object, &description, byte)? {
            description.give_back();
            return Ok(None);
        }
        let mut options = MmapOptions::new();
        let page = options
            .len(object.lock_page_bytes())
            .map_raw_read_only(&description.as_fd())
            .map_err(failed("map the page that keeps its lock"))?;
        page.advise(Advice::DontFork)
            .map_err(failed("keep its lock out of forked children"))?;
        let pin = OwnMapping::new(page, token);
        Ok(Some((Self { pin }, description)))
    }

    /// Whether this process is the one that took it.
    pub(crate) fn is_ours(&self) -> bool {
        self.pin.token().is_owner()
    }
}

/// Sets the lock, and makes sure that no other lock is set through the same description; false if
/// somebody holds it.
///
/// A description that was opened here is nobody else's. One that was handed over may have been
/// handed over twice, or be its sender's own: locks set through it would not exclude each other.
/// The kernel shows a lock to every description but its own, so the ring's is asked, before and
/// after.
fn set_lock_alone(
    object: &Object,
    description: &OwnDescription,
    byte: i64,
) -> Result<bool, OpenError> {
    let failed = |action| move |error: io::Error| OpenError::os(object.name(), action, error);
    let is_seen = || is_held(object.lock_fd(), byte).map_err(failed("ask who holds its lock"));
    if description.was_handed_over() && is_seen()? {
        return Ok(false);
    }
    if !set_lock(description.as_fd(), byte).map_err(failed("lock it"))? {
        return Ok(false);
    }
    if description.was_handed_over() && !is_seen()? {
        // Its sender may have it open for long.
        let _freed = set(description.as_fd(), libc::F_UNLCK, byte);
        return Err(OpenError::NotARing {
            name: object.name().to_owned(),
            expected: "descriptions of their own for ring and locks".to_owned(),
            found: "one description for both".to_owned(),
        });
    }
    Ok(true)
}

/// The lock that lets one process at a time attach or recover.
#[derive(Debug)]
pub(crate) struct AttachLock {
    lease: Lease,
    /// What the lock is set through, if it was handed over with the ring: it is needed again.
    lent: Option<OwnDescription>,
}

impl Drop for AttachLock {
    fn drop(&mut self) {
        if let Some(lent) = self.lent.take().filter(|_| self.lease.is_ours()) {
            if set(lent.as_fd(), libc::F_UNLCK, ATTACH_LOCK_BYTE).is_ok_and(|done| done) {
                lent.give_back();
            }
        }
    }
}

impl AttachLock {
    /// Takes the lock, waiting for another process at most `timeout`; zero tries once.
    ///
    /// Each try opens the description anew: one kept open over the pauses would be inherited by a
    /// child that is forked meanwhile.
    pub(crate) fn take(object: &Object, timeout: Duration) -> Result<Self, OpenError> {
        let started = Instant::now();
        let mut pause = FIRST_PAUSE;
        loop {
            if let Some((lease, description)) = Lease::try_take_open(object, ATTACH_LOCK_BYTE)? {
                let lent = Some(description).filter(OwnDescription::was_handed_over);
                return Ok(Self { lease, lent });
            }
            let waited = started.elapsed();
            let Some(left) = timeout.checked_sub(waited).filter(|left| !left.is_zero()) else {
                return Err(OpenError::Busy {
                    name: object.name().to_owned(),
                    waited_ms: u64::try_from(waited.as_millis()).unwrap_or(u64::MAX),
                });
            };
            thread::sleep(pause.min(left));
            pause = pause.saturating_mul(2).min(LONGEST_PAUSE);
        }
    }
}

/// Whether somebody holds the lock on `byte`, through another description than `fd`'s.
///
/// Asks as a reader would: another reader, who has no right to a role, does not count. The answer
/// may be out of date when it arrives.
pub(crate) fn is_held(fd: BorrowedFd<'_>, byte: i64) -> io::Result<bool> {
    let mut request = lock_request(libc::F_RDLCK, byte);
    // SAFETY: the descriptor is open as long as it is borrowed, and this command reads and writes
    // the struct it is given, which is valid for both.
    let outcome = unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_OFD_GETLK, &raw mut request) };
    if outcome < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(c_int::from(request.l_type) != libc::F_UNLCK)
}

/// Sets the exclusive lock; false if somebody else's is in the way.
fn set_lock(fd: BorrowedFd<'_>, byte: i64) -> io::Result<bool> {
    set(fd, libc::F_WRLCK, byte)
}

/// Sets or clears a lock; false if somebody else's is in the way.
fn set(fd: BorrowedFd<'_>, kind: c_int, byte: i64) -> io::Result<bool> {
    let request = lock_request(kind, byte);
    // SAFETY: the descriptor is open as long as it is borrowed, and this command only reads the
    // struct it is given.
    let outcome = unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_OFD_SETLK, &raw const request) };
    if outcome == 0 {
        return Ok(true);
    }
    let error = io::Error::last_os_error();
    match error.raw_os_error() {
        Some(libc::EAGAIN | libc::EACCES) => Ok(false),
        _ => Err(error),
    }
}

#[expect(
    clippy::cast_possible_truncation,
    reason = "the kernel's names for these are 0, 1 and 2; libc gives them another width"
)]
fn lock_request(kind: c_int, byte: i64) -> libc::flock {
    libc::flock {
        l_type: kind as c_short,
        l_whence: libc::SEEK_SET as c_short,
        l_start: byte,
        l_len: 1,
        l_pid: 0,
    }
}

#[cfg(test)]
mod tests;
