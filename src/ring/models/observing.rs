//! Labels "tail" and "lap": what an observer may believe.

use super::{Model, Weak, consumer, finds, holds, message, next, producer, same_word};
use crate::layout::Role;
use crate::memory::{FenceKind, Side};
use crate::ring::{TAIL_LOAD, peek_at, read_position, role_snapshot};

/// A producer publishes; an observer reads the tail and then looks at what lies in front of it.
fn behind_tail(weak: Weak) -> &'static str {
    let model = Model::new(64).weakened(weak);
    let geometry = super::geometry(64);
    let mut tx = producer(&model, 64, false);
    let watched = model.untracked();
    let sender = loom::thread::spawn(move || tx.send(&message(1, 1)).expect("room"));
    let published = read_position(&watched, Role::Producer, TAIL_LOAD) == 16;
    if published {
        let mut out = Vec::new();
        let peeked = peek_at(&watched, &geometry, 0, &mut out).expect("no damage");
        assert!(peeked.is_some(), "the tail is ahead of the records");
        assert_eq!(same_word(&out), 1, "torn message");
        let snapshot = role_snapshot(&watched, &geometry, Role::Producer);
        assert_eq!(
            snapshot.progress.messages, 1,
            "the tail without its counters"
        );
    }
    sender.join().expect("the producer");
    if published { "published" } else { "not yet" }
}

/// Goal: "tail": the records in front of the tail are there for whoever sees it. Method: one
/// message, and an observer that reads the tail first; each side of the label weakened.
#[test]
fn loom_observer_reads_behind_tail() {
    holds(&["not yet", "published"], || behind_tail(&[]));
    let reason = "the tail is ahead of the records";
    finds(reason, || behind_tail(&[("tail", Side::Store)]));
    finds(reason, || behind_tail(&[("tail", Side::Load)]));
}

/// A message is taken and overwritten, its commit word included, while an observer copies it.
fn lap(weak: Weak) -> &'static str {
    let model = Model::new(32).weakened(weak);
    let geometry = super::geometry(32);
    let mut tx = producer(&model, 32, false);
    let mut rx = consumer(&model, 32, false);
    tx.send(&message(1, 2)).expect("room");
    // Settled before, so that the fence of "account" cannot stand in for that of "lap".
    tx.settle();
    let watched = model.untracked();
    // It starts at 24: its payload lies on the first commit word, its next word on the first
    // payload.
    let sender = loom::thread::spawn(move || tx.send(&message(u64::MAX, 1)).is_ok());
    let receiver = loom::thread::spawn(move || {
        let mut taken = rx.begin();
        taken.add(next(&rx, &taken).expect("published before"));
        rx.release(taken);
    });
    let mut out = Vec::new();
    let peeked = peek_at(&watched, &geometry, 0, &mut out).expect("torn record");
    if peeked.is_some() {
        assert_eq!(same_word(&out), 1, "torn message");
    }
    receiver.join().expect("the consumer");
    let lapped = sender.join().expect("the producer");
    match (lapped, peeked.is_some()) {
        (false, true) => "copied",
        (false, false) => "passed by the consumer",
        (true, true) => "copied before the lap",
        (true, false) => "lapped",
    }
}

/// Goal: "lap": an observer never takes a copy that was overwritten for a message. Method: producer,
/// consumer and observer at one message; each side of the label weakened.
#[test]
fn loom_observer_lap() {
    let expected = [
        "copied",
        "copied before the lap",
        "lapped",
        "passed by the consumer",
    ];
    holds(&expected, || lap(&[]));
    finds("torn", || lap(&[("lap", Side::Fence(FenceKind::Release))]));
    finds("torn", || lap(&[("lap", Side::Fence(FenceKind::Acquire))]));
}
