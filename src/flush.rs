//! `msync`, and what it is worth.

use std::io;

use rustix::mm::MsyncFlags;

use crate::consumer::Consumer;
use crate::durability::Durability;
use crate::link::Link;
use crate::producer::Producer;
use crate::trusted::Trust;

/// The three things that `msync` can be asked, with what each does on Linux today.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Flush {
    /// `MS_SYNC`: the file system writes the dirty pages of the range and waits, as a ranged
    /// `fdatasync` would. On a file on a disk file system, with an honest device, everything
    /// published before the call is on the medium after it. On `tmpfs`, memory files, System V and
    /// anonymous memory it succeeds at once and proves nothing. An error is final: the kernel
    /// marks the pages clean, and a second call succeeds though nothing was written.
    Sync,
    /// `MS_ASYNC`: nothing. Linux has ignored it since 2.6.19 and writes dirty pages back in its
    /// own time.
    Async,
    /// `MS_INVALIDATE`: nothing either, save that it fails with `EBUSY` if the range is locked in
    /// memory.
    Invalidate,
}

impl Flush {
    const fn flags(self) -> MsyncFlags {
        match self {
            Self::Sync => MsyncFlags::SYNC,
            Self::Async => MsyncFlags::ASYNC,
            Self::Invalidate => MsyncFlags::INVALIDATE,
        }
    }
}

fn flush(link: &Link, durability: &Durability, how: Flush) -> io::Result<()> {
    if !link.is_owner() {
        return Err(io::Error::other(
            "this handle was made before a fork and is inert here",
        ));
    }
    if how == Flush::Sync {
        if let Some(outcome) = durability.sync_there() {
            return outcome.map_err(io::Error::from_raw_os_error);
        }
    }
    let outcome = link.mapped().mapping().flush(how.flags());
    if outcome.is_err() && how == Flush::Sync {
        // The kernel tells of a lost write once: no checkpoint after this one would hear of it.
        durability.poison(link.mapped());
    }
    // The kernel does not mind that pages are missing: there is nothing to write then.
    match link.loss() {
        Some(loss) if how == Flush::Sync => outcome.and(Err(io::Error::other(loss))),
        _ => outcome,
    }
}

impl<T: Trust> Producer<T> {
    /// Calls `msync` on the whole ring: see [`Flush`] for what that is worth.
    ///
    /// Not a checkpoint: no record is kept of what was synced.
    ///
    /// # Errors
    ///
    /// What the kernel says; with [`Flush::Sync`] an error means that data may be lost for good,
    /// and that trying again proves nothing.
    ///
    /// ```
    /// use ringduct::Flush;
    /// let (mut tx, _rx) = ringduct::pair(4096)?;
    /// tx.send(b"x")?;
    /// tx.flush(Flush::Sync)?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn flush(&self, how: Flush) -> io::Result<()> {
        flush(&self.end.link, &self.end.durability, how)
    }
}

impl<T: Trust> Consumer<T> {
    /// Calls `msync` on the whole ring: see [`Flush`] for what that is worth.
    ///
    /// # Errors
    ///
    /// As [`Producer::flush`].
    ///
    /// ```
    /// let (_tx, rx) = ringduct::pair(4096)?;
    /// rx.flush(ringduct::Flush::Async)?; // does nothing, see there
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn flush(&self, how: Flush) -> io::Result<()> {
        flush(&self.end.link, &self.end.durability, how)
    }
}
