//! The successors of a process that was killed at some store, and what they must find.
//!
//! A process of its own, so that no other test forks in the middle of an attach. What was published
//! and where each message lies follows from the scenario alone; the library is not asked.

use std::fs::File;
use std::os::unix::fs::FileExt;

use ringduct::{
    Consumer, MessageKey, Options, Producer, Recovery, RecoveryState, TryRecvError, TrySendError,
};

use super::scenario::{
    self, BEFORE, CAPACITY, Operation, SENT, SEVERAL, Scenario, VICTIM, World, body, send, take,
};
use super::step::RING_BYTES;

/// Messages that go once round the ring, and some more.
const ROUND: u64 = 90;

/// Messages sent after a successor's checkpoint.
const UNCOVERED: u64 = 2;

/// Who attaches first, and whether it trusts the memory.
#[derive(Clone, Copy, Debug)]
struct Mode {
    cold: bool,
    first: &'static str,
}

const MODES: [Mode; 4] = [
    Mode {
        cold: false,
        first: "producer",
    },
    Mode {
        cold: false,
        first: "consumer",
    },
    Mode {
        cold: true,
        first: "producer",
    },
    Mode {
        cold: true,
        first: "consumer",
    },
];

/// Says where it was when a check failed.
struct Place<'a>(&'a Scenario, Mode, usize);

impl Drop for Place<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let Self(scenario, mode, store) = self;
            eprintln!("{} after store {store}, {mode:?}", scenario.name());
        }
    }
}

/// Puts back each state that a kill leaves and lets successors go on from there.
pub(super) fn audit(index: usize, place: &str, images: &str) {
    let scenario = scenario::all()[index];
    let bytes = std::fs::read(images).unwrap();
    let images: Vec<&[u8]> = bytes.chunks_exact(RING_BYTES).collect();
    assert_eq!(images.len() * RING_BYTES, bytes.len());
    // Free space that is overwritten word by word makes many states that hardly differ: those take
    // the modes in turns.
    let is_long = images.len() > 100;
    for (mode_index, mode) in MODES.into_iter().enumerate() {
        let [before, after] = if mode.cold {
            scenario.cold()
        } else {
            scenario.warm()
        };
        let (mut seen_before, mut seen_after) = (false, false);
        for (store, image) in images.iter().copied().enumerate() {
            let is_end = store < 2 || store + 40 > images.len();
            if is_long && !is_end && store % MODES.len() != mode_index {
                continue;
            }
            let _place = Place(&scenario, mode, store);
            File::options()
                .write(true)
                .open(place)
                .unwrap()
                .write_all_at(image, 0)
                .unwrap();
            let found = succeed(&scenario, mode, place);
            if found == after {
                seen_after = true;
            } else {
                assert_eq!(found, before, "neither before nor after: {after:?}");
                assert!(!seen_after, "what was done is undone");
            }
            seen_before |= found == before;
            let is_last = store + 1 == images.len();
            assert!(!is_last || seen_after, "it has returned, and is not done");
        }
        assert!(seen_before, "{mode:?}: nothing was before it");
    }
}

/// A message that lies in the ring or has gone through it.
#[derive(Clone, Copy, Debug)]
struct Entry {
    who: u64,
    key: MessageKey,
    end: u64,
}

/// What was published, by number.
struct Ledger {
    entries: Vec<Entry>,
    /// Greater than every key that was ever given to a message.
    fresh: MessageKey,
}

impl Ledger {
    fn new() -> Self {
        let mut ledger = Self {
            entries: Vec::new(),
            fresh: MessageKey::default(),
        };
        for number in 0..SENT + SEVERAL {
            ledger.publish(if number < SENT { BEFORE } else { VICTIM }, 0);
        }
        ledger
    }

    fn len(&self) -> u64 {
        self.entries.len() as u64
    }

    fn entry(&self, number: u64) -> &Entry {
        &self.entries[usize::try_from(number).unwrap()]
    }

    /// Where message `number` starts.
    fn start(&self, number: u64) -> u64 {
        number.checked_sub(1).map_or(0, |last| self.entry(last).end)
    }

    /// One more message: a word of header, and the payload in whole words.
    fn publish(&mut self, who: u64, incarnation: u64) {
        let position = self.start(self.len());
        let mut bytes = Vec::new();
        body(self.len(), who, &mut bytes);
        let key = MessageKey {
            incarnation,
            position,
        };
        let end = position + 8 + bytes.len().next_multiple_of(8) as u64;
        self.entries.push(Entry { who, key, end });
        if who != VICTIM {
            self.is_used(self.len() - 1);
        }
    }

    /// Message `number` was out.
    fn is_used(&mut self, number: u64) {
        let mut key = self.entry(number).key;
        key.position += 1;
        self.fresh = self.fresh.max(key);
    }

    /// Everything from `number` on is not there any more, or never was.
    fn drop_from(&mut self, number: u64) {
        self.is_used(number - 1);
        self.entries.truncate(usize::try_from(number).unwrap());
    }

    /// Takes message `number`, which must be the next one.
    fn receive(&self, rx: &mut Consumer, number: u64) {
        let entry = self.entry(number);
        assert_eq!(rx.next_key(), entry.key, "message {number}");
        assert_eq!(rx.totals().messages, number);
        let mut expected = Vec::new();
        body(number, entry.who, &mut expected);
        assert_eq!(take(rx), Ok(expected), "message {number}");
    }
}

/// Both sides, and what the first of them found.
struct Ends {
    tx: Producer,
    rx: Consumer,
    first: Recovery,
}

impl Ends {
    fn attach(place: &str, mode: Mode) -> Self {
        let options = Options::new().distrust_memory(mode.cold);
        let ring = options.open(&place.parse().unwrap()).unwrap();
        let (tx, rx, first, second) = if mode.first == "producer" {
            let tx = ring.producer().unwrap();
            let rx = ring.consumer().unwrap();
            let found = (*tx.recovery(), *rx.recovery());
            (tx, rx, found.0, found.1)
        } else {
            let rx = ring.consumer().unwrap();
            let tx = ring.producer().unwrap();
            let found = (*rx.recovery(), *tx.recovery());
            (tx, rx, found.0, found.1)
        };
        assert_eq!(second.state, RecoveryState::Live);
        assert_eq!(second.incarnation, first.incarnation);
        Self { tx, rx, first }
    }

    /// What is there; receives all of it and finds nothing else.
    fn receive_all(&mut self, ledger: &Ledger) -> World {
        let Self { tx, rx, first } = self;
        let (head, tail) = (rx.totals().messages, tx.totals().messages);
        assert!(head <= tail && tail <= ledger.len(), "{head} {tail}");
        let place = (first.head, first.tail, first.kept_messages);
        let expected = (ledger.start(head), ledger.start(tail), tail - head);
        if first.state == RecoveryState::Cold {
            assert_eq!(place, expected);
            assert!(first.dropped_messages <= ledger.len() - tail, "{first}");
        } else {
            // A consumer that comes first does not bring a dead producer's tail along.
            assert_eq!(place.0, expected.0);
        }
        for number in head..tail {
            ledger.receive(rx, number);
        }
        assert_eq!(take(rx), Err(TryRecvError::Empty));
        World { head, tail }
    }
}

/// Successors attach, check everything, go on, make checkpoints, and are recovered once more.
fn succeed(scenario: &Scenario, mode: Mode, place: &str) -> World {
    let mut ledger = Ledger::new();
    let mut ends = Ends::attach(place, mode);
    let found = ends.receive_all(&ledger);
    let state = ends.first.state;
    if mode.cold {
        assert_eq!(state, RecoveryState::Cold);
    } else if scenario.operation != Operation::AttachCold {
        assert_eq!(state, RecoveryState::SameBoot);
    }
    ledger.drop_from(found.tail);
    let covered = go_on(&mut ends, &mut ledger, found.tail);
    let incarnation = ends.first.incarnation;
    drop(ends);

    let again = Mode { cold: true, ..mode };
    let mut ends = Ends::attach(place, again);
    let expected = if scenario.checked {
        World {
            tail: covered.tail + UNCOVERED,
            ..covered
        }
    } else {
        covered
    };
    assert_eq!(ends.receive_all(&ledger), expected);
    assert_eq!(ends.first.incarnation, incarnation + 1);
    found
}

/// Once round the ring with everything received; then a checkpoint of each side, and some more that
/// none covers. Answers with what the checkpoints cover.
fn go_on(ends: &mut Ends, ledger: &mut Ledger, from: u64) -> World {
    let Ends { tx, rx, first } = ends;
    let incarnation = first.incarnation;
    let who = 100 + incarnation;
    let publish = |tx: &mut Producer, ledger: &mut Ledger| {
        let number = ledger.len();
        let before = ledger.fresh;
        let sent = send(tx, number, who);
        if sent.is_ok() {
            ledger.publish(who, incarnation);
            assert!(ledger.fresh > before, "a key was used twice");
        }
        sent
    };
    let mut released = from;
    while ledger.len() < from + ROUND {
        match publish(tx, ledger) {
            Ok(()) => continue,
            Err(TrySendError::Full) => assert!(released < ledger.len(), "full of nothing"),
            Err(TrySendError::WaitingForCheckpoint) => {
                assert_eq!(rx.checkpoint().unwrap().messages, released);
            }
            Err(error) => panic!("{error}"),
        }
        while released < ledger.len() {
            ledger.receive(rx, released);
            released += 1;
        }
    }
    assert!(ledger.start(ledger.len()) - ledger.start(from) > CAPACITY);
    let durable = tx.checkpoint().unwrap();
    let place = (durable.messages, durable.position, durable.incarnation);
    let tail = ledger.len();
    assert_eq!(place, (tail, ledger.start(tail), incarnation));
    let head = tail - 4;
    while released < head {
        ledger.receive(rx, released);
        released += 1;
    }
    let durable = rx.checkpoint().unwrap();
    let place = (durable.messages, durable.position, durable.incarnation);
    assert_eq!(place, (released, ledger.start(released), incarnation));
    for _ in 0..UNCOVERED {
        publish(tx, ledger).unwrap();
    }
    ledger.receive(rx, released);
    World {
        head: released,
        tail,
    }
}
