//! Publishing: claim space, write payloads, make them visible with one store, say how far it goes.

use super::order::{COMMIT_STORE, HEAD_LOAD, LAP_RELEASE, TAIL_LOAD, TAIL_STORE};
use super::parking::Waker;
use super::{Geometry, Progress};
use crate::error::{Corruption, Damage, TrySendError};
use crate::layout::{COMMIT_BYTES, Commit, EMPTY, Role, record_bytes};
use crate::memory::{Memory, Order};
use crate::position::{self, ALIGN_BYTES};

/// The producer's half of the protocol.
#[derive(Debug)]
pub(crate) struct ProducerCore<M> {
    memory: M,
    geometry: Geometry,
    published: Progress,
    /// The consumer's head as last seen: a bound, never ahead of the real one.
    head: u64,
    waker: Waker,
}

/// Records that are written and not yet visible: a run that starts at the producer's tail.
///
/// Dropping one abandons the records: nothing in shared memory says that they were there.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pending {
    /// Position after the last record of the run.
    end: u64,
    /// Commit word of the first record, held back until all is written; [`EMPTY`] without records.
    first: u64,
    messages: u64,
    bytes: u64,
}

impl Pending {
    /// Records in the run.
    pub(crate) const fn messages(&self) -> u64 {
        self.messages
    }
}

/// Space for one record at the end of a run.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Space {
    position: u64,
    message_bytes: u32,
}

impl Space {
    /// Where the payload goes.
    pub(crate) const fn payload(self) -> u64 {
        position::advance(self.position, COMMIT_BYTES)
    }

    /// Bytes of payload that fit.
    pub(crate) const fn message_bytes(self) -> u32 {
        self.message_bytes
    }
}

impl<M: Memory> ProducerCore<M> {
    /// Continues at `published`, which recovery has checked against `head`.
    pub(crate) fn new(
        memory: M,
        geometry: Geometry,
        published: Progress,
        head: u64,
        fences: bool,
    ) -> Self {
        // "lap": the head was loaded before; see `refresh_head`.
        memory.fence(LAP_RELEASE);
        Self {
            memory,
            geometry,
            published,
            head,
            waker: Waker::new(Role::Producer, fences),
        }
    }

    /// The carrier.
    pub(crate) const fn memory(&self) -> &M {
        &self.memory
    }

    /// Sizes and rules of this ring.
    pub(crate) const fn geometry(&self) -> &Geometry {
        &self.geometry
    }

    /// Position and counters after the last published record.
    pub(crate) const fn published(&self) -> &Progress {
        &self.published
    }

    /// Publishes one message. `true`: the consumer sleeps and must be woken.
    #[inline]
    pub(crate) fn send(&mut self, message: &[u8]) -> Result<bool, TrySendError> {
        let mut pending = self.begin();
        self.push(&mut pending, message)?;
        Ok(self.publish(pending))
    }

    /// Starts a run at the tail.
    #[inline]
    pub(crate) const fn begin(&self) -> Pending {
        Pending {
            end: self.published.position,
            first: EMPTY,
            messages: 0,
            bytes: 0,
        }
    }

    /// Writes one message at the end of a run.
    #[inline]
    pub(crate) fn push(
        &mut self,
        pending: &mut Pending,
        message: &[u8],
    ) -> Result<(), TrySendError> {
        let space = self.claim(pending, message.len() as u64)?;
        self.memory.copy_in(space.payload(), message);
        let checksum = self.geometry.checksum_of(space.position, message);
        self.seal(pending, space, Commit::new(space.message_bytes, checksum));
        Ok(())
    }

    /// Finds room for a message of `message_bytes` at the end of a run. Stores nothing.
    #[inline]
    pub(crate) fn claim(
        &mut self,
        pending: &Pending,
        message_bytes: u64,
    ) -> Result<Space, TrySendError> {
        let max_bytes = self.geometry.max_message_bytes;
        let (true, Ok(short)) = (message_bytes <= max_bytes, u32::try_from(message_bytes)) else {
            return Err(TrySendError::TooLong {
                message_bytes,
                max_bytes,
            });
        };
        // At most 2^32 + 8, so neither sum wraps beyond what a ring can hold.
        let needed = record_bytes(message_bytes).wrapping_add(COMMIT_BYTES);
        let end = position::advance(pending.end, needed);
        if position::distance(self.head, end) > self.geometry.capacity_bytes {
            self.refresh_head(end)?;
        }
        Ok(Space {
            position: pending.end,
            message_bytes: short,
        })
    }

    /// Completes a record whose payload is written. Its commit word is held back when it is the
    /// first of the run; later ones may be stored now, since nobody looks beyond an empty word.
    #[inline]
    pub(crate) fn seal(&mut self, pending: &mut Pending, space: Space, commit: Commit) {
        if pending.first == EMPTY {
            pending.first = commit.encode();
        } else {
            self.memory
                .store_data(space.position, commit.encode(), Order::RELAXED);
        }
        pending.end = position::advance(space.position, commit.record_bytes());
        pending.messages = pending.messages.wrapping_add(1);
        pending.bytes = pending
            .bytes
            .wrapping_add(u64::from(commit.message_bytes()));
    }

    /// Makes a whole run visible. `true`: the consumer sleeps and must be woken.
    ///
    /// A kill between any two of these stores leaves all of the run published or none of it:
    /// before the release store the word at the tail is empty; after it the commit words say it
    /// all, and a successor brings the tail along.
    #[inline]
    pub(crate) fn publish(&mut self, pending: Pending) -> bool {
        if pending.first == EMPTY {
            return false;
        }
        self.memory.store_data(pending.end, EMPTY, Order::RELAXED);
        self.memory
            .store_data(self.published.position, pending.first, COMMIT_STORE);
        self.published
            .advance(pending.end, pending.messages, pending.bytes);
        self.published
            .store(&self.memory, Role::Producer, TAIL_STORE);
        self.waker
            .due(&self.memory, Role::Consumer, self.published.position)
    }

    /// Whether a message of `message_bytes` fits now, as far as the consumer has published its
    /// head. Too long a message never does; corruption counts as ready, so that the next attempt
    /// reports it.
    pub(crate) fn has_room(&mut self, pending: &Pending, message_bytes: u64) -> bool {
        !matches!(self.claim(pending, message_bytes), Err(TrySendError::Full))
    }

    /// The head at which a message of `message_bytes` fits after this run.
    pub(crate) fn wanted_head(&self, pending: &Pending, message_bytes: u64) -> u64 {
        let needed = record_bytes(message_bytes).wrapping_add(COMMIT_BYTES);
        let end = position::advance(pending.end, needed);
        end.wrapping_sub(self.geometry.capacity_bytes)
    }

    /// Bytes between the consumer's head and the tail, commit words and padding included.
    pub(crate) fn backlog_bytes(&self) -> u64 {
        let head = super::read_position(&self.memory, Role::Consumer, HEAD_LOAD);
        let used = position::distance(head, self.published.position);
        used.min(self.geometry.capacity_bytes)
    }

    /// Loads the consumer's head, bounds it, and sees whether `end` now fits.
    #[cold]
    #[inline(never)]
    fn refresh_head(&mut self, end: u64) -> Result<(), TrySendError> {
        let head = super::read_position(&self.memory, Role::Consumer, HEAD_LOAD);
        let sound = position::is_between(self.head, head, self.published.position)
            && position::is_aligned(head);
        if !sound {
            return Err(TrySendError::Corrupt(Corruption {
                what: Damage::Head,
                position: self.head,
                expected: self.published.position,
                found: head,
            }));
        }
        self.head = head;
        // "lap": an observer that copies what is written from here on sees a head beyond it.
        self.memory.fence(LAP_RELEASE);
        if position::distance(head, end) > self.geometry.capacity_bytes {
            return Err(TrySendError::Full);
        }
        Ok(())
    }
}

/// In-place writing of a claimed payload in the safe form: bytes at any offset.
impl<M: Memory> ProducerCore<M> {
    /// Copies `bytes` to `offset` of a claimed payload. The caller has checked that they fit.
    pub(crate) fn write_at(&self, space: Space, offset: u32, bytes: &[u8]) {
        let mut at = position::advance(space.payload(), u64::from(offset));
        let lead = at.wrapping_neg() & (ALIGN_BYTES - 1); // bytes up to the next whole word
        let (first, rest) = bytes.split_at(bytes.len().min(small(lead)));
        self.merge(at, first);
        at = position::advance(at, first.len() as u64);
        let (whole, last) = rest.split_at(rest.len() & !7);
        if !whole.is_empty() {
            self.memory.copy_in(at, whole);
        }
        self.merge(position::advance(at, whole.len() as u64), last);
    }

    /// Replaces at most seven bytes inside one word of this producer's own unpublished space.
    fn merge(&self, at: u64, bytes: &[u8]) {
        if bytes.is_empty() {
            return;
        }
        let start = at & !(ALIGN_BYTES - 1);
        let mut word = self.memory.load_data(start, Order::RELAXED).to_le_bytes();
        let skip = small(at & (ALIGN_BYTES - 1));
        for (out, byte) in word.iter_mut().skip(skip).zip(bytes) {
            *out = *byte;
        }
        self.memory
            .store_data(start, u64::from_le_bytes(word), Order::RELAXED);
    }

    /// Completes a record whose payload was written in place.
    pub(crate) fn seal_in_place(&mut self, pending: &mut Pending, space: Space, bytes: u32) {
        let bytes = bytes.min(space.message_bytes);
        let checksum = self
            .geometry
            .checksum_in_place(&self.memory, space.position, bytes);
        self.seal(pending, space, Commit::new(bytes, checksum));
    }

    /// Brings the tail along to where a successor continues. Without a step forward it stores
    /// nothing: of two slots with one position nobody could tell which is the whole one.
    pub(crate) fn store_progress(&mut self) {
        let stored = super::read_position(&self.memory, Role::Producer, TAIL_LOAD);
        if stored != self.published.position {
            self.published
                .store(&self.memory, Role::Producer, TAIL_STORE);
        }
    }

    /// Leaves the closed mark of `session`. `true`: the peer sleeps and must be woken.
    pub(crate) fn close(&mut self, session: u64) -> bool {
        super::leave_mark(
            &self.memory,
            Role::Producer,
            session,
            self.published.position,
        );
        self.waker.rouse(&self.memory)
    }
}

/// A number that is at most seven, as an index.
fn small(number: u64) -> usize {
    usize::from(number.to_le_bytes()[0])
}
