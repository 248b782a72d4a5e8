//! The carrier: how the protocol touches the bytes that both sides share.
//!
//! The protocol in `ring/` is written once against [`Memory`]. `mapped` carries it over real
//! mappings; `model` carries the same code under loom and in property tests. The trait knows words
//! and bytes, and decides nothing.

mod copy;
mod mapped;
#[cfg(test)]
mod model;

pub(crate) use mapped::{Mapped, store_identity};
#[cfg(test)]
pub(crate) use model::Model;
#[cfg(all(test, loom))]
pub(crate) use model::{Side, Weak};

use core::ops::RangeInclusive;

#[cfg(any(test, feature = "simulator"))]
use crate::layout::{COMMIT_BYTES, EMPTY, record_bytes};
use crate::layout::{SLOT_WORDS, Slot, Word};
#[cfg(any(test, feature = "simulator"))]
use crate::position;

/// How strongly one access is ordered, with the label that its partner carries too.
///
/// The table in `ring/mod.rs` has a row for each label.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Order {
    /// Names the pair; the model weakens one side of a pair by this name.
    #[cfg_attr(
        not(all(test, loom)),
        expect(dead_code, reason = "read by the model, and by people")
    )]
    pub(crate) label: &'static str,
    /// What the access guarantees.
    pub(crate) strength: Strength,
}

/// Guarantee of one access.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Strength {
    /// Nothing but the value.
    Relaxed,
    /// A load that sees a release store also sees everything before it.
    Acquire,
    /// A store that carries everything before it.
    Release,
}

impl Order {
    /// An access that orders nothing.
    pub(crate) const RELAXED: Self = Self {
        label: "",
        strength: Strength::Relaxed,
    };

    /// The loading side of the pair `label`.
    pub(crate) const fn acquire(label: &'static str) -> Self {
        Self {
            label,
            strength: Strength::Acquire,
        }
    }

    /// The storing side of the pair `label`.
    pub(crate) const fn release(label: &'static str) -> Self {
        Self {
            label,
            strength: Strength::Release,
        }
    }
}

/// A fence, with the label of its pair.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Fence {
    /// Names the pair.
    #[cfg_attr(
        not(all(test, loom)),
        expect(dead_code, reason = "read by the model, and by people")
    )]
    pub(crate) label: &'static str,
    /// What the fence guarantees.
    pub(crate) kind: FenceKind,
}

/// Guarantee of one fence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FenceKind {
    /// Loads before it stay before everything after it.
    Acquire,
    /// Stores after it stay after everything before it.
    Release,
    /// Nothing for the processor: the compiler keeps order and the sleeper's `membarrier` does the
    /// rest. A model whose sleepers issue barriers takes it as [`FenceKind::Full`].
    Light,
    /// Stores before it are visible before loads after it.
    Full,
}

/// Bytes that travel between two cores at once.
pub(crate) const LINE_BYTES: u64 = 64;

/// Words and bytes that both sides share.
///
/// Positions may be any multiple of eight (`copy_*`: any number): the carrier takes them modulo the
/// capacity and sees the data as if it repeated without end.
pub(crate) trait Memory {
    /// Where a record starts: its address, found once for all its parts.
    type Place<'a>: Place
    where
        Self: 'a;
    /// The place of the record at `position`, a multiple of eight.
    fn place(&self, position: u64) -> Self::Place<'_>;
    /// Loads a word of a role's page.
    fn load(&self, word: Word, order: Order) -> u64;
    /// Stores a word of a role's page.
    fn store(&self, word: Word, value: u64, order: Order);
    /// Adds one to a word of a role's page that two threads of its holder may change.
    fn increment(&self, word: Word, order: Order);
    /// Loads the eight data bytes at `position`, a multiple of eight.
    fn load_data(&self, position: u64, order: Order) -> u64;
    /// Stores the eight data bytes at `position`, a multiple of eight.
    fn store_data(&self, position: u64, value: u64, order: Order);
    /// Copies `bytes`, at most the capacity, to `position`, a multiple of eight; bytes up to the
    /// next multiple of eight after the end become zero.
    fn copy_in(&self, position: u64, bytes: &[u8]);
    /// Messages that are worth a [`Self::copy_back`].
    const RETURNED_BYTES: RangeInclusive<u64> = 16..=u64::MAX;
    /// Stores back `bytes` that a consumer has read at `position`, a multiple of eight, or whatever
    /// part of them helps the producer.
    fn copy_back(&self, position: u64, bytes: &[u8]) {
        let (words, _) = bytes.split_at(bytes.len() & !7); // no more than there are
        self.copy_in(position, words);
    }
    /// Copies the bytes at `position`, a multiple of eight, to `out`, at most the capacity.
    fn copy_out(&self, position: u64, out: &mut [u8]);
    /// Issues a fence.
    fn fence(&self, fence: Fence);
    /// Whether everything that was read and written until now really was in the ring. Asked before
    /// what was read is given out and before what was written is published.
    fn is_intact(&self) -> bool {
        true
    }
}

/// The kernel could not bring something to the medium, or did not try.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SyncFault {
    /// What it said.
    pub(crate) errno: i32,
}

/// What a sync is for. It may bring more to the medium than was asked for, never less.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Extent {
    /// One checkpoint slot.
    Slot(Slot),
    /// The data from one position to another, at most a capacity.
    Data {
        /// Its first position.
        from: u64,
        /// The position after its last.
        to: u64,
    },
    /// The whole ring.
    Everything,
}

/// A carrier whose bytes can be brought to a medium that outlives a power cut.
pub(crate) trait DurableMemory: Memory {
    /// Loads the words of a checkpoint slot.
    fn load_slot(&self, slot: Slot) -> [u64; SLOT_WORDS];
    /// Stores the words of a checkpoint slot, in order.
    fn store_slot(&self, slot: Slot, words: &[u64; SLOT_WORDS]);
    /// Brings what was stored before to the medium, and waits until it is there.
    ///
    /// An error is final: the kernel has marked the pages clean, and a second try would succeed
    /// without having written anything.
    fn sync(&self, extent: Extent) -> Result<(), SyncFault>;
    /// Bytes that one store makes dirty at least: a page.
    fn page_bytes(&self) -> u64;
}

/// A record in the data. Its payload is at most the capacity less two words.
pub(crate) trait Place: Copy {
    /// Loads its commit word.
    fn load(self, order: Order) -> u64;
    /// Copies its payload, as long as `out`.
    fn read(self, out: &mut [u8]);
    /// Writes its payload, then the empty word after it, then its commit word in this order. `false`:
    /// the commit word was not written, because the payload did not get into the ring.
    #[must_use]
    fn write(self, payload: &[u8], commit: u64, order: Order) -> bool;
}

/// A place in a memory that has no addresses.
#[cfg(any(test, feature = "simulator"))]
#[derive(Debug)]
pub(crate) struct At<'a, M> {
    memory: &'a M,
    position: u64,
}

#[cfg(any(test, feature = "simulator"))]
impl<'a, M> At<'a, M> {
    /// The place of the record at a position.
    pub(crate) const fn new(memory: &'a M, position: u64) -> Self {
        Self { memory, position }
    }
}

#[cfg(any(test, feature = "simulator"))]
impl<M> Clone for At<'_, M> {
    fn clone(&self) -> Self {
        *self
    }
}

#[cfg(any(test, feature = "simulator"))]
impl<M> Copy for At<'_, M> {}

#[cfg(any(test, feature = "simulator"))]
impl<M: Memory> Place for At<'_, M> {
    fn load(self, order: Order) -> u64 {
        self.memory.load_data(self.position, order)
    }

    fn read(self, out: &mut [u8]) {
        let start = position::advance(self.position, COMMIT_BYTES);
        self.memory.copy_out(start, out);
    }

    fn write(self, payload: &[u8], commit: u64, order: Order) -> bool {
        let start = position::advance(self.position, COMMIT_BYTES);
        self.memory.copy_in(start, payload);
        let end = position::advance(self.position, record_bytes(payload.len() as u64));
        self.memory.store_data(end, EMPTY, Order::RELAXED);
        self.memory.store_data(self.position, commit, order);
        true
    }
}
