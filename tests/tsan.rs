//! Two threads on one mapping, for `ThreadSanitizer`: see `tests/tsan/run`.
//!
//! The sanitizer knows memory by its address, so both ends must use one mapping; and it does not
//! report atomics, so the payload is written and read as plain slices, where a missing order is a
//! data race. `cargo test` runs the same without it.

use std::thread;

/// Messages that go through the ring.
const MESSAGES: u64 = 100_000;

/// Bytes of a message: from none to a good part of the ring.
fn length_of(number: u64) -> usize {
    usize::try_from(number.wrapping_mul(97) % 700).unwrap_or(usize::MAX)
}

/// The byte that a message is made of.
const fn byte_of(number: u64) -> u8 {
    number.to_le_bytes()[0]
}

/// Goal: publish and release order all accesses to the payload, in both directions. Method: claims
/// filled in place by one thread, views read by another, single and in batches, over many laps of
/// the smallest ring.
#[test]
fn plain_slices_do_not_race() {
    let (mut tx, mut rx) = ringduct::pair(4096).expect("memory");
    let sender = thread::spawn(move || {
        for number in 0..MESSAGES {
            let length = length_of(number);
            let mut claim = tx.claim(length, None).expect("the consumer is there");
            claim.fill(byte_of(number));
            claim.commit();
        }
    });
    let mut number = 0;
    let mut check = |message: &[u8]| {
        assert_eq!(message.len(), length_of(number));
        assert!(message.iter().all(|byte| *byte == byte_of(number)), "torn");
        number += 1;
        number
    };
    loop {
        let view = rx.view(None).expect("the producer is there");
        let mut taken = check(&view);
        drop(view);
        if taken < MESSAGES && taken % 3 == 0 {
            // Closed only once everything was taken: then the loop is over too.
            let _count = rx.drain_views(5, |message| taken = check(message));
        }
        if taken == MESSAGES {
            break;
        }
    }
    sender.join().expect("the producer");
}
