//! Walking the commit words: how a successor finds where the dead left off, and how much it was.

use super::account::Progress;
use super::order::COMMIT_LOAD;
use super::{Geometry, Record};
use crate::error::{Corruption, Damage};
use crate::layout::{COMMIT_BYTES, EMPTY};
use crate::memory::Memory;
use crate::position;

/// What a walk found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Walked {
    /// Where the first empty commit word is.
    pub(crate) end: Progress,
    /// Whether some record starts exactly at the position that was to be passed, or the walk ended
    /// there.
    pub(crate) met: bool,
}

/// Counts the records from `from` to `to`, which must be chained: at most a capacity, each record
/// bounded by the end. What is in them is not looked at.
pub(super) fn count(
    memory: &impl Memory,
    geometry: &Geometry,
    from: u64,
    to: u64,
) -> Result<Progress, Corruption> {
    let most = position::distance(from, to);
    if most > geometry.capacity_bytes || !position::is_aligned(from) || !position::is_aligned(to) {
        return Err(Corruption {
            what: Damage::Tail,
            position: from,
            expected: geometry.capacity_bytes,
            found: to,
        });
    }
    let mut at = Progress::at(from);
    while at.position != to {
        let word = memory.load_data(at.position, COMMIT_LOAD);
        let record = geometry.record(at.position, word)?; // an empty word is no record
        let reach = position::distance(from, record.end());
        if reach > most {
            return Err(Corruption {
                what: Damage::RecordBeyondEnd,
                position: at.position,
                expected: most,
                found: reach,
            });
        }
        at.advance(record.end(), 1, record.padding_bytes());
    }
    Ok(at)
}

/// Walks records from `start` to the first empty commit word and counts them.
///
/// `head` bounds the walk: no record reaches more than a capacity beyond it, nor, when the consumer
/// is ahead of `start` already, beyond `start`. `meet` is a position that must be the start of a
/// record or the end of the walk. Checksums, where there are any, are
/// checked.
pub(crate) fn walk(
    memory: &impl Memory,
    geometry: &Geometry,
    start: Progress,
    head: u64,
    meet: u64,
) -> Result<Walked, Corruption> {
    let base = if position::at_or_after(head, start.position) {
        start.position
    } else {
        head
    };
    let mut at = start;
    let mut passed = false;
    loop {
        passed |= at.position == meet;
        let word = memory.load_data(at.position, COMMIT_LOAD);
        if word == EMPTY {
            return Ok(Walked {
                end: at,
                met: passed,
            });
        }
        let record = geometry.record(at.position, word)?;
        let reach = position::distance(base, position::advance(record.end(), COMMIT_BYTES));
        if reach > geometry.capacity_bytes {
            return Err(Corruption {
                what: Damage::RecordBeyondEnd,
                position: at.position,
                expected: geometry.capacity_bytes,
                found: reach,
            });
        }
        geometry.verify_in_place(memory, record)?;
        at.advance(record.end(), 1, record.padding_bytes());
    }
}

/// The progress behind the record at `at`, if there is one that is whole: bounded, with a checksum
/// that is right where there are any, and inside a ring that starts at `head`.
pub(crate) fn next_proven(
    memory: &impl Memory,
    geometry: &Geometry,
    head: u64,
    at: Progress,
) -> Option<Progress> {
    let record = next_bounded(memory, geometry, head, at)?;
    geometry.verify_in_place(memory, record).ok()?;
    Some(behind(at, record))
}

/// The same, with a copy of the payload: it is the copy that is checked, so nobody can change what
/// was checked.
pub(crate) fn copy_proven(
    memory: &impl Memory,
    geometry: &Geometry,
    head: u64,
    at: Progress,
) -> Option<(Progress, Vec<u8>)> {
    let record = next_bounded(memory, geometry, head, at)?;
    let mut message = vec![0; record.message_bytes() as usize]; // at most the longest message
    memory.copy_out(record.payload(), &mut message);
    geometry.verify(record, &message).ok()?;
    Some((behind(at, record), message))
}

fn next_bounded(
    memory: &impl Memory,
    geometry: &Geometry,
    head: u64,
    at: Progress,
) -> Option<Record> {
    let word = memory.load_data(at.position, COMMIT_LOAD);
    if word == EMPTY {
        return None;
    }
    let record = geometry.record(at.position, word).ok()?;
    let reach = position::distance(head, position::advance(record.end(), COMMIT_BYTES));
    (reach <= geometry.capacity_bytes).then_some(record)
}

fn behind(mut at: Progress, record: Record) -> Progress {
    at.advance(record.end(), 1, record.padding_bytes());
    at
}
