//! Why there is no checkpoint.

use core::fmt;
use std::io;

use super::{Corruption, FORKED, POISONED};

/// Why there is no checkpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum CheckpointError {
    /// Nothing outlives a power cut here.
    NotDurable {
        /// What the ring is, or lies on.
        why: &'static str,
    },
    /// One sync is enough only where records carry checksums.
    NeedsChecksums,
    /// A sync failed, now. What was published since the last checkpoint may be lost in a power cut,
    /// and no later sync could tell: both sides refuse further checkpoints.
    Sync {
        /// What the kernel said.
        errno: i32,
    },
    /// A sync failed earlier, on this side or the other: see [`CheckpointError::Sync`].
    Poisoned,
    /// The background thread could not be started.
    NoThread {
        /// What the kernel said.
        errno: i32,
    },
    /// The ring is damaged.
    Corrupt(Corruption),
    /// This handle was inherited by `fork`; attach anew in the child.
    Forked,
}

impl fmt::Display for CheckpointError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let os = |errno: &i32| io::Error::from_raw_os_error(*errno);
        match self {
            Self::NotDurable { why } => write!(
                f,
                "nothing outlives a power cut here: this is {why}; make a ring with `durable` in a \
                 file on ext4, xfs, btrfs or f2fs"
            ),
            Self::NeedsChecksums => f.write_str(
                "a checkpoint in one sync needs records with checksums: make the ring with \
                 `checksum`, or checkpoint in full",
            ),
            Self::Sync { errno } => write!(f, "a sync has failed ({}): {POISONED}", os(errno)),
            Self::Poisoned => f.write_str(POISONED),
            Self::NoThread { errno } => {
                write!(f, "cannot start the thread for checkpoints: {}", os(errno))
            }
            Self::Corrupt(corruption) => corruption.fmt(f),
            Self::Forked => f.write_str(FORKED),
        }
    }
}
