//! What is wrong with a ring, and where: for people who look at a file.

use core::fmt;

use crate::error::{Corruption, Damage};
use crate::layout::{HeaderFault, Offset, Page, Role, Shape, Slot, word};

/// The first thing that is wrong with a ring.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Fault {
    /// The field or the record's part: `header checksum`, `consumer's head`, `record length`.
    pub what: &'static str,
    /// Where it is in the file or segment, in bytes from its start.
    pub offset_bytes: u64,
    /// For records: the position in the stream.
    pub position: Option<u64>,
    /// The value it has to have, or the bound it has to keep.
    pub expected: u64,
    /// What was found.
    pub found: u64,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            what,
            offset_bytes,
            position,
            expected,
            found,
        } = self;
        write!(f, "{what} at byte {offset_bytes}")?;
        if let Some(position) = position {
            write!(f, " (position {position})")?;
        }
        write!(f, ": expected (at most) {expected:#x}, found {found:#x}")
    }
}

impl Fault {
    pub(crate) const fn of_header(fault: &HeaderFault) -> Self {
        let (what, offset_bytes, expected, found) = fault.place();
        Self {
            what,
            offset_bytes,
            position: None,
            expected,
            found,
        }
    }

    /// A word of a role's page.
    pub(super) const fn of_word(
        what: &'static str,
        shape: Shape,
        (role, offset): (Role, Offset),
        expected: u64,
        found: u64,
    ) -> Self {
        Self {
            what,
            offset_bytes: word_at(shape, role, offset),
            position: None,
            expected,
            found,
        }
    }

    /// What the protocol found, with its place in the file.
    pub(super) const fn of_corruption(what: &Corruption, shape: Shape) -> Self {
        let (offset_bytes, position) = match what.what {
            Damage::Tail => (word_at(shape, Role::Producer, word::POSITION), None),
            Damage::Head => (word_at(shape, Role::Consumer, word::POSITION), None),
            Damage::DurableHead => (word_at(shape, Role::Consumer, word::DURABLE), None),
            Damage::Session => (word_at(shape, Role::Producer, word::SESSION), None),
            Damage::FileTruncated | Damage::PageLost => (what.position, None),
            Damage::Checkpoint => {
                let first = Slot {
                    role: Role::Producer,
                    second: false,
                };
                (first.offset(shape), None)
            }
            Damage::RecordLength
            | Damage::RecordReserved
            | Damage::RecordChecksum
            | Damage::RecordBeyondEnd => (data_at(shape, what.position), Some(what.position)),
        };
        Self {
            what: what.what.name(),
            offset_bytes,
            position,
            expected: what.expected,
            found: what.found,
        }
    }

    /// A role has no whole slot: the first of its two.
    pub(super) const fn of_slots(shape: Shape, role: Role) -> Self {
        let what = match role {
            Role::Producer => "producer's checkpoint slots: how many are whole",
            Role::Consumer => "consumer's checkpoint slots: how many are whole",
        };
        let first = Slot {
            role,
            second: false,
        };
        Self {
            what,
            offset_bytes: first.offset(shape),
            position: None,
            expected: 1,
            found: 0,
        }
    }

    /// Records that a checkpoint had acknowledged end too early.
    pub(super) const fn of_loss(shape: Shape, acknowledged: u64, found: u64) -> Self {
        Self {
            what: "end of the records that are whole",
            offset_bytes: data_at(shape, found),
            position: Some(found),
            expected: acknowledged,
            found,
        }
    }

    /// Nothing is where a record must be, in front of the tail.
    pub(super) const fn of_hole(shape: Shape, position: u64, tail: u64) -> Self {
        Self {
            what: "end of the records in front of the producer's tail",
            offset_bytes: data_at(shape, position),
            position: Some(position),
            expected: tail,
            found: position,
        }
    }
}

/// Where a word is in the file.
const fn word_at(shape: Shape, role: Role, offset: Offset) -> u64 {
    let page = match role {
        Role::Producer => Page::Producer,
        Role::Consumer => Page::Consumer,
    };
    shape.page_offset(page).wrapping_add(offset.bytes() as u64) // below 8 units
}

/// Where a record is in the file.
const fn data_at(shape: Shape, position: u64) -> u64 {
    let inside = position & shape.capacity_bytes().wrapping_sub(1); // a power of two
    shape.header_bytes().wrapping_add(inside) // at most 2^44
}
