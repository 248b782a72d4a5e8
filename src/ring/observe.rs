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
    memory.fence(LAP_ACQUIRE);
    let head = read_position(memory, Role::Consumer, HEAD_LOAD);
    if !position::at_or_after(at, head) {
        return Ok(None); // what was read may be anything: the consumer passed it
    }
    let record = bounded?;
    geometry.verify(record, out)?;
    Ok(Some(record))
}

/// Copies every message that waits now, oldest first.
///
/// The work is bounded, whatever the two sides do meanwhile: no more than a capacity of records is
/// copied, nor of records in vain because the consumer passed them.
pub(crate) fn peek_all(
    memory: &impl Memory,
    geometry: &Geometry,
) -> Result<Vec<(Record, Vec<u8>)>, Corruption> {
    let start = read_position(memory, Role::Consumer, HEAD_LOAD);
    let mut found = Vec::new();
    let mut at = start;
    let mut in_vain = 0_u64;
    while position::distance(start, at) < geometry.capacity_bytes
        && in_vain <= geometry.capacity_bytes
    {
        let mut message = Vec::new();
        if let Some(record) = peek_at(memory, geometry, at & !7, &mut message)? {
            at = record.end();
            found.push((record, message));
            continue;
        }
        let head = read_position(memory, Role::Consumer, HEAD_LOAD);
        if head == at || !position::at_or_after(head, at) {
            break; // nothing is published there
        }
        at = head; // the consumer passed it
        in_vain = in_vain.saturating_add(record_bytes(message.len() as u64));
    }
    Ok(found)
}
