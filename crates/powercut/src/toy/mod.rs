//! A small durable ring of our own, right unless it is given a hole.
//!
//! It is the test of the test: each hole must be found by the scenarios, and without one nothing
//! may be. It shares no code with the library.

mod ends;
mod recovery;

use crate::disk::Handle;
use crate::protocol::{Carrier, Machine, Plan, Protocol, Recovered, Refused, Seat, UNIT_BYTES};
pub use ends::{Consumer, Producer};

/// What is wrong with a [`Toy`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hole {
    /// Nothing.
    None,
    /// The slot is synced before the data.
    SlotBeforeData,
    /// The data is not synced.
    NoDataSync,
    /// The slot is not synced.
    NoSlotSync,
    /// Of data that reaches over the ring's end the second part is not synced.
    OneRange,
    /// One slot instead of two.
    OneSlot,
    /// Slots prove nothing.
    SlotWithoutSum,
    /// Records prove nothing.
    RecordWithoutSum,
    /// The position is not in a record's checksum.
    SumWithoutPosition,
    /// Space is used again once it is released.
    VolatileReclaim,
    /// Space is used again before the slot is synced.
    ReclaimBeforeSync,
    /// Recovery leaves the free space as it is.
    NoScrub,
    /// Recovery does not sync the free space it zeroed.
    ScrubNotSynced,
    /// Recovery writes both slots and syncs them together.
    BothSlotsAtOnce,
    /// The incarnation never rises.
    SameIncarnation,
    /// An error is told once and forgotten.
    RetryAfterError,
    /// An error is kept by the handle, not told to the other side.
    PoisonOneSide,
    /// A successor trusts its predecessor's syncs of data.
    NoRedirty,
    /// A successor trusts its predecessor's sync of the newest slot.
    SlotNotRestored,
    /// A batch's records can prove themselves before it is published.
    BatchStoredEarly,
    /// A successor leaves an unpublished batch of its predecessor lying.
    NoSuccessorScrub,
    /// Recovery of a plain ring looks beyond the acknowledged tail.
    PlainLooksFurther,
    /// Recovery writes over a torn slot as it is.
    TornSlotRevived,
}

/// Every hole.
pub const HOLES: [Hole; 22] = [
    Hole::SlotBeforeData,
    Hole::NoDataSync,
    Hole::NoSlotSync,
    Hole::OneRange,
    Hole::OneSlot,
    Hole::SlotWithoutSum,
    Hole::RecordWithoutSum,
    Hole::SumWithoutPosition,
    Hole::VolatileReclaim,
    Hole::ReclaimBeforeSync,
    Hole::NoScrub,
    Hole::ScrubNotSynced,
    Hole::BothSlotsAtOnce,
    Hole::SameIncarnation,
    Hole::RetryAfterError,
    Hole::PoisonOneSide,
    Hole::NoRedirty,
    Hole::SlotNotRestored,
    Hole::BatchStoredEarly,
    Hole::NoSuccessorScrub,
    Hole::PlainLooksFurther,
    Hole::TornSlotRevived,
];

/// The protocol.
#[derive(Clone, Copy, Debug)]
pub struct Toy(pub Hole);

impl Protocol for Toy {
    type Producer = Producer;
    type Consumer = Consumer;

    fn largest_capacity(&self) -> u64 {
        4096
    }

    fn remembered_incarnations(&self) -> u64 {
        1 << 32
    }

    fn format(&self, carrier: &Handle, plan: &Plan, _: Machine) {
        let core = Core {
            carrier: carrier.clone(),
            plan: *plan,
            hole: self.0,
            producer: true,
        };
        for side in [Side::PRODUCER, Side::CONSUMER] {
            core.write_slot(
                side,
                0,
                &Slot {
                    sequence: 1,
                    incarnation: 1,
                    ..Slot::default()
                },
            );
        }
    }

    fn producer(&self, seat: Seat<'_>) -> Result<(Producer, Recovered), Refused> {
        let core = self.core(&seat, true);
        let found = core.attach(seat.machine, seat.peer_is_live)?;
        Ok((Producer::new(core, &found)?, found))
    }

    fn consumer(&self, seat: Seat<'_>) -> Result<(Consumer, Recovered), Refused> {
        let core = self.core(&seat, false);
        let found = core.attach(seat.machine, seat.peer_is_live)?;
        Ok((Consumer::new(core)?, found))
    }
}

impl Toy {
    fn core(self, seat: &Seat<'_>, producer: bool) -> Core {
        Core {
            carrier: seat.carrier.clone(),
            plan: *seat.plan,
            hole: self.0,
            producer,
        }
    }
}

/// Where a side's words and slots are.
#[derive(Clone, Copy, Debug)]
struct Side {
    page: u64,
    slots: [u64; 2],
}

impl Side {
    const PRODUCER: Self = Self {
        page: UNIT_BYTES,
        slots: [3 * UNIT_BYTES, 4 * UNIT_BYTES],
    };
    const CONSUMER: Self = Self {
        page: 2 * UNIT_BYTES,
        slots: [5 * UNIT_BYTES, 6 * UNIT_BYTES],
    };
}

/// Words of a side's page.
mod at {
    pub(super) const POSITION: u64 = 0;
    pub(super) const POISON: u64 = 8;
    pub(super) const BOOT: u64 = 16;
    pub(super) const INSTANCE: u64 = 24;
    pub(super) const DURABLE_HEAD: u64 = 32;
    pub(super) const CLEAN: u64 = 40;
}

/// Where the data starts.
const DATA: u64 = 8 * UNIT_BYTES;

/// Where a slot's checksum is, from its start.
const SUM: u64 = UNIT_BYTES - 8;

/// What a checkpoint leaves. Positions are counted from the base.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Slot {
    sequence: u64,
    incarnation: u64,
    position: u64,
    intended: u64,
    messages: u64,
    /// Incarnations and where they start, rising.
    starts: Vec<(u64, u64)>,
}

/// What both ends do.
#[derive(Clone, Debug)]
struct Core {
    carrier: Handle,
    plan: Plan,
    hole: Hole,
    producer: bool,
}

impl Core {
    fn side(&self) -> Side {
        if self.producer {
            Side::PRODUCER
        } else {
            Side::CONSUMER
        }
    }

    fn load(&self, offset: u64) -> u64 {
        self.carrier.load(offset)
    }

    fn store(&self, offset: u64, value: u64) {
        self.carrier.store(offset, value);
    }

    /// The offset of the word at a position.
    fn data(&self, at: u64) -> u64 {
        let position = self.plan.base.wrapping_add(at);
        DATA + (position & (self.plan.capacity_bytes - 1))
    }

    /// Syncs the data from one position to another.
    fn sync_data(&self, from: u64, to: u64) -> Result<(), Refused> {
        let (first, length) = (self.data(from), to - from);
        let room = self.plan.total_bytes() - first;
        let sync = |from, to| self.carrier.sync(from, to).map_err(Refused::Sync);
        sync(first, first + length.min(room))?;
        if length > room && self.hole != Hole::OneRange {
            sync(DATA, DATA + length - room)?;
        }
        Ok(())
    }

    fn write_slot(&self, side: Side, index: usize, slot: &Slot) -> u64 {
        let mut words = vec![
            slot.sequence,
            slot.incarnation,
            slot.position,
            slot.intended,
            slot.messages,
            slot.starts.len() as u64,
        ];
        words.extend(
            slot.starts
                .iter()
                .flat_map(|&(incarnation, at)| [incarnation, at]),
        );
        assert!(
            words.len() as u64 * 8 <= SUM,
            "too many incarnations for a toy"
        );
        let page = side.slots[if self.hole == Hole::OneSlot { 0 } else { index }];
        for (offset, word) in (page..).step_by(8).zip(&words) {
            self.store(offset, *word);
        }
        self.store(page + SUM, sum_of(&words));
        page
    }

    fn read_slot(&self, side: Side, index: usize) -> Option<Slot> {
        let page = side.slots[index];
        let words: Vec<u64> = (0..6).map(|word| self.load(page + word * 8)).collect();
        let count = words[5];
        if words[0] == 0 || count > 56 {
            return None;
        }
        let mut words = words;
        words.extend((6..6 + 2 * count).map(|word| self.load(page + word * 8)));
        let sum = self.load(page + SUM);
        if sum != sum_of(&words) && self.hole != Hole::SlotWithoutSum {
            return None;
        }
        Some(Slot {
            sequence: words[0],
            incarnation: words[1],
            position: words[2],
            intended: words[3],
            messages: words[4],
            starts: words[6..]
                .chunks(2)
                .map(|pair| (pair[0], pair[1]))
                .collect(),
        })
    }

    /// The newest valid slot and where it is.
    fn newest(&self, side: Side) -> Result<(usize, Slot), Refused> {
        let slots = [self.read_slot(side, 0), self.read_slot(side, 1)];
        let valid = slots
            .into_iter()
            .enumerate()
            .filter_map(|(at, slot)| Some((at, slot?)));
        valid
            .max_by_key(|(_, slot)| slot.sequence)
            .ok_or(Refused::Corrupt)
    }

    /// The commit word of a record.
    fn commit_word(&self, at: u64, payload: &[u8]) -> u64 {
        let length = payload.len() as u64;
        if !self.plan.checksummed {
            return length + 1;
        }
        let mut sum = crc32c::crc32c(&self.plan.uuid);
        if self.hole != Hole::SumWithoutPosition {
            sum = crc32c::crc32c_append(sum, &at.to_le_bytes());
        }
        sum = crc32c::crc32c_append(sum, &length.to_le_bytes());
        u64::from(crc32c::crc32c_append(sum, payload)) << 32 | (length + 1)
    }

    /// The payload of the record at `at`, if there is one that ends by `limit`.
    fn record(&self, at: u64, limit: u64, prove: bool, out: &mut Vec<u8>) -> Option<u64> {
        let commit = self.load(self.data(at));
        let length = (commit & 0xffff_ffff).checked_sub(1)?;
        let end = at + 8 + length.next_multiple_of(8);
        if end > limit {
            return None;
        }
        out.clear();
        for word in (at + 8..end).step_by(8) {
            out.extend_from_slice(&self.load(self.data(word)).to_le_bytes());
        }
        out.truncate(usize::try_from(length).ok()?);
        let proved = !prove || self.hole == Hole::RecordWithoutSum;
        (proved || commit == self.commit_word(at, out)).then_some(end)
    }

    /// The end of the records from `at`, and how many they are.
    fn walk(&self, at: u64, limit: u64, prove: bool) -> (u64, u64) {
        let (mut at, mut count, mut payload) = (at, 0, Vec::new());
        while let Some(end) = self.record(at, limit, prove, &mut payload) {
            (at, count) = (end, count + 1);
        }
        (at, count)
    }

    /// Zeros the free space after `tail`.
    fn scrub(&self, tail: u64, head: u64) {
        for at in (tail..head + self.plan.capacity_bytes).step_by(8) {
            self.store(self.data(at), 0);
        }
    }

    fn is_poisoned(&self) -> bool {
        let pages = [Side::PRODUCER.page, Side::CONSUMER.page];
        let mine = self.side().page;
        let sees = |page| page == mine || self.hole != Hole::PoisonOneSide;
        self.hole != Hole::RetryAfterError
            && pages
                .into_iter()
                .any(|page| sees(page) && self.load(page + at::POISON) != 0)
    }

    /// The first error is the last.
    fn poison(&self, refused: Refused) -> Refused {
        self.store(self.side().page + at::POISON, 1);
        refused
    }

    fn same_boot(&self, machine: Machine) -> bool {
        [Side::PRODUCER.page, Side::CONSUMER.page]
            .into_iter()
            .all(|page| {
                self.load(page + at::BOOT) == machine.boot
                    && self.load(page + at::INSTANCE) == machine.instance
            })
    }
}

fn sum_of(words: &[u64]) -> u64 {
    let sum = words.iter().fold(0, |sum, word| {
        crc32c::crc32c_append(sum, &word.to_le_bytes())
    });
    u64::from(sum) | 1 << 32
}
