//! Labels "closed" and "session": what a side leaves behind, and what it brings.

use super::{Model, Weak, consumer, finds, holds, message, next, producer};
use crate::layout::{Role, word};
use crate::memory::{FenceKind, Memory, Order, Side};
use crate::ring::{SESSION_STORE, read_session};

/// The store of the mark, weakened, and the fence of the account that is settled in front of it,
/// which would stand in for it.
const STORE: Weak = &[
    ("closed", Side::Store),
    ("account", Side::Fence(FenceKind::Release)),
];

/// The number under which the side that closes is there.
const SESSION: u64 = 1;

/// A producer publishes and leaves; the consumer takes what is there and then asks.
fn producer_closes(weak: Weak) -> &'static str {
    let model = Model::new(64).weakened(weak);
    model.store(word::SESSION.of(Role::Producer), SESSION, Order::RELAXED);
    let mut tx = producer(&model, 64, false);
    let mut rx = consumer(&model, 64, false);
    let sender = loom::thread::spawn(move || {
        tx.send(&message(1, 1)).expect("room");
        tx.close(SESSION);
    });
    let mut taken = rx.begin();
    let mut count = 0;
    if let Some(record) = next(&rx, &taken) {
        taken.add(record);
        rx.release(taken);
        count += 1;
    }
    let closed = rx.drained(0) == Some(SESSION);
    if closed {
        assert_eq!(count, 1, "closed before it was drained");
    }
    sender.join().expect("the producer");
    if count == 0 {
        assert_eq!(rx.drained(0), None, "the message is still there");
    } else {
        assert_eq!(rx.drained(0), Some(SESSION), "closed for all to see");
        assert_eq!(rx.drained(SESSION), None, "said once");
    }
    match (count, closed) {
        (0, _) => "nothing there",
        (_, false) => "taken",
        (_, true) => "taken and closed",
    }
}

/// A consumer releases and leaves; the producer of a full ring sees the mark, then the space.
fn consumer_closes(weak: Weak) -> &'static str {
    let model = Model::new(32).weakened(weak);
    model.store(word::SESSION.of(Role::Consumer), SESSION, Order::RELAXED);
    let mut tx = producer(&model, 32, false);
    let mut rx = consumer(&model, 32, false);
    tx.send(&message(1, 2)).expect("room");
    let receiver = loom::thread::spawn(move || {
        let mut taken = rx.begin();
        taken.add(next(&rx, &taken).expect("published before"));
        rx.release(taken);
        rx.close(SESSION);
    });
    let closed = read_session(&model, Role::Consumer) == (SESSION, true);
    if closed {
        let room = tx.has_room(&tx.begin(), 16);
        assert!(room, "closed before its last release");
    }
    receiver.join().expect("the consumer");
    if closed { "closed" } else { "there" }
}

/// Goal: "closed": who sees the mark sees everything that was published, or released, before it.
/// Method: both directions, a last step of work and a close; each side of the label weakened.
#[test]
fn loom_close() {
    let expected = ["nothing there", "taken", "taken and closed"];
    holds(&expected, || producer_closes(&[]));
    holds(&["closed", "there"], || consumer_closes(&[]));
    for weak in [STORE, &[("closed", Side::Load)]] {
        finds("closed before it was drained", || producer_closes(weak));
        finds("closed before its last release", || consumer_closes(weak));
    }
}

/// A side writes who it is, then its session; the other reads the session, then who it is.
fn arrive(weak: Weak) -> &'static str {
    let model = Model::new(32).weakened(weak);
    let arriving = model.clone();
    let side = loom::thread::spawn(move || {
        let boot = word::BOOT_ID[0].of(Role::Producer);
        arriving.store(boot, 7, Order::RELAXED);
        arriving.store(word::SESSION.of(Role::Producer), SESSION, SESSION_STORE);
    });
    let there = read_session(&model, Role::Producer) == (SESSION, false);
    if there {
        let boot = crate::peer::read_boot_id(&model, Role::Producer);
        assert_eq!(boot, [7, 0], "the page is not filled in");
    }
    side.join().expect("the producer");
    if there { "there" } else { "not yet" }
}

/// Goal: "session": who sees that a side is there sees who it is. Method: the boot id, which
/// decides whether a futex reaches the other side; each side of the label weakened.
#[test]
fn loom_session() {
    holds(&["not yet", "there"], || arrive(&[]));
    let reason = "the page is not filled in";
    finds(reason, || arrive(&[("session", Side::Store)]));
    finds(reason, || arrive(&[("session", Side::Load)]));
}
