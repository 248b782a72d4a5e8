//! What a successor may believe, and where it goes on.
//!
//! Two states are told apart under the attach lock. *Live*: the peer holds its role, so the shared
//! words are in use and right; only this role's own are brought up to date. *Same boot*: nobody
//! holds the other role, and the memory is the one that the last holders wrote (every process
//! shares one page cache, which outlives them all); every word is bounded and every record walked,
//! and nothing published is dropped. Anything else, a reboot or a copy, is *cold*: what such a ring
//! holds is not proved by anything, and it is refused untouched.

use crate::error::{Corruption, Damage};
use crate::layout::{COMMIT_BYTES, Role};
use crate::memory::Memory;
use crate::position;
use crate::ring::{
    Geometry, HEAD_LOAD, Progress, TAIL_LOAD, Walked, count_released, read_account, read_position,
    walk,
};

/// Where a producer goes on: its progress, brought forward from the account over what was published
/// since, and the consumer's head.
pub(crate) fn producer(
    memory: &impl Memory,
    geometry: &Geometry,
    peer_is_live: bool,
) -> Result<(Progress, u64), Corruption> {
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
    if !peer_is_live {
        check_backlog(memory, geometry, head, stored)?;
    }
    Ok((end, head))
}

/// Where a consumer goes on: its head, and what the producer's account says lies in front of it.
pub(crate) fn consumer(
    memory: &impl Memory,
    geometry: &Geometry,
    peer_is_live: bool,
) -> Result<Progress, Corruption> {
    let head = read_position(memory, Role::Consumer, HEAD_LOAD);
    let tail = read_position(memory, Role::Producer, TAIL_LOAD);
    check_pair(geometry, head, tail)?;
    if !peer_is_live {
        check_backlog(memory, geometry, head, tail)?;
    }
    count_released(memory, geometry, head)
}

/// Head and tail are places where records can start, and at most a capacity apart. The head may be
/// the later one: the records of a publish are visible before the tail that follows them.
fn check_pair(geometry: &Geometry, head: u64, tail: u64) -> Result<(), Corruption> {
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
/// are checksums, and one of them starting, or the walk ending, exactly at the tail.
fn check_backlog(
    memory: &impl Memory,
    geometry: &Geometry,
    head: u64,
    tail: u64,
) -> Result<(), Corruption> {
    let Walked { end, met } = walk(memory, geometry, Progress::at(head), head, tail)?;
    if !met && position::at_or_after(tail, head) {
        return Err(damage(Damage::Tail, head, end.position, tail));
    }
    Ok(())
}

const fn damage(what: Damage, position: u64, expected: u64, found: u64) -> Corruption {
    Corruption {
        what,
        position,
        expected,
        found,
    }
}
