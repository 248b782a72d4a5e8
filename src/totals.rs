//! Counters that people and successors read.

use crate::ring::Progress;

/// How far one side of a ring has come since the ring was made, all its sessions together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Totals {
    /// Position in the stream: bytes of records, 8 for each message and padding included.
    pub position: u64,
    /// Messages published (producer) or released (consumer).
    pub messages: u64,
    /// Payload bytes of those messages.
    pub bytes: u64,
}

impl Totals {
    pub(crate) const fn of(progress: &Progress) -> Self {
        Self {
            position: progress.position,
            messages: progress.messages,
            bytes: progress.bytes(),
        }
    }
}
