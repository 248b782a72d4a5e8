//! What came out, gathered over the rounds.

use std::collections::BTreeMap;

use hdrhistogram::Histogram;
use rivals_harness::Output as Measured;
use rivals_harness::cell::unpack;
use rivals_harness::statistics::{median, percentile, spread};

use super::plan::Plan;

/// The percentiles that are reported.
pub(super) const PERCENTILES: [(&str, f64); 5] = [
    ("p50", 0.5),
    ("p90", 0.9),
    ("p99", 0.99),
    ("p99.9", 0.999),
    ("p99.99", 0.9999),
];

/// What is measured of one transport and size.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Key {
    /// Round trips first.
    pub(super) is_stream: bool,
    pub(super) bytes: usize,
    pub(super) transport: &'static str,
}

/// The rounds of one place.
#[derive(Debug)]
pub(super) struct Series {
    /// For round trips the median in nanoseconds, for streams messages a second.
    pub(super) values: Vec<f64>,
    /// The floor around each, in nanoseconds.
    pub(super) floors: Vec<f64>,
    /// Every round trip of every round, in nanoseconds; empty for streams.
    pub(super) all: Histogram<u64>,
}

impl Series {
    pub(super) fn median(&self) -> f64 {
        median(&self.values).unwrap_or(f64::NAN)
    }

    /// Half the distance between the quartiles, as a part of the median.
    pub(super) fn spread(&self) -> f64 {
        spread(&self.values)
    }

    /// The median of the round trips over the floor around each.
    pub(super) fn over_floor(&self) -> f64 {
        let pairs = self.values.iter().zip(&self.floors);
        let ratios: Vec<_> = pairs.map(|(value, floor)| value / floor).collect();
        median(&ratios).unwrap_or(f64::NAN)
    }
}

/// Everything that was measured.
#[derive(Debug, Default)]
pub(super) struct Figures {
    pub(super) series: BTreeMap<Key, Series>,
    /// Transports and sizes that could not be measured, and why.
    pub(super) skipped: BTreeMap<(&'static str, usize), String>,
}

impl Figures {
    pub(super) fn is_skipped(&self, transport: &'static str, bytes: usize) -> bool {
        self.skipped.contains_key(&(transport, bytes))
    }

    /// Notes why something was not measured; what was measured of it before does not count.
    pub(super) fn skip(&mut self, transport: &'static str, bytes: usize, why: String) {
        self.series
            .retain(|key, _| (key.transport, key.bytes) != (transport, bytes));
        self.skipped.insert((transport, bytes), why);
    }

    /// Adds one round of one place.
    pub(super) fn add(&mut self, plan: &Plan, key: Key, measured: &Measured) {
        let middle =
            |samples: &Vec<(u64, u64)>| plan.ns(percentile(&unpack(samples), 0.5, plan.step_ticks));
        let floors: Vec<_> = measured.floors.iter().map(middle).collect();
        let series = self.series.entry(key).or_insert_with(|| Series {
            values: Vec::new(),
            floors: Vec::new(),
            all: rivals_harness::cell::new_histogram(),
        });
        series.values.push(if key.is_stream {
            float(measured.messages) * 1e9 / plan.ns(float(measured.ticks))
        } else {
            middle(&measured.samples)
        });
        series.floors.push(mean(&floors));
        for &(ticks, count) in &measured.samples {
            let ns = plan.ns(float(ticks)).round();
            series.all.saturating_record_n(whole(ns).max(1), count);
        }
    }

    /// The floor: the median and the spread of all that were measured.
    pub(super) fn floor_ns(&self) -> (f64, f64) {
        let all: Vec<f64> = self
            .series
            .values()
            .flat_map(|series| series.floors.iter().copied())
            .collect();
        (median(&all).unwrap_or(f64::NAN), spread(&all))
    }
}

fn mean(figures: &[f64]) -> f64 {
    let count = u64::try_from(figures.len()).unwrap_or(0);
    figures.iter().sum::<f64>() / float(count)
}

#[expect(
    clippy::cast_precision_loss,
    reason = "figures for people: 53 bits are enough"
)]
pub(super) fn float(number: u64) -> f64 {
    number as f64
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a float becomes the nearest number that fits"
)]
fn whole(number: f64) -> u64 {
    number as u64
}
