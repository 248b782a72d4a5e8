//! Cold recovery: what a ring holds when only its checkpoints can be believed.
//!
//! After a power cut every cache line of the file may be as it was at any moment since it was last
//! synced. What is known is what syncs have made so:
//!
//! - The newest whole slot of the consumer is at or behind its head, and nothing behind it was
//!   overwritten: the producer reuses space only behind a slot that is on the medium. So the ring
//!   starts there.
//! - The newest whole slot of the producer names a position up to which everything was on the
//!   medium before the slot was written. Records up to there must be whole, or data that was
//!   acknowledged is lost: that is an error, and nothing is written.
//! - Beyond it, records with checksums prove themselves: position, ring, length and payload go into
//!   the sum, so nothing of an earlier lap passes. Records without checksums prove nothing.
//!
//! Then all free space is overwritten with zeros and synced, before anything can be published:
//! a record that is dropped now must not come back behind a new one after the next cut. New slots
//! say where the ring starts and ends, and that a new incarnation begins: positions of dropped
//! records will be used again.
//!
//! A recovery that dies anywhere has changed nothing that counts: what is kept is not touched, the
//! slots are written by the rule for all checkpoints, and the role pages are told to be in the
//! middle of it (unequal generations) from the first store to the last, so the next one begins anew.

use crate::checkpoint::{self, Checkpointer};
use crate::error::{Corruption, Damage};
use crate::layout::{COMMIT_BYTES, Checkpoint, EMPTY, Offset, Role, Slot, word};
use crate::memory::{DurableMemory, Extent, Memory, Order};
use crate::position::{self, ALIGN_BYTES};
use crate::ring::{Geometry, Progress, next_proven, read_account, read_session, reset_account};
use crate::state::Here;

/// What a cold recovery found and did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Found {
    pub(crate) incarnation: u64,
    pub(crate) head: Progress,
    pub(crate) tail: Progress,
    /// Messages that the producer's page counts beyond the tail: at least so many are lost.
    pub(crate) dropped_messages: u64,
    /// Bytes of records that the last checkpoint may have acknowledged and that are not there.
    pub(crate) possibly_acknowledged_bytes: u64,
}

/// Why a ring was not recovered. Nothing that was kept is changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Failure {
    /// Slots or positions say what cannot be.
    Corrupt(Corruption),
    /// Records that a checkpoint had acknowledged are not whole.
    DataLoss { acknowledged: u64, found: u64 },
    /// The medium refused a sync.
    Sync(i32),
}

/// Both sides' newest slots.
#[derive(Clone, Copy, Debug)]
struct Slots {
    producer: Checkpoint,
    consumer: Checkpoint,
}

/// What a recovery would find now, but for the incarnation, which is the last one's. Stores nothing.
pub(crate) fn foretell(memory: &impl DurableMemory, geometry: &Geometry) -> Result<Found, Failure> {
    survey(memory, geometry, &read_slots(memory, geometry)?)
}

/// Works out what the ring holds. Stores nothing.
///
/// The slots are read once: what they said then is what counts from there on.
fn survey(
    memory: &impl DurableMemory,
    geometry: &Geometry,
    slots: &Slots,
) -> Result<Found, Failure> {
    let (producer, consumer) = (&slots.producer, &slots.consumer);
    let head = Progress::new(consumer.intended, consumer.messages, consumer.bytes);
    let acknowledged = producer.acknowledged;
    let until = (!geometry.is_checksummed()).then_some(acknowledged);
    let tail = go_forward(memory, geometry, head, until);
    let is_whole = match until {
        Some(until) => tail.position == position::later(until, head.position),
        None => position::at_or_after(tail.position, acknowledged),
    };
    if !is_whole {
        return Err(Failure::DataLoss {
            acknowledged,
            found: tail.position,
        });
    }
    let missing = if position::at_or_after(tail.position, producer.intended) {
        0
    } else {
        position::distance(tail.position, producer.intended)
    };
    let seen = read_account(memory, Role::Producer);
    Ok(Found {
        incarnation: producer.incarnation,
        head,
        tail,
        dropped_messages: dropped(geometry, &seen, &tail),
        possibly_acknowledged_bytes: missing,
    })
}

/// What the producer's page, where it is newer than what was recovered, counts beyond the tail.
fn dropped(geometry: &Geometry, seen: &Progress, tail: &Progress) -> u64 {
    let last = position::advance(tail.position, geometry.capacity_bytes);
    if position::is_between(tail.position, seen.position, last) {
        // A recovery that died may have stored the position and not yet the counts.
        let count = seen.messages.saturating_sub(tail.messages);
        let beyond = position::distance(tail.position, seen.position);
        count.min(beyond / ALIGN_BYTES) // no record is shorter
    } else {
        0
    }
}

fn read_slots(memory: &impl DurableMemory, geometry: &Geometry) -> Result<Slots, Failure> {
    let newest =
        |role| checkpoint::newest(memory, role, geometry.seed()).ok_or_else(|| damage(0, 0));
    let (producer, consumer) = (newest(Role::Producer)?, newest(Role::Consumer)?);
    // The consumer may be ahead: it does not wait for the producer's checkpoints.
    let first = producer.acknowledged.wrapping_sub(geometry.capacity_bytes);
    if position::at_or_after(consumer.intended, first) {
        Ok(Slots { producer, consumer })
    } else {
        Err(damage(first, consumer.intended))
    }
}

const fn damage(expected: u64, found: u64) -> Failure {
    Failure::Corrupt(Corruption {
        what: Damage::Checkpoint,
        position: found,
        expected,
        found,
    })
}

/// From the head over records that are whole: with checksums as far as they go, without them to
/// `until` and no further.
fn go_forward(
    memory: &impl Memory,
    geometry: &Geometry,
    head: Progress,
    until: Option<u64>,
) -> Progress {
    let mut at = head;
    loop {
        if until.is_some_and(|until| position::at_or_after(at.position, until)) {
            return at;
        }
        match next_proven(memory, geometry, head.position, at) {
            Some(next) => at = next,
            None => return at,
        }
    }
}

/// How a recovery is to be made.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Manner {
    /// Under what the pages are written from now on.
    pub(crate) here: Here,
    /// The pages may be clean and not on the medium: whoever wrote them died under this very boot.
    pub(crate) doubt_clean_pages: bool,
}

/// Recovers the ring. The caller holds the attach lock and both roles, and writes every page.
pub(crate) fn recover(
    memory: &impl DurableMemory,
    geometry: &Geometry,
    manner: Manner,
) -> Result<Found, Failure> {
    let slots = read_slots(memory, geometry)?;
    let mut found = survey(memory, geometry, &slots)?;
    let generation = begin(memory);
    if manner.doubt_clean_pages {
        checkpoint::make_dirty(memory, found.head.position, found.tail.position);
    }
    let seed = geometry.seed();
    // The newest slots once more: they may never have reached the medium, and what they free must
    // not be erased before they have.
    checkpoint::store(memory, Role::Producer, seed, &slots.producer);
    checkpoint::store(memory, Role::Consumer, seed, &slots.consumer);
    void_torn_slots(memory, seed);
    sync(memory)?;
    scrub(memory, geometry, &found);
    sync(memory)?;
    let (producer, consumer) = next_slots(&slots, &found);
    checkpoint::store(memory, Role::Producer, seed, &producer);
    checkpoint::store(memory, Role::Consumer, seed, &consumer);
    sync(memory)?;
    found.incarnation = producer.incarnation;
    end(memory, &found, &manner.here, generation);
    Ok(found)
}

/// Takes the mark from each slot that is not whole.
///
/// The next checkpoint has the number of the torn one and is written over it: half of it could
/// complete what is left of the other, which speaks of records that are erased by then.
fn void_torn_slots(memory: &impl DurableMemory, seed: u32) {
    for role in [Role::Producer, Role::Consumer] {
        for second in [false, true] {
            let slot = Slot { role, second };
            let mut words = memory.load_slot(slot);
            if Checkpoint::decode(&words, seed, role, second).is_none() {
                if let Some(mark) = words.last_mut() {
                    *mark = 0; // this word alone: a zero may be what another lacks
                }
                memory.store_slot(slot, &words);
            }
        }
    }
}

fn sync(memory: &impl DurableMemory) -> Result<(), Failure> {
    memory
        .sync(Extent::Everything)
        .map_err(|fault| Failure::Sync(fault.errno))
}

/// From here on until [`end`] nobody believes the role pages.
fn begin(memory: &impl Memory) -> u64 {
    let [producer, consumer] = [Role::Producer, Role::Consumer]
        .map(|role| memory.load(word::GENERATION.of(role), Order::RELAXED));
    let mut generation = producer.max(consumer).wrapping_add(1);
    if generation == consumer {
        generation = generation.wrapping_add(1);
    }
    let word = word::GENERATION.of(Role::Producer);
    memory.store(word, generation, GENERATION_STORE);
    generation
}

const GENERATION_STORE: Order = Order::release("generation");

/// Overwrites all free space with zeros.
fn scrub(memory: &impl Memory, geometry: &Geometry, found: &Found) {
    let end = position::advance(found.head.position, geometry.capacity_bytes);
    let mut at = found.tail.position;
    while !position::at_or_after(at, end) {
        memory.store_data(at, EMPTY, Order::RELAXED);
        at = position::advance(at, ALIGN_BYTES);
    }
}

/// What the slots say after a recovery.
fn next_slots(slots: &Slots, found: &Found) -> (Checkpoint, Checkpoint) {
    let mut producer = Checkpoint {
        sequence: slots.producer.sequence.wrapping_add(1),
        intended: found.tail.position,
        acknowledged: found.tail.position,
        messages: found.tail.messages,
        bytes: found.tail.bytes(),
        acknowledged_messages: found.tail.messages,
        ..slots.producer
    };
    producer.begin_incarnation(found.tail.position);
    let consumer = Checkpoint {
        sequence: slots.consumer.sequence.wrapping_add(1),
        incarnation: producer.incarnation,
        starts: producer.starts,
        ..slots.consumer
    };
    (producer, consumer)
}

/// Makes the role pages say what was found; the consumer's generation last.
fn end(memory: &impl Memory, found: &Found, here: &Here, generation: u64) {
    for (role, progress) in [(Role::Producer, found.tail), (Role::Consumer, found.head)] {
        reset_account(memory, role, &progress);
        let put = |offset: Offset, value| memory.store(offset.of(role), value, Order::RELAXED);
        for offset in [
            word::PARKED,
            word::WANTED,
            word::CLOSED_SESSION,
            word::CLOSED_POSITION,
            word::POISON,
            word::SHORT,
        ] {
            put(offset, 0);
        }
        // The count goes on from what is there. Noise must not lead round to zero, which would say
        // that nobody was ever there.
        let (session, _) = read_session(memory, role);
        put(word::SESSION, session & (u64::MAX >> 1));
        put(word::DURABLE, progress.position);
        put(word::REACH, progress.position);
        put(word::INCARNATION, found.incarnation);
        here.store(memory, role);
    }
    let word = word::GENERATION.of(Role::Consumer);
    memory.store(word, generation, GENERATION_STORE);
}

/// Bytes that a zero word takes behind the last record: a full ring still has room for it.
const _: () = assert!(COMMIT_BYTES == ALIGN_BYTES);

/// What a creator writes besides the identity: how far the ring has come and, in a durable one,
/// both roles' first slots and where it lies. `origins` tells of the incarnations of a ring that
/// this one goes on with.
pub(crate) fn format(
    memory: &impl DurableMemory,
    geometry: &Geometry,
    here: &Here,
    start: &Progress,
    origins: Option<&Checkpoint>,
) {
    for role in [Role::Producer, Role::Consumer] {
        reset_account(memory, role, start);
        if geometry.durable {
            for offset in [word::DURABLE, word::REACH] {
                memory.store(offset.of(role), start.position, Order::RELAXED);
            }
            here.store(memory, role);
            let mut slot = first_slot(start);
            if let Some(origins) = origins {
                slot.incarnation = origins.incarnation;
                slot.starts = origins.starts;
            }
            memory.store(word::INCARNATION.of(role), slot.incarnation, Order::RELAXED);
            checkpoint::store(memory, role, geometry.seed(), &slot);
        }
    }
}

/// What a creator that has also published messages writes at the end, in a durable ring: the sync
/// in front of the name covers them.
pub(crate) fn format_tail(memory: &impl DurableMemory, geometry: &Geometry, tail: &Progress) {
    let seed = geometry.seed();
    if let Some(first) = checkpoint::newest(memory, Role::Producer, seed) {
        let mut slot = Checkpoint {
            incarnation: first.incarnation,
            starts: first.starts,
            ..first_slot(tail)
        };
        // What the copy could not take may have been dealt with: its positions are used again.
        slot.begin_incarnation(tail.position);
        checkpoint::store(memory, Role::Producer, seed, &slot);
        for role in [Role::Producer, Role::Consumer] {
            memory.store(word::INCARNATION.of(role), slot.incarnation, Order::RELAXED);
        }
        let durable = word::DURABLE.of(Role::Producer);
        memory.store(durable, tail.position, Order::RELAXED);
    }
}

const fn first_slot(reached: &Progress) -> Checkpoint {
    Checkpoint {
        messages: reached.messages,
        bytes: reached.bytes(),
        acknowledged_messages: reached.messages,
        ..Checkpoint::first(reached.position)
    }
}

/// Whether what the words of a ring say can be, given what its checkpoints say.
///
/// Words behind an acknowledged position come from a page that was lost and read again.
pub(crate) fn check_against_slot(
    own: &Checkpointer,
    reached: u64,
    what: Damage,
) -> Result<(), Corruption> {
    let acknowledged = own.newest().acknowledged;
    if position::at_or_after(reached, acknowledged) {
        return Ok(());
    }
    Err(Corruption {
        what,
        position: reached,
        expected: acknowledged,
        found: reached,
    })
}
