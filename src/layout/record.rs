//! One record: `[commit word][payload][padding to eight bytes]`.
//!
//! ```text
//! bit 63                          32 31                              0
//!     +-----------------------------+-------------------------------+
//!     | CRC-32C, or zero            | payload length + 1, 0 = empty |
//!     +-----------------------------+-------------------------------+
//! ```

use super::Shape;
use crate::position::ALIGN_BYTES;

/// Bytes of the commit word in front of every payload.
pub(crate) const COMMIT_BYTES: u64 = 8;

/// What a message can never use: its own commit word, and the zeroed one after it.
pub(crate) const OVERHEAD_BYTES: u64 = 2 * COMMIT_BYTES;

/// The longest length that the 32-bit field can carry, kept a multiple of eight below its end.
pub(crate) const MAX_MESSAGE_BYTES: u64 = (1 << 32) - 16;

/// The commit word that says "nothing here yet".
pub(crate) const EMPTY: u64 = 0;

/// Bytes that a record with this payload takes.
///
/// `message_bytes` is at most [`MAX_MESSAGE_BYTES`] wherever this is called, so nothing wraps.
#[inline]
pub(crate) const fn record_bytes(message_bytes: u64) -> u64 {
    let padded = message_bytes.wrapping_add(ALIGN_BYTES - 1) & !(ALIGN_BYTES - 1);
    padded.wrapping_add(COMMIT_BYTES)
}

/// Bytes between the end of this payload and the end of its record.
#[inline]
pub(crate) const fn padding_bytes(message_bytes: u64) -> u64 {
    message_bytes.wrapping_neg() & (ALIGN_BYTES - 1)
}

/// A commit word that names a published record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Commit {
    message_bytes: u32,
    checksum: u32,
}

/// Why a commit word cannot name a record of this ring.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RecordFault {
    /// The length field is zero though the word is not.
    NoLength,
    /// The length is more than the ring takes.
    TooLong {
        /// The length that was found.
        found: u64,
    },
    /// The upper half is not zero in a ring without checksums.
    Reserved,
}

impl Commit {
    /// The word for a payload of `message_bytes`; `checksum` is zero in a ring without checksums.
    pub(crate) const fn new(message_bytes: u32, checksum: u32) -> Self {
        Self {
            message_bytes,
            checksum,
        }
    }

    /// The stored form of a payload without a checksum.
    ///
    /// `message_bytes` is at most [`MAX_MESSAGE_BYTES`], so the upper half stays zero.
    #[inline]
    pub(crate) const fn plain(message_bytes: u64) -> u64 {
        message_bytes.wrapping_add(1)
    }

    /// The stored form: never [`EMPTY`], because the length is stored plus one.
    #[inline]
    pub(crate) const fn encode(self) -> u64 {
        let length = (self.message_bytes as u64).wrapping_add(1); // at most 2^32 - 15
        length | ((self.checksum as u64) << 32)
    }

    /// Bounds a word from shared memory before anything is computed from it.
    #[inline]
    pub(crate) const fn decode(
        word: u64,
        longest_bytes: u64,
        checksummed: bool,
    ) -> Result<Self, RecordFault> {
        let [stored, checksum] = super::halves(word);
        let Some(message_bytes) = stored.checked_sub(1) else {
            return Err(RecordFault::NoLength);
        };
        if message_bytes as u64 > longest_bytes {
            return Err(RecordFault::TooLong {
                found: message_bytes as u64,
            });
        }
        if !checksummed && checksum != 0 {
            return Err(RecordFault::Reserved);
        }
        Ok(Self {
            message_bytes,
            checksum,
        })
    }

    /// Bytes of the payload.
    pub(crate) const fn message_bytes(self) -> u32 {
        self.message_bytes
    }

    /// The checksum field.
    pub(crate) const fn checksum(self) -> u32 {
        self.checksum
    }

    /// Bytes of the whole record.
    pub(crate) const fn record_bytes(self) -> u64 {
        record_bytes(self.message_bytes as u64)
    }
}

// The longest message of the smallest ring and of the largest both leave room for the next word.
const _: () = {
    assert!(record_bytes(0) == 8);
    assert!(record_bytes(1) == 16);
    assert!(record_bytes(8) == 16);
    assert!(padding_bytes(0) == 0 && padding_bytes(1) == 7 && padding_bytes(8) == 0);
    assert!(record_bytes(MAX_MESSAGE_BYTES) + COMMIT_BYTES == 1 << 32);
    if let Some(smallest) = Shape::new(4096, 4096) {
        assert!(record_bytes(smallest.longest_message_bytes()) + COMMIT_BYTES == 4096);
    }
};

#[cfg(test)]
mod tests {
    use super::*;

    /// Goal: encode and decode are inverse over lengths and checksums, and no encoded word is the
    /// empty one.
    #[test]
    fn words_round_trip() {
        for length in [0_u32, 1, 7, 8, 9, 4080, 0xFFFF_FFF0] {
            for checksum in [0_u32, 1, u32::MAX] {
                let word = Commit::new(length, checksum).encode();
                assert_ne!(word, EMPTY);
                let back = Commit::decode(word, MAX_MESSAGE_BYTES, true);
                assert_eq!(back, Ok(Commit::new(length, checksum)));
            }
        }
    }

    /// Goal: each lie has its own fault.
    #[test]
    fn lies_are_told_apart() {
        let decode = |word, checksummed| Commit::decode(word, 100, checksummed);
        assert_eq!(decode(7 << 32, true), Err(RecordFault::NoLength));
        assert_eq!(decode(102, false), Err(RecordFault::TooLong { found: 101 }));
        assert_eq!(decode(1 << 32 | 0x65, false), Err(RecordFault::Reserved));
        assert!(decode(101, false).is_ok());
        assert!(decode(1 << 32 | 0x65, true).is_ok());
    }
}
