//! Labels "commit" and "head": what is published is whole, and space is reused only once it was
//! read.

use super::{
    Model, RACE, Weak, consumer, fill_with_old_lap, finds, holds, message, next, producer, value_of,
};
use crate::memory::Side;
use crate::ring::{ConsumerCore, Geometry, ProducerCore};

/// One message into a ring full of old records; the consumer looks once or twice. It does not
/// track the payload when `values` are what is to be checked.
fn publish(weak: Weak, values: bool) -> &'static str {
    let model = Model::new(32);
    fill_with_old_lap(&model, 32);
    let model = model.weakened(weak);
    let model = if values { model.untracked() } else { model };
    let mut tx = producer(&model, 32, false);
    let rx = consumer(&model, 32, false);
    let sender = loom::thread::spawn(move || tx.send(&message(7, 1)).expect("room"));
    let mut taken = rx.begin();
    let mut ending = "nothing there";
    if let Some(record) = next(&rx, &taken) {
        assert_eq!(value_of(&rx, record, 1), 7, "torn message");
        taken.add(record);
        assert!(next(&rx, &taken).is_none(), "an old record came back");
        ending = "taken";
    }
    sender.join().expect("the producer");
    ending
}

/// Goal: "commit": a message is seen whole or not at all, and what lies behind it from an earlier
/// lap is not. Method: one message over old records, its payload read by value and, in a second
/// run, tracked; each side of the label weakened.
#[test]
fn loom_publish() {
    holds(&["nothing there", "taken"], || publish(&[], true));
    holds(&["nothing there", "taken"], || publish(&[], false));
    for values in [true, false] {
        let reason = if values { "torn message" } else { RACE };
        finds(reason, move || publish(&[("commit", Side::Store)], values));
        finds(reason, move || publish(&[("commit", Side::Load)], values));
    }
}

/// Two messages in one batch; the consumer sees both or none.
fn batch(weak: Weak) -> &'static str {
    let model = Model::new(64);
    fill_with_old_lap(&model, 64);
    let model = model.weakened(weak).untracked();
    let mut tx = producer(&model, 64, false);
    let rx = consumer(&model, 64, false);
    let sender = loom::thread::spawn(move || {
        let mut pending = tx.begin();
        tx.push(&mut pending, &message(1, 1)).expect("room");
        tx.push(&mut pending, &message(2, 1)).expect("room");
        tx.publish(pending)
    });
    let mut taken = rx.begin();
    let mut ending = "nothing there";
    if let Some(first) = next(&rx, &taken) {
        taken.add(first);
        let second = next(&rx, &taken).expect("half a batch");
        assert_eq!(value_of(&rx, second, 1), 2, "torn message");
        taken.add(second);
        assert!(next(&rx, &taken).is_none(), "an old record came back");
        ending = "taken";
    }
    sender.join().expect("the producer");
    ending
}

/// Goal: "commit" carries a whole batch: it appears at once. Method: two messages over old records;
/// each side of the label weakened.
#[test]
fn loom_publish_batch() {
    holds(&["nothing there", "taken"], || batch(&[]));
    // The word that the second commit word replaces is an old record's: stale, it passes for one.
    finds("torn message", || batch(&[("commit", Side::Store)]));
    finds("torn message", || batch(&[("commit", Side::Load)]));
}

/// A full ring: the consumer takes the message, in two steps or the short way into a buffer of so
/// many bytes, the producer puts another one in its place.
fn reclaim(weak: Weak, buffer_bytes: Option<usize>) -> &'static str {
    let model = Model::new(32).weakened(weak);
    let mut tx = producer(&model, 32, false);
    let mut rx = consumer(&model, 32, false);
    tx.send(&message(1, 2)).expect("room");
    let sender = loom::thread::spawn(move || tx.send(&message(2, 2)).is_ok());
    if let Some(bytes) = buffer_bytes {
        let mut buffer = vec![0; bytes];
        let taken = rx.take_short(&mut buffer);
        assert_eq!(taken, Some((16, false)), "published before");
        assert_eq!(buffer[..16], message(1, 2)[..], "torn message");
    } else {
        let mut taken = rx.begin();
        let record = next(&rx, &taken).expect("published before");
        assert_eq!(value_of(&rx, record, 2), 1, "torn message");
        taken.add(record);
        rx.release(taken);
    }
    let reused = sender.join().expect("the producer");
    if reused { "space reused" } else { "full" }
}

/// Goal: "head": the producer writes where the consumer has read, and only once it has. Method: a
/// ring for one message, its payload tracked, and a buffer that it fills or not; each side of the
/// label weakened.
#[test]
fn loom_reclaim() {
    for short in [None, Some(16), Some(24)] {
        holds(&["full", "space reused"], move || reclaim(&[], short));
        finds(RACE, move || reclaim(&[("head", Side::Store)], short));
        finds(RACE, move || reclaim(&[("head", Side::Load)], short));
    }
}

/// Two messages, taken into a buffer of so many bytes by a consumer that stores back what it has read;
/// the producer puts a third one where the first was.
fn give_back(weak: Weak, buffer_bytes: usize, checked: bool) -> &'static str {
    let model = Model::new(64).weakened(weak);
    let mut tx = producer(&model, 64, false);
    let mut rx = consumer(&model, 64, false);
    if checked {
        let geometry = Geometry::for_tests(64, true);
        tx = ProducerCore::new(model.clone(), geometry, *tx.published(), 0, false);
        rx = ConsumerCore::new(model, geometry, *rx.released(), false);
    }
    rx.choose_lines(true);
    for value in 1..=2 {
        tx.send(&message(value, 2)).expect("room");
    }
    let sender = loom::thread::spawn(move || tx.send(&message(3, 2)).is_ok());
    let mut take = |value| {
        let mut buffer = vec![0; buffer_bytes];
        let short = rx.take_short(&mut buffer);
        let taken = short.or_else(|| rx.take_checked(&mut buffer))?;
        assert_eq!(taken, (16, false), "another message");
        assert_eq!(buffer[..16], message(value, 2)[..], "torn message");
        Some(())
    };
    take(1).expect("published before");
    take(2).expect("published before");
    let early = take(3);
    let reused = sender.join().expect("the producer");
    if reused && early.is_none() {
        take(3).expect("published");
    }
    if reused { "space reused" } else { "full" }
}

/// Goal: what a consumer stores back is stored before the space is the producer's again. Method: the
/// payload is tracked; each side of "head" weakened; a buffer that the message fills and one that it
/// does not, and a ring with checksums.
#[test]
fn loom_give_back() {
    for (bytes, checked) in [(16, false), (24, false), (16, true)] {
        holds(&["full", "space reused"], move || {
            give_back(&[], bytes, checked)
        });
        finds(RACE, move || {
            give_back(&[("head", Side::Store)], bytes, checked)
        });
        finds(RACE, move || {
            give_back(&[("head", Side::Load)], bytes, checked)
        });
    }
}

/// Goal: publish and reclaim together, over laps, lose, double and tear nothing. Method: a ring for
/// one message at a time, three messages, positions that start at the end of the number space.
#[test]
fn loom_stream() {
    holds(&["done"], || {
        let model = Model::new(32);
        fill_with_old_lap(&model, 32);
        super::start_at(&model, 0_u64.wrapping_sub(32));
        let mut tx = producer(&model, 32, false);
        let mut rx = consumer(&model, 32, false);
        let sender = loom::thread::spawn(move || {
            for value in 1..=3 {
                while tx.send(&message(value, 2)).is_err() {
                    loom::thread::yield_now();
                }
            }
        });
        for value in 1..=3 {
            let mut taken = rx.begin();
            let record = loop {
                match next(&rx, &taken) {
                    Some(record) => break record,
                    None => loom::thread::yield_now(),
                }
            };
            assert_eq!(value_of(&rx, record, 2), value, "torn message");
            taken.add(record);
            rx.release(taken);
        }
        sender.join().expect("the producer");
        "done"
    });
}
