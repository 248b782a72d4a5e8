//! The protocol: how messages go through shared memory, and why each step is safe.
//!
//! # The plain version
//!
//! ```text
//! send(message):                              receive():
//!     wait until record + 8 bytes are free        word = load commit word at head   (acquire)
//!     write the payload at tail + 8               word = 0: nothing there yet
//!     write 0 as the next commit word             bound the length in word
//!     store the commit word at tail   (release)   copy the payload
//!     tail += record; store tail                  head += record; store head        (release)
//! ```
//!
//! A record is visible from the store of its own commit word on: that word, and nothing else, says
//! what is published. The next commit word is zeroed first, so bytes of an earlier lap are never
//! taken for a record; the free-space check always leaves room for it. The consumer changes nothing
//! in the data. Each word has one writer, if bytes that are stored back unchanged do not count (see
//! below); positions only grow; nothing published is taken back.
//!
//! # Orderings
//!
//! | label | writer | reader | word | what becomes visible | weakened: the test that fails |
//! |---|---|---|---|---|---|
//! | commit | producer | consumer, observer, successor | commit word | payload, the zeroed next word, the rest of a batch | `loom_publish` |
//! | head | consumer | producer | head | the consumer's reads of the space are over | `loom_reclaim` |
//! | tail | producer | observer, successor | tail | the records in front of it | `loom_observer_reads_behind_tail` |
//! | account | either side | observer, consumer's successor | account, fence | its counters, the records in front of it; a count over what was overwritten is seen to be | `loom_account`, `loom_account_slot` |
//! | ticket | sleeper | waker | parked | the sleeper's look at `wake`, its wanted position | `loom_park_ticket` |
//! | wake | waker | sleeper | wake | that what is waited for was stored | `loom_park_wake` |
//! | park | waker, sleeper | each other | fence | either the ticket or the thing waited for | `loom_park_fence` |
//! | mode | publisher | sleeper | fence mode | everything published without a fence | `loom_ask_for_fences` |
//! | closed | leaving side | the other | closed mark | everything it published or released | `loom_close` |
//! | session | arriving side | the other | session | the rest of its page | `loom_session` |
//! | durable | consumer | producer | durable | the consumer's checkpoint is on the medium | the simulator |
//! | poison | who syncs | the other | poison | a sync failed | the simulator |
//! | lap | producer | observer | fence | a copy that was overwritten is seen to be | `loom_observer_lap` |
//!
//! Each test fails when either side of its label is weakened (`models`, in this folder). Of three
//! labels that says less than of the others: a lost "ticket", "wake" or "mode" shows at once as a
//! wake too early or a look that misses what it was promised, but it takes more for a lost wake. A
//! ticket seen before the sleeper's look at `wake` is answered, on a processor that lets a load
//! pass a later store, with a count that the sleeper then sleeps on. "wake" and "mode" stand in for
//! each other (`loom_wake_or_mode`), and the barrier stands in for both.
//!
//! # What makes it fast, and why that is safe
//!
//! - The producer remembers the head it saw last and looks again only when it seems to be out of
//!   room: an old head is lower than the real one, so it only ever underestimates the room.
//! - Each end keeps its own position privately: nobody else may write it.
//! - A batch stores its later commit words first and its first one last: the word at the tail stays
//!   empty until all is written, so the batch appears at once, for one store of the tail.
//! - A consumer that may write the data stores long payloads back where it has read them, before it
//!   releases them: no byte changes, and only the owner of the space stores there ("head"). The lines
//!   are then its cache's alone, from where a producer that fills them gets them soonest.
//! - The producer stores zeros to the lines that it will need next, once nobody waits for it: behind
//!   the tail there is nothing but free space.
//! - A publish pays no fence for a sleeping peer: the sleeper's `membarrier` pays (see `parking`).
//!
//! # A kill between any two stores
//!
//! A kill before the commit store has published nothing; a kill after it leaves a tail that is one
//! publish behind. A successor walks the commit words to the first empty one, from where the dead
//! stored its counters last, and so knows exactly how many there were: see `account`.

mod account;
mod consumer;
#[cfg(all(test, not(loom)))]
mod hostile;
#[cfg(test)]
mod models;
mod observe;
mod order;
mod parking;
mod producer;
#[cfg(test)]
mod properties;
mod walk;

pub(crate) use account::{Progress, beside, count_released, read_account, reset_account};
pub(crate) use consumer::{ConsumerCore, Record, Taken};
pub(crate) use observe::{
    Look, RoleSnapshot, may_be_published, passed, peek_all, peek_at, role_snapshot,
};
pub(crate) use order::{
    CLOSED_LOAD, CLOSED_STORE, DURABLE_LOAD, DURABLE_STORE, HEAD_LOAD, SESSION_LOAD, SESSION_STORE,
    TAIL_LOAD,
};
pub(crate) use parking::{Sleeper, Waker, bump};
pub(crate) use producer::{Pending, ProducerCore, Space};
pub(crate) use walk::{Walked, copy_proven, next_proven, walk};

use crate::checksum::Checksum;
use crate::error::{Corruption, Damage};
use crate::layout::{Commit, Identity, RecordFault, Role, word};
use crate::memory::{Memory, Order};
use crate::position;

/// Sizes and rules of one ring, copied once at attach and never read again from shared memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Geometry {
    pub(crate) capacity_bytes: u64,
    pub(crate) max_message_bytes: u64,
    /// Whether space is free only once a checkpoint of the consumer has passed it.
    pub(crate) durable: bool,
    /// CRC-32C of the ring's uuid, where the checksums of slots start.
    seed: u32,
    /// How records are summed; `None` without checksums.
    checksum: Option<Checksum>,
}

impl Geometry {
    /// Takes the numbers from a checked header.
    pub(crate) fn new(identity: &Identity) -> Self {
        Self {
            capacity_bytes: identity.shape.capacity_bytes(),
            max_message_bytes: identity.max_message_bytes,
            durable: identity.durable(),
            seed: crc32c::crc32c(&identity.uuid),
            checksum: identity
                .checksummed()
                .then(|| Checksum::new(&identity.uuid)),
        }
    }

    /// Where the checksums of this ring's slots start.
    pub(crate) const fn seed(&self) -> u32 {
        self.seed
    }

    /// The geometry of a simulated ring: durable, and as small as its tests want it.
    #[cfg(feature = "simulator")]
    pub(crate) fn simulated(capacity_bytes: u64, checksummed: bool, uuid: &[u8; 16]) -> Self {
        Self {
            capacity_bytes,
            max_message_bytes: capacity_bytes.wrapping_sub(crate::layout::OVERHEAD_BYTES),
            durable: true,
            seed: crc32c::crc32c(uuid),
            checksum: checksummed.then(|| Checksum::new(uuid)),
        }
    }

    /// A geometry out of nothing, for tests of the protocol alone.
    #[cfg(test)]
    pub(crate) fn for_tests(capacity_bytes: u64, checksummed: bool) -> Self {
        Self {
            capacity_bytes,
            max_message_bytes: capacity_bytes.wrapping_sub(crate::layout::OVERHEAD_BYTES),
            durable: false,
            seed: 7,
            checksum: checksummed.then(|| Checksum::new(&[7; 16])),
        }
    }

    /// Whether records carry checksums.
    #[inline]
    pub(crate) const fn is_checksummed(&self) -> bool {
        self.checksum.is_some()
    }

    /// Bounds a commit word that was loaded once.
    #[inline]
    fn record(&self, position: u64, word: u64) -> Result<Record, Corruption> {
        match Commit::decode(word, self.max_message_bytes, self.checksum.is_some()) {
            Ok(commit) => Ok(Record::new(position, commit)),
            Err(fault) => Err(self.refused(position, word, fault)),
        }
    }

    #[cold]
    fn refused(&self, position: u64, word: u64, fault: RecordFault) -> Corruption {
        let (what, expected, found) = match fault {
            RecordFault::NoLength => (Damage::RecordLength, self.max_message_bytes, word),
            RecordFault::TooLong { found } => (Damage::RecordLength, self.max_message_bytes, found),
            RecordFault::Reserved => (Damage::RecordReserved, word & u64::from(u32::MAX), word),
        };
        Corruption {
            what,
            position,
            expected,
            found,
        }
    }

    /// The checksum of a record with this payload; zero in a ring without checksums.
    #[inline]
    fn checksum_of(&self, position: u64, payload: &[u8]) -> u32 {
        self.checksum
            .map_or(0, |checksum| checksum.of(position, payload))
    }

    /// The checksum of a record whose payload lies in the ring already.
    #[inline]
    fn checksum_in_place(&self, memory: &impl Memory, position: u64, bytes: u32) -> u32 {
        match self.checksum {
            None => 0,
            Some(checksum) => checksum_in_place(checksum, memory, position, bytes),
        }
    }

    /// Checks the copy of a payload against the record's checksum.
    #[inline]
    pub(crate) fn verify(&self, record: Record, payload: &[u8]) -> Result<(), Corruption> {
        let sum = self.checksum_of(record.position(), payload);
        Self::compare(record, sum)
    }

    /// Checks a payload where it lies.
    #[inline]
    fn verify_in_place(&self, memory: &impl Memory, record: Record) -> Result<(), Corruption> {
        let sum = self.checksum_in_place(memory, record.position(), record.message_bytes());
        Self::compare(record, sum)
    }

    #[inline]
    fn compare(record: Record, sum: u32) -> Result<(), Corruption> {
        let found = record.commit().checksum();
        if sum == found {
            return Ok(());
        }
        Err(Corruption {
            what: Damage::RecordChecksum,
            position: record.position(),
            expected: u64::from(sum),
            found: u64::from(found),
        })
    }
}

/// The checksum of a payload that lies in the ring.
#[inline(never)]
fn checksum_in_place(checksum: Checksum, memory: &impl Memory, position: u64, bytes: u32) -> u32 {
    let mut sum = checksum.head(position, u64::from(bytes));
    let mut at = position::advance(position, crate::layout::COMMIT_BYTES);
    let mut left = bytes as usize;
    let mut chunk = [0_u8; 512];
    while left > 0 {
        let (part, _) = chunk.split_at_mut(left.min(512));
        memory.copy_out(at, part);
        sum = crc32c::crc32c_append(sum, part);
        at = position::advance(at, part.len() as u64);
        left = left.saturating_sub(part.len());
    }
    sum
}

/// The mark of a clean close: everything this side published or released comes before it.
fn leave_mark(memory: &impl Memory, role: Role, session: u64, position: u64) {
    memory.store(word::CLOSED_POSITION.of(role), position, Order::RELAXED);
    memory.store(word::CLOSED_SESSION.of(role), session, CLOSED_STORE);
}

/// The session of a role that is there now or was there last, and whether it closed cleanly.
pub(crate) fn read_session(memory: &impl Memory, role: Role) -> (u64, bool) {
    let session = memory.load(word::SESSION.of(role), SESSION_LOAD);
    let closed = memory.load(word::CLOSED_SESSION.of(role), CLOSED_LOAD);
    (session, session != 0 && closed == session)
}

/// A role's position, exact.
pub(crate) fn read_position(memory: &impl Memory, role: Role, order: Order) -> u64 {
    memory.load(word::POSITION.of(role), order)
}
