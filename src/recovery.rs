//! What a successor may believe, and where it goes on.
//!
//! Of a ring that is not durable, two states are told apart under the attach lock. *Live*: the peer holds its role, so the shared
//! words are in use and right; only this role's own are brought up to date. *Same boot*: nobody
//! holds the other role, and the memory is the one that the last holders wrote (every process
//! shares one page cache, which outlives them all); every word is bounded and every record walked,
//! and nothing published is dropped. Anything else, a reboot or a copy, is *cold*: what such a ring
//! holds is not proved by anything, and it is refused untouched. A durable ring in that state is first
//! recovered from its checkpoints: see `state` and `cold`.

use core::fmt;

use crate::error::{Corruption, Damage};
use crate::layout::{COMMIT_BYTES, Role, word};
use crate::memory::Memory;
use crate::position;
use crate::ring::{
    DURABLE_LOAD, Geometry, HEAD_LOAD, Progress, TAIL_LOAD, Walked, count_released, read_account,
    read_position, walk,
};

/// What was found when an end was attached, and what was made of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Recovery {
    /// What could be believed.
    pub state: RecoveryState,
    /// Cold recoveries of the ring so far, this one included. Positions of records that were lost
    /// are used again under the next incarnation.
    pub incarnation: u64,
    /// The consumer's position.
    pub head: u64,
    /// The producer's position.
    pub tail: u64,
    /// Messages between the two: they are there to be received.
    pub kept_messages: u64,
    /// Messages beyond the tail that the producer's page counted: at least so many were published
    /// and are lost. Zero but after a cold recovery.
    pub dropped_messages: u64,
    /// Bytes of records beyond the tail that the last checkpoint in one sync was to cover, and of
    /// which nothing says whether it was acknowledged. Zero but after a cold recovery.
    pub possibly_acknowledged_bytes: u64,
}

/// What could be believed of a ring when an end was attached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum RecoveryState {
    /// The ring is new: nobody was ever attached.
    New,
    /// The other side is attached: everything.
    Live,
    /// Nobody was attached and the machine, file and mount are the same: everything. Nothing that
    /// was published is lost.
    SameBoot,
    /// A power cut, a reboot, an unmount or a copy lies between: only what checkpoints prove.
    Cold,
}

impl fmt::Display for Recovery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            state,
            incarnation,
            head,
            tail,
            kept_messages,
            dropped_messages,
            possibly_acknowledged_bytes,
        } = self;
        f.write_str(match state {
            RecoveryState::New => "new",
            RecoveryState::Live => "in use",
            RecoveryState::SameBoot => "as its last users left it",
            RecoveryState::Cold => "recovered from its checkpoints",
        })?;
        write!(
            f,
            ": {kept_messages} messages kept (positions {head} to {tail}, incarnation {incarnation})"
        )?;
        if *dropped_messages > 0 {
            write!(
                f,
                ", at least {dropped_messages} lost that no checkpoint covered"
            )?;
        }
        if *possibly_acknowledged_bytes > 0 {
            write!(
                f,
                ", {possibly_acknowledged_bytes} bytes missing that the last checkpoint may have covered"
            )?;
        }
        Ok(())
    }
}

/// Where an end goes on.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Resumed {
    /// Its own position and counters.
    pub(crate) own: Progress,
    pub(crate) head: u64,
    pub(crate) tail: u64,
    /// Messages between the two; beside a living peer as its account says.
    pub(crate) kept_messages: u64,
}

/// Where a producer goes on: its progress, brought forward from the account over what was published
/// since, and the consumer's head.
pub(crate) fn producer(
    memory: &impl Memory,
    geometry: &Geometry,
    trusts_backlog: bool,
) -> Result<Resumed, Corruption> {
    // The head first: it only grows, and it never passes what the walk below finds.
    let head = read_position(memory, Role::Consumer, HEAD_LOAD);
    let stored = read_position(memory, Role::Producer, TAIL_LOAD);
    check_pair(geometry, head, stored)?;
    let account = read_account(memory, Role::Producer);
    let lag = position::distance(account.position, stored);
    if !position::is_aligned(account.position) || lag > geometry.capacity_bytes {
        return Err(damage(Damage::Tail, stored, stored, account.position));
    }
    let Walked { end, met } = walk(memory, geometry, account, head, stored)?;
    if !met {
        return Err(damage(Damage::Tail, account.position, end.position, stored));
    }
    let room = geometry.capacity_bytes.wrapping_sub(COMMIT_BYTES);
    if position::distance(head, end.position) > room {
        return Err(damage(Damage::Head, end.position, end.position, head));
    }
    let kept_messages = if trusts_backlog {
        let taken = read_account(memory, Role::Consumer).messages;
        end.messages.saturating_sub(taken)
    } else {
        check_backlog(memory, geometry, head, stored)?.messages
    };
    Ok(Resumed {
        own: end,
        head,
        tail: end.position,
        kept_messages,
    })
}

/// Where a consumer goes on: its head, and what the producer's account says lies in front of it.
pub(crate) fn consumer(
    memory: &impl Memory,
    geometry: &Geometry,
    trusts_backlog: bool,
) -> Result<Resumed, Corruption> {
    let head = read_position(memory, Role::Consumer, HEAD_LOAD);
    let tail = read_position(memory, Role::Producer, TAIL_LOAD);
    check_pair(geometry, head, tail)?;
    let waiting = if trusts_backlog {
        None
    } else {
        Some(check_backlog(memory, geometry, head, tail)?)
    };
    let own = count_released(memory, geometry, head)?;
    let published = read_account(memory, Role::Producer).messages;
    Ok(Resumed {
        own,
        head,
        // What a dead producer published last may lie beyond the tail it left.
        tail: waiting.map_or(tail, |end| end.position),
        kept_messages: waiting.map_or_else(
            || published.saturating_sub(own.messages),
            |end| end.messages,
        ),
    })
}

/// In a durable ring: as far as space before the head is free, as the consumer's page says.
///
/// The head was loaded before: a consumer at work may have gone on and made a checkpoint since. Then
/// that checkpoint shows its head, too ("durable"), which is still at most the tail, since whoever
/// attaches as the producer is the only one who could move that.
pub(crate) fn durable_head(
    memory: &impl Memory,
    geometry: &Geometry,
    resumed: &Resumed,
) -> Result<u64, Corruption> {
    let found = memory.load(word::DURABLE.of(Role::Consumer), DURABLE_LOAD);
    let head = if position::at_or_after(resumed.head, found) {
        resumed.head
    } else {
        read_position(memory, Role::Consumer, HEAD_LOAD)
    };
    let oldest = resumed.tail.wrapping_sub(geometry.capacity_bytes);
    let sound = position::is_aligned(found)
        && position::at_or_after(found, oldest)
        && position::at_or_after(head, found)
        && position::at_or_after(resumed.tail, found);
    if sound {
        Ok(found)
    } else {
        Err(damage(Damage::DurableHead, resumed.head, head, found))
    }
}

/// Head and tail are places where records can start, and at most a capacity apart. The head may be
/// the later one: the records of a publish are visible before the tail that follows them.
pub(crate) fn check_pair(geometry: &Geometry, head: u64, tail: u64) -> Result<(), Corruption> {
    if !position::is_aligned(tail) {
        return Err(damage(Damage::Tail, head, tail & !7, tail));
    }
    let first = tail.wrapping_sub(geometry.capacity_bytes);
    let last = position::advance(tail, geometry.capacity_bytes);
    if !position::is_aligned(head) || !position::is_between(first, head, last) {
        return Err(damage(Damage::Head, tail, tail, head));
    }
    Ok(())
}

/// Walks everything between head and tail: each record bounded, its checksum checked where there
/// are checksums, and one of them starting, or the walk ending, exactly at the tail. Where they end,
/// and their number.
fn check_backlog(
    memory: &impl Memory,
    geometry: &Geometry,
    head: u64,
    tail: u64,
) -> Result<Progress, Corruption> {
    let Walked { end, met } = walk(memory, geometry, Progress::at(head), head, tail)?;
    if !met && position::at_or_after(tail, head) {
        return Err(damage(Damage::Tail, head, end.position, tail));
    }
    Ok(end)
}

const fn damage(what: Damage, position: u64, expected: u64, found: u64) -> Corruption {
    Corruption {
        what,
        position,
        expected,
        found,
    }
}
