//! What was promised, kept outside of the library: the judge of every recovery.
//!
//! Messages are counted from the making of the ring, and message `n` always has the same length,
//! so its position follows from its number. Its content also tells under which epoch it was sent:
//! an epoch is one process's work between two cuts. A message that a cut took is sent again under
//! a later epoch, and must never be seen with its earlier content.

use ringduct::{Location, Options, Peeked, Recovery, RecoveryState};

use crate::child::Event;
use crate::random::Random;

/// What a ring is made of.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shape {
    pub(crate) capacity: u64,
    pub(crate) checksum: bool,
}

impl Shape {
    pub(crate) fn options(self) -> Options {
        Options::new()
            .capacity_bytes(self.capacity)
            .checksum(self.checksum)
            .durable(true)
    }
}

/// How long message `number` is.
fn length(number: u64) -> usize {
    let mut random = Random::new(number ^ 0x1E46);
    match random.below(32) {
        0 => 0,
        1 => 1500,
        2..20 => 16 + random.below_len(48),
        _ => 16 + random.below_len(300),
    }
}

/// Message `number` as it is sent under `epoch`. An empty one is the same under each.
pub(crate) fn message(number: u64, epoch: u64, out: &mut Vec<u8>) {
    out.clear();
    let length = length(number);
    out.extend_from_slice(&number.to_le_bytes());
    out.extend_from_slice(&epoch.to_le_bytes());
    let mut random = Random::new(number ^ (epoch << 32));
    while out.len() < length {
        out.extend_from_slice(&random.next().to_le_bytes());
    }
    out.truncate(length);
}

/// The epoch that a message says it was sent under; none for an empty one.
pub(crate) fn epoch_of(message: &[u8]) -> Option<u64> {
    Some(u64::from_le_bytes(message.get(8..16)?.try_into().unwrap()))
}

/// Where messages lie.
#[derive(Clone, Debug)]
pub(crate) struct Positions {
    /// Position of message `n`, as far as somebody asked.
    known: Vec<u64>,
}

impl Positions {
    pub(crate) fn new() -> Self {
        Self { known: vec![0] }
    }

    fn push(&mut self) {
        let number = self.known.len() - 1;
        let record = 8 + (length(number as u64) as u64).next_multiple_of(8);
        self.known.push(self.known[number] + record);
    }

    /// Where message `number` begins.
    pub(crate) fn of(&mut self, number: u64) -> u64 {
        let number = usize::try_from(number).unwrap();
        while self.known.len() <= number {
            self.push();
        }
        self.known[number]
    }

    /// Which message begins at `position`.
    pub(crate) fn at(&mut self, position: u64) -> u64 {
        while *self.known.last().unwrap() < position {
            self.push();
        }
        let found = self.known.binary_search(&position);
        found.unwrap_or_else(|_| panic!("no message begins at {position}")) as u64
    }
}

/// What may be found, as numbers of messages.
#[derive(Clone, Debug)]
pub(crate) struct Account {
    checksum: bool,
    pub(crate) positions: Positions,
    /// Acknowledged: the ring holds every message from the head's to the tail's.
    head: u64,
    tail: u64,
    /// About to be acknowledged when the power was cut.
    heads: Vec<u64>,
    tails: Vec<u64>,
    /// No message from here on was ever sent.
    sent: u64,
    /// Under which epoch each message was sent that the last recovery left.
    epochs: Vec<u64>,
    epoch: u64,
    incarnation: u64,
    /// Recoveries that found a checkpoint nobody had heard of any more: the cut fell into it.
    pub(crate) in_checkpoint: u64,
    /// Messages found that no checkpoint had acknowledged, and messages lost likewise.
    pub(crate) extra: u64,
    pub(crate) lost: u64,
}

impl Account {
    pub(crate) fn new(shape: Shape) -> Self {
        Self {
            checksum: shape.checksum,
            positions: Positions::new(),
            head: 0,
            tail: 0,
            heads: Vec::new(),
            tails: Vec::new(),
            sent: 0,
            epochs: Vec::new(),
            epoch: 0,
            incarnation: 0,
            in_checkpoint: 0,
            extra: 0,
            lost: 0,
        }
    }

    /// Messages acknowledged so far.
    pub(crate) fn acknowledged(&self) -> u64 {
        self.tail
    }

    /// So many messages were sent, received and acknowledged before anything else.
    pub(crate) fn start_at(&mut self, number: u64) {
        (self.head, self.tail, self.sent) = (number, number, number);
        self.epochs.resize(usize::try_from(number).unwrap(), 0);
    }

    /// Books what a victim has said.
    pub(crate) fn book(&mut self, said: &[Event]) {
        let mut failed = [false; 2];
        for Event { what, numbers, .. } in said {
            match what.as_str() {
                "attached" => self.book_attached(numbers),
                "sends" => self.sent = self.sent.max(numbers[0]),
                "tail?" => self.tails.push(numbers[0]),
                "head?" => self.heads.push(numbers[0]),
                "tail" => {
                    assert!(!failed[0], "the producer succeeds after an error");
                    assert!(numbers[0] >= self.tail);
                    self.tail = numbers[0];
                    self.tails.retain(|about| *about > self.tail);
                }
                "head" => {
                    assert!(!failed[1], "the consumer succeeds after an error");
                    assert!(numbers[0] >= self.head);
                    self.head = numbers[0];
                    self.heads.retain(|about| *about > self.head);
                }
                "error" => failed[usize::try_from(numbers[0]).unwrap()] = true,
                other => panic!("a victim says {other}"),
            }
        }
    }

    /// A victim has attached, and recovered the ring if nobody had.
    fn book_attached(&mut self, numbers: &[u64]) {
        let [epoch, head, tail, incarnation, cold] = *numbers else {
            panic!("five numbers")
        };
        self.check(head, tail, incarnation, cold == 1);
        self.epoch = epoch;
    }

    /// Checks what a recovery says, and goes on from there: what it kept is durable.
    fn check(&mut self, head: u64, tail: u64, incarnation: u64, cold: bool) {
        let told = format!("{head}..{tail} found, {self:?}");
        let is_head = head == self.head || self.heads.contains(&head);
        assert!(
            is_head,
            "no consumer acknowledged this head: {}",
            &told[..400.min(told.len())]
        );
        let least = self.tail.max(head);
        assert!(
            tail >= least,
            "acknowledged messages are lost: {}",
            &told[..400.min(told.len())]
        );
        assert!(tail <= self.sent.max(head), "messages are invented");
        if !self.checksum {
            let is_tail = tail == least || self.tails.contains(&tail);
            assert!(
                is_tail,
                "nobody acknowledged this tail: {}",
                &told[..400.min(told.len())]
            );
        }
        if cold {
            assert!(
                incarnation > self.incarnation,
                "a cold recovery begins an incarnation"
            );
        }
        self.in_checkpoint += u64::from(head != self.head || self.tails.contains(&tail));
        self.extra += tail - least;
        self.lost += self.sent.saturating_sub(tail);
        self.incarnation = incarnation;
        self.epochs
            .resize(usize::try_from(tail).unwrap(), self.epoch);
        (self.head, self.tail, self.sent) = (head, tail, tail);
        self.heads.clear();
        self.tails.clear();
    }

    /// Recovers the ring after a cut, and checks all that it holds.
    pub(crate) fn recover(&mut self, place: &Location, shape: Shape) {
        let ring = shape.options().open(place).unwrap();
        let found = ring
            .recover()
            .unwrap_or_else(|error| panic!("{error}: {self:?}"));
        assert_eq!(found.state, RecoveryState::Cold, "a cut makes it cold");
        self.audit(&found, place);
        // Once more, as if the power had been cut right after: nothing changes.
        let again = shape
            .options()
            .distrust_memory(true)
            .open(place)
            .unwrap()
            .recover()
            .unwrap();
        assert_eq!((again.head, again.tail), (found.head, found.tail));
        assert_eq!(again.dropped_messages, 0);
        self.audit(&again, place);
    }

    /// Checks what a recovery says, and every message that is there.
    fn audit(&mut self, found: &Recovery, place: &Location) {
        let head = self.positions.at(found.head);
        let tail = self.positions.at(found.tail);
        assert_eq!(found.kept_messages, tail - head);
        let epoch = self.epoch;
        let known = self.epochs.len() as u64;
        self.check(
            head,
            tail,
            found.incarnation,
            found.state == RecoveryState::Cold,
        );
        let observer = Options::new().observe(place).unwrap();
        let messages: Vec<Peeked> = observer.peek_all().unwrap();
        assert_eq!(
            messages.len() as u64,
            tail - head,
            "what is there to be received"
        );
        let mut expected = Vec::new();
        for (number, peeked) in (head..tail).zip(messages) {
            let sent_under = if number < known {
                self.epochs[usize::try_from(number).unwrap()]
            } else {
                epoch
            };
            message(number, sent_under, &mut expected);
            assert_eq!(peeked.position, self.positions.of(number));
            assert_eq!(
                peeked.message, expected,
                "message {number}, sent under {sent_under}"
            );
        }
    }
}
