//! What was measured, gathered over the rounds, for each placement on its own.

use std::collections::{BTreeMap, BTreeSet};

use hdrhistogram::Histogram;
use rivals_harness::cell::new_histogram;
use rivals_harness::{Cell, Kind};

use crate::full::Full;
use crate::machine::Machine;
use crate::names::{AGAIN, CHECKSUM, FLOOR, RINGS, SAME, SIZES, TRANSPORTS};
use crate::placement::{Placement, Settled};
use rivals_harness::statistics::{median, percentile, spread};

/// So many rounds in one placement are enough to report it.
const ENOUGH: usize = 2;

/// One place in the tables.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Key {
    pub(crate) transport: String,
    /// Bytes of a message.
    pub(crate) bytes: usize,
    /// Bytes of the buffer of a stream; zero for round trips.
    pub(crate) ring: usize,
}

impl Key {
    pub(crate) fn rtt(transport: &str, bytes: usize) -> Self {
        Self::stream(transport, bytes, 0)
    }

    pub(crate) fn stream(transport: &str, bytes: usize, ring: usize) -> Self {
        Self {
            transport: transport.to_owned(),
            bytes,
            ring,
        }
    }

    pub(crate) fn of(cell: &Cell) -> Self {
        match cell.kind {
            Kind::Rtt => Self::rtt(&cell.transport, cell.bytes),
            _ => Self::stream(&cell.transport, cell.bytes, cell.ring_bytes),
        }
    }
}

/// One round of one place.
#[derive(Clone, Copy, Debug)]
struct Round {
    /// For round trips the median in nanoseconds, for streams millions of messages a second.
    value: f64,
    /// The floor around it.
    floor_ns: f64,
}

/// The rounds of one place.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    rounds: BTreeMap<u32, Round>,
    /// Every sample of every round, in ticks.
    pub(crate) all: Histogram<u64>,
}

impl Place {
    fn values(&self) -> Vec<f64> {
        self.rounds.values().map(|round| round.value).collect()
    }

    /// How many rounds there are.
    pub(crate) fn rounds(&self) -> usize {
        self.rounds.len()
    }

    /// The median of the rounds.
    pub(crate) fn value(&self) -> f64 {
        median(&self.values()).unwrap_or(f64::NAN)
    }

    /// The median of the ratios to the floor around each round.
    pub(crate) fn over_floor(&self) -> f64 {
        let over = |round: &Round| round.value / round.floor_ns;
        let ratios: Vec<_> = self.rounds.values().map(over).collect();
        median(&ratios).unwrap_or(f64::NAN)
    }

    /// Half the distance between the quartiles of the rounds, as a part of the median.
    pub(crate) fn spread(&self) -> f64 {
        spread(&self.values())
    }

    /// The median of the ratios of rounds that both have; with fewer than two of them, the ratio
    /// of the medians.
    fn over(&self, other: &Self) -> f64 {
        let ratio = |(at, round): (&u32, &Round)| Some(round.value / other.rounds.get(at)?.value);
        let ratios: Vec<_> = self.rounds.iter().filter_map(ratio).collect();
        let paired = median(&ratios).filter(|_| ratios.len() >= ENOUGH);
        paired.unwrap_or_else(|| self.value() / other.value())
    }
}

/// Everything that was measured.
#[derive(Debug)]
pub(crate) struct Everything {
    /// The figures of the placement that is reported.
    pub(crate) reported: Figures,
    /// The figures of the others that were ever seen.
    pub(crate) others: Vec<Figures>,
    pub(crate) skipped: BTreeMap<String, String>,
    /// What `--full` adds.
    pub(crate) full: Option<Full>,
    /// Measurements thrown away because the placement changed meanwhile.
    pub(crate) unsettled: u32,
}

impl Everything {
    /// The figures of every placement, those that are reported first.
    pub(crate) fn each(&self) -> impl Iterator<Item = &Figures> {
        std::iter::once(&self.reported).chain(&self.others)
    }

    /// What was skipped in one placement, and why.
    pub(crate) fn skipped(&self, figures: &Figures) -> BTreeMap<String, String> {
        let mut skipped = self.skipped.clone();
        let each: Vec<_> = self.each().collect();
        for (name, why) in figures.lacking(&each) {
            let all = skipped.entry(name).or_default();
            if !all.is_empty() {
                all.push_str("; ");
            }
            all.push_str(&why);
        }
        skipped
    }
}

/// The figures of one placement.
#[derive(Clone, Debug)]
pub(crate) struct Figures {
    machine: Machine,
    pub(crate) placement: Placement,
    pub(crate) places: BTreeMap<Key, Place>,
    /// Every floor around a measurement.
    floors: Vec<f64>,
    /// Figures that are measured on their own, one for each time.
    own: BTreeMap<&'static str, Vec<f64>>,
}

impl Figures {
    pub(crate) fn new(machine: &Machine, placement: Placement) -> Self {
        Self {
            machine: machine.clone(),
            placement,
            places: BTreeMap::new(),
            floors: Vec::new(),
            own: BTreeMap::new(),
        }
    }

    /// Adds one round of one place.
    pub(crate) fn add(&mut self, round: u32, key: &Key, settled: &Settled) {
        let Settled {
            output, floor_ns, ..
        } = settled;
        let value = if key.ring == 0 {
            let mut histogram = new_histogram();
            output.add_to(&mut histogram);
            self.machine
                .ns(percentile(&histogram, 0.5, self.machine.step_ticks))
        } else {
            output.messages as f64 * 1000.0 / self.machine.ns(output.ticks as f64)
        };
        let place = self.places.entry(key.clone()).or_insert_with(|| Place {
            rounds: BTreeMap::new(),
            all: new_histogram(),
        });
        let floor_ns = *floor_ns;
        place.rounds.insert(round, Round { value, floor_ns });
        output.add_to(&mut place.all);
        self.floors.push(floor_ns);
    }

    /// Adds a figure that is measured on its own.
    pub(crate) fn add_own(&mut self, name: &'static str, figure: f64) {
        self.own.entry(name).or_default().push(figure);
    }

    /// The median of a figure that is measured on its own.
    pub(crate) fn own(&self, name: &str) -> Option<f64> {
        median(self.own.get(name)?)
    }

    /// Which part of these places has enough rounds.
    pub(crate) fn part_with_enough(&self, keys: &[Key], rounds: u32) -> f64 {
        let enough = ENOUGH.min(usize::try_from(rounds).unwrap_or(ENOUGH));
        let has = |key: &&Key| {
            let place = self.places.get(key);
            place.is_some_and(|place| place.rounds() >= enough)
        };
        keys.iter().filter(has).count() as f64 / keys.len().max(1) as f64
    }

    /// Transports of which some place is missing here but measured elsewhere.
    fn lacking(&self, each: &[&Self]) -> Vec<(String, String)> {
        let missing: BTreeSet<_> = each
            .iter()
            .flat_map(|figures| figures.places.keys())
            .filter(|key| !self.places.contains_key(key))
            .map(|key| key.transport.as_str())
            .collect();
        let why = format!("some cells were never seen {}", self.placement);
        let names = TRANSPORTS.iter().filter(|name| missing.contains(*name));
        names
            .map(|name| ((*name).to_owned(), why.clone()))
            .collect()
    }

    /// A percentile of all samples of a place, in nanoseconds.
    pub(crate) fn percentile_ns(&self, place: &Place, part: f64) -> f64 {
        self.machine
            .ns(percentile(&place.all, part, self.machine.step_ticks))
    }

    fn value(&self, key: &Key) -> Option<f64> {
        self.places.get(key).map(Place::value)
    }

    /// The ratio of two places, from the rounds that both have where there are some.
    pub(crate) fn ratio(&self, one: &Key, other: &Key) -> Option<f64> {
        Some(self.places.get(one)?.over(self.places.get(other)?))
    }

    /// Nanoseconds of a round trip.
    pub(crate) fn rtt(&self, transport: &str, bytes: usize) -> Option<f64> {
        self.value(&Key::rtt(transport, bytes))
    }

    /// A round trip over the floor around it.
    pub(crate) fn over_floor(&self, transport: &str, bytes: usize) -> Option<f64> {
        let place = self.places.get(&Key::rtt(transport, bytes));
        place.map(Place::over_floor)
    }

    /// A round trip over another.
    pub(crate) fn rtt_ratio(&self, one: &str, other: &str, bytes: usize) -> Option<f64> {
        self.ratio(&Key::rtt(one, bytes), &Key::rtt(other, bytes))
    }

    /// Millions of messages a second.
    pub(crate) fn stream(&self, transport: &str, bytes: usize, ring: usize) -> Option<f64> {
        self.value(&Key::stream(transport, bytes, ring))
    }

    /// A rate over another.
    pub(crate) fn stream_ratio(&self, one: &str, other: &str, at: (usize, usize)) -> Option<f64> {
        let (bytes, ring) = at;
        self.ratio(
            &Key::stream(one, bytes, ring),
            &Key::stream(other, bytes, ring),
        )
    }

    /// Nanoseconds of a bounce of one cache line.
    pub(crate) fn floor_ns(&self) -> f64 {
        median(&self.floors).unwrap_or(f64::NAN)
    }

    /// The copy in bulk, with the better of the two buffers.
    fn bulk(&self) -> Option<(Key, f64)> {
        let key = |ring| Key::stream(FLOOR, rivals_harness::floor::BLOCK_BYTES, ring);
        let rates = RINGS.into_iter().filter_map(|ring| {
            let key = key(ring);
            let rate = self.value(&key)?;
            Some((key, rate))
        });
        rates.max_by(|a, b| a.1.total_cmp(&b.1))
    }

    /// Gigabytes a second of the copy in bulk.
    pub(crate) fn bulk_gb_per_s(&self) -> Option<f64> {
        let (key, rate) = self.bulk()?;
        Some(rate * key.bytes as f64 / 1000.0)
    }

    /// Bytes a second, with the better of the two buffers, over the copy in bulk.
    pub(crate) fn over_bulk(&self, transport: &str, bytes: usize) -> Option<f64> {
        let (bulk, _) = self.bulk()?;
        let ratio = |ring| self.ratio(&Key::stream(transport, bytes, ring), &bulk);
        let best = RINGS.into_iter().filter_map(ratio).reduce(f64::max)?;
        Some(best * bytes as f64 / bulk.bytes as f64)
    }

    /// The rate of 64-byte messages with a checksum over that without, with 64 KiB.
    pub(crate) fn checksummed_64(&self) -> Option<f64> {
        self.stream_ratio(CHECKSUM, SAME, (64, RINGS[0]))
    }

    /// The greatest ratio, over sizes, of a transport to itself: one for round trips, one for
    /// streams with 64 KiB.
    pub(crate) fn spread_a_over_a(&self) -> [Option<f64>; 2] {
        let apart = |ratio: f64| ratio.max(1.0 / ratio);
        let rtt = |bytes: &usize| self.rtt_ratio(SAME, AGAIN, *bytes);
        let stream = |bytes: &usize| self.stream_ratio(SAME, AGAIN, (*bytes, RINGS[0]));
        [
            SIZES.iter().filter_map(rtt).map(apart).reduce(f64::max),
            SIZES.iter().filter_map(stream).map(apart).reduce(f64::max),
        ]
    }
}
