//! What the medium may hold when the power goes: legal crash images.
//!
//! The medium is cut into units of 8 to 65,536 bytes. Each unit holds what it was at some moment
//! of its own choice, but none before the last sync that covers it, began after the store and came
//! back without an error. A failed sync fixes nothing and leaves its pages clean, so that later
//! syncs do not write them until a store makes them dirty again.

use crate::disk::{Event, page_of};
use crate::protocol::UNIT_BYTES;
use crate::random::Random;

/// Words before the data.
pub const HEADER_WORDS: u32 = 8 * PAGE_WORDS;

/// Words of a header page.
const PAGE_WORDS: u32 = {
    assert!(UNIT_BYTES <= 65_536);
    #[expect(clippy::cast_possible_truncation, reason = "asserted above")]
    let words = (UNIT_BYTES / 8) as u32;
    words
};

/// The words of a medium that may hold more than one thing, and which.
///
/// It follows a record event by event. A word that is not listed holds what the base says: the
/// memory before the record, with every [`Versions::take_settled`] applied.
#[derive(Clone, Debug)]
pub struct Versions {
    /// Of each word, when it got which value; the first is the one that is certain at least.
    words: Vec<Vec<(u32, u64)>>,
    loose: Vec<u32>,
    /// Pages that are clean although the medium does not have them.
    stuck: u128,
    /// Syncs on their way: beginning, first word, word after the last, pages they cannot write.
    flights: Vec<(u32, u32, u32, u128)>,
    /// Events of earlier records.
    origin: u32,
    now: u32,
    settled: Vec<(u32, u64)>,
}

impl Versions {
    /// A medium of `words` words on which everything is certain.
    pub fn new(words: usize) -> Self {
        assert!(
            words as u64 * 8 <= 128 * UNIT_BYTES,
            "stuck pages are counted in 128 bits"
        );
        Self {
            words: vec![Vec::new(); words],
            loose: Vec::new(),
            stuck: 0,
            flights: Vec::new(),
            origin: 0,
            now: 0,
            settled: Vec::new(),
        }
    }

    /// Everything is certain again.
    pub fn clear(&mut self) {
        for &word in &self.loose {
            self.words[word as usize].clear();
        }
        self.loose.clear();
        self.stuck = 0;
        self.flights.clear();
        self.origin = 0;
        self.now = 0;
        self.settled.clear();
    }

    /// The events to come are those of a new record; syncs of the old one never come back.
    pub fn new_record(&mut self) {
        self.origin = self.now;
        self.flights.clear();
        self.stuck = 0;
    }

    /// Follows one event.
    pub fn step(&mut self, event: &Event) {
        let number = self.now;
        self.now += 1;
        match *event {
            Event::Store { word, old, new } => {
                self.stuck &= !(1 << page_of(word));
                let versions = &mut self.words[word as usize];
                if versions.last().map_or(old, |last| last.1) == new {
                    return;
                }
                if versions.is_empty() {
                    self.loose.push(word);
                    versions.push((0, old));
                }
                versions.push((number + 1, new));
            }
            Event::Begin {
                from,
                to,
                fails: true,
            } => self.stuck |= pages(from, to),
            Event::Begin {
                from,
                to,
                fails: false,
            } => {
                self.flights.push((number, from, to, self.stuck));
            }
            Event::End { begin, ok } => {
                let begin = begin + self.origin;
                let flight = self.flights.iter().position(|flight| flight.0 == begin);
                if let Some(flight) = flight.map(|index| self.flights.swap_remove(index)) {
                    if ok {
                        self.fix(flight);
                    }
                }
            }
        }
    }

    /// A sync came back: what it covers is at least what it was when the sync began.
    fn fix(&mut self, (begin, from, to, stuck): (u32, u32, u32, u128)) {
        let mut index = 0;
        while let Some(&word) = self.loose.get(index) {
            let versions = &mut self.words[word as usize];
            if (from..to).contains(&word) && stuck >> page_of(word) & 1 == 0 {
                let first = versions
                    .iter()
                    .rposition(|&(time, _)| time <= begin)
                    .unwrap_or(0);
                versions.drain(..first);
            }
            if versions.len() == 1 {
                self.settled.push((word, versions[0].1));
                versions.clear();
                self.loose.swap_remove(index);
            } else {
                index += 1;
            }
        }
    }

    /// Words that became certain since this was asked last, with their values.
    pub fn take_settled(&mut self) -> std::vec::Drain<'_, (u32, u64)> {
        self.settled.drain(..)
    }

    /// Words that may hold more than one thing.
    pub fn loose(&self) -> &[u32] {
        &self.loose
    }

    /// What a word may hold, oldest first, each with its time; nothing if it is certain.
    pub fn of(&self, word: u32) -> &[(u32, u64)] {
        &self.words[word as usize]
    }

    /// A word holds `value` for certain: its unit was read.
    pub fn decide(&mut self, word: u32, value: u64) {
        let versions = &mut self.words[word as usize];
        versions.clear();
        versions.push((0, value));
    }

    /// What a word holds if its unit stopped at `time`.
    pub fn at(&self, word: u32, time: u32) -> u64 {
        let versions = self.of(word);
        let index = versions
            .iter()
            .rposition(|&(since, _)| since <= time)
            .unwrap_or(0);
        versions[index].1
    }
}

/// The pages of the words `from` up to `to`, as bits.
fn pages(from: u32, to: u32) -> u128 {
    if from == to {
        return 0;
    }
    (page_of(from)..=page_of(to - 1)).fold(0, |bits, page| bits | 1 << page)
}

/// How the units of an image choose their moments.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Policy {
    /// All as late as can be: a kill.
    Newest,
    /// All as early as can be: nothing was written early.
    Oldest,
    /// Each the latest with so many chances of a hundred, else the earliest.
    Coin(u64),
    /// Each any.
    Any,
    /// All late but the one of this word.
    OneOld(u32),
    /// All early but the one of this word.
    OneNew(u32),
    /// All at this moment, as if the medium kept order.
    Moment(u32),
    /// Slots and role pages late, data early.
    HeadersFirst,
    /// Data late, slots and role pages early.
    DataFirst,
    /// All by coin, but of the headers just the 64 bytes around this word late.
    HeaderLine(u32),
    /// All late but the data from one word to another, which is of the lap before.
    OldRun(u32, u32),
}

/// Damage beyond early and late.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Damage {
    /// None.
    None,
    /// One unit is new up to somewhere and old from there.
    Torn,
    /// What was being written in one unit is noise.
    Garbage,
}

/// One way to choose an image.
#[derive(Clone, Copy, Debug)]
pub struct Choice {
    /// Bytes of a unit: 8, 64, 512, 4096 or 65536.
    pub unit_bytes: u32,
    /// The moments.
    pub policy: Policy,
    /// The damage.
    pub damage: Damage,
}

impl Choice {
    /// Any choice, with a bias to those that find something.
    pub fn any(versions: &Versions, random: &mut Random) -> Self {
        let unit_bytes = match random.below(16) {
            0..9 => 8,
            9..13 => 64,
            13 => 512,
            14 => 4096,
            _ => 65_536,
        };
        let loose = versions.loose();
        let word = if loose.is_empty() {
            0
        } else {
            loose[random.index(loose.len())]
        };
        // Of a slot that was being written the first word decides more than the others.
        let in_slots = |word: &&u32| (3 * PAGE_WORDS..HEADER_WORDS).contains(*word);
        let first = loose.iter().filter(in_slots).min().copied().unwrap_or(word);
        let policy = match random.below(22) {
            0 => Policy::Newest,
            1 => Policy::Oldest,
            2 => Policy::Coin(10),
            3 | 4 => Policy::Coin(50),
            5 => Policy::Coin(90),
            6..9 => Policy::Any,
            9..12 => Policy::OneOld(word),
            12 | 13 => Policy::OneNew(word),
            14 => Policy::Moment(some_moment(versions, word, random)),
            15 => Policy::HeadersFirst,
            16 => Policy::DataFirst,
            17 => Policy::HeaderLine(word),
            18 => Policy::OneOld(first),
            19 => Policy::OneNew(first),
            _ => {
                let length = 1 + u32::try_from(random.below(24)).expect("small");
                Policy::OldRun(word, word + length)
            }
        };
        let damage = match random.below(12) {
            0 => Damage::Torn,
            1 => Damage::Garbage,
            _ => Damage::None,
        };
        Self {
            unit_bytes,
            policy,
            damage,
        }
    }

    /// The words that differ from the base in the image; a later entry of a word wins.
    pub fn image(&self, versions: &Versions, random: &mut Random, out: &mut Vec<(u32, u64)>) {
        out.clear();
        let shift = self.unit_bytes.trailing_zeros() - 3;
        let mut times: Vec<(u32, u32)> = Vec::new(); // units of more than a word
        for &word in versions.loose() {
            let unit = word >> shift;
            let known = times
                .iter()
                .find(|known| shift != 0 && known.0 == unit)
                .copied();
            let time = match known {
                Some((_, time)) => time,
                None => self.moment(versions, word, shift, random),
            };
            if shift != 0 && known.is_none() {
                times.push((unit, time));
            }
            if time != 0 {
                out.push((word, versions.at(word, time)));
            }
        }
        self.harm(versions, shift, random, out);
    }

    /// When the unit of `word` stopped.
    fn moment(&self, versions: &Versions, word: u32, shift: u32, random: &mut Random) -> u32 {
        let late = |late: bool| if late { u32::MAX } else { 0 };
        let header = word < HEADER_WORDS;
        match self.policy {
            Policy::Oldest => 0,
            Policy::Coin(percent) => late(random.chance(percent)),
            Policy::Any => some_moment(versions, word, random),
            Policy::OneOld(one) if word >> shift == one >> shift => {
                some_moment(versions, one, random).saturating_sub(1)
            }
            Policy::Newest | Policy::OneOld(_) => u32::MAX,
            Policy::OneNew(one) => late(word >> shift == one >> shift),
            Policy::Moment(moment) => moment,
            Policy::HeadersFirst => late(header),
            Policy::DataFirst => late(!header),
            Policy::HeaderLine(one) if header => late(word / 8 == one / 8),
            Policy::HeaderLine(_) => late(random.chance(50)),
            Policy::OldRun(from, to) => late(!(from..to).contains(&word)),
        }
    }

    /// Damages one unit.
    fn harm(
        &self,
        versions: &Versions,
        shift: u32,
        random: &mut Random,
        out: &mut Vec<(u32, u64)>,
    ) {
        let loose = versions.loose();
        if self.damage == Damage::None || loose.is_empty() {
            return;
        }
        let hit = loose[random.index(loose.len())];
        let unit = (hit >> shift) << shift;
        let length = 1_u64 << shift;
        let cut = unit + u32::try_from(random.below(length)).expect("a unit is small");
        let noise = random.below(4);
        for &word in loose.iter().filter(|&&word| word >> shift == hit >> shift) {
            let (old, new) = (versions.at(word, 0), versions.at(word, u32::MAX));
            let value = match (self.damage, noise) {
                (Damage::Torn, _) if shift == 0 => {
                    let mask = u64::MAX >> (8 * (1 + random.below(7)));
                    new & mask | old & !mask
                }
                (Damage::Torn, _) => {
                    if word < cut {
                        new
                    } else {
                        old
                    }
                }
                (_, 0) => 0,
                (_, 1) => u64::MAX,
                _ => random.next(),
            };
            out.push((word, value));
        }
    }
}

/// A moment at which some word of the record changed; half the time this one.
fn some_moment(versions: &Versions, word: u32, random: &mut Random) -> u32 {
    let loose = versions.loose();
    if loose.is_empty() {
        return 0;
    }
    let word = if random.one_in(2) {
        word
    } else {
        loose[random.index(loose.len())]
    };
    let versions = versions.of(word);
    if versions.is_empty() {
        0
    } else {
        versions[random.index(versions.len())].0
    }
}

#[cfg(test)]
#[path = "image_tests.rs"]
mod tests;
