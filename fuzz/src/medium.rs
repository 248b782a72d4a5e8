//! A durable ring in memory: the words of its file, what was ever written to it, and its slots as
//! `FORMAT.md` has them. It runs the library's own protocol over its `simulator` carrier.

use std::cell::Cell;
use std::collections::HashMap;
use std::rc::Rc;

use arbitrary::Arbitrary;
use ringduct::simulator::{self, Carrier, Consumer, Form, Machine, Plan, Producer, UNIT_BYTES};

use crate::{MOST_STEPS, Value, payload, record_bytes, word};

/// Words of a page.
const PAGE_WORDS: usize = (UNIT_BYTES / 8) as usize;

/// The first word of the data.
const DATA_WORD: usize = 8 * PAGE_WORDS;

/// The words of the pages with slots.
pub const SLOTS: std::ops::Range<usize> = 3 * PAGE_WORDS..7 * PAGE_WORDS;

/// Words of a slot, the mark last.
const SLOT_WORDS: usize = 16;

/// The file, as one process sees it.
#[derive(Clone, Debug)]
pub struct Medium {
    words: Rc<[Cell<u64>]>,
    /// Stores until the process dies.
    left: Rc<Cell<u64>>,
    loads: Rc<Cell<u64>>,
    stores: Rc<Cell<u64>>,
}

impl Medium {
    /// A file of these words.
    pub fn of(words: &[u64]) -> Self {
        Self {
            words: words.iter().copied().map(Cell::new).collect(),
            left: Rc::new(Cell::new(u64::MAX)),
            loads: Rc::default(),
            stores: Rc::default(),
        }
    }

    /// What it holds.
    pub fn words(&self) -> Vec<u64> {
        self.words.iter().map(Cell::get).collect()
    }

    /// The process dies after so many more stores.
    pub fn die_after(&self, stores: u64) {
        self.left.set(stores);
    }

    /// Loads and stores so far.
    pub fn work(&self) -> (u64, u64) {
        (self.loads.get(), self.stores.get())
    }
}

impl Carrier for Medium {
    fn load(&self, offset: u64) -> u64 {
        self.loads.set(self.loads.get() + 1);
        self.words[(offset / 8) as usize].get()
    }

    fn store(&self, offset: u64, value: u64) {
        self.stores.set(self.stores.get() + 1);
        if self.left.get() > 0 {
            self.left.set(self.left.get() - 1);
            self.words[(offset / 8) as usize].set(value);
        }
    }

    fn sync(&self, from: u64, to: u64) -> Result<(), i32> {
        assert!(
            from <= to && to <= self.words.len() as u64 * 8,
            "{from}..{to}"
        );
        if self.left.get() > 0 { Ok(()) } else { Err(5) }
    }
}

/// A life that a ring had before the power went.
#[derive(Arbitrary, Debug)]
pub struct Life {
    size: u8,
    checksummed: bool,
    base: u64,
    steps: Vec<Step>,
}

#[derive(Arbitrary, Clone, Copy, Debug)]
enum Step {
    Send(u16),
    /// Two at once; published, or written and abandoned.
    Batch(u8, u8, bool),
    Receive(u8),
    CheckpointProducer {
        full: bool,
    },
    CheckpointConsumer,
    /// What the medium holds now is what stale words come from.
    Remember,
}

/// A message that was written at a position.
type Written = HashMap<u64, Vec<Vec<u8>>>;

/// What is there when the power goes, and what was promised.
#[derive(Debug)]
pub struct Left {
    /// The ring.
    pub plan: Plan,
    /// The newest words.
    pub words: Vec<u64>,
    /// The words at an earlier moment.
    pub stale: Vec<u64>,
    /// Each message ever written, by the position of its record.
    pub written: Written,
    /// Published messages from the durable head on.
    pub published: Vec<(u64, Vec<u8>)>,
    /// Where the consumer's newest slot is.
    pub head: u64,
    /// What the producer's newest slot says was there before it.
    pub acknowledged: u64,
    /// Where the next message would have gone.
    pub tail: u64,
}

/// The boot in which the ring lived.
pub const BEFORE: Machine = Machine {
    boot: 7,
    instance: 7,
};

impl Life {
    fn plan(&self) -> Plan {
        let sizes = [64, 128, 256, 512, 1024, 4096];
        Plan {
            capacity_bytes: sizes[usize::from(self.size) % sizes.len()],
            checksummed: self.checksummed,
            uuid: *b"what fuzzers cut",
            base: self.base & !7,
        }
    }

    /// Lives it.
    pub fn live(&self) -> Left {
        let plan = self.plan();
        let medium = Medium::of(&vec![0; (plan.total_bytes() / 8) as usize]);
        simulator::format(&medium, &plan, BEFORE);
        let attach = "a ring just made";
        let (mut tx, _) = Producer::attach(medium.clone(), &plan, BEFORE, false).expect(attach);
        let (mut rx, _) = Consumer::attach(medium.clone(), &plan, BEFORE, true).expect(attach);
        let mut left = Left {
            plan,
            words: Vec::new(),
            stale: medium.words(),
            written: Written::new(),
            published: Vec::new(),
            head: plan.base,
            acknowledged: plan.base,
            tail: plan.base,
        };
        let mut durable = plan.base;
        for (step, seed) in self.steps.iter().take(MOST_STEPS).zip(0..) {
            match *step {
                Step::Send(bytes) => {
                    let most = plan.capacity_bytes as usize - 15;
                    left.send(&mut tx, &[payload(usize::from(bytes) % most, seed)], true);
                }
                Step::Batch(first, second, publish) => {
                    let messages = [first, second].map(|bytes| payload(bytes.into(), seed));
                    left.send(&mut tx, &messages, publish);
                }
                Step::Receive(most) => {
                    let mut out = Vec::new();
                    (0..most)
                        .take_while(|_| rx.try_recv(&mut out).is_ok())
                        .count();
                }
                Step::CheckpointProducer { full } => {
                    let full = full || !plan.checksummed;
                    let form = if full { Form::Full } else { Form::OneSync };
                    let now = tx.checkpoint(form).expect("no sync fails").position;
                    if now != durable {
                        left.acknowledged = if full { now } else { durable };
                        durable = now;
                    }
                }
                Step::CheckpointConsumer => {
                    left.head = rx.checkpoint().expect("no sync fails").position;
                }
                Step::Remember => left.stale = medium.words(),
            }
        }
        let head = left.head;
        let ahead = |at: u64| at.wrapping_sub(head) <= plan.capacity_bytes;
        left.published.retain(|(at, _)| ahead(*at));
        left.tail = tx.tail();
        left.words = medium.words();
        left
    }
}

impl Left {
    fn send(&mut self, tx: &mut Producer<Medium>, messages: &[Vec<u8>], publish: bool) {
        let mut at = tx.tail();
        let slices: Vec<&[u8]> = messages.iter().map(Vec::as_slice).collect();
        if tx.try_send_batch(&slices, publish).is_err() {
            return;
        }
        for message in messages {
            self.written.entry(at).or_default().push(message.clone());
            if publish {
                self.published.push((at, message.clone()));
            }
            at = at.wrapping_add(record_bytes(message.len()));
        }
    }

    /// Bytes from the head to what the producer's slot says was there; none if the consumer was
    /// ahead of that.
    pub fn acknowledged_bytes(&self) -> u64 {
        let bytes = self.acknowledged.wrapping_sub(self.head);
        if bytes > self.plan.capacity_bytes {
            0
        } else {
            bytes
        }
    }

    /// Whether both roles' pages say that they were written in this boot, on this mount.
    pub fn is_of(&self, words: &[u64], machine: Machine) -> bool {
        let is = |page: usize, offset: u64, value| {
            words[page * PAGE_WORDS + (offset / 8) as usize] == value
        };
        [1, 2].into_iter().all(|page| {
            is(page, word::BOOT_ID, machine.boot) && is(page, word::MOUNT, machine.instance)
        })
    }

    /// The word that holds the data at a position.
    pub fn data_word(&self, position: u64) -> usize {
        DATA_WORD + (position % self.plan.capacity_bytes / 8) as usize
    }

    /// Whether some word of a record is not as its writer left it.
    pub fn is_touched(&self, words: &[u64], at: u64, message_bytes: usize) -> bool {
        (0..record_bytes(message_bytes))
            .step_by(8)
            .map(|offset| self.data_word(at.wrapping_add(offset)))
            .any(|word| words[word] != self.words[word])
    }
}

/// A word of the medium that is not as it should be.
#[derive(Arbitrary, Clone, Copy, Debug)]
pub enum Harm {
    /// A word with a meaning in a role's page.
    Role {
        consumer: bool,
        word: u8,
        value: Value,
    },
    /// A word of a slot.
    Slot { page: u8, word: u8, value: Value },
    /// A word of a slot whose sum is right nevertheless.
    Forged { page: u8, word: u8, value: Value },
    /// A word of the data, so many words from the tail.
    Data { from_tail: i16, value: Value },
    /// So many words from there on are those of an earlier moment.
    Stale { from: u16, words: u8 },
    /// A whole page is that of an earlier moment.
    StalePage { page: u8 },
}

impl Harm {
    /// Does it.
    pub fn apply(self, left: &Left, words: &mut [u64]) {
        let near = left.tail;
        let mut put = |word: usize, value: Value| words[word] = value.of(words[word], near);
        match self {
            Self::Role {
                consumer,
                word,
                value,
            } => {
                let known = word::DURABLE_TOO[usize::from(word) % word::DURABLE_TOO.len()];
                put(
                    (1 + usize::from(consumer)) * PAGE_WORDS + (known / 8) as usize,
                    value,
                );
            }
            Self::Slot { page, word, value } => {
                put(slot(page) + usize::from(word) % SLOT_WORDS, value);
            }
            Self::Forged { page, word, value } => {
                put(slot(page) + usize::from(word) % (SLOT_WORDS - 1), value);
                seal_slot(words, slot(page), &left.plan);
            }
            Self::Data { from_tail, value } => {
                let at = near.wrapping_add_signed(i64::from(from_tail) * 8);
                put(left.data_word(at), value);
            }
            Self::Stale { from, words: count } => {
                let from = usize::from(from) % words.len();
                let to = words.len().min(from + usize::from(count));
                words[from..to].copy_from_slice(&left.stale[from..to]);
            }
            Self::StalePage { page } => {
                let from = (1 + usize::from(page) % 6) * PAGE_WORDS;
                let page = from..from + PAGE_WORDS;
                words[page.clone()].copy_from_slice(&left.stale[page]);
            }
        }
    }
}

/// The first word of one of the four slots.
fn slot(page: u8) -> usize {
    (3 + usize::from(page % 4)) * PAGE_WORDS
}

/// Makes the mark of a slot right.
fn seal_slot(words: &mut [u64], slot: usize, plan: &Plan) {
    let role = u8::from(slot >= 5 * PAGE_WORDS);
    let sum = crc32c::crc32c_append(crc32c::crc32c(&plan.uuid), &[role]);
    let fields = &words[slot..slot + SLOT_WORDS - 1];
    let sum = fields.iter().fold(sum, |sum, word| {
        crc32c::crc32c_append(sum, &word.to_le_bytes())
    });
    words[slot + SLOT_WORDS - 1] = 0x5244_4350 << 32 | u64::from(sum);
}
