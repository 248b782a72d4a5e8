//! Rings in use.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::sync::mpsc::{self, Receiver, TryRecvError};
use std::thread;

use ringduct::{Location, Options, RecoveryState, Ring};

use crate::{CAPACITY, DATA, PAGE, RECORD};

/// A pair that goes on by itself until the other end of `stop` is gone.
fn keep_going(ring: &Ring, stop: &Receiver<()>) {
    let (mut tx, mut rx) = (ring.producer().unwrap(), ring.consumer().unwrap());
    let messages: Vec<_> = (0..200_u8)
        .map(|number| vec![number; number.into()])
        .collect();
    for message in messages.iter().cycle() {
        while tx.try_send(message).is_err() {
            rx.skip(3).unwrap();
        }
        if stop.try_recv() == Err(TryRecvError::Disconnected) {
            return;
        }
    }
}

/// Goal: a ring in use is never called damaged, and its records are walked. Method: examinations
/// and walks beside a pair that laps all the time.
#[test]
fn a_ring_in_use_is_left_in_peace() {
    for checksum in [false, true] {
        let dir = tempfile::tempdir().unwrap();
        let location = Location::from(dir.path().join("live.ring"));
        let options = Options::new().capacity_bytes(CAPACITY).checksum(checksum);
        let ring = options.create(&location).unwrap();
        let (running, stop) = mpsc::channel();
        let (mut walked, mut seen) = (0, 0);
        thread::scope(|scope| {
            let _running = running; // gone at the end, and when a test fails in the middle
            scope.spawn({
                let ring = &ring;
                move || keep_going(ring, &stop)
            });
            let observer = ring.observer().unwrap();
            while observer.snapshot().producer.totals.messages == 0 {
                thread::yield_now();
            }
            for _ in 0..300 {
                let found = Options::new().examine(&location).unwrap();
                assert_eq!(found.fault, None);
                assert!(found.in_use && found.refusal.is_none());
                assert_eq!(found.state, Some(RecoveryState::Live));
                walked += found.whole_messages;
                for record in observer.records() {
                    let message = record.unwrap().message;
                    assert!(message.windows(2).all(|two| two[0] == two[1]), "torn");
                    seen += 1;
                }
            }
        });
        println!("checksum {checksum}: {walked} records examined, {seen} copied");
        assert!(walked > 100 && seen > 100, "{walked} {seen}");
    }
}

/// Goal: damage in a ring in use is named too. Method: a hole, a length, a checksum and a tail
/// behind the back of a pair that rests.
#[test]
fn a_damaged_ring_in_use_is_named() {
    let hole = "end of the records in front of the producer's tail";
    let table: [(u64, u64, &str, Option<u64>); 5] = [
        (DATA + RECORD, 0, hole, Some(RECORD)),
        (DATA + RECORD, 5000, "record length", Some(RECORD)),
        (DATA + RECORD + 8, 1, "record checksum", Some(RECORD)),
        (PAGE, 2 * CAPACITY, "consumer's head", None),
        (2 * PAGE, 4, "consumer's head", None),
    ];
    for (offset, value, what, position) in table {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("live.ring");
        let options = Options::new().capacity_bytes(CAPACITY).checksum(true);
        let ring = options.create(&Location::from(&*path)).unwrap();
        let mut tx = ring.producer().unwrap();
        for number in 0..4_u8 {
            tx.send(&[number; 24]).unwrap();
        }
        let file = File::options().write(true).open(&path).unwrap();
        file.write_all_at(&value.to_le_bytes(), offset).unwrap();
        let found = Options::new().examine(&Location::from(&*path)).unwrap();
        let fault = found.fault.unwrap();
        assert_eq!((fault.what, fault.position), (what, position), "{fault}");
        assert!(found.in_use && found.recovery.is_none());
    }
}
