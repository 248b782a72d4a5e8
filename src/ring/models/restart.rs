//! A side is killed after each of its stores while the other goes on, and a successor takes over.
//!
//! The lock that the kernel hands from the dead to the successor orders their accesses; here the
//! joining of the dead thread does.

use super::{Model, consumer, holds, message, next, producer, value_of};

/// Stores of a batch of two messages, one word each: payloads, second commit word, next word, first
/// commit word, the tail.
const BATCH_STORES: u64 = 1 + 1 + 1 + 1 + 1 + 1;

/// Goal: a producer killed after any store leaves all of a batch or nothing, its successor goes on
/// behind it, and a consumer that runs all the while sees each message once and whole. Method: all
/// numbers of stores, the consumer at every point of the two.
#[test]
fn loom_roll_forward_producer() {
    for stores in 0..=BATCH_STORES {
        holds(&["done"], move || {
            let model = Model::new(64);
            let mut rx = consumer(&model, 64, false);
            let doomed = model.killed_after(stores);
            let producers = loom::thread::spawn(move || {
                let mut first = producer(&doomed, 64, false);
                let mut pending = first.begin();
                first.push(&mut pending, &message(1, 1)).expect("room");
                first.push(&mut pending, &message(2, 1)).expect("room");
                first.publish(pending);
                // Killed. The kernel frees the role and the next one takes it.
                let mut second = producer(&model, 64, false);
                let published = second.published().messages;
                second.send(&message(3, 1)).expect("room");
                published
            });
            let mut seen = Vec::new();
            while seen.last() != Some(&3) {
                let mut taken = rx.begin();
                match next(&rx, &taken) {
                    None => loom::thread::yield_now(),
                    Some(record) => {
                        seen.push(value_of(&rx, record, 1));
                        taken.add(record);
                        rx.release(taken);
                    }
                }
            }
            let published = producers.join().expect("the producers");
            // The commit word that makes the batch visible is the fifth store.
            assert_eq!(published, if stores < 5 { 0 } else { 2 }, "miscounted");
            let expected: &[u64] = if published == 0 { &[3] } else { &[1, 2, 3] };
            assert_eq!(seen, expected, "a message lost or invented");
            "done"
        });
    }
}

/// Goal: a consumer killed after any store leaves a head at which its successor goes on: a message
/// that was taken and not released comes again, none is lost. Method: all numbers of stores, the
/// producer sending into the space that was released at every point of the two.
#[test]
fn loom_roll_forward_consumer() {
    for stores in 0..=4 {
        holds(&["done"], move || {
            let model = Model::new(32);
            let mut tx = producer(&model, 32, false);
            tx.send(&message(1, 2)).expect("room");
            let doomed = model.killed_after(stores);
            let consumers = loom::thread::spawn(move || {
                let mut first = consumer(&doomed, 32, false);
                let mut taken = first.begin();
                let record = next(&first, &taken).expect("published before");
                assert_eq!(value_of(&first, record, 2), 1, "torn message");
                taken.add(record);
                first.release(taken);
                // Killed.
                let second = consumer(&model, 32, false);
                let released = second.released().messages;
                if let Some(record) = next(&second, &second.begin()) {
                    let value = value_of(&second, record, 2);
                    assert_eq!(value, released + 1, "a message lost or doubled");
                } else {
                    assert_eq!(released, 1, "a message lost");
                }
            });
            let _sent_or_full = tx.send(&message(2, 2));
            consumers.join().expect("the consumers");
            "done"
        });
    }
}
