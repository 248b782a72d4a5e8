//! A consumer against a producer that writes anything: each call ends, says what it found, gives out
//! only bytes that are in the ring, and after damage refuses for good.
#![no_main]

use core::time::Duration;
use std::time::Instant;

use arbitrary::Arbitrary;
use libfuzzer_sys::fuzz_target;
use ringduct::{Consumer, RecvError, Role, TryRecvError, Wait};
use ringduct_fuzz::{
    CAPACITY_BYTES, Edit, Fresh, LONGEST_BYTES, MOST_STEPS, Region, payload, record_bytes,
};

#[derive(Arbitrary, Debug)]
struct Input {
    fresh: Fresh,
    steps: Vec<Step>,
}

#[derive(Arbitrary, Debug)]
enum Step {
    /// The producer writes one of its words, or data.
    Edit(Edit),
    /// The producer writes intact records, the first so many words behind the head.
    Records {
        words_ahead: u8,
        lengths: Vec<u16>,
    },
    /// The producer leaves no empty word in the whole ring.
    Chain {
        size: u8,
    },
    TryRecv {
        buffer_bytes: u16,
    },
    TryRecvVec,
    Recv,
    Peek {
        buffer_bytes: u16,
    },
    PeekVec,
    /// The edit happens when the first message is shown.
    Drain {
        max: u8,
        edit: Edit,
    },
    Skip {
        max: u8,
    },
    SkipToLatest,
    TryMessages {
        max: u8,
        edit: Edit,
    },
    Facts,
    /// The consumer leaves and comes back, if it is let in.
    Attach,
}

/// What the calls share: the ring, and the damage that was reported first.
struct Run {
    longest: usize,
    region: Region,
    damage: Option<TryRecvError>,
    buffer: Vec<u8>,
}

fuzz_target!(|input: Input| {
    let (ring, region) = input.fresh.make();
    let mut rx = ring.consumer().expect("an untouched ring");
    rx.set_wait(Wait::SpinThenPark {
        spin: Duration::ZERO,
    });
    let mut run = Run {
        longest: input.fresh.longest_bytes(),
        region,
        damage: None,
        buffer: vec![0; LONGEST_BYTES],
    };
    for step in input.steps.iter().take(MOST_STEPS) {
        if matches!(step, Step::Attach) {
            drop(rx);
            rx = match ring.consumer() {
                Ok(rx) => rx,
                Err(error) => {
                    assert!(
                        matches!(error, ringduct::OpenError::Corrupt { .. }),
                        "{error:?}"
                    );
                    return;
                }
            };
            run.damage = None;
            continue;
        }
        let before = rx.totals();
        run.step(&mut rx, step);
        let moved = rx.totals().position.wrapping_sub(before.position);
        // An iterator takes one message a call, and a hostile producer can go on for ever.
        if !matches!(step, Step::TryMessages { .. }) {
            assert!(moved <= CAPACITY_BYTES, "released more than fits");
        }
        if run.damage.is_some() {
            assert_eq!(rx.peek_len().err(), run.damage);
        }
    }
});

impl Run {
    fn step(&mut self, rx: &mut Consumer, step: &Step) {
        let head = rx.totals().position;
        match *step {
            Step::Edit(edit) => self.edit(edit, head),
            Step::Records {
                words_ahead,
                ref lengths,
            } => {
                let mut at = head.wrapping_add(u64::from(words_ahead) * 8);
                for length in lengths.iter().take(MOST_STEPS) {
                    let length = usize::from(*length) % (LONGEST_BYTES + 1);
                    at = self
                        .region
                        .put_record(at, &payload(length, (at >> 3) as u8));
                }
            }
            Step::Chain { size } => self.region.put_chain(head, size),
            Step::TryRecv { buffer_bytes } => {
                let result = rx.try_recv(self.part(buffer_bytes));
                self.one(head, result);
            }
            Step::Peek { buffer_bytes } => {
                let result = rx.peek(self.part(buffer_bytes));
                self.one(head, result);
            }
            Step::TryRecvVec => {
                let result = rx.try_recv_vec(&mut self.buffer);
                let length = self.buffer.len();
                self.one(head, result.map(|()| length));
                self.buffer.resize(LONGEST_BYTES, 0);
            }
            Step::Recv => {
                let result = rx.recv_timeout(&mut self.buffer, Duration::from_micros(20));
                self.waited(head, result);
            }
            Step::PeekVec => {
                let result = rx.peek_vec(&mut self.buffer, Some(Instant::now()));
                let length = self.buffer.len();
                self.waited(head, result.map(|()| length));
                self.buffer.resize(LONGEST_BYTES, 0);
            }
            Step::Drain { max, edit } => self.drain(rx, max.into(), edit),
            Step::Skip { max } => {
                let result = rx.skip(max.into());
                self.count(result, max.into());
            }
            Step::SkipToLatest => {
                let result = rx.skip_to_latest();
                self.count(result, 512);
            }
            Step::TryMessages { max, edit } => {
                for result in rx.try_messages().take(max.into()) {
                    self.edit(edit, head);
                    self.note(result.map(drop));
                }
            }
            Step::Facts => {
                assert!(rx.backlog_bytes() <= rx.capacity_bytes());
                assert!(!format!("{rx:?} {} {}", rx.peer_state(), rx.peer_holder()).is_empty());
            }
            Step::Attach => {}
        }
    }

    fn edit(&self, edit: Edit, head: u64) {
        let place = edit.place.of(Role::Producer);
        Edit { place, ..edit }.apply(&self.region, head);
    }

    fn part(&mut self, bytes: u16) -> &mut [u8] {
        let bytes = usize::from(bytes).min(self.buffer.len());
        &mut self.buffer[..bytes]
    }

    /// What was received is what is in the ring behind the head.
    fn one(&mut self, head: u64, result: Result<usize, TryRecvError>) {
        if let Ok(length) = result {
            assert!(length <= self.longest);
            let there = self.region.data(head.wrapping_add(8), length);
            assert!(self.buffer[..length] == there, "not what is in the ring");
        }
        self.note(result.map(drop));
    }

    fn waited(&mut self, head: u64, result: Result<usize, RecvError>) {
        match result {
            Ok(length) => self.one(head, Ok(length)),
            Err(RecvError::Corrupt(corruption)) => {
                self.note(Err(TryRecvError::Corrupt(corruption)));
            }
            Err(RecvError::TimedOut | RecvError::Closed | RecvError::PeerGone) => {}
            Err(error) => panic!("{error:?}"),
        }
    }

    fn drain(&mut self, rx: &mut Consumer, max: usize, edit: Edit) {
        let start = rx.totals().position;
        let mut at = start;
        let mut shown = 0_usize;
        let result = rx.drain(max, |message| {
            assert!(message.len() <= self.longest);
            let there = self.region.data(at.wrapping_add(8), message.len());
            assert!(message == there, "not what is in the ring");
            at = at.wrapping_add(record_bytes(message.len()));
            if shown == 0 {
                self.edit(edit, start);
            }
            shown += 1;
        });
        assert_eq!(rx.totals().position, at, "released other than was shown");
        self.count(result, shown);
    }

    fn count(&mut self, result: Result<usize, TryRecvError>, most: usize) {
        if let Ok(count) = result {
            assert!(count <= most);
        }
        self.note(result.map(drop));
    }

    /// Only what is documented; damage once is damage for good.
    fn note(&mut self, result: Result<(), TryRecvError>) {
        match result {
            Ok(()) => assert_eq!(self.damage, None, "worked on after damage"),
            Err(error @ TryRecvError::Corrupt(_)) => {
                assert_eq!(*self.damage.get_or_insert(error), error);
                assert!(!error.to_string().is_empty());
            }
            Err(TryRecvError::Forked) => panic!("nobody has forked"),
            Err(error) => assert_eq!(self.damage, None, "{error:?} after damage"),
        }
    }
}
