//! Looking on: everything read, nothing written, nobody disturbed.

use super::account::{Progress, observed};
use super::order::{COMMIT_LOAD, HEAD_LOAD, LAP_ACQUIRE, SESSION_LOAD, TAIL_LOAD};
use super::{Geometry, Record, read_position};
use crate::error::Corruption;
use crate::layout::{EMPTY, Role, record_bytes, word};
use crate::memory::{Memory, Order};
use crate::position;

/// The words of one role at one moment. A live role moves on while they are read.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RoleSnapshot {
    pub(crate) progress: Progress,
    pub(crate) session: u64,
    pub(crate) closed_session: u64,
    pub(crate) parked: bool,
    pub(crate) waits: u64,
    pub(crate) wakes_sent: u64,
    pub(crate) sleeps: u64,
    pub(crate) fence_mode: u64,
}

/// Reads the words of one role.
pub(crate) fn role_snapshot(memory: &impl Memory, geometry: &Geometry, role: Role) -> RoleSnapshot {
    let relaxed = |offset: crate::layout::Offset| memory.load(offset.of(role), Order::RELAXED);
    RoleSnapshot {
        session: memory.load(word::SESSION.of(role), SESSION_LOAD),
        progress: observed(memory, geometry, role),
        closed_session: relaxed(word::CLOSED_SESSION),
        parked: relaxed(word::PARKED) != 0,
        waits: relaxed(word::WAITS),
        wakes_sent: relaxed(word::WAKES_SENT),
        sleeps: relaxed(word::SLEEPS),
        fence_mode: relaxed(word::FENCE_MODE),
    }
}

/// Whether a published record may start at `at`: not beyond the tail, where words of earlier laps
/// lie, unless a chain of records leads there from the tail, which may be one publish behind.
pub(crate) fn may_be_published(memory: &impl Memory, geometry: &Geometry, at: u64) -> bool {
    let tail = read_position(memory, Role::Producer, TAIL_LOAD);
    let mut reached = tail;
    while !position::at_or_after(reached, at) {
        let word = memory.load_data(reached, COMMIT_LOAD);
        match geometry.record(reached, word) {
            Ok(record) if word != EMPTY => reached = record.end(),
            _ => return false,
        }
        if position::distance(tail, reached) > geometry.capacity_bytes {
            return false; // no publish is longer
        }
    }
    position::at_or_after(tail, at) || reached == at
}

/// The head, if the consumer has passed `at` by now. If not, what was read at `at` before this call
/// was not overwritten either.
pub(crate) fn passed(memory: &impl Memory, at: u64) -> Option<u64> {
    memory.fence(LAP_ACQUIRE);
    let head = read_position(memory, Role::Consumer, HEAD_LOAD);
    (!position::at_or_after(at, head)).then_some(head)
}

/// Copies the record at `at` to `out`, if it is published and was not overwritten meanwhile.
///
/// `None`: nothing is published there, or the consumer has passed it; look at the head again.
/// Copy first, then check: while the head is not beyond `at` the producer cannot have written
/// there, and "lap" makes an overwritten copy see a head beyond it.
pub(crate) fn peek_at(
    memory: &impl Memory,
    geometry: &Geometry,
    at: u64,
    out: &mut Vec<u8>,
) -> Result<Option<Record>, Corruption> {
    out.clear();
    let word = memory.load_data(at, COMMIT_LOAD);
    if word == EMPTY {
        return Ok(None);
    }
    let bounded = geometry.record(at, word);
    if let Ok(record) = bounded {
        // Bounded by the ring's largest message, so this allocates no more than that.
        out.resize(record.message_bytes() as usize, 0);
        memory.copy_out(record.payload(), out);
    }
    if passed(memory, at).is_some() {
        return Ok(None); // what was read may be anything
    }
    let record = bounded?;
    geometry.verify(record, out)?;
    Ok(Some(record))
}

/// A look at what waits, record by record.
///
/// The work is bounded, whatever the two sides do meanwhile: no more than a capacity of records is
/// copied, nor of records in vain because the consumer passed them.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Look {
    start: u64,
    at: u64,
    in_vain: u64,
}

impl Look {
    /// From the record at `start` on.
    pub(crate) const fn new(start: u64) -> Self {
        Self {
            start,
            at: start,
            in_vain: 0,
        }
    }

    /// Where the next record is, if the consumer has not passed it.
    pub(crate) const fn at(&self) -> u64 {
        self.at
    }

    /// Whether it has done all the work that it may do.
    pub(crate) const fn is_spent(&self, geometry: &Geometry) -> bool {
        position::distance(self.start, self.at) >= geometry.capacity_bytes
            || self.in_vain > geometry.capacity_bytes
    }

    /// Copies the next record that waits to `out`; where the consumer has passed it, the one that
    /// the consumer takes next.
    pub(crate) fn next(
        &mut self,
        memory: &impl Memory,
        geometry: &Geometry,
        out: &mut Vec<u8>,
    ) -> Result<Option<Record>, Corruption> {
        while !self.is_spent(geometry) {
            if let Some(record) = peek_at(memory, geometry, self.at & !7, out)? {
                self.at = record.end();
                return Ok(Some(record));
            }
            let Some(head) = passed(memory, self.at) else {
                break; // nothing is published there
            };
            self.at = head;
            self.in_vain = self.in_vain.saturating_add(record_bytes(out.len() as u64));
        }
        Ok(None)
    }
}

/// Copies every message that waits now, oldest first.
pub(crate) fn peek_all(
    memory: &impl Memory,
    geometry: &Geometry,
) -> Result<Vec<(Record, Vec<u8>)>, Corruption> {
    let mut look = Look::new(read_position(memory, Role::Consumer, HEAD_LOAD));
    let mut found = Vec::new();
    loop {
        let mut message = Vec::new();
        match look.next(memory, geometry, &mut message)? {
            Some(record) => found.push((record, message)),
            None => return Ok(found),
        }
    }
}
