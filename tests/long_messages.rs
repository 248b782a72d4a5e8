//! Streams of long messages, whose consumer stores back what it has read.
#![expect(
    clippy::unwrap_used,
    clippy::arithmetic_side_effects,
    reason = "helpers of tests fail by panicking"
)]

use std::thread;

use ringduct::{Location, Options};

const MESSAGES: u64 = 1_500;
const CAPACITY_BYTES: u64 = 64 << 10;

/// Bytes of a message: on both sides of those that are stored back.
fn length_of(number: u64) -> usize {
    usize::try_from(900 + number.wrapping_mul(0x9e37_79b9) % 17_000).unwrap()
}

/// The words of a message: no two messages have one in common.
fn fill(number: u64, message: &mut [u8]) {
    for (at, bytes) in (number << 16..).zip(message.chunks_mut(8)) {
        for (to, from) in bytes.iter_mut().zip(at.to_le_bytes()) {
            *to = from;
        }
    }
}

/// Goal: storing back what was read loses, tears and doubles nothing. Method: two mappings of one
/// ring, the producer ahead as far as it gets, every byte of every message compared; with the data
/// writable and not, with checksums and without, into one buffer and into vectors.
#[test]
fn streams_of_long_messages_arrive_whole() {
    for kind in 0..8_u32 {
        let (writable, checksum, vectors) = (kind & 1 != 0, kind & 2 != 0, kind & 4 != 0);
        let place: Location = format!("shm:ringduct-long-{}-{kind}", std::process::id())
            .parse()
            .unwrap();
        let options = Options::new()
            .capacity_bytes(CAPACITY_BYTES)
            .checksum(checksum)
            .writable_data(writable);
        let ring = options.create(&place).unwrap();
        let mut tx = options.open(&place).unwrap().producer().unwrap();
        let sender = thread::spawn(move || {
            let mut message = Vec::new();
            for number in 0..MESSAGES {
                message.resize(length_of(number), 0);
                fill(number, &mut message);
                tx.send(&message).unwrap();
            }
        });
        let mut rx = ring.consumer().unwrap();
        let (mut expected, mut message) = (Vec::new(), Vec::new());
        for number in 0..MESSAGES {
            expected.resize(length_of(number), 0);
            fill(number, &mut expected);
            if vectors {
                rx.recv_vec(&mut message, None).unwrap();
            } else {
                message.resize(20_000, 0);
                let length = rx.recv(&mut message).unwrap();
                message.truncate(length);
            }
            assert!(message == expected, "kind {kind}: message {number} is torn");
        }
        sender.join().unwrap();
        drop(rx);
        ring.remove().unwrap();
    }
}
