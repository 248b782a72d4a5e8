//! The carrier of the models: it owns its words, and runs the protocol of `ring/` as it is.
//!
//! Under loom the words are loom's atomics, so that every load may return any value that the
//! orderings allow; otherwise they are plain ones, for property tests. A handle of one thread can
//!
//! - weaken accesses and fences, named by the label and the side of their pair, to show that a test
//!   notices;
//! - die after a number of stores: it goes on running and nothing that it does reaches the ring;
//! - under loom, track the payload: an access that the orderings do not keep apart from another
//!   fails, whatever value it got. An observer must not: it reads bytes that may be overwritten,
//!   and finds out afterwards.
//!
//! A light fence is none for the processor, and none here. Where a model's sleepers issue barriers,
//! its handles take the light fences, which the barriers meet, as full ones: see
//! [`Model::with_barriers`].
#![expect(
    clippy::arithmetic_side_effects,
    reason = "small numbers, and a test may panic"
)]

use core::cell::Cell;
use std::rc::Rc;

use super::{At, Fence, Memory, Order};
#[cfg(loom)]
use super::{FenceKind, Strength};
use crate::layout::{Offset, ROLE_PAGE_BYTES, Role, Word, word};
use crate::sync::owned;

/// The words of a role's page that tests need.
const WORDS: [Offset; 28] = [
    word::POSITION,
    word::ACCOUNT[0].position,
    word::ACCOUNT[0].messages,
    word::ACCOUNT[0].bytes,
    word::ACCOUNT[1].position,
    word::ACCOUNT[1].messages,
    word::ACCOUNT[1].bytes,
    word::PARKED,
    word::WANTED,
    word::WAKE,
    word::WAITS,
    word::WAKES_SENT,
    word::SLEEPS,
    word::SESSION,
    word::CLOSED_SESSION,
    word::CLOSED_POSITION,
    word::FENCE_MODE,
    word::BOOT_ID[0],
    word::BOOT_ID[1],
    word::HOME[0],
    word::HOME[1],
    word::MOUNT,
    word::RETURNS,
    word::GENERATION,
    word::POISON,
    word::DURABLE,
    word::SHORT,
    word::REACH,
];

/// A side of a labelled pair.
#[cfg(loom)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    /// The loads.
    Load,
    /// The stores.
    Store,
    /// The fence of this kind.
    Fence(FenceKind),
}

/// Labels whose side a handle weakens to nothing.
#[cfg(loom)]
pub(crate) type Weak = &'static [(&'static str, Side)];

/// The words of one ring.
#[derive(Debug)]
struct Words {
    pages: [Vec<Option<owned::Cell>>; 2],
    data: Vec<owned::Cell>,
    #[cfg(loom)]
    payload: Vec<loom::cell::UnsafeCell<()>>,
    #[cfg(loom)]
    newest: [Vec<Cell<u64>>; 2],
}

impl Words {
    fn new(capacity_bytes: u64) -> Self {
        let page = || {
            let mut page: Vec<_> = (0..ROLE_PAGE_BYTES / 8).map(|_| None).collect();
            for offset in WORDS {
                page[usize::from(offset.bytes() / 8)] = Some(owned::Cell::new(0));
            }
            page
        };
        Self {
            pages: [page(), page()],
            data: (0..capacity_bytes / 8)
                .map(|_| owned::Cell::new(0))
                .collect(),
            #[cfg(loom)]
            payload: (0..capacity_bytes / 8)
                .map(|_| loom::cell::UnsafeCell::new(()))
                .collect(),
            #[cfg(loom)]
            newest: [(); 2].map(|()| vec![Cell::new(0); usize::from(ROLE_PAGE_BYTES / 8)]),
        }
    }
}

/// One thread's handle of a modelled ring.
#[derive(Clone, Debug)]
pub(crate) struct Model {
    words: Rc<Words>,
    stores_left: Cell<u64>,
    #[cfg(loom)]
    weak: Weak,
    #[cfg(loom)]
    tracks: bool,
    #[cfg(loom)]
    barriers: bool,
    #[cfg(loom)]
    own: Option<Role>,
}

impl Model {
    /// An empty ring; `capacity_bytes` is a power of two, as small as 32.
    pub(crate) fn new(capacity_bytes: u64) -> Self {
        assert!(capacity_bytes.is_power_of_two() && capacity_bytes >= 32);
        Self {
            words: Rc::new(Words::new(capacity_bytes)),
            stores_left: Cell::new(u64::MAX),
            #[cfg(loom)]
            weak: &[],
            #[cfg(loom)]
            tracks: true,
            #[cfg(loom)]
            barriers: false,
            #[cfg(loom)]
            own: None,
        }
    }

    /// A handle whose process is killed after `stores` stores.
    pub(crate) fn killed_after(&self, stores: u64) -> Self {
        let handle = self.clone();
        handle.stores_left.set(stores);
        handle
    }

    fn may_store(&self) -> bool {
        let left = self.stores_left.get();
        self.stores_left.set(left.saturating_sub(1));
        left > 0
    }

    fn word(&self, word: Word) -> &owned::Cell {
        let (page, index) = place(word);
        let cell = &self.words.pages[page][index];
        cell.as_ref().expect("a word that WORDS lists")
    }

    fn index(&self, position: u64) -> usize {
        assert_eq!(position % 8, 0, "data is accessed in whole words");
        let words = self.words.data.len() as u64;
        usize::try_from((position / 8) % words).expect("a small ring")
    }

    fn put(&self, position: u64, value: u64, order: Order) {
        if self.may_store() {
            let index = self.index(position);
            self.track_write(index);
            self.words.data[index].store(value, self.ordered(order, true).strength);
        }
    }
}

/// Page and index of a word.
fn place(word: Word) -> (usize, usize) {
    let page = match word.role {
        Role::Producer => 0,
        Role::Consumer => 1,
    };
    (page, usize::from(word.offset.bytes() / 8))
}

#[cfg(loom)]
impl Model {
    /// The handle of who holds this role: it reads the words that only it writes without asking
    /// loom, which would remember that load as the last access of the word and forget the other
    /// side's, and so never try the orders of the two.
    pub(crate) fn held_by(&self, own: Role) -> Self {
        Self {
            own: Some(own),
            ..self.clone()
        }
    }

    /// The value stored last in a word.
    fn newest(&self, word: Word) -> &Cell<u64> {
        let (page, index) = place(word);
        &self.words.newest[page][index]
    }

    /// A handle that weakens accesses and fences.
    pub(crate) fn weakened(&self, weak: Weak) -> Self {
        Self {
            weak,
            ..self.clone()
        }
    }

    /// A handle of a model whose sleepers issue barriers.
    pub(crate) fn with_barriers(&self) -> Self {
        Self {
            barriers: true,
            ..self.clone()
        }
    }

    /// A handle that reads payload which others may overwrite meanwhile.
    pub(crate) fn untracked(&self) -> Self {
        Self {
            tracks: false,
            ..self.clone()
        }
    }

    /// What the kernel finds in a word.
    pub(crate) fn latest(&self, word: Word) -> u64 {
        self.word(word).latest()
    }

    /// Whether this handle weakens this side of a label.
    pub(crate) fn weakens(&self, label: &str, side: Side) -> bool {
        self.weak.contains(&(label, side))
    }

    fn ordered(&self, order: Order, is_store: bool) -> Order {
        let side = if is_store { Side::Store } else { Side::Load };
        Order {
            strength: if self.weakens(order.label, side) {
                Strength::Relaxed
            } else {
                order.strength
            },
            ..order
        }
    }

    fn track_read(&self, index: usize) {
        if self.tracks {
            self.words.payload[index].with(|_| ());
        }
    }

    fn track_write(&self, index: usize) {
        if self.tracks {
            self.words.payload[index].with_mut(|_| ());
        }
    }
}

#[cfg(not(loom))]
#[expect(clippy::unused_self, reason = "the same calls as under loom")]
impl Model {
    /// Stores that the process of this handle still makes before it is killed.
    pub(crate) const fn stores_left(&self) -> u64 {
        self.stores_left.get()
    }

    const fn ordered(&self, order: Order, _is_store: bool) -> Order {
        order
    }

    const fn track_read(&self, _index: usize) {}

    const fn track_write(&self, _index: usize) {}
}

impl Memory for Model {
    type Place<'a> = At<'a, Self>;

    fn place(&self, position: u64) -> At<'_, Self> {
        At::new(self, position)
    }

    fn load(&self, word: Word, order: Order) -> u64 {
        #[cfg(loom)]
        if self.own == Some(word.role) {
            return self.newest(word).get();
        }
        self.word(word).load(self.ordered(order, false).strength)
    }

    fn store(&self, word: Word, value: u64, order: Order) {
        if self.may_store() {
            #[cfg(loom)]
            self.newest(word).set(value);
            let order = self.ordered(order, true);
            self.word(word).store(value, order.strength);
        }
    }

    fn increment(&self, word: Word, order: Order) {
        if self.may_store() {
            #[cfg(loom)]
            self.newest(word)
                .set(self.newest(word).get().wrapping_add(1));
            let order = self.ordered(order, true);
            self.word(word).increment(order.strength);
        }
    }

    fn load_data(&self, position: u64, order: Order) -> u64 {
        let cell = &self.words.data[self.index(position)];
        cell.load(self.ordered(order, false).strength)
    }

    fn store_data(&self, position: u64, value: u64, order: Order) {
        self.put(position, value, order);
    }

    fn copy_in(&self, position: u64, bytes: &[u8]) {
        assert!(bytes.len() <= self.words.data.len() * 8, "a copy fits");
        for (index, chunk) in bytes.chunks(8).enumerate() {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            let at = position.wrapping_add(8 * index as u64);
            self.put(at, u64::from_le_bytes(word), Order::RELAXED);
        }
    }

    fn copy_out(&self, position: u64, out: &mut [u8]) {
        assert!(out.len() <= self.words.data.len() * 8, "a copy fits");
        for (index, chunk) in out.chunks_mut(8).enumerate() {
            let index = self.index(position.wrapping_add(8 * index as u64));
            self.track_read(index);
            let word = self.words.data[index].load(Order::RELAXED.strength);
            chunk.copy_from_slice(&word.to_le_bytes()[..chunk.len()]);
        }
    }

    #[cfg(loom)]
    fn fence(&self, fence: Fence) {
        if self.weakens(fence.label, Side::Fence(fence.kind)) {
            return;
        }
        match fence.kind {
            FenceKind::Light if self.barriers => owned::fence(FenceKind::Full),
            kind => owned::fence(kind),
        }
    }

    #[cfg(not(loom))]
    fn fence(&self, fence: Fence) {
        owned::fence(fence.kind);
    }
}
