//! The kill storm over a durable ring, with checkpoints on both sides and recoveries between.
//!
//! As in `crate::storm`, each side writes what it is about to do and what it has done into an
//! [`Oracle`], and its successor compares. After a cold recovery a ring without checksums may have
//! forgotten what no checkpoint covered; what a checkpoint had covered, it may not. Messages carry
//! the incarnation in which they were sent, so a forgotten one that came back would be told from the
//! one that took its number.
#![expect(
    clippy::print_stdout,
    reason = "a random test says its seed and what it did"
)]

use std::path::Path;
use std::time::Duration;

use libtest_mimic::Trial;
use ringduct::{
    CheckpointForm, CheckpointPolicy, Consumer, Durable, Location, MessageKey, Options, Producer,
    RecvError, SendError, TrySendError,
};

use super::{Disk, on_disk};
use crate::message::{self, Random};
use crate::oracle::{Oracle, Word};
use crate::storm::{Side, from_env, round, some_wait};

const CAPACITY: u64 = 4096;

/// Bytes of the longest message.
const LONGEST: usize = 400;

/// Kills of one `cargo test`, over both storms. `RINGDUCT_KILLS` says otherwise: an eighth of it for
/// each.
const KILLS: u64 = 320;

/// Incarnations that the ring can tell apart: so many starts fit into a checkpoint.
const TOLD_APART: u64 = 8;

pub(super) fn add(trials: &mut Vec<Trial>) {
    for (index, checksum) in [(0, false), (1, true)] {
        let records = if checksum { "checked" } else { "plain" };
        on_disk(
            trials,
            format!("durable_kill_storm::{records}"),
            move |disk| {
                storm(index, checksum, disk);
            },
        );
    }
}

/// Goal: whoever is killed, and whenever, in a checkpoint or a recovery too: nothing published is
/// lost while the memory is trusted or proves itself, and nothing that a checkpoint covered in any
/// case; nothing is torn, invented, out of order, or delivered again that was released durably.
/// Method: as the head of this file says. Both sides make checkpoints at random, by calls and by
/// policies, and half of the successors do not trust the memory where they have the choice.
fn storm(index: u64, checksum: bool, disk: &Disk) {
    let wanted = from_env("RINGDUCT_KILLS").map_or(KILLS / 2, |kills| kills.div_ceil(8));
    let seed = from_env("RINGDUCT_SEED").unwrap_or(0x0DDB_A115);
    let mut random = Random::new(seed.wrapping_add(index));
    let place = disk.path("storm.ring").display().to_string();
    println!("durable storm on {place}, checksums {checksum}: seed {seed:#x}, {wanted} kills");
    let location: Location = place.parse().unwrap();
    let options = Options::new().durable(true).capacity_bytes(CAPACITY);
    let ring = options.checksum(checksum).create(&location).unwrap();
    let path = disk.path("oracle");
    let oracle = Oracle::open(&path);
    let program = "durable storm";
    let mut sides = [
        Side::new((program, "producer"), Word::ProducerSessions, &place, &path),
        Side::new((program, "consumer"), Word::ConsumerSessions, &place, &path),
    ];
    for side in &mut sides {
        side.start(random.next());
        side.await_attach(&oracle, 0);
    }
    while sides.iter().map(|side| side.kills).sum::<u64>() < wanted {
        round(&mut sides, (4, 6_000_000), &oracle, &mut random);
    }
    let [tx, rx] = &mut sides;
    oracle.set(Word::Stop, 1);
    let (tx_end, rx_end) = (tx.finish(), rx.finish());
    assert!(tx_end.success() && rx_end.success(), "{tx_end} {rx_end}");
    let published = oracle.get(Word::Published);
    let words = [Word::Intended, Word::Seen, Word::Released];
    assert_eq!(words.map(|word| oracle.get(word)), [published; 3]);
    let snapshot = ring.observer().unwrap().snapshot();
    assert_eq!(snapshot.producer.totals.messages, published);
    assert_eq!(snapshot.consumer.totals, snapshot.producer.totals);
    let (kills, at_work) = (tx.kills + rx.kills, tx.kills_at_work + rx.kills_at_work);
    let [checked, cold, dropped, sent, released] = [
        Word::Checked,
        Word::Cold,
        Word::Dropped,
        Word::ProducerCheckpoints,
        Word::ConsumerCheckpoints,
    ]
    .map(|word| oracle.get(word));
    println!(
        "{place}: {kills} kills, {at_work} at work, {checked} messages checked, {sent} and \
         {released} checkpoints, {cold} cold recoveries, {dropped} messages dropped by them"
    );
    assert!(kills >= wanted && at_work * 2 >= kills && checked >= kills);
    assert!(sent >= kills / 4 && released >= kills / 4 && cold >= kills / 20);
    assert_eq!(dropped > 0, !checksum, "whole records prove themselves");
}

/// One side of the storm, as a process.
pub(super) fn child(words: &[&str]) {
    let [side, place, oracle, seed] = *words else {
        panic!("durable storm SIDE PLACE ORACLE SEED: {words:?}")
    };
    let oracle = Oracle::open(Path::new(oracle));
    let mut random = Random::new(seed.parse().unwrap());
    let options = Options::new().distrust_memory(random.below(2) == 0);
    let ring = options.open(&place.parse().unwrap()).unwrap();
    match side {
        "producer" => {
            let tx = ring.producer().unwrap();
            Sender::begin(tx, &oracle, ring.checksum()).work(random);
        }
        _ => Receiver::begin(ring.consumer().unwrap(), &oracle).work(random),
    }
}

/// How checkpoints are made besides those that are asked for.
fn some_policy(random: &mut Random) -> CheckpointPolicy {
    let policy = CheckpointPolicy::new();
    match random.below(4) {
        0 => policy.every_messages(random.below(20)),
        1 => policy.every(Duration::from_micros(100)).in_background(true),
        2 => policy.every_bytes(600).in_background(true),
        _ => policy,
    }
}

fn add_to(oracle: &Oracle, word: Word, count: u64) {
    oracle.set(word, oracle.get(word) + count);
}

/// The producer and its half of the audit.
struct Sender<'a> {
    tx: Producer,
    oracle: &'a Oracle,
    next: u64,
    incarnation: u64,
    one_sync: bool,
    buffer: Vec<u8>,
}

impl<'a> Sender<'a> {
    /// Compares what the ring says with what predecessors left.
    fn begin(tx: Producer, oracle: &'a Oracle, checksum: bool) -> Self {
        let (next, recovery) = (tx.totals().messages, *tx.recovery());
        let [published, intended, durable, known] = [
            Word::Published,
            Word::Intended,
            Word::SentDurably,
            Word::ProducerIncarnation,
        ]
        .map(|word| oracle.get(word));
        let says = format!(
            "goes on at {next}: {published} were published, perhaps {intended}, {durable} durably, \
             in incarnation {known}; {recovery}"
        );
        let may_forget = recovery.incarnation > known && !checksum;
        if may_forget {
            // The consumer's checkpoint counts too: it has seen what it released.
            let least = durable.max(oracle.get(Word::ReleasedDurably));
            assert!((least..=intended).contains(&next), "{says}");
        } else {
            assert!(next == published || next == intended, "{says}");
            assert!(recovery.incarnation >= known, "{says}");
        }
        if recovery.incarnation > known {
            add_to(oracle, Word::Cold, 1);
            add_to(oracle, Word::Dropped, published.saturating_sub(next));
            for incarnation in known + 1..=recovery.incarnation {
                oracle.set_first_of(incarnation, next);
            }
        }
        oracle.set(Word::Published, next);
        oracle.set(Word::Intended, next);
        oracle.set(Word::ProducerIncarnation, recovery.incarnation);
        add_to(oracle, Word::ProducerSessions, 1);
        Self {
            tx,
            oracle,
            next,
            incarnation: recovery.incarnation,
            one_sync: checksum,
            buffer: Vec::new(),
        }
    }

    fn work(mut self, mut random: Random) {
        self.tx.set_wait(some_wait(&mut random));
        self.tx.set_checkpoints(some_policy(&mut random)).unwrap();
        while self.oracle.get(Word::Stop) == 0 {
            let sent = match random.below(16) {
                0 => {
                    self.checkpoint(&mut random);
                    Ok(0)
                }
                1..5 => self.batch(random.below(9), random.below(8) == 0),
                5..8 => self.claim(),
                _ => self.single(),
            };
            match sent {
                Ok(count) => self.next += count,
                // The other side was killed: said once, then wait for its successor.
                Err(SendError::PeerGone) => continue,
                Err(error) => panic!("message {}: {error}", self.next),
            }
            self.oracle.set(Word::Published, self.next);
            let durable = self.tx.durable().unwrap();
            self.covered(&durable);
        }
    }

    /// Everything before this is promised from now on.
    fn covered(&self, durable: &Durable) {
        assert_eq!(durable.incarnation, self.incarnation);
        assert!(durable.messages <= self.next, "{durable}");
        if durable.messages > self.oracle.get(Word::SentDurably) {
            self.oracle.set(Word::SentDurably, durable.messages);
            add_to(self.oracle, Word::ProducerCheckpoints, 1);
        }
    }

    fn checkpoint(&mut self, random: &mut Random) {
        let durable = match random.below(3) {
            0 => self.tx.checkpoint_as(CheckpointForm::Full),
            1 if self.one_sync => self.tx.checkpoint_as(CheckpointForm::OneSync),
            _ => self.tx.checkpoint(),
        };
        let durable = durable.unwrap();
        assert_eq!(durable.messages, self.next);
        self.covered(&durable);
    }

    fn write(&mut self, number: u64) {
        message::incarnate(number, self.incarnation, LONGEST, &mut self.buffer);
    }

    fn single(&mut self) -> Result<u64, SendError> {
        self.write(self.next);
        self.oracle.set(Word::Intended, self.next + 1);
        self.tx.send(&self.buffer)?;
        Ok(1)
    }

    fn claim(&mut self) -> Result<u64, SendError> {
        self.write(self.next);
        let mut claim = self.tx.claim(LONGEST, None)?;
        claim.write_at(0, &self.buffer).unwrap();
        self.oracle.set(Word::Intended, self.next + 1);
        claim.commit_len(self.buffer.len()).unwrap();
        Ok(1)
    }

    /// Several at once, or, abandoned, none: those have numbers and bytes that nobody may see.
    fn batch(&mut self, count: u64, abandoned: bool) -> Result<u64, SendError> {
        self.tx.wait_for_room(LONGEST, None)?;
        let mut batch = self.tx.batch().unwrap();
        let mut end = self.next;
        for number in self.next..self.next + count {
            let incarnation = self.incarnation + if abandoned { 1 << 20 } else { 0 };
            message::incarnate(number, incarnation, LONGEST, &mut self.buffer);
            match batch.push(&self.buffer) {
                Ok(()) => end += 1,
                Err(TrySendError::Full | TrySendError::WaitingForCheckpoint) => break,
                Err(error) => panic!("message {number}: {error}"),
            }
        }
        if abandoned {
            return Ok(0);
        }
        self.oracle.set(Word::Intended, end);
        assert_eq!(batch.commit() as u64, end - self.next);
        Ok(end - self.next)
    }
}

/// The consumer and its half of the audit.
struct Receiver<'a> {
    rx: Consumer,
    oracle: &'a Oracle,
    next: u64,
    incarnation: u64,
    last: MessageKey,
    found: Vec<u8>,
    expected: Vec<u8>,
}

impl<'a> Receiver<'a> {
    /// Compares what the ring says with what predecessors left.
    fn begin(rx: Consumer, oracle: &'a Oracle) -> Self {
        let (next, recovery) = (rx.totals().messages, *rx.recovery());
        let [released, seen, durable, known] = [
            Word::Released,
            Word::Seen,
            Word::ReleasedDurably,
            Word::ConsumerIncarnation,
        ]
        .map(|word| oracle.get(word));
        let says = format!(
            "goes on at {next}: {released} were released, perhaps {seen}, {durable} durably, in \
             incarnation {known}; {recovery}"
        );
        if recovery.incarnation > known {
            assert!((durable..=seen).contains(&next), "{says}");
        } else {
            assert!(next == released || next == seen, "{says}");
            assert_eq!(recovery.incarnation, known, "{says}");
        }
        oracle.set(Word::Seen, next);
        oracle.set(Word::Released, next);
        oracle.set(Word::ConsumerIncarnation, recovery.incarnation);
        add_to(oracle, Word::ConsumerSessions, 1);
        Self {
            rx,
            oracle,
            next,
            incarnation: recovery.incarnation,
            last: MessageKey::default(),
            found: Vec::new(),
            expected: Vec::new(),
        }
    }

    fn work(mut self, mut random: Random) {
        self.rx.set_wait(some_wait(&mut random));
        self.rx.set_checkpoints(some_policy(&mut random)).unwrap();
        loop {
            let mut found = std::mem::take(&mut self.found);
            match self.rx.peek_vec(&mut found, None) {
                Ok(()) => {}
                Err(RecvError::PeerGone) => continue,
                Err(RecvError::Closed) => {
                    assert_eq!(self.oracle.get(Word::Stop), 1, "nobody has closed");
                    return;
                }
                Err(error) => panic!("before message {}: {error}", self.next),
            }
            let key = self.rx.next_key();
            let incarnation = self.check(&found);
            self.check_key(key, incarnation);
            let mut again = Vec::new();
            self.rx.recv_vec(&mut again, None).unwrap();
            assert_eq!(again, found, "another message than the one peeked at");
            self.found = found;
            self.oracle.set(Word::Released, self.next);
            let durable = if random.below(24) == 0 {
                let durable = self.rx.checkpoint().unwrap();
                assert_eq!(durable.messages, self.next);
                durable
            } else {
                self.rx.durable().unwrap()
            };
            self.covered(&durable);
        }
    }

    /// Nothing before this may come again from now on.
    fn covered(&self, durable: &Durable) {
        assert_eq!(durable.incarnation, self.incarnation);
        assert!(durable.messages <= self.next, "{durable}");
        if durable.messages > self.oracle.get(Word::ReleasedDurably) {
            self.oracle.set(Word::ReleasedDurably, durable.messages);
            add_to(self.oracle, Word::ConsumerCheckpoints, 1);
        }
    }

    /// Checks a message that is not yet released, and notes that it was seen. The answer is the
    /// incarnation it was sent in.
    fn check(&mut self, message: &[u8]) -> u64 {
        let (number, sent_in) = message::incarnation_of(message).expect("sixteen bytes at least");
        assert_eq!(number, self.next, "out of order, sent in {sent_in}");
        let intended = self.oracle.get(Word::Intended);
        assert!(
            number < intended,
            "{number} was invented, {intended} is next"
        );
        // The latest incarnation that began at or before it.
        let known = self.oracle.get(Word::ProducerIncarnation);
        let right = (0..=known)
            .rev()
            .find(|incarnation| self.oracle.first_of(*incarnation) <= number);
        assert_eq!(Some(sent_in), right, "message {number} was forgotten");
        message::incarnate(number, sent_in, LONGEST, &mut self.expected);
        assert!(message == self.expected, "message {number} is torn");
        self.next = number + 1;
        self.oracle.set(Word::Seen, self.next);
        add_to(self.oracle, Word::Checked, 1);
        sent_in
    }

    /// The key is that of the incarnation, and greater than the one before it.
    fn check_key(&mut self, key: MessageKey, sent_in: u64) {
        assert!(
            key > self.last || self.last == MessageKey::default(),
            "{key}"
        );
        self.last = key;
        // The oldest of too many count as one.
        let oldest = (self.incarnation + 1).saturating_sub(TOLD_APART);
        assert_eq!(key.incarnation, sent_in.max(oldest), "{key}");
    }
}
