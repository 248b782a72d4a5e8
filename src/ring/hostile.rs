//! A side whose words change between two looks of one call.
//!
//! The carrier of these tests asks a liar before each access: it may store what it likes, so the
//! worst moment is met every time and not by luck. What is checked is that the work of a call is
//! bounded and that what it returns is what it has checked.
#![expect(
    clippy::arithmetic_side_effects,
    reason = "small numbers, and a test may panic"
)]

use core::cell::Cell;

use super::account::{Progress, count_released};
use super::observe::peek_all;
use super::walk::copy_proven;
use super::{Geometry, ProducerCore};
use crate::layout::{Commit, Role, Word, word};
use crate::memory::{At, Fence, Memory, Model, Order};
use crate::recovery;

const CAPACITY: u64 = 4096;

/// What the library is about to look at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Look {
    Word(Word),
    Data,
    Copy,
}

/// Tells a liar of each look before it happens, and counts the words that are read.
struct Lied<'a, L: Fn(&Model, Look)> {
    model: Model,
    liar: L,
    words_read: &'a Cell<u64>,
}

impl<L: Fn(&Model, Look)> Lied<'_, L> {
    fn look(&self, look: Look, words: u64) {
        self.words_read.set(self.words_read.get() + words);
        (self.liar)(&self.model, look);
    }
}

impl<L: Fn(&Model, Look)> Memory for Lied<'_, L> {
    type Place<'b>
        = At<'b, Self>
    where
        Self: 'b;

    fn place(&self, position: u64) -> At<'_, Self> {
        At::new(self, position)
    }

    fn load(&self, word: Word, order: Order) -> u64 {
        self.look(Look::Word(word), 1);
        self.model.load(word, order)
    }

    fn store(&self, word: Word, value: u64, order: Order) {
        self.model.store(word, value, order);
    }

    fn increment(&self, word: Word, order: Order) {
        self.model.increment(word, order);
    }

    fn load_data(&self, position: u64, order: Order) -> u64 {
        self.look(Look::Data, 1);
        self.model.load_data(position & !7, order)
    }

    fn store_data(&self, position: u64, value: u64, order: Order) {
        self.model.store_data(position, value, order);
    }

    fn copy_in(&self, position: u64, bytes: &[u8]) {
        self.model.copy_in(position, bytes);
    }

    fn copy_out(&self, position: u64, out: &mut [u8]) {
        self.look(Look::Copy, (out.len() as u64).div_ceil(8));
        self.model.copy_out(position, out);
    }

    fn fence(&self, fence: Fence) {
        self.model.fence(fence);
    }
}

fn add(model: &Model, word: Word, bytes: u64) {
    let now = model.load(word, Order::RELAXED);
    model.store(word, now.wrapping_add(bytes), Order::RELAXED);
}

/// Goal: an observer that is overtaken at every message, by however little, gives up after about
/// as much work as a full ring is. Method: every record is as long as can be, and the head moves on
/// by eight bytes at each look.
#[test]
fn an_overtaken_observer_gives_up() {
    let geometry = Geometry::for_tests(CAPACITY, false);
    let model = Model::new(CAPACITY);
    for at in (0..CAPACITY).step_by(8) {
        let longest = Commit::plain(geometry.max_message_bytes);
        model.store_data(at, longest, Order::RELAXED);
    }
    let words_read = Cell::new(0);
    let head = word::POSITION.of(Role::Consumer);
    let memory = Lied {
        model,
        liar: |model: &Model, look| {
            if look == Look::Word(head) {
                add(model, head, 8);
            }
        },
        words_read: &words_read,
    };
    let found = peek_all(&memory, &geometry).expect("every record is sound");
    let read = words_read.get();
    assert!(found.len() <= 1 && read > CAPACITY / 8, "{read} words read");
    assert!(read < 4 * CAPACITY / 8, "{read} words read");
}

/// Goal: a consumer that makes a checkpoint while a producer attaches has damaged nothing, and one
/// beyond what was published has. Method: head and durable position move on between the looks at the two.
#[test]
fn checkpoints_go_on_during_an_attach() {
    let mut geometry = Geometry::for_tests(CAPACITY, false);
    geometry.durable = true;
    for (taken, is_sound) in [(0_u64, true), (1, true), (3, true), (4, false)] {
        let model = Model::new(CAPACITY);
        let mut tx = ProducerCore::new(model.clone(), geometry, Progress::at(0), 0, false);
        for _ in 0..3 {
            tx.send(&[7; 8]).expect("room");
        }
        tx.settle();
        let resumed = recovery::producer(&model, &geometry, true).expect("a sound ring");
        assert_eq!((resumed.head, resumed.tail), (0, 48));
        let (head, durable) = (word::POSITION, word::DURABLE);
        let durable = durable.of(Role::Consumer);
        let memory = Lied {
            model,
            liar: |model: &Model, look| {
                if look == Look::Word(durable) {
                    for word in [head.of(Role::Consumer), durable] {
                        model.store(word, 16 * taken, Order::RELAXED);
                    }
                }
            },
            words_read: &Cell::new(0),
        };
        let found = recovery::durable_head(&memory, &geometry, &resumed);
        assert_eq!(found.ok(), is_sound.then_some(16 * taken), "{taken} taken");
    }
}

/// Goal: a consumer's successor counts the ring a few times at most, whatever a producer does to
/// its account meanwhile. Method: the account moves at each look at it, always behind the head.
#[test]
fn counts_are_not_made_for_ever() {
    let geometry = Geometry::for_tests(CAPACITY, false);
    let model = Model::new(CAPACITY);
    for at in (0..CAPACITY).step_by(8) {
        model.store_data(at, Commit::plain(0), Order::RELAXED);
    }
    let words_read = Cell::new(0);
    let slots = word::ACCOUNT.map(|slot| slot.position.of(Role::Producer));
    let turn = Cell::new(0_u64);
    let memory = Lied {
        model,
        liar: |model: &Model, look| {
            if slots.iter().any(|slot| look == Look::Word(*slot)) {
                turn.set(turn.get() + 1);
                let place = slots[usize::try_from(turn.get() % 2).expect("0 or 1")];
                model.store(place, turn.get() % 64 * 8, Order::RELAXED);
            }
        },
        words_read: &words_read,
    };
    let outcome = count_released(&memory, &geometry, CAPACITY);
    let read = words_read.get();
    // Reading an account whole is given up after 1000 tries of six words.
    let accounts = 4 * 1001 * 6;
    assert!(read > CAPACITY / 8, "{read} words read");
    assert!(
        read <= accounts + 5 * CAPACITY / 8,
        "{read} words read: {outcome:?}"
    );
}

/// Goal: a message that is copied out of a ring for good is the one whose checksum was right.
/// Method: its payload changes after each look at it.
#[test]
fn what_was_checked_is_what_is_copied() {
    let geometry = Geometry::for_tests(CAPACITY, true);
    let model = Model::new(CAPACITY);
    let mut tx = ProducerCore::new(model.clone(), geometry, Progress::at(0), 0, false);
    tx.send(b"as it was sent").expect("an empty ring");
    let words_read = Cell::new(0);
    let copies = Cell::new(0_u64);
    let memory = Lied {
        model,
        liar: |model: &Model, look| {
            if look == Look::Copy {
                copies.set(copies.get() + 1);
                if copies.get() > 1 {
                    model.store_data(8, copies.get(), Order::RELAXED);
                }
            }
        },
        words_read: &words_read,
    };
    let first = copy_proven(&memory, &geometry, 0, Progress::at(0));
    let (next, message) = first.expect("nobody has lied yet");
    assert_eq!(
        (message.as_slice(), next.messages),
        (&b"as it was sent"[..], 1)
    );
    let again = copy_proven(&memory, &geometry, 0, Progress::at(0));
    assert_eq!(again, None, "its bytes are others by now");
}
