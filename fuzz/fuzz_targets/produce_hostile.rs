//! A producer against a consumer that writes anything: each call ends, says what it found, what was
//! published is whole, and after damage the producer refuses for good.
#![no_main]

use core::time::Duration;
use std::io::Write as _;

use arbitrary::Arbitrary;
use libfuzzer_sys::fuzz_target;
use ringduct::{Producer, Role, SendError, TrySendError, Wait};
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
    /// The consumer writes one of its words.
    Edit(Edit),
    /// The consumer says that it has released so much, in bytes, of what was published.
    Release {
        back: u16,
        slot: bool,
    },
    TrySend {
        bytes: u16,
    },
    Send {
        bytes: u16,
    },
    WaitForRoom {
        bytes: u32,
    },
    /// The edit happens between the first message of the batch and the second.
    SendAll {
        lengths: Vec<u16>,
        edit: Edit,
    },
    Batch {
        lengths: Vec<u16>,
        commit: bool,
    },
    Claim {
        bytes: u32,
        offset: u16,
        written: u16,
        commit: u16,
    },
    Facts,
    /// The producer leaves and comes back, if it is let in.
    Attach,
}

struct Run {
    region: Region,
    damage: Option<TrySendError>,
}

fuzz_target!(|input: Input| {
    let (ring, region) = input.fresh.make();
    let mut tx = ring.producer().expect("an untouched ring");
    tx.set_wait(Wait::SpinThenPark {
        spin: Duration::ZERO,
    });
    let mut run = Run {
        region,
        damage: None,
    };
    for (step, seed) in input.steps.iter().take(MOST_STEPS).zip(0_u8..) {
        if matches!(step, Step::Attach) {
            drop(tx);
            tx = match ring.producer() {
                Ok(tx) => tx,
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
        let before = tx.totals().position;
        run.step(&mut tx, step, seed);
        let moved = tx.totals().position.wrapping_sub(before);
        assert!(moved < CAPACITY_BYTES, "published more than fits");
        let next = run.region.data(tx.totals().position, 8);
        assert_eq!(next, [0; 8], "no empty word behind what is published");
        if run.damage.is_some() {
            assert_eq!(tx.batch().err(), run.damage);
        }
    }
});

impl Run {
    fn step(&mut self, tx: &mut Producer, step: &Step, seed: u8) {
        let tail = tx.totals().position;
        let message = |bytes: u16| payload(usize::from(bytes) % (LONGEST_BYTES + 9), seed);
        match *step {
            Step::Edit(edit) => self.edit(edit, tail),
            Step::Release { back, slot } => {
                let offset = 2 * 4096 + if slot { 32 } else { 0 };
                let back = u64::from(back) % (CAPACITY_BYTES + 64);
                self.region.set(offset, tail.wrapping_sub(back));
            }
            Step::TrySend { bytes } => {
                let message = message(bytes);
                let result = tx.try_send(&message);
                self.sent(tail, &message, result);
            }
            Step::Send { bytes } => {
                let message = message(bytes);
                let result = tx.send_timeout(&message, Duration::from_micros(20));
                if let Some(result) = self.waited(result) {
                    self.sent(tail, &message, result);
                }
            }
            Step::WaitForRoom { bytes } => {
                let now = std::time::Instant::now();
                let result = tx.wait_for_room(bytes as usize, Some(now));
                if let Some(result) = self.waited(result) {
                    self.note(result);
                }
            }
            Step::SendAll { ref lengths, edit } => {
                let region = &self.region;
                let messages = lengths.iter().zip(0..).map(|(length, index)| {
                    if index == 1 {
                        Self::edit_in(region, edit, tail);
                    }
                    message(*length)
                });
                let result = tx.try_send_all(messages);
                self.batch_sent(tail, lengths.iter().map(|length| message(*length)), result);
            }
            Step::Batch {
                ref lengths,
                commit,
            } => {
                let result = Self::batch(tx, lengths.iter().map(|l| message(*l)), commit);
                self.batch_sent(tail, lengths.iter().map(|length| message(*length)), result);
            }
            Step::Claim {
                bytes,
                offset,
                written,
                commit,
            } => {
                let bytes = bytes as usize % (LONGEST_BYTES + 9);
                let message = payload(usize::from(written) % (LONGEST_BYTES + 9), seed);
                let result = Self::claim(tx, bytes, offset.into(), &message, commit.into());
                self.note(result);
            }
            Step::Facts => {
                assert!(tx.backlog_bytes() <= tx.capacity_bytes());
                assert!(!format!("{tx:?} {} {}", tx.peer_state(), tx.peer_holder()).is_empty());
            }
            Step::Attach => {}
        }
    }

    fn edit(&self, edit: Edit, tail: u64) {
        Self::edit_in(&self.region, edit, tail);
    }

    fn edit_in(region: &Region, edit: Edit, tail: u64) {
        let place = edit.place.of(Role::Consumer);
        Edit { place, ..edit }.apply(region, tail);
    }

    fn batch(
        tx: &mut Producer,
        messages: impl Iterator<Item = Vec<u8>>,
        commit: bool,
    ) -> Result<usize, TrySendError> {
        let mut batch = tx.batch()?;
        for message in messages {
            if let Err(error) = batch.push(&message) {
                if matches!(error, TrySendError::Corrupt(_)) {
                    return Err(error);
                }
                break;
            }
        }
        Ok(if commit { batch.commit() } else { 0 })
    }

    fn claim(
        tx: &mut Producer,
        bytes: usize,
        offset: usize,
        message: &[u8],
        commit: usize,
    ) -> Result<(), TrySendError> {
        let mut claim = tx.try_claim(bytes)?;
        let fits = offset + message.len() <= claim.capacity_bytes();
        assert_eq!(claim.write_at(offset, message).is_ok(), fits);
        claim.write_all(&message[..message.len().min(3)]).ok();
        match commit % 4 {
            0 => claim.commit(),
            1 => claim.commit_written(),
            2 => return claim.commit_len(commit / 4),
            _ => {}
        }
        Ok(())
    }

    /// What was sent is in the ring, whole, where the tail was.
    fn sent(&mut self, tail: u64, message: &[u8], result: Result<(), TrySendError>) {
        if result.is_ok() {
            self.check_record(tail, message);
        }
        self.note(result);
    }

    fn batch_sent(
        &mut self,
        mut at: u64,
        messages: impl Iterator<Item = Vec<u8>>,
        result: Result<usize, TrySendError>,
    ) {
        for message in messages.take(result.unwrap_or(0)) {
            self.check_record(at, &message);
            at = at.wrapping_add(record_bytes(message.len()));
        }
        self.note(result.map(drop));
    }

    fn check_record(&self, at: u64, message: &[u8]) {
        let word = self.region.commit_word(at, message);
        assert_eq!(self.region.data(at, 8), word.to_le_bytes());
        let there = self.region.data(at.wrapping_add(8), message.len());
        assert!(there == message, "not what was sent");
    }

    /// The result in the terms of the calls that do not wait; `None` for what only waiting gives.
    fn waited(&self, result: Result<(), SendError>) -> Option<Result<(), TrySendError>> {
        match result {
            Ok(()) => Some(Ok(())),
            Err(SendError::Corrupt(corruption)) => Some(Err(TrySendError::Corrupt(corruption))),
            Err(SendError::Forked) => panic!("nobody has forked"),
            Err(_) => None,
        }
    }

    /// Only what is documented; damage once is damage for good.
    fn note(&mut self, result: Result<(), TrySendError>) {
        match result {
            Ok(()) => assert_eq!(self.damage, None, "worked on after damage"),
            Err(error @ TrySendError::Corrupt(_)) => {
                assert_eq!(*self.damage.get_or_insert(error), error);
                assert!(!error.to_string().is_empty());
            }
            Err(TrySendError::Forked) => panic!("nobody has forked"),
            Err(error) => assert_eq!(self.damage, None, "{error:?} after damage"),
        }
    }
}
