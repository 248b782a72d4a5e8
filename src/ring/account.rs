//! Counting: how many messages lie in front of a position, without storing it for each message.
//!
//! Every publish stores the tail and every release the head: one word each, exact. The messages and
//! bytes in front of them are stored only now and then, in a side's *account*: two slots of
//! position, messages and bytes. A side *settles* by overwriting the older slot, position last, so
//! that a kill between any two stores leaves one whole slot, and the later position counts.
//!
//! What lies between an account and the exact position is counted by whoever needs it, from the
//! commit words. Why these are still there:
//!
//! - **The producer settles before it writes beyond the reach of its account**: a stride, or the
//!   capacity where that is less. If what it is about to write ends farther than that from the
//!   account's position A, it settles first, so that A is the tail. What ends within a stride of A
//!   ends within a capacity of A; what is written right after settling ends within a capacity of
//!   the head, which is not beyond the tail, which is A. So nothing at or beyond A is ever
//!   overwritten before A moves, and the commit words from A on are a whole chain, up to the tail
//!   and the empty word after it.
//! - *A producer's successor* walks that chain ([`walk`](super::walk)).
//! - *A consumer's successor* counts from the producer's account A to its own head H
//!   ([`count_to`]). If A is at or beyond H, it takes the records of `[H, A)` off: they are
//!   published and not released, so nobody overwrites them. Otherwise it adds those of `[A, H)`.
//!   A live producer may settle meanwhile, and then overwrite them; label "account" makes who has
//!   read an overwritten word see the new slot too. So it reads the account again afterwards and,
//!   if that moved, starts over. At the second settling at the latest A is at or beyond H: what the
//!   head has passed was published before, and settling counts all that is published.
//! - A lying producer makes the count wrong, or an attach fail with a typed error: every position
//!   is bounded by a capacity, every record by the ring's longest message and by the end of the
//!   range, the reads of an account by [`TRIES`], the counts by [`COUNTS`].
//!
//! A live producer's slot can be overwritten while it is read: its counters after the *other*
//! slot's position. "account" makes a reader of new counters see that position as well, so a slot
//! that is still the newest after it was read was read whole.

use super::order::{
    ACCOUNT_ACQUIRE, ACCOUNT_LOAD, ACCOUNT_RELEASE, ACCOUNT_STORE, HEAD_LOAD, LAP_ACQUIRE,
    TAIL_LOAD,
};
use super::walk::count;
use super::{Geometry, read_position};
use crate::error::{Corruption, Damage};
use crate::layout::word::{self, Slot};
use crate::layout::{COMMIT_BYTES, Offset, Role};
use crate::memory::{Memory, Order};
use crate::position;

/// How far a side goes on before it settles its account.
pub(super) const STRIDE_BYTES: u64 = 512;

/// A reader that is overtaken starts over: so many times, then something is wrong.
const TRIES: u32 = 1000;

/// The same for who counts beside its own hot thread, and can do so later.
const BESIDE_TRIES: u32 = 64;

/// A count, which may go over the whole ring, is made anew for a producer that settles meanwhile.
/// A correct one causes that twice at most.
const COUNTS: u32 = 4;

/// An observer counts over at most so many bytes: it shall not read the whole ring for a number.
const OBSERVED_BYTES: u64 = 4096;

/// How far a side has come: its position and the counters that belong to it.
///
/// Bytes of payload are what records and padding leave of the position: most messages have no
/// padding, so that most of the time there is nothing to add.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Progress {
    pub(crate) position: u64,
    pub(crate) messages: u64,
    padding: u64,
}

impl Progress {
    /// So many messages, with so many bytes of payload, in front of a position.
    pub(crate) const fn new(position: u64, messages: u64, bytes: u64) -> Self {
        Self {
            position,
            messages,
            padding: Self::rest(position, messages, bytes),
        }
    }

    /// The start of a count.
    pub(crate) const fn at(position: u64) -> Self {
        Self::new(position, 0, 0)
    }

    /// Bytes of payload.
    pub(crate) const fn bytes(&self) -> u64 {
        Self::rest(self.position, self.messages, self.padding)
    }

    /// Of commit words, payload and padding, which make a position, the one that is not given.
    const fn rest(position: u64, messages: u64, other: u64) -> u64 {
        position
            .wrapping_sub(messages.wrapping_mul(COMMIT_BYTES))
            .wrapping_sub(other)
    }

    /// Counts `messages` more with this padding, up to `end`.
    #[inline]
    pub(crate) const fn advance(&mut self, end: u64, messages: u64, padding: u64) {
        self.position = end;
        self.messages = self.messages.wrapping_add(messages);
        self.padding = self.padding.wrapping_add(padding);
    }
}

/// The account of a role that this process holds.
#[derive(Debug)]
pub(crate) struct Account {
    /// The position settled last.
    settled: u64,
    /// The slot that holds it; the next one goes to the other.
    in_second: bool,
}

impl Account {
    /// Goes on with the account that the last holder left.
    pub(super) fn resume(memory: &impl Memory, role: Role) -> Self {
        let (newest, in_second) = newest_slot(memory, role);
        Self {
            settled: newest.position,
            in_second,
        }
    }

    /// Whether a record that ends at `end` lies beyond a stride of this ring from the account.
    #[inline]
    pub(super) fn is_exceeded_by(&self, end: u64, geometry: &Geometry) -> bool {
        position::distance(self.settled, end) > STRIDE_BYTES.min(geometry.capacity_bytes)
    }

    /// Stores how far this side has come, unless that is stored already: of two slots with one
    /// position nobody could tell which is the whole one.
    #[inline]
    pub(super) fn settle(&mut self, memory: &impl Memory, role: Role, progress: &Progress) {
        if self.settled == progress.position {
            return;
        }
        self.settled = progress.position;
        self.in_second = !self.in_second;
        let slot = Slot::of_account(self.in_second);
        let put = |offset: Offset, value, order| memory.store(offset.of(role), value, order);
        put(slot.messages, progress.messages, Order::RELAXED);
        put(slot.bytes, progress.bytes(), Order::RELAXED);
        put(slot.position, progress.position, ACCOUNT_STORE);
        // "account": whoever reads what is stored from here on, data or slot, sees this position.
        memory.fence(ACCOUNT_RELEASE);
    }
}

/// The later slot of a role, and whether it is the second one.
fn newest_slot(memory: &impl Memory, role: Role) -> (Progress, bool) {
    let positions = word::ACCOUNT.map(|slot| memory.load(slot.position.of(role), ACCOUNT_LOAD));
    let [first, second] = positions;
    let in_second = !position::at_or_after(first, second);
    let [slot_a, slot_b] = word::ACCOUNT;
    let slot = if in_second { slot_b } else { slot_a };
    let settled = if in_second { second } else { first };
    let messages = memory.load(slot.messages.of(role), Order::RELAXED);
    let bytes = memory.load(slot.bytes.of(role), Order::RELAXED);
    (Progress::new(settled, messages, bytes), in_second)
}

/// Whether a role has not settled since `settled` was read: what was read after that is then whole.
fn is_newest(memory: &impl Memory, role: Role, settled: u64) -> bool {
    memory.fence(ACCOUNT_ACQUIRE);
    let positions = word::ACCOUNT.map(|slot| memory.load(slot.position.of(role), Order::RELAXED));
    let [first, second] = positions;
    position::later(first, second) == settled
}

/// The account of a role, whole; its holder may live.
pub(crate) fn read_account(memory: &impl Memory, role: Role) -> Progress {
    let (mut progress, _) = newest_slot(memory, role);
    for _ in 0..TRIES {
        if is_newest(memory, role, progress.position) {
            break;
        }
        (progress, _) = newest_slot(memory, role);
    }
    progress
}

/// Counts from an account to a position on either side of it, over the records between them.
fn count_to(
    memory: &impl Memory,
    geometry: &Geometry,
    account: Progress,
    at: u64,
) -> Result<Progress, Corruption> {
    let is_ahead = position::at_or_after(account.position, at);
    let between = if is_ahead {
        count(memory, geometry, at, account.position)?
    } else {
        count(memory, geometry, account.position, at)?
    };
    let moved = |from: u64, by: u64| {
        if is_ahead {
            from.wrapping_sub(by)
        } else {
            from.wrapping_add(by)
        }
    };
    let messages = moved(account.messages, between.messages);
    let bytes = moved(account.bytes(), between.bytes());
    Ok(Progress::new(at, messages, bytes))
}

/// How many messages and bytes lie in front of `head`, which nobody moves meanwhile.
pub(crate) fn count_released(
    memory: &impl Memory,
    geometry: &Geometry,
    head: u64,
) -> Result<Progress, Corruption> {
    let mut settled = 0;
    for _ in 0..COUNTS {
        let account = read_account(memory, Role::Producer);
        let counted = count_to(memory, geometry, account, head);
        settled = account.position;
        let is_ahead = position::at_or_after(settled, head);
        if is_ahead || is_newest(memory, Role::Producer, settled) {
            return counted;
        }
    }
    Err(Corruption {
        what: Damage::Tail,
        position: head,
        expected: head,
        found: settled,
    })
}

/// How far a role has come, for another thread of the process that holds it, in a durable ring;
/// `None` if it moves on too fast to be counted.
///
/// `known` is how far it was when its last checkpoint was made or tried. Records are counted from
/// there or from the role's account, whichever is later. The producer's stay while its account
/// does. The consumer's stay because its space is not free before this very thread has made the
/// next checkpoint.
pub(crate) fn beside(
    memory: &impl Memory,
    geometry: &Geometry,
    role: Role,
    known: Progress,
) -> Option<Progress> {
    let order = match role {
        Role::Producer => TAIL_LOAD,
        Role::Consumer => HEAD_LOAD,
    };
    (0..BESIDE_TRIES).find_map(|_| {
        let at = read_position(memory, role, order);
        let own = read_account(memory, role);
        let base = if position::at_or_after(own.position, known.position) {
            own
        } else {
            known
        };
        if position::at_or_after(base.position, at) {
            return Some(base);
        }
        let counted = count_to(memory, geometry, base, at).ok()?;
        let is_whole = match role {
            Role::Producer => is_newest(memory, role, own.position),
            Role::Consumer => true,
        };
        is_whole.then_some(counted)
    })
}

/// Overwrites whatever a role's page says of how far it has come. Only where nobody holds the role
/// and nothing in the page is believed.
pub(crate) fn reset_account(memory: &impl Memory, role: Role, progress: &Progress) {
    let put = |offset: Offset, value| memory.store(offset.of(role), value, Order::RELAXED);
    for slot in word::ACCOUNT {
        put(slot.messages, progress.messages);
        put(slot.bytes, progress.bytes());
        put(slot.position, progress.position);
    }
    put(word::POSITION, progress.position);
}

/// How far a role has come, for somebody who looks on: exact if the role rests and its account is
/// near; otherwise the counters may lag behind the position, by a stride while the role lives.
pub(super) fn observed(memory: &impl Memory, geometry: &Geometry, role: Role) -> Progress {
    let order = match role {
        Role::Producer => TAIL_LOAD,
        Role::Consumer => HEAD_LOAD,
    };
    let at = read_position(memory, role, order);
    let own = read_account(memory, role);
    if position::at_or_after(own.position, at) {
        return own; // at rest, or it went on meanwhile
    }
    let lagging = Progress::new(at, own.messages, own.bytes());
    let base = match role {
        Role::Producer => own,
        Role::Consumer => read_account(memory, Role::Producer),
    };
    let is_ahead = position::at_or_after(base.position, at);
    let (from, to) = if is_ahead {
        (at, base.position)
    } else {
        (base.position, at)
    };
    if position::distance(from, to) > OBSERVED_BYTES {
        return lagging;
    }
    let counted = count_to(memory, geometry, base, at);
    // Behind the account the records stay while the head does ("lap"), beyond it while the account
    // does.
    let is_whole = if is_ahead {
        memory.fence(LAP_ACQUIRE);
        read_position(memory, Role::Consumer, HEAD_LOAD) == at
    } else {
        is_newest(memory, Role::Producer, base.position)
    };
    match counted {
        Ok(counted) if is_whole => counted,
        _ => lagging,
    }
}
