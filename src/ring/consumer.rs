//! Taking: look at the next commit word, bound it, copy or view, give the space back.

use super::order::{COMMIT_LOAD, HEAD_STORE, TAIL_LOAD};
use super::parking::Waker;
use super::{Geometry, Progress};
use crate::error::{Corruption, Damage};
use crate::layout::{COMMIT_BYTES, Commit, EMPTY, Role};
use crate::memory::Memory;
use crate::position;

/// The consumer's half of the protocol.
#[derive(Debug)]
pub(crate) struct ConsumerCore<M> {
    memory: M,
    geometry: Geometry,
    released: Progress,
    waker: Waker,
}

/// A published record whose commit word was read once and bounded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Record {
    position: u64,
    commit: Commit,
}

impl Record {
    /// A record whose commit word was bounded by [`Geometry`].
    pub(super) const fn new(position: u64, commit: Commit) -> Self {
        Self { position, commit }
    }

    /// Where the record starts.
    pub(crate) const fn position(self) -> u64 {
        self.position
    }

    /// Where its payload starts.
    pub(crate) const fn payload(self) -> u64 {
        position::advance(self.position, COMMIT_BYTES)
    }

    /// Bytes of its payload.
    pub(crate) const fn message_bytes(self) -> u32 {
        self.commit.message_bytes()
    }

    /// The bounded commit word.
    pub(crate) const fn commit(self) -> Commit {
        self.commit
    }

    /// Where the next record starts.
    pub(crate) const fn end(self) -> u64 {
        position::advance(self.position, self.commit.record_bytes())
    }
}

/// Records that are taken and not yet released: a run that starts at the head.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Taken {
    end: u64,
    messages: u64,
    bytes: u64,
}

impl Taken {
    /// Adds a record that starts where the run ends.
    #[inline]
    pub(crate) fn add(&mut self, record: Record) {
        self.end = record.end();
        self.messages = self.messages.wrapping_add(1);
        self.bytes = self.bytes.wrapping_add(u64::from(record.message_bytes()));
    }

    /// Records in the run.
    pub(crate) const fn messages(&self) -> u64 {
        self.messages
    }
}

impl<M: Memory> ConsumerCore<M> {
    /// Continues at `released`, which recovery has checked.
    pub(crate) fn new(memory: M, geometry: Geometry, released: Progress, fences: bool) -> Self {
        Self {
            memory,
            geometry,
            released,
            waker: Waker::new(Role::Consumer, fences),
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

    /// Position and counters after the last released record.
    pub(crate) const fn released(&self) -> &Progress {
        &self.released
    }

    /// Starts a run at the head.
    #[inline]
    pub(crate) const fn begin(&self) -> Taken {
        Taken {
            end: self.released.position,
            messages: 0,
            bytes: 0,
        }
    }

    /// The record after a run, if it is published. Loads its commit word once.
    #[inline]
    pub(crate) fn next(&self, taken: &Taken) -> Result<Option<Record>, Corruption> {
        let word = self.memory.load_data(taken.end, COMMIT_LOAD);
        if word == EMPTY {
            return Ok(None);
        }
        let record = self.geometry.record(taken.end, word)?;
        // A correct producer always leaves an empty word behind the last record, so a run cannot
        // reach round the ring.
        let reach = position::advance(record.end(), COMMIT_BYTES);
        let used = position::distance(self.released.position, reach);
        if used > self.geometry.capacity_bytes {
            return Err(Corruption {
                what: Damage::RecordBeyondEnd,
                position: taken.end,
                expected: self.geometry.capacity_bytes,
                found: used,
            });
        }
        Ok(Some(record))
    }

    /// Whether a message is there, or something that the next attempt will report.
    #[inline]
    pub(crate) fn has_message(&self, taken: &Taken) -> bool {
        self.memory.load_data(taken.end, COMMIT_LOAD) != EMPTY
    }

    /// The session of a producer that closed and left nothing to take, unless it is `reported`.
    pub(crate) fn drained(&self, reported: u64) -> Option<u64> {
        let (session, closed) = super::read_session(&self.memory, Role::Producer);
        if !closed || session == reported {
            return None;
        }
        // "closed": everything published comes before the mark, so look once more.
        (!self.has_message(&self.begin())).then_some(session)
    }

    /// Copies a record's payload to `out`, exactly as long as the message, and checks the copy.
    #[inline]
    pub(crate) fn copy(&self, record: Record, out: &mut [u8]) -> Result<(), Corruption> {
        self.memory.copy_out(record.payload(), out);
        self.geometry.verify(record, out)
    }

    /// Gives the space of a run back. `true`: the producer sleeps and must be woken.
    ///
    /// A kill before the store leaves the run to be delivered again, after it the run is gone.
    #[inline]
    pub(crate) fn release(&mut self, taken: Taken) -> bool {
        if taken.messages == 0 {
            return false;
        }
        self.released
            .advance(taken.end, taken.messages, taken.bytes);
        self.released
            .store(&self.memory, Role::Consumer, HEAD_STORE);
        self.waker
            .due(&self.memory, Role::Producer, self.released.position)
    }

    /// Bytes between the head and the producer's tail, commit words and padding included.
    pub(crate) fn backlog_bytes(&self) -> u64 {
        let tail = super::read_position(&self.memory, Role::Producer, TAIL_LOAD);
        // The tail may be one publish behind the records, and so behind the head.
        if position::at_or_after(tail, self.released.position) {
            position::distance(self.released.position, tail).min(self.geometry.capacity_bytes)
        } else {
            0
        }
    }

    /// Leaves the closed mark of `session`. `true`: the peer sleeps and must be woken.
    pub(crate) fn close(&mut self, session: u64) -> bool {
        super::leave_mark(
            &self.memory,
            Role::Consumer,
            session,
            self.released.position,
        );
        self.waker.rouse(&self.memory)
    }
}
