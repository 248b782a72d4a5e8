//! Code of the caller's that panics while it has something of the ring in its hands.
#![expect(clippy::unwrap_used, reason = "helpers of tests fail by panicking")]

use std::panic::{AssertUnwindSafe, catch_unwind};

use ringduct::{Consumer, Options, Producer, TryRecvError, pair};

/// Bytes of the message that is never sent.
const LENGTH: usize = 48;

/// Messages of the batch that is never sent, and of the one that is taken in part.
const BATCH: usize = 12;

/// Runs code that panics.
fn panics(body: impl FnOnce()) {
    assert!(catch_unwind(AssertUnwindSafe(body)).is_err());
}

/// Goal: a panic while a message is being written, at any of its bytes, leaves the ring as it was:
/// nothing is published, counted or closed, and the next message is whole. Method: at each byte, in
/// a claim that is copied into and in one that is written in place, in rings that have gone round.
#[test]
fn a_panic_in_a_claim_publishes_nothing() {
    let mut panicked = 0;
    for at in 0..=LENGTH {
        let ring = Options::new()
            .capacity_bytes(4096)
            .create_anonymous()
            .unwrap();
        let (mut tx, mut rx) = (ring.producer().unwrap(), ring.consumer().unwrap());
        go_round(&mut tx, &mut rx);
        unchanged(&mut tx, &mut rx, |tx| {
            let mut claim = tx.try_claim(LENGTH).unwrap();
            claim.write_at(0, &[0xEE; LENGTH][..at]).unwrap();
            panic!("at byte {at}, on purpose");
        });
        let (mut tx, mut rx) = pair(4096).unwrap();
        go_round(&mut tx, &mut rx);
        unchanged(&mut tx, &mut rx, |tx| {
            let mut claim = tx.try_claim(LENGTH).unwrap();
            for byte in &mut claim[..at] {
                *byte = 0xEE;
            }
            panic!("at byte {at}, on purpose");
        });
        panicked += 2;
    }
    assert_eq!(panicked, 2 * (LENGTH + 1));
}

/// Goal: the same for a batch, after any number of its messages.
#[test]
fn a_panic_in_a_batch_publishes_nothing() {
    for checksum in [false, true] {
        for pushed in 0..=BATCH {
            let options = Options::new().capacity_bytes(4096).checksum(checksum);
            let ring = options.create_anonymous().unwrap();
            let (mut tx, mut rx) = (ring.producer().unwrap(), ring.consumer().unwrap());
            go_round(&mut tx, &mut rx);
            unchanged(&mut tx, &mut rx, |tx| {
                let mut batch = tx.batch().unwrap();
                for _ in 0..pushed {
                    batch.push(&[0xEE; LENGTH]).unwrap();
                }
                panic!("after {pushed} messages, on purpose");
            });
        }
    }
}

/// Goal: of messages that are shown one after the other, those before the one at which the code
/// panics are taken, and that one is still there. Method: panic at each.
#[test]
fn a_panic_in_a_drain_keeps_its_message() {
    for at in 0..BATCH {
        let ring = Options::new()
            .capacity_bytes(4096)
            .create_anonymous()
            .unwrap();
        let (mut tx, mut rx) = (ring.producer().unwrap(), ring.consumer().unwrap());
        for number in 0..BATCH {
            tx.send(&number.to_string().into_bytes()).unwrap();
        }
        let mut seen = 0;
        panics(|| {
            let _taken = rx.drain(BATCH, |_| {
                assert!(seen < at, "on purpose");
                seen += 1;
            });
        });
        assert_eq!(seen, at);
        assert_eq!(rx.totals().messages, at as u64);
        for number in at..BATCH {
            let mut buffer = [0; 8];
            let length = rx.try_recv(&mut buffer).unwrap();
            assert_eq!(&buffer[..length], number.to_string().as_bytes());
        }
        assert_eq!(rx.try_recv(&mut [0; 8]), Err(TryRecvError::Empty));
    }
}

/// Leaves records of earlier laps everywhere.
fn go_round<T: ringduct::Trust>(tx: &mut Producer<T>, rx: &mut Consumer<T>) {
    for number in 0..300_u64 {
        tx.send(&number.to_le_bytes()).unwrap();
        assert_eq!(rx.recv(&mut [0; 8]), Ok(8));
    }
    tx.send(b"waits").unwrap();
}

/// Lets `body` panic over the producer, and looks at both sides before and after.
fn unchanged<T: ringduct::Trust>(
    tx: &mut Producer<T>,
    rx: &mut Consumer<T>,
    body: impl FnOnce(&mut Producer<T>),
) {
    let before = (tx.totals(), rx.totals(), tx.backlog_bytes());
    panics(|| body(tx));
    assert_eq!((tx.totals(), rx.totals(), tx.backlog_bytes()), before);
    let mut buffer = [0; 8];
    assert_eq!(rx.try_recv(&mut buffer), Ok(5));
    assert_eq!(
        rx.try_recv(&mut buffer),
        Err(TryRecvError::Empty),
        "nothing more, and no close"
    );
    tx.send(b"after").unwrap();
    assert_eq!(rx.try_recv(&mut buffer), Ok(5));
    assert_eq!(&buffer[..5], b"after");
}
