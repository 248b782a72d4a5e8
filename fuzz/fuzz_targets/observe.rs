//! An observer of a region that somebody keeps writing to: bounded work, typed findings, and not a
//! byte written.
#![no_main]

use arbitrary::Arbitrary;
use libfuzzer_sys::fuzz_target;
use ringduct::{Observer, Options, Peeked};
use ringduct_fuzz::{CAPACITY_BYTES, Edit, Fresh, LONGEST_BYTES, MOST_STEPS, payload};

#[derive(Arbitrary, Debug)]
struct Input {
    fresh: Fresh,
    lengths: Vec<u16>,
    released: u8,
    steps: Vec<Step>,
}

#[derive(Arbitrary, Debug)]
enum Step {
    Edit(Edit),
    Record { words_ahead: u8, bytes: u8 },
    Chain { size: u8 },
    PeekAll,
    Peek(u64),
    PeekNear(u16),
    Snapshot,
}

fuzz_target!(|input: Input| {
    let (ring, region) = input.fresh.make();
    let mut tx = ring.producer().expect("an untouched ring");
    let mut rx = ring.consumer().expect("an untouched ring");
    for (length, seed) in input.lengths.iter().take(MOST_STEPS).zip(0..) {
        let message = payload(usize::from(*length) % (LONGEST_BYTES + 1), seed);
        tx.try_send(&message).ok();
    }
    rx.skip(input.released.into()).expect("an untouched ring");
    let head = rx.totals().position;
    let observer = Options::new().observe(&region.location()).expect("a ring");
    let first = observer.snapshot();
    assert_eq!(first.backlog_bytes, rx.backlog_bytes());
    for step in input.steps.iter().take(MOST_STEPS) {
        match *step {
            Step::Edit(edit) => edit.apply(&region, head),
            Step::Record { words_ahead, bytes } => {
                let at = head.wrapping_add(u64::from(words_ahead) * 8);
                region.put_record(at, &payload(bytes.into(), bytes));
            }
            Step::Chain { size } => region.put_chain(head, size),
            Step::PeekAll => {
                let before = region.image();
                check_all(&observer);
                assert!(before == region.image(), "an observer has written");
            }
            Step::Peek(position) => check_one(&observer, position),
            Step::PeekNear(words) => {
                check_one(&observer, head.wrapping_add(u64::from(words) * 8));
            }
            Step::Snapshot => {
                let now = observer.snapshot();
                assert!(now.backlog_bytes <= CAPACITY_BYTES);
                assert!(now.backlog_messages <= CAPACITY_BYTES / 8);
                assert!(!format!("{now:?} {:?}", now.rates_since(&first)).is_empty());
                assert!(!now.producer.holder.to_string().is_empty());
                assert!(!now.consumer.state.to_string().is_empty());
            }
        }
    }
});

fn check_one(observer: &Observer, position: u64) {
    match observer.peek(position) {
        Ok(None) => {}
        Ok(Some(peeked)) => {
            assert_eq!(peeked.position, position & !7);
            check_peeked(observer, &peeked);
        }
        Err(corruption) => assert!(!corruption.to_string().is_empty()),
    }
}

/// Records follow each other, and the walk does not go round the ring.
fn check_all(observer: &Observer) {
    let Ok(found) = observer.peek_all() else {
        return;
    };
    for peeked in &found {
        check_peeked(observer, peeked);
    }
    for pair in found.windows(2) {
        let gap = pair[1].position.wrapping_sub(pair[0].next_position);
        assert!(gap < CAPACITY_BYTES, "{pair:?}");
    }
    if let (Some(first), Some(last)) = (found.first(), found.last()) {
        assert!(last.position.wrapping_sub(first.position) < CAPACITY_BYTES);
    }
}

fn check_peeked(observer: &Observer, peeked: &Peeked) {
    assert!(peeked.message.len() as u64 <= observer.max_message_bytes());
    let record = ringduct_fuzz::record_bytes(peeked.message.len());
    assert_eq!(peeked.next_position, peeked.position.wrapping_add(record));
}
