//! The protocol against a queue: random rings, messages, kills and restarts, one step at a time.
//!
//! The same kind of walk runs over the model with its tiny rings, where a side can be killed after
//! any store, and over real mappings through the public ends. The seed is fixed and printed;
//! `RINGDUCT_SEED` sets another one.
#![cfg(not(loom))]
#![expect(
    clippy::arithmetic_side_effects,
    reason = "small numbers, and a test may panic"
)]

use std::collections::VecDeque;

use proptest::collection::vec;
use proptest::prelude::{Strategy, any, prop_oneof};
use proptest::test_runner::{Config, RngSeed, TestRunner};

use super::{ConsumerCore, Geometry, ProducerCore};
use crate::error::{TryRecvError, TrySendError};
use crate::layout::{COMMIT_BYTES, Role, record_bytes, word};
use crate::memory::{Memory, Model, Order};
use crate::{Consumer, Options, Producer, Ring, recovery};

/// Runs a property on `cases` inputs.
fn check<S: Strategy>(cases: u32, inputs: S, property: impl Fn(S::Value)) {
    let seed = std::env::var("RINGDUCT_SEED").map_or(0x5eed, |text| {
        text.parse().expect("RINGDUCT_SEED is a number")
    });
    println!("RINGDUCT_SEED={seed}");
    let mut runner = TestRunner::new(Config {
        cases,
        rng_seed: RngSeed::Fixed(seed),
        failure_persistence: None,
        ..Config::default()
    });
    let outcome = runner.run(&inputs, |input| {
        property(input);
        Ok(())
    });
    outcome.unwrap_or_else(|error| panic!("{error}"));
}

/// Positions at and before the edges where arithmetic goes wrong.
fn starts() -> impl Strategy<Value = u64> {
    let edges = prop_oneof![0..1_u64, 1_u64 << 31..=1 << 31, 1_u64 << 32..=1 << 32];
    let edges = prop_oneof![edges, 1_u64 << 63..=1 << 63, 0..1_u64];
    (edges, 0..200_u64).prop_map(|(edge, words)| edge.wrapping_sub(8 * words))
}

/// Sets both roles of a ring that nobody uses to `position`.
fn start_at(memory: &impl Memory, role: Role, position: u64) {
    memory.store(word::POSITION.of(role), position, Order::RELAXED);
    for slot in word::ACCOUNT {
        memory.store(slot.position.of(role), position, Order::RELAXED);
    }
}

/// What is in the ring, as the calls that succeeded say.
#[derive(Debug)]
struct Oracle {
    queue: VecDeque<Vec<u8>>,
    used_bytes: u64,
    capacity_bytes: u64,
    sent: u64,
    sent_bytes: u64,
    taken: u64,
    taken_bytes: u64,
}

impl Oracle {
    fn new(capacity_bytes: u64) -> Self {
        Self {
            queue: VecDeque::new(),
            used_bytes: 0,
            capacity_bytes,
            sent: 0,
            sent_bytes: 0,
            taken: 0,
            taken_bytes: 0,
        }
    }

    /// Whether `bytes` more fit behind `pending` bytes of unpublished records.
    fn fits(&self, pending: u64, bytes: usize) -> bool {
        let needed = record_bytes(bytes as u64) + COMMIT_BYTES;
        self.used_bytes + pending + needed <= self.capacity_bytes
    }

    fn push(&mut self, message: Vec<u8>) {
        self.used_bytes += record_bytes(message.len() as u64);
        self.sent += 1;
        self.sent_bytes += message.len() as u64;
        self.queue.push_back(message);
    }

    fn extend(&mut self, messages: Vec<Vec<u8>>) {
        for message in messages {
            self.push(message);
        }
    }

    fn pop(&mut self) -> Option<Vec<u8>> {
        let message = self.queue.pop_front()?;
        self.used_bytes -= record_bytes(message.len() as u64);
        self.taken += 1;
        self.taken_bytes += message.len() as u64;
        Some(message)
    }
}

/// Bytes that differ from message to message and from place to place.
fn payload(number: u64, bytes: usize) -> Vec<u8> {
    (0..bytes as u64)
        .map(|index| {
            number
                .wrapping_mul(31)
                .wrapping_add(index * 7 + 1)
                .to_le_bytes()[0]
        })
        .collect()
}

/// A step at the level of the protocol.
#[derive(Clone, Debug)]
enum Step {
    /// Pushes messages of these lengths and publishes what fits.
    Send(Vec<usize>),
    /// Claims, writes in two pieces, and commits so much of it, or abandons it.
    Claim { bytes: usize, commit: Option<usize> },
    /// Takes up to so many, reading or skipping them, and releases them or not.
    Take {
        count: usize,
        reads: bool,
        releases: bool,
    },
    /// A producer that is killed after so many stores of this batch.
    KillProducer {
        lengths: Vec<usize>,
        stores: u64,
        peer_is_live: bool,
    },
    /// A consumer that is killed after so many stores of the release of so many.
    KillConsumer {
        count: usize,
        stores: u64,
        peer_is_live: bool,
    },
}

fn steps(longest: usize) -> impl Strategy<Value = Step> {
    let lengths = || vec(0..=longest, 1..4);
    prop_oneof![
        4 => lengths().prop_map(Step::Send),
        1 => (0..=longest, any::<bool>(), 0..=longest).prop_map(|(bytes, commits, part)| {
            Step::Claim { bytes, commit: commits.then_some(part.min(bytes)) }
        }),
        4 => (1..5_usize, any::<bool>(), any::<bool>())
            .prop_map(|(count, reads, releases)| Step::Take { count, reads, releases }),
        2 => (lengths(), 0..24_u64, any::<bool>()).prop_map(|(lengths, stores, peer_is_live)| {
            Step::KillProducer { lengths, stores, peer_is_live }
        }),
        1 => (1..4_usize, 0..12_u64, any::<bool>()).prop_map(|(count, stores, peer_is_live)| {
            Step::KillConsumer { count, stores, peer_is_live }
        }),
    ]
}

/// Both ends of a modelled ring and what must be in it.
struct Walk {
    model: Model,
    geometry: Geometry,
    tx: ProducerCore<Model>,
    rx: ConsumerCore<Model>,
    oracle: Oracle,
    /// Whether consumers store back what they read.
    returns: bool,
}

impl Walk {
    fn new(geometry: Geometry, start: u64, returns: bool) -> Self {
        let capacity_bytes = geometry.capacity_bytes;
        let model = Model::new(capacity_bytes);
        for role in [Role::Producer, Role::Consumer] {
            start_at(&model, role, start);
        }
        Self {
            tx: attach_producer(&model, geometry, true),
            rx: attach_consumer(&model, geometry, true, returns),
            model,
            geometry,
            oracle: Oracle::new(capacity_bytes),
            returns,
        }
    }

    fn step(&mut self, step: Step) {
        match step {
            Step::Send(lengths) => self.send(&lengths),
            Step::Claim { bytes, commit } => self.claim(bytes, commit),
            Step::Take {
                count,
                reads,
                releases,
            } => self.take(count, reads, releases),
            Step::KillProducer {
                lengths,
                stores,
                peer_is_live,
            } => self.kill_producer(&lengths, stores, peer_is_live),
            Step::KillConsumer {
                count,
                stores,
                peer_is_live,
            } => self.kill_consumer(count, stores, peer_is_live),
        }
        assert_eq!(self.tx.backlog_bytes(), self.oracle.used_bytes);
        assert_eq!(self.rx.backlog_bytes(), self.oracle.used_bytes);
        assert_eq!(self.tx.published().messages, self.oracle.sent);
        assert_eq!(self.tx.published().bytes(), self.oracle.sent_bytes);
        assert_eq!(self.rx.released().messages, self.oracle.taken);
        assert_eq!(self.rx.released().bytes(), self.oracle.taken_bytes);
    }

    /// Pushes what fits and publishes it; returns the messages.
    fn send_on(oracle: &Oracle, tx: &mut ProducerCore<Model>, lengths: &[usize]) -> Vec<Vec<u8>> {
        if let [length] = lengths {
            return Self::send_one_on(oracle, tx, *length);
        }
        let mut pending = tx.begin();
        let mut bytes = 0;
        let mut sent = Vec::new();
        for (index, length) in lengths.iter().enumerate() {
            let message = payload(oracle.sent + index as u64, *length);
            match tx.push(&mut pending, &message) {
                Ok(()) => {
                    assert!(oracle.fits(bytes, *length), "no room was there");
                    bytes += record_bytes(*length as u64);
                    sent.push(message);
                }
                Err(error) => {
                    assert_eq!(error, TrySendError::Full);
                    assert!(!oracle.fits(bytes, *length), "room was there");
                    break;
                }
            }
        }
        assert!(!tx.publish(pending), "nobody sleeps");
        sent
    }

    /// The same for one message, which may go the short way.
    fn send_one_on(oracle: &Oracle, tx: &mut ProducerCore<Model>, length: usize) -> Vec<Vec<u8>> {
        let message = payload(oracle.sent, length);
        let fits = oracle.fits(0, length);
        match tx.send(&message) {
            Ok(wake) => {
                assert!(fits, "no room was there");
                assert!(!wake, "nobody sleeps");
                vec![message]
            }
            Err(error) => {
                assert_eq!(error, TrySendError::Full);
                assert!(!fits, "room was there");
                Vec::new()
            }
        }
    }

    fn send(&mut self, lengths: &[usize]) {
        let sent = Self::send_on(&self.oracle, &mut self.tx, lengths);
        self.oracle.extend(sent);
    }

    fn claim(&mut self, bytes: usize, commit: Option<usize>) {
        let mut pending = self.tx.begin();
        let Ok(space) = self.tx.claim(&pending, bytes as u64) else {
            assert!(!self.oracle.fits(0, bytes), "room was there");
            return;
        };
        let message = payload(self.oracle.sent, bytes);
        let (first, last) = message.split_at(bytes / 2);
        let offset = u32::try_from(first.len()).expect("small");
        self.tx.write_at(space, offset, last);
        self.tx.write_at(space, 0, first);
        if let Some(length) = commit {
            let short = u32::try_from(length).expect("small");
            self.tx.seal_in_place(&mut pending, space, short);
            assert!(!self.tx.publish(pending), "nobody sleeps");
            self.oracle.push(message[..length].to_vec());
        }
    }

    /// Reads or skips up to `count` messages and returns the run.
    fn run_on(
        oracle: &Oracle,
        rx: &mut ConsumerCore<Model>,
        count: usize,
        reads: bool,
    ) -> super::Taken {
        let mut taken = rx.begin();
        for index in 0..count {
            let record = rx.next(&taken).expect("sound records");
            assert_eq!(record.is_some(), index < oracle.queue.len());
            let Some(record) = record else { break };
            if reads {
                let mut out = vec![0; record.message_bytes() as usize];
                rx.copy(record, &mut out).expect("a sound copy");
                assert_eq!(&out, &oracle.queue[index], "another message");
                rx.return_lines(record.position(), &out);
            }
            taken.add(record);
        }
        taken
    }

    /// Takes and releases the next message the short way: 1 if it was there and could go so.
    fn take_short_on(oracle: &Oracle, rx: &mut ConsumerCore<Model>) -> u64 {
        let mut buffer = [0; 64];
        let short = rx.take_short(&mut buffer);
        let Some((length, wake)) = short.or_else(|| rx.take_checked(&mut buffer)) else {
            return 0;
        };
        assert!(!wake, "nobody sleeps");
        let expected = oracle.queue.front().expect("a message is there");
        assert_eq!(&buffer[..length], expected, "another message");
        1
    }

    fn take(&mut self, count: usize, reads: bool, releases: bool) {
        if count == 1 && reads && releases && Self::take_short_on(&self.oracle, &mut self.rx) == 1 {
            self.oracle.pop();
            return;
        }
        let taken = Self::run_on(&self.oracle, &mut self.rx, count, reads);
        if releases {
            assert!(!self.rx.release(taken), "nobody sleeps");
            for _ in 0..taken.messages() {
                self.oracle.pop();
            }
        }
    }

    fn kill_producer(&mut self, lengths: &[usize], stores: u64, peer_is_live: bool) {
        let doomed = self.model.killed_after(stores);
        let mut doomed = attach_producer(&doomed, self.geometry, true);
        let sent = Self::send_on(&self.oracle, &mut doomed, lengths);
        let finished = doomed.memory().stores_left() > 0;
        self.tx = attach_producer(&self.model, self.geometry, peer_is_live);
        let arrived = self.tx.published().messages - self.oracle.sent;
        let all = sent.len() as u64;
        assert!(arrived == 0 || arrived == all, "half a batch");
        assert!(arrived == all || !finished, "a published batch was lost");
        if arrived > 0 {
            self.oracle.extend(sent);
        }
    }

    fn kill_consumer(&mut self, count: usize, stores: u64, peer_is_live: bool) {
        let doomed = self.model.killed_after(stores);
        let mut doomed = attach_consumer(&doomed, self.geometry, true, self.returns);
        let mut taken = if count == 1 {
            Self::take_short_on(&self.oracle, &mut doomed)
        } else {
            0
        };
        if taken == 0 {
            let run = Self::run_on(&self.oracle, &mut doomed, count, true);
            doomed.release(run);
            taken = run.messages();
        }
        let finished = doomed.memory().stores_left() > 0;
        self.rx = attach_consumer(&self.model, self.geometry, peer_is_live, self.returns);
        let gone = self.rx.released().messages - self.oracle.taken;
        assert!(gone == 0 || gone == taken, "half a release");
        assert!(gone == taken || !finished, "a release was lost");
        for _ in 0..gone {
            self.oracle.pop();
        }
    }
}

fn attach_producer(model: &Model, geometry: Geometry, peer_is_live: bool) -> ProducerCore<Model> {
    let recovered = recovery::producer(model, &geometry, peer_is_live);
    let found = recovered.expect("a sound ring");
    let head = found.head;
    let mut core = ProducerCore::new(model.clone(), geometry, found.own, head, false);
    core.store_progress();
    core
}

/// `returns`: whether it stores back what it reads.
fn attach_consumer(
    model: &Model,
    geometry: Geometry,
    peer_is_live: bool,
    returns: bool,
) -> ConsumerCore<Model> {
    let recovered = recovery::consumer(model, &geometry, peer_is_live);
    let found = recovered.expect("a sound ring");
    let mut core = ConsumerCore::new(model.clone(), geometry, found.own, false);
    core.choose_lines(returns);
    core
}

/// Goal: whatever is sent comes out, once, whole and in order, and refusals are right, over laps,
/// kills between any two stores and restarts, from any starting position, whether or not the consumer
/// stores back what it reads. Method: random walks over tiny rings, each step compared with a queue.
#[test]
fn the_protocol_is_a_queue() {
    let kinds = (any::<bool>(), any::<bool>());
    let rings = (0..4_u32, kinds, starts());
    let inputs = rings.prop_flat_map(|(size, kinds, start)| {
        let capacity_bytes = 32_u64 << size;
        let longest = usize::try_from(capacity_bytes - 16).expect("small");
        vec(steps(longest), 1..60).prop_map(move |steps| (capacity_bytes, kinds, start, steps))
    });
    check(
        2000,
        inputs,
        |(capacity_bytes, (checksummed, returns), start, steps)| {
            let geometry = Geometry::for_tests(capacity_bytes, checksummed);
            let mut walk = Walk::new(geometry, start, returns);
            for step in steps {
                walk.step(step);
            }
            walk.take(usize::MAX, true, true);
            assert!(walk.oracle.queue.is_empty(), "a message was lost");
        },
    );
}

/// Goal: a kill after each single store of a batch, and of a release, leaves all or nothing, with
/// the counters that belong to it. Method: every number of stores, batches of one to three, at
/// every offset of a ring whose data is full of earlier laps.
#[test]
fn a_kill_after_any_store_leaves_all_or_nothing() {
    for lengths in [&[8_usize][..], &[8, 0], &[3, 8, 0]] {
        for stores in 0..16 {
            for offset in 0..10 {
                let mut walk = Walk::new(Geometry::for_tests(64, false), 0, false);
                for _ in 0..offset {
                    walk.step(Step::Send(vec![8]));
                    walk.step(Step::Take {
                        count: 1,
                        reads: true,
                        releases: true,
                    });
                }
                walk.step(Step::KillProducer {
                    lengths: lengths.to_vec(),
                    stores,
                    peer_is_live: offset % 2 == 0,
                });
                walk.step(Step::KillConsumer {
                    count: 2,
                    stores: stores % 4,
                    peer_is_live: offset % 2 == 1,
                });
                walk.step(Step::Send(vec![1, 2]));
                walk.take(usize::MAX, true, true);
                assert!(walk.oracle.queue.is_empty(), "a message was lost");
            }
        }
    }
}

/// Goal: making lines ready ahead of the tail leaves the commit words alone that a successor still
/// counts. Method: a ring in which the producer knows of a head beyond its own account, one record
/// further, and asks for lines up to a lap after it; then the consumer is killed.
#[test]
fn lines_ahead_leave_what_is_counted() {
    for peer_is_live in [false, true] {
        let mut walk = Walk::new(Geometry::for_tests(1024, false), 0, false);
        let take = |count| Step::Take {
            count,
            reads: true,
            releases: true,
        };
        for _ in 0..10 {
            walk.step(Step::Send(vec![56]));
        }
        walk.step(take(10));
        walk.tx.settle(); // at 640, where a line begins
        walk.step(Step::Send(vec![8]));
        walk.step(Step::Send(vec![248]));
        walk.step(take(1));
        walk.step(Step::Send(vec![208])); // does not fit before the head is looked at again
        walk.step(Step::KillConsumer {
            count: 0,
            stores: 0,
            peer_is_live,
        });
        walk.take(usize::MAX, true, true);
        assert!(walk.oracle.queue.is_empty(), "a message was lost");
    }
}

/// Goal: whatever is in the other side's words, a call ends with a typed answer. Method: random
/// values in the words that each end reads of the other, then every call; a panic fails the test.
#[test]
fn lies_end_in_typed_answers() {
    let values = prop_oneof![
        any::<u64>(),
        0..200_u64,
        any::<u64>().prop_map(|word| word & !7)
    ];
    let longest = prop_oneof![16..=16_u64, 48..=48_u64];
    let inputs = (values.clone(), values, 0..8_u64, longest, any::<bool>());
    check(
        4000,
        inputs,
        |(position, commit, at, longest, checksummed)| {
            let mut geometry = Geometry::for_tests(64, checksummed);
            geometry.max_message_bytes = longest;
            let mut walk = Walk::new(geometry, 0, true);
            walk.step(Step::Send(vec![8, 8]));
            let head = word::POSITION.of(Role::Consumer);
            walk.model.store(head, position, Order::RELAXED);
            walk.model.store_data(8 * at, commit, Order::RELAXED);
            // There is room already, or once the head is at the tail; a head beyond it is a lie.
            let sent = walk
                .tx
                .send(&vec![0; usize::try_from(longest).expect("small")]);
            assert_eq!(
                sent.is_ok(),
                longest == 16 || position == 32,
                "head not bounded"
            );
            let mut taken = walk.rx.begin();
            for _ in 0..10 {
                let Ok(Some(record)) = walk.rx.next(&taken) else {
                    break;
                };
                assert!(
                    u64::from(record.message_bytes()) <= longest,
                    "a length not bounded"
                );
                let mut out = vec![0; record.message_bytes() as usize];
                let _sound_or_not = walk.rx.copy(record, &mut out);
                taken.add(record);
            }
            assert!(taken.messages() < 8, "a run that goes round the ring");
            // Released one by one, old words may lead round the ring as often as it likes.
            for _ in 0..10 {
                let mut buffer = [0; 64];
                let short = walk.rx.take_short(&mut buffer);
                let taken = short.or_else(|| walk.rx.take_checked(&mut buffer));
                let fits = taken.is_none_or(|(length, _)| length as u64 <= longest);
                assert!(fits, "a length not bounded");
            }
            let _attached_or_not = recovery::producer(&walk.model, &walk.geometry, false);
            let _attached_or_not = recovery::consumer(&walk.model, &walk.geometry, false);
        },
    );
}

/// Goal: one byte more than the longest message is refused, also where room for more is known to be
/// there. Method: every longest message of a small ring, every length, before and behind others.
#[test]
fn the_longest_message_is_the_longest() {
    for longest in 0..=112_u64 {
        let mut geometry = Geometry::for_tests(128, false);
        geometry.max_message_bytes = longest;
        for length in 0..=113_usize {
            let mut walk = Walk::new(geometry, 0, true);
            for _ in 0..3 {
                let sent = walk.tx.send(&vec![0; length]);
                let is_longer = length as u64 > longest;
                let refused = matches!(sent, Err(TrySendError::TooLong { .. }));
                assert_eq!(refused, is_longer, "{length} of {longest}");
                let filler = walk.tx.send(&vec![0; small(longest).min(8)]);
                assert!(matches!(filler, Ok(_) | Err(TrySendError::Full)));
                // Without the bound, leftovers of earlier laps could be taken for ever.
                let taken = (0..100).take_while(|_| walk.rx.take_short(&mut [0; 128]).is_some());
                assert!(taken.count() < 100, "more messages than were sent");
            }
        }
    }
}

fn small(number: u64) -> usize {
    usize::try_from(number).expect("small")
}

mod ends;
