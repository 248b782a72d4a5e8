//! Where everything lies in a ring: offsets, sizes and pictures, never protocol.
//!
//! `FORMAT.md` is the full description of the bytes; these files hold the same numbers for the
//! compiler, with assertions under each table.

mod checkpoint;
mod fields;
mod header;
mod record;

pub(crate) use checkpoint::{Checkpoint, SLOT_WORDS};
pub use fields::Header;
pub(crate) use header::{
    FORMAT_MAJOR, FORMAT_MINOR, Features, HEADER_READ_BYTES, HeaderFault, Identity, MAGIC,
    UncheckedHeader,
};
pub(crate) use record::{
    COMMIT_BYTES, Commit, EMPTY, MAX_MESSAGE_BYTES, OVERHEAD_BYTES, RecordFault, padding_bytes,
    record_bytes,
};

/// Pages in front of the data: identity, producer, consumer, two slots for each checkpoint, spare.
pub(crate) const HEADER_PAGES: u64 = 8;

/// The smallest unit that a ring's pages are made of.
pub(crate) const MIN_UNIT_BYTES: u64 = 4096;

/// The largest capacity: positions and offsets keep head room for every sum made with them.
pub(crate) const MAX_CAPACITY_BYTES: u64 = 1 << 40;

/// Low and high half of a word.
#[inline]
#[expect(
    clippy::cast_possible_truncation,
    reason = "taking halves is what this is for"
)]
pub(crate) const fn halves(word: u64) -> [u32; 2] {
    [word as u32, (word >> 32) as u32]
}

/// Sizes of one ring, checked once and then copied about: never read again from shared memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Shape {
    unit_bytes: u64,
    capacity_bytes: u64,
}

impl Shape {
    /// Checks both numbers; `None` when no ring can have them.
    pub(crate) const fn new(unit_bytes: u64, capacity_bytes: u64) -> Option<Self> {
        let sound = unit_bytes.is_power_of_two()
            && capacity_bytes.is_power_of_two()
            && unit_bytes >= MIN_UNIT_BYTES
            && unit_bytes <= capacity_bytes
            && capacity_bytes <= MAX_CAPACITY_BYTES;
        if sound {
            Some(Self {
                unit_bytes,
                capacity_bytes,
            })
        } else {
            None
        }
    }

    /// Bytes of one page of the region: the kernel's page, or a huge page.
    pub(crate) const fn unit_bytes(self) -> u64 {
        self.unit_bytes
    }

    /// Bytes of the data area.
    pub(crate) const fn capacity_bytes(self) -> u64 {
        self.capacity_bytes
    }

    /// Offset of the data area.
    pub(crate) const fn header_bytes(self) -> u64 {
        self.unit_bytes.wrapping_mul(HEADER_PAGES) // at most 2^43: cannot wrap
    }

    /// Bytes of the whole region.
    pub(crate) const fn total_bytes(self) -> u64 {
        self.header_bytes().wrapping_add(self.capacity_bytes) // at most 2^44: cannot wrap
    }

    /// The longest message that fits, at any position.
    pub(crate) const fn longest_message_bytes(self) -> u64 {
        let room = self.capacity_bytes.wrapping_sub(OVERHEAD_BYTES); // capacity >= 4096
        if room < MAX_MESSAGE_BYTES {
            room
        } else {
            MAX_MESSAGE_BYTES
        }
    }

    /// Offset of a page of the header.
    pub(crate) const fn page_offset(self, page: Page) -> u64 {
        self.unit_bytes.wrapping_mul(page as u64) // index < 8
    }
}

/// The pages of the header, in order. Each is written by one party only.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Page {
    /// Written once by the creator.
    Identity = 0,
    /// Written by the producer.
    Producer = 1,
    /// Written by the consumer.
    Consumer = 2,
    /// First of the two pages with the producer's checkpoints.
    ProducerCheckpoint = 3,
    /// First of the two pages with the consumer's checkpoints.
    ConsumerCheckpoint = 5,
}

/// One of a role's two checkpoint slots, each on a page of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Slot {
    /// Whose.
    pub(crate) role: Role,
    /// The second of the two.
    pub(crate) second: bool,
}

impl Slot {
    /// Offset of the slot in a ring.
    pub(crate) const fn offset(self, shape: Shape) -> u64 {
        let first = match self.role {
            Role::Producer => Page::ProducerCheckpoint,
            Role::Consumer => Page::ConsumerCheckpoint,
        };
        let further = if self.second { shape.unit_bytes() } else { 0 };
        shape.page_offset(first).wrapping_add(further) // below 8 units
    }
}

/// Which end a page or a lock belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Role {
    /// The end that publishes messages.
    Producer,
    /// The end that takes them.
    Consumer,
}

impl Role {
    /// The other end.
    ///
    /// ```
    /// use ringduct::Role;
    /// assert_eq!(Role::Producer.peer(), Role::Consumer);
    /// ```
    #[must_use]
    pub const fn peer(self) -> Self {
        match self {
            Self::Producer => Self::Consumer,
            Self::Consumer => Self::Producer,
        }
    }

    /// The byte of the backing whose lock is this role.
    pub(crate) const fn lock_byte(self) -> i64 {
        match self {
            Self::Producer => 0,
            Self::Consumer => 1,
        }
    }
}

impl core::fmt::Display for Role {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(match self {
            Self::Producer => "producer",
            Self::Consumer => "consumer",
        })
    }
}

/// The byte whose lock serialises attach and recovery.
pub(crate) const ATTACH_LOCK_BYTE: i64 = 2;

/// One 64-bit word of a role's page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Word {
    /// Whose page.
    pub(crate) role: Role,
    /// Byte offset in that page: a multiple of eight, below [`ROLE_PAGE_BYTES`].
    pub(crate) offset: Offset,
}

/// Bytes of a role's page that hold words; the rest of the page is zero.
pub(crate) const ROLE_PAGE_BYTES: u16 = 1024;

/// A checked offset inside a role's page. Only this file can make one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Offset(u16);

impl Offset {
    const fn new(bytes: u16) -> Self {
        assert!(
            bytes < ROLE_PAGE_BYTES && bytes % 8 == 0,
            "a word lies inside the page, aligned"
        );
        Self(bytes)
    }

    /// The number of bytes: a multiple of eight, below [`ROLE_PAGE_BYTES`].
    pub(crate) const fn bytes(self) -> u16 {
        self.0
    }

    /// This word in the page of `role`.
    pub(crate) const fn of(self, role: Role) -> Word {
        Word { role, offset: self }
    }
}

/// The words of a role's page; both roles have the same ones.
///
/// ```text
///   0  position                            one cache line: the position is written by every
///   8  account, slot 0: position, messages, bytes     publish or release, the account once in a
///  32  account, slot 1: position, messages, bytes     stride
/// 128  parked, wanted position             written when this side sleeps; loaded by the peer
/// 256  wake                                the futex the peer sleeps on
/// 384  waits, wakes sent, sleeps           counters for people
/// 512  life: session, closed mark, ...     written at attach and at close
/// 640  durability: poison, durable, ...    written by checkpoints
/// ```
pub(crate) mod word {
    use super::Offset;

    /// This side's exact position.
    pub(crate) const POSITION: Offset = Offset::new(0);
    /// The two slots of the account; the one with the later position counts.
    pub(crate) const ACCOUNT: [Slot; 2] = [Slot::at(8), Slot::at(32)];
    /// Ticket of the sleeping side; zero when awake.
    pub(crate) const PARKED: Offset = Offset::new(128);
    /// Position the peer must have reached before a wake is worth sending.
    pub(crate) const WANTED: Offset = Offset::new(136);
    /// Futex word, low 32 bits; counts the wakes this side has sent.
    pub(crate) const WAKE: Offset = Offset::new(256);
    /// Times this side found the ring full (producer) or empty (consumer) and had to wait.
    pub(crate) const WAITS: Offset = Offset::new(384);
    /// Wakes this side has sent.
    pub(crate) const WAKES_SENT: Offset = Offset::new(392);
    /// Times this side went to sleep in the kernel.
    pub(crate) const SLEEPS: Offset = Offset::new(400);
    /// Attaches of this role since the ring was made; the current one while it is held.
    pub(crate) const SESSION: Offset = Offset::new(512);
    /// The session that closed cleanly, or zero.
    pub(crate) const CLOSED_SESSION: Offset = Offset::new(520);
    /// The position at which it closed.
    pub(crate) const CLOSED_POSITION: Offset = Offset::new(528);
    /// Cold recoveries of this ring so far: how often positions may have been used again.
    pub(crate) const INCARNATION: Offset = Offset::new(536);
    /// Equal in both pages, unless a cold recovery has not finished.
    pub(crate) const GENERATION: Offset = Offset::new(544);
    /// How this side orders publish against the peer's parked word: see `fence_mode`.
    pub(crate) const FENCE_MODE: Offset = Offset::new(552);
    /// Boot id of the last attach, two words.
    pub(crate) const BOOT_ID: [Offset; 2] = [Offset::new(560), Offset::new(568)];
    /// Process id of the holder: a hint.
    pub(crate) const PID: Offset = Offset::new(576);
    /// Start time of that process, clock ticks since boot: a hint.
    pub(crate) const START_TIME: Offset = Offset::new(584);
    /// When the role was taken, nanoseconds since 1970: a hint.
    pub(crate) const ATTACHED_AT: Offset = Offset::new(592);
    /// Effective user id of the holder: a hint.
    pub(crate) const UID: Offset = Offset::new(600);
    /// First 16 bytes of the holder's program name, two words: a hint.
    pub(crate) const PROGRAM: [Offset; 2] = [Offset::new(608), Offset::new(616)];
    /// Consumer: it stores back what it reads of long messages, else zero. A hint.
    pub(crate) const RETURNS: Offset = Offset::new(624);

    /// Not zero once a sync of this side failed: nothing is durable any more.
    pub(crate) const POISON: Offset = Offset::new(640);
    /// This side's position as far as a power cut leaves it: for the consumer, what may be reused.
    pub(crate) const DURABLE: Offset = Offset::new(648);
    /// Producer: it waits for a consumer's checkpoint, else zero.
    pub(crate) const SHORT: Offset = Offset::new(656);
    /// Producer: as far as commit words may have been stored without being published.
    pub(crate) const REACH: Offset = Offset::new(664);
    /// Device and inode under which this role was taken last.
    pub(crate) const HOME: [Offset; 2] = [Offset::new(672), Offset::new(680)];
    /// The mount of that device, zero if the kernel does not tell.
    pub(crate) const MOUNT: Offset = Offset::new(688);

    /// Values of [`FENCE_MODE`].
    pub(crate) mod fence_mode {
        /// This side publishes without a fence; the sleeper issues the barrier.
        pub(crate) const BARRIER: u64 = 1;
        /// This side fences after every publish.
        pub(crate) const FENCE: u64 = 2;
    }

    /// One slot of an account: a position that the side had, and the counters that belong to it.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub(crate) struct Slot {
        pub(crate) position: Offset,
        pub(crate) messages: Offset,
        pub(crate) bytes: Offset,
    }

    impl Slot {
        const fn at(start: u16) -> Self {
            Self {
                position: Offset(start),
                messages: Offset(start.wrapping_add(8)), // start is 8 or 32
                bytes: Offset(start.wrapping_add(16)),
            }
        }

        /// One of the two slots of [`ACCOUNT`], without a choice between six numbers.
        #[inline]
        pub(crate) const fn of_account(is_second: bool) -> Self {
            Self::at(if is_second { 32 } else { 8 })
        }
    }

    // Hot words that different sides or different paths touch lie two cache lines apart.
    const _: () = {
        assert!(PARKED.bytes() - POSITION.bytes() >= 128);
        assert!(WAKE.bytes() - PARKED.bytes() >= 128);
        assert!(WAITS.bytes() - WAKE.bytes() >= 128);
        assert!(SESSION.bytes() - WAITS.bytes() >= 128);
        assert!(POISON.bytes() - SESSION.bytes() >= 128);
        // Position and account share one 64-byte line, back to back.
        assert!(ACCOUNT[0].position.bytes() == POSITION.bytes() + 8);
        assert!(ACCOUNT[1].position.bytes() == ACCOUNT[0].bytes.bytes() + 8);
        assert!(ACCOUNT[1].bytes.bytes() + 8 <= 64);
        assert!(ACCOUNT[0].position.bytes() % 8 == 0);
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Goal: only sizes that a ring can have make a shape, and the sums that follow are right.
    #[test]
    fn shapes_are_checked() {
        let shape = Shape::new(4096, 65536).unwrap();
        assert_eq!(shape.header_bytes(), 32768);
        assert_eq!(shape.total_bytes(), 98304);
        assert_eq!(shape.longest_message_bytes(), 65536 - 16);
        assert_eq!(shape.page_offset(Page::ConsumerCheckpoint), 20480);
        let bad = [
            (4096, 2048),
            (4096, 65537),
            (4097, 65536),
            (0, 0),
            (2048, 65536),
            (4096, 1 << 41),
        ];
        for (unit, capacity) in bad {
            assert_eq!(Shape::new(unit, capacity), None, "{unit} {capacity}");
        }
    }
}
