//! Checkpoints: how far a side has come for certain, whatever the power does.
//!
//! The medium may write any dirty cache line at any time, in any order, and a power cut leaves any
//! of what was written since the last completed sync. So a checkpoint is a statement that is only
//! written where it can not lie:
//!
//! - *Full* (producer): sync the data up to the tail; then write "everything up to here" into the
//!   older of two slots; sync that slot. Whoever finds the slot finds the data.
//! - *One sync* (producer, records with checksums): write "I am here; up to there everything was on
//!   the medium before" into the older slot, and sync data and slot together. Whoever finds the slot
//!   alone walks the records, which prove themselves, and stops where they end: at or behind the
//!   earlier statement.
//! - The consumer's slot says how far it has released. It needs no data.
//!
//! Two slots on pages of their own: while one is written the other one is whole on the medium. That
//! holds for a successor only after it has stored the newest slot once more and synced it, since
//! one before it may have died between the two (`prepare`). The data is made dirty once more too:
//! the kernel reports a lost write once, perhaps to the dead, and calls the pages clean from then
//! on. A clean close says nothing of that: who closed may never have made a checkpoint.
//!
//! Only after the last sync is the new position stored in the role's `DURABLE` word. The producer
//! reuses space up to the consumer's word and no further, so what the consumer's newest slot on the
//! medium still points to is never overwritten.
//!
//! The first error of a sync is the end of durability in this ring: the pages are clean, and a
//! second sync would succeed without writing. It is latched here and said in the role's page; both
//! sides look there before and after each sync.

use core::fmt;

use crate::layout::{Checkpoint, Role, Slot, word};
use crate::memory::{DurableMemory, Extent, Memory, Order, SyncFault};
use crate::position;
use crate::ring::{DURABLE_LOAD, DURABLE_STORE, Geometry, Progress};
use crate::state;

/// How far a side has come for certain: what a power cut leaves.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Durable {
    /// Cold recoveries of the ring so far. Positions of records that a power cut took are used
    /// again under the next incarnation.
    pub incarnation: u64,
    /// Producer: every message before this position is on the medium. Consumer: no message before
    /// it is delivered again.
    pub position: u64,
    /// Messages before that position since the ring was made.
    pub messages: u64,
}

impl fmt::Display for Durable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            incarnation,
            position,
            messages,
        } = self;
        write!(
            f,
            "{messages} messages durable, up to position {position} of incarnation {incarnation}"
        )
    }
}

/// How a producer's checkpoint reaches the medium.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum CheckpointForm {
    /// Two syncs: the data, then the statement that it is there.
    Full,
    /// One sync for both, about half the time. Only in rings with checksums. Should the medium lose
    /// what it acknowledged, the messages since the checkpoint before can not be told from messages
    /// that were never acknowledged; the loss of anything earlier is reported.
    OneSync,
}

/// Why there is no checkpoint, to those who speak to people.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// A sync failed earlier, here or on the other side.
    Poisoned,
    /// This sync failed.
    Sync(i32),
}

/// The slots of a role that are whole.
fn whole_slots(
    memory: &impl DurableMemory,
    role: Role,
    seed: u32,
) -> impl Iterator<Item = Checkpoint> {
    [false, true].into_iter().filter_map(move |second| {
        let words = memory.load_slot(Slot { role, second });
        Checkpoint::decode(&words, seed, role, second)
    })
}

/// The newest whole slot of a role.
pub(crate) fn newest(memory: &impl DurableMemory, role: Role, seed: u32) -> Option<Checkpoint> {
    whole_slots(memory, role, seed).reduce(Checkpoint::later)
}

/// How far a role is durable, from its word and its slots; `None` while they are being written.
pub(crate) fn told(memory: &impl DurableMemory, role: Role, seed: u32) -> Option<Durable> {
    let position = memory.load(word::DURABLE.of(role), DURABLE_LOAD);
    // Of two that speak of one position the later one knows the incarnation.
    let slot = whole_slots(memory, role, seed)
        .filter(|slot| slot.intended == position || slot.acknowledged == position)
        .reduce(Checkpoint::later)?;
    let messages = if slot.intended == position {
        slot.messages
    } else {
        slot.acknowledged_messages
    };
    Some(Durable {
        incarnation: slot.incarnation,
        position,
        messages,
    })
}

/// Stores a checkpoint in its slot.
pub(crate) fn store(memory: &impl DurableMemory, role: Role, seed: u32, what: &Checkpoint) -> Slot {
    let slot = Slot {
        role,
        second: what.in_second(),
    };
    memory.store_slot(slot, &what.encode(seed, role));
    slot
}

/// Makes every page of the data from one position to another dirty, without changing a byte.
///
/// Nobody else may write there meanwhile: the records between the two are published, and their
/// space is not free.
pub(crate) fn make_dirty(memory: &impl DurableMemory, from: u64, to: u64) {
    let page = memory.page_bytes();
    let mut at = from;
    while at != to {
        let word = memory.load_data(at, Order::RELAXED);
        memory.store_data(at, word, Order::RELAXED);
        let next = position::advance(at & page.wrapping_neg(), page);
        at = if position::at_or_after(next, to) {
            to
        } else {
            next
        };
    }
}

/// Makes the checkpoints of one end. There is one for each end that is attached.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Checkpointer {
    role: Role,
    seed: u32,
    newest: Checkpoint,
    durable: Durable,
    /// Whether what this end found is known to be on the medium: at once if nobody held the role
    /// before, under this boot.
    prepared: bool,
    poisoned: bool,
}

impl Checkpointer {
    /// Goes on where the slots and words of a role are; `None` without a whole slot.
    pub(crate) fn load(
        memory: &impl DurableMemory,
        geometry: &Geometry,
        role: Role,
        inherits: bool,
    ) -> Option<Self> {
        let seed = geometry.seed();
        let newest = newest(memory, role, seed)?;
        let word = memory.load(word::DURABLE.of(role), Order::RELAXED);
        let messages = if word == newest.intended {
            newest.messages
        } else {
            newest.acknowledged_messages
        };
        Some(Self {
            role,
            seed,
            newest,
            durable: Durable {
                incarnation: newest.incarnation,
                position: word,
                messages,
            },
            prepared: !inherits,
            poisoned: false,
        })
    }

    /// How far this side is durable, without asking the medium.
    pub(crate) const fn durable(&self) -> Durable {
        self.durable
    }

    /// The newest slot.
    pub(crate) const fn newest(&self) -> &Checkpoint {
        &self.newest
    }

    /// Brings everything up to `tail` to the medium.
    pub(crate) fn producer(
        &mut self,
        memory: &impl DurableMemory,
        geometry: &Geometry,
        tail: Progress,
        form: CheckpointForm,
    ) -> Result<Durable, Fault> {
        self.prepare(memory, geometry, tail.position)?;
        if tail.position == self.durable.position {
            return Ok(self.durable);
        }
        match form {
            CheckpointForm::Full => {
                let from = self.unsynced(geometry, tail.position);
                let to = tail.position;
                self.sync(memory, Extent::Data { from, to })?;
                let slot = self.write(memory, tail, tail.position, tail.messages);
                self.sync(memory, Extent::Slot(slot))?;
            }
            CheckpointForm::OneSync => {
                let Durable {
                    position, messages, ..
                } = self.durable;
                self.write(memory, tail, position, messages);
                self.sync(memory, Extent::Everything)?;
            }
        }
        Ok(self.acknowledge(memory, tail.position, tail.messages))
    }

    /// Makes sure that nothing before `head` is delivered again.
    pub(crate) fn consumer(
        &mut self,
        memory: &impl DurableMemory,
        geometry: &Geometry,
        head: Progress,
    ) -> Result<Durable, Fault> {
        self.prepare(memory, geometry, head.position)?;
        if head.position == self.durable.position {
            return Ok(self.durable);
        }
        let slot = self.write(memory, head, head.position, head.messages);
        self.sync(memory, Extent::Slot(slot))?;
        Ok(self.acknowledge(memory, head.position, head.messages))
    }

    /// What a successor does once, before its first checkpoint; `reached` is its position.
    ///
    /// Not beside a hot path of the same end: it stores published words once more.
    pub(crate) fn prepare(
        &mut self,
        memory: &impl DurableMemory,
        geometry: &Geometry,
        reached: u64,
    ) -> Result<(), Fault> {
        self.check(memory)?;
        if self.prepared {
            return Ok(());
        }
        if self.role == Role::Producer {
            let from = memory.load(word::DURABLE.of(Role::Consumer), Order::RELAXED);
            let oldest = reached.wrapping_sub(geometry.capacity_bytes);
            let is_sound =
                position::is_between(oldest, from, reached) && position::is_aligned(from);
            let from = if is_sound { from } else { oldest };
            make_dirty(memory, from, reached);
            self.sync(memory, Extent::Data { from, to: reached })?;
        }
        let newest = self.newest;
        let slot = store(memory, self.role, self.seed, &newest);
        self.sync(memory, Extent::Slot(slot))?;
        self.prepared = true;
        if !position::at_or_after(self.durable.position, newest.acknowledged) {
            self.acknowledge(memory, newest.acknowledged, newest.acknowledged_messages);
        }
        Ok(())
    }

    /// The first position whose data may not be on the medium: at most a capacity behind.
    fn unsynced(&self, geometry: &Geometry, tail: u64) -> u64 {
        let oldest = tail.wrapping_sub(geometry.capacity_bytes);
        if position::is_between(oldest, self.durable.position, tail) {
            self.durable.position
        } else {
            oldest
        }
    }

    fn write(
        &mut self,
        memory: &impl DurableMemory,
        reached: Progress,
        acknowledged: u64,
        acknowledged_messages: u64,
    ) -> Slot {
        self.newest = Checkpoint {
            sequence: self.newest.sequence.wrapping_add(1),
            intended: reached.position,
            acknowledged,
            messages: reached.messages,
            bytes: reached.bytes(),
            acknowledged_messages,
            ..self.newest
        };
        store(memory, self.role, self.seed, &self.newest)
    }

    fn acknowledge(&mut self, memory: &impl Memory, position: u64, messages: u64) -> Durable {
        self.durable = Durable {
            incarnation: self.newest.incarnation,
            position,
            messages,
        };
        memory.store(word::DURABLE.of(self.role), position, DURABLE_STORE);
        self.durable
    }

    /// Refuses once a sync has failed, here or there.
    pub(crate) fn check(&self, memory: &impl Memory) -> Result<(), Fault> {
        let both = [self.role, self.role.peer()];
        if self.poisoned || both.iter().any(|role| state::is_poisoned(memory, *role)) {
            return Err(Fault::Poisoned);
        }
        Ok(())
    }

    /// Syncs; an error is final.
    pub(crate) fn sync(
        &mut self,
        memory: &impl DurableMemory,
        extent: Extent,
    ) -> Result<(), Fault> {
        if let Err(SyncFault { errno }) = memory.sync(extent) {
            self.poison(memory);
            return Err(Fault::Sync(errno));
        }
        // The other side may have been told of a write that both of them lost.
        self.check(memory)
    }

    /// A sync has failed: says so to both sides, for good.
    pub(crate) fn poison(&mut self, memory: &impl Memory) {
        self.poisoned = true;
        state::poison(memory, self.role);
    }
}
