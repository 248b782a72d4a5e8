//! Labels "ticket", "wake", "park" and "mode": nobody sleeps while there is something to do.
//!
//! The kernel's part: a futex that compares the newest value of the wake word under a lock, and a
//! barrier that is a full fence. A sleep has no limit unless the sleeper asked for a short one, so a
//! lost wake shows as a deadlock.

use core::cell::Cell;
use core::time::Duration;
use std::rc::Rc;

use super::{
    LOST_WAKE, Model, Weak, consumer, endings, finds, holds, message, next, producer, value_of,
};
use crate::layout::{Role, Word, word};
use crate::memory::{FenceKind, Memory, Order, Side};
use crate::ring::Sleeper;
use crate::sync::{Slept, owned};
use crate::wait::{Kernel, Pause, park};

/// How a park model may end.
const BOTH: [&str; 2] = ["never parked", "parked"];

/// The limit of a sleep that only a wake ends.
const LONG: Duration = Duration::MAX;

/// A sleep that only a wake ends.
fn until(wanted: u64) -> Pause {
    Pause {
        wanted,
        limit: LONG,
    }
}

/// Both ends' fences, weakened to nothing: how a mutant differs, and how "park" without a
/// `membarrier` looks.
const NO_LIGHT: Weak = &[("park", Side::Fence(FenceKind::Light))];
const NO_FULL: Weak = &[("park", Side::Fence(FenceKind::Full))];

/// What the kernel answers to `membarrier`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Barrier {
    Issued,
    /// The mutant: nothing happened.
    Skipped,
    Refused,
}

/// The queue of one futex.
#[derive(Debug, Default)]
struct Futex {
    queue: loom::sync::Mutex<()>,
    woken: loom::sync::Condvar,
}

impl Futex {
    fn wake(&self) {
        let _queue = self.queue.lock().expect("not poisoned");
        self.woken.notify_one();
    }
}

/// The kernel under a sleeper.
#[derive(Debug)]
struct ModelKernel {
    model: Model,
    futex: Rc<Futex>,
    barrier: Barrier,
    slices: Cell<u32>,
}

impl Kernel for ModelKernel {
    fn barrier(&self) -> bool {
        if self.barrier == Barrier::Issued {
            owned::fence(FenceKind::Full);
        }
        self.barrier != Barrier::Refused
    }

    fn sleep(&self, word: Word, seen: u32, limit: Duration) -> Slept {
        if limit < LONG {
            // Loom shows a thread that yields the newest values: the first slice does without.
            let slices = self.slices.replace(self.slices.get() + 1);
            if slices >= 1 {
                loom::thread::yield_now();
            }
            return Slept::Stirred;
        }
        let queue = self.futex.queue.lock().expect("not poisoned");
        if self.model.latest(word) == u64::from(seen) {
            drop(self.futex.woken.wait(queue).expect("not poisoned"));
        }
        Slept::Stirred
    }
}

/// One way to run the park models.
#[derive(Clone, Copy, Debug)]
struct Setup {
    waker: Weak,
    sleeper: Weak,
    waker_fences: bool,
    barrier: Barrier,
}

/// The usual case: the waker does not fence, the sleeper issues the barrier.
const USUAL: Setup = Setup {
    waker: &[],
    sleeper: &[],
    waker_fences: false,
    barrier: Barrier::Issued,
};

/// The kernel refuses the barrier, so that the waker's light fence is no fence, until it is asked.
const REFUSED: Setup = Setup {
    waker: NO_LIGHT,
    barrier: Barrier::Refused,
    ..USUAL
};

/// A consumer waits for one message, once it has taken `before` others.
fn consumer_sleeps(setup: Setup, messages: u64) -> &'static str {
    let model = Model::new(64).with_barriers();
    let futex = Rc::new(Futex::default());
    let mut tx = producer(&model.weakened(setup.waker), 64, setup.waker_fences);
    let asleep = model.weakened(setup.sleeper).held_by(Role::Consumer);
    let mut rx = consumer(&asleep, 64, false);
    let kernel = ModelKernel {
        model,
        futex: Rc::clone(&futex),
        barrier: setup.barrier,
        slices: Cell::new(0),
    };
    let mut sleeper = Sleeper::new(Role::Consumer, 1, true);
    let mut ending = "never parked";
    let sender = loom::thread::spawn(move || {
        for value in 1..=messages {
            if tx.send(&message(value, 1)).expect("room") {
                futex.wake();
            }
        }
    });
    for value in 1..=messages {
        let mut taken = rx.begin();
        while !rx.has_message(&taken) {
            ending = "parked";
            let wanted = rx.released().position;
            park(&asleep, &kernel, &mut sleeper, until(wanted), || {
                rx.has_message(&taken)
            });
        }
        let record = next(&rx, &taken).expect("there is one");
        assert_eq!(value_of(&rx, record, 1), value);
        taken.add(record);
        rx.release(taken);
    }
    sender.join().expect("the producer");
    ending
}

/// A producer waits for room in a full ring.
fn producer_sleeps(setup: Setup) -> &'static str {
    let model = Model::new(32).with_barriers();
    let futex = Rc::new(Futex::default());
    let asleep = model.weakened(setup.sleeper).held_by(Role::Producer);
    let mut tx = producer(&asleep, 32, false);
    let mut rx = consumer(&model.weakened(setup.waker), 32, setup.waker_fences);
    tx.send(&message(1, 2)).expect("room");
    let kernel = ModelKernel {
        model,
        futex: Rc::clone(&futex),
        barrier: setup.barrier,
        slices: Cell::new(0),
    };
    let mut sleeper = Sleeper::new(Role::Producer, 1, true);
    let mut ending = "never parked";
    let receiver = loom::thread::spawn(move || {
        let wake = match rx.take_short(&mut [0; 16]) {
            Some((_, wake)) => wake,
            None => {
                let mut taken = rx.begin();
                taken.add(next(&rx, &taken).expect("published before"));
                rx.release(taken)
            }
        };
        if wake {
            futex.wake();
        }
    });
    let pending = tx.begin();
    let wanted = tx.wanted_head(&pending, 16);
    while !tx.has_room(&pending, 16) {
        ending = "parked";
        park(&asleep, &kernel, &mut sleeper, until(wanted), || {
            tx.has_room(&pending, 16)
        });
    }
    receiver.join().expect("the consumer");
    ending
}

/// Goal: "park": a sleeper sees what it waits for, or is woken, in both directions, whether the
/// sleeper or the waker pays. Method: a wait that ends with one step of the other side; each fence
/// of the pair left out.
#[test]
fn loom_park_fence() {
    let fencing = Setup {
        waker_fences: true,
        ..USUAL
    };
    for sound in [USUAL, fencing] {
        holds(&BOTH, move || consumer_sleeps(sound, 1));
        holds(&BOTH, move || producer_sleeps(sound));
        let no_barrier = Setup {
            barrier: Barrier::Skipped,
            ..sound
        };
        let no_fence = Setup {
            waker: if sound.waker_fences {
                NO_FULL
            } else {
                NO_LIGHT
            },
            ..sound
        };
        for broken in [no_barrier, no_fence] {
            finds(LOST_WAKE, move || consumer_sleeps(broken, 1));
            finds(LOST_WAKE, move || producer_sleeps(broken));
        }
    }
}

/// Goal: sleeping and waking go on: one wake for each ticket, none of them lost, over two messages
/// that the consumer waits for one after the other.
#[test]
fn loom_park_twice() {
    let found = endings(Some(5), || consumer_sleeps(USUAL, 2));
    assert!(found.iter().eq(&BOTH));
}

/// Goal: a sleeper whose barrier is refused asks for fences, sleeps in slices until it has them, and
/// then as deep as any. Method: both directions, with a waker that fences once it is asked; without
/// the sleeper's own fence the wake is lost.
#[test]
fn loom_ask_for_fences_sleeps() {
    holds(&BOTH, || consumer_sleeps(REFUSED, 1));
    holds(&BOTH, || producer_sleeps(REFUSED));
    let fencing = Setup {
        waker_fences: true,
        ..REFUSED
    };
    holds(&BOTH, move || consumer_sleeps(fencing, 1));
}

/// The other side has published once and was told to fence; the sleeper asks whether it fences.
fn mode(weak: Weak) -> &'static str {
    let model = Model::new(64);
    let mut tx = producer(&model.weakened(weak), 64, false);
    let asleep = model.weakened(weak).held_by(Role::Consumer);
    let rx = consumer(&asleep, 64, false);
    let mut sleeper = Sleeper::new(Role::Consumer, 1, false);
    sleeper.announce(&asleep, 0);
    let sender = loom::thread::spawn(move || {
        tx.send(&message(1, 1)).expect("room");
    });
    let covered = sleeper.is_covered(&asleep);
    if covered {
        assert!(rx.has_message(&rx.begin()), "published before the mode");
    }
    sender.join().expect("the producer");
    if covered { "covered" } else { "not yet" }
}

/// Goal: "mode": who sees that the other side fences from now on sees what it published before.
/// Method: a waker that learns of the wish with its only message; each side of the label weakened.
#[test]
fn loom_ask_for_fences() {
    holds(&["covered", "not yet"], || mode(&[]));
    let reason = "published before the mode";
    finds(reason, || mode(&[("mode", Side::Store)]));
    finds(reason, || mode(&[("mode", Side::Load)]));
}

/// A sleeper wants two messages; the waker must not answer the first.
fn ticket(weak: Weak) -> &'static str {
    let model = Model::new(64).weakened(weak).held_by(Role::Consumer);
    let mut tx = producer(&model, 64, false);
    let mut sleeper = Sleeper::new(Role::Consumer, 1, true);
    let sender = loom::thread::spawn(move || {
        let first = tx.send(&message(1, 1)).expect("room");
        assert!(!first, "answered before it was time");
    });
    sleeper.announce(&model, 32);
    sender.join().expect("the producer");
    "done"
}

/// Goal: "ticket": who sees a ticket knows what its sleeper waits for, and that it has noted the
/// wake word. Method: a sleeper that waits for more than is published; each side of the label
/// weakened. (An answer that comes too early uses the ticket up.)
#[test]
fn loom_park_ticket() {
    holds(&["done"], || ticket(&[]));
    let reason = "answered before it was time";
    finds(reason, || ticket(&[("ticket", Side::Store)]));
    finds(reason, || ticket(&[("ticket", Side::Load)]));
}

/// A sleeper that was answered notes the wake word again and looks.
fn wake(weak: Weak) -> &'static str {
    let model = Model::new(64).weakened(weak).held_by(Role::Consumer);
    let mut tx = producer(&model, 64, false);
    let rx = consumer(&model, 64, false);
    let mut sleeper = Sleeper::new(Role::Consumer, 1, true);
    sleeper.announce(&model, 0);
    let sender = loom::thread::spawn(move || {
        tx.send(&message(1, 1)).expect("room");
    });
    let woken = sleeper.announce(&model, 0) == 1;
    if woken {
        assert!(rx.has_message(&rx.begin()), "woken for nothing");
    }
    sender.join().expect("the producer");
    if woken { "woken" } else { "not yet" }
}

/// Goal: "wake": who sees the wake word changed sees what it waited for. Method: a sleeper that was
/// answered and looks at the word again; each side of the label weakened.
#[test]
fn loom_park_wake() {
    holds(&["not yet", "woken"], || wake(&[]));
    finds("woken for nothing", || wake(&[("wake", Side::Store)]));
    finds("woken for nothing", || wake(&[("wake", Side::Load)]));
}

/// The waker of [`REFUSED`] with its stores weakened.
const NO_MODE: Weak = &[NO_LIGHT[0], ("mode", Side::Store)];
const NO_WAKE: Weak = &[NO_LIGHT[0], ("wake", Side::Store)];
const NEITHER: Weak = &[NO_LIGHT[0], ("mode", Side::Store), ("wake", Side::Store)];

/// Goal: what "wake" and "mode" are for: between them a sleeper without barriers never sleeps deep
/// on a wake that it has seen, for a message that it has not. Method: the wait of a sleeper whose
/// barrier is refused, with the stores of both labels weakened; either of the two is enough.
#[test]
fn loom_wake_or_mode() {
    let weakened = |waker| Setup { waker, ..REFUSED };
    holds(&BOTH, move || consumer_sleeps(weakened(NO_MODE), 1));
    holds(&BOTH, move || consumer_sleeps(weakened(NO_WAKE), 1));
    finds(LOST_WAKE, move || consumer_sleeps(weakened(NEITHER), 1));
}

/// Goal: a side that leaves wakes whoever sleeps. Method: a consumer asleep at an empty ring, the
/// producer closing at every point of that.
#[test]
fn loom_close_wakes() {
    holds(&["closed"], || {
        let model = Model::new(32).with_barriers();
        let futex = Rc::new(Futex::default());
        let session = word::SESSION.of(Role::Producer);
        model.store(session, 1, Order::RELAXED);
        let mut tx = producer(&model, 32, false);
        let rx = consumer(&model, 32, false);
        let kernel = ModelKernel {
            model: model.clone(),
            futex: Rc::clone(&futex),
            barrier: Barrier::Issued,
            slices: Cell::new(0),
        };
        let asleep = model.held_by(Role::Consumer);
        let mut sleeper = Sleeper::new(Role::Consumer, 1, true);
        let sender = loom::thread::spawn(move || {
            if tx.close(1) {
                futex.wake();
            }
        });
        while rx.drained(0).is_none() {
            park(&asleep, &kernel, &mut sleeper, until(0), || {
                rx.drained(0).is_some()
            });
        }
        sender.join().expect("the producer");
        "closed"
    });
}
