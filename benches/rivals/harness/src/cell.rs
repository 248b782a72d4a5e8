//! One cell of the table: what is measured, and what came out.

use std::collections::BTreeMap;
use std::path::PathBuf;

use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

use crate::link::{Failure, Link, Spec};
use crate::{floor, open, rtt, stream};

/// What is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// Round trips, one message at a time.
    Rtt,
    /// One way, as fast as it goes.
    Stream,
    /// How long a sleeping receiver takes to have a message.
    Wake,
    /// System calls in a stream.
    Syscalls,
    /// One way, at a fixed rate.
    Open,
    /// How long a send takes, at a fixed rate.
    Sends,
    /// The first lap through a new ring.
    Touch,
    /// Work for an instruction counter.
    Instructions,
}

/// One measurement of one transport.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Cell {
    /// Its name.
    pub transport: String,
    /// What is measured.
    pub kind: Kind,
    /// Bytes of every message.
    pub bytes: usize,
    /// Bytes of buffer.
    pub ring_bytes: usize,
    /// Ticks of the clock that the timed part lasts.
    pub ticks: u64,
    /// Ticks between messages that are sent at a fixed rate.
    pub gap_ticks: u64,
    /// Ticks that the floor is measured right before and right after.
    pub floor_ticks: u64,
    /// Where the two ends run.
    pub cores: [usize; 2],
    /// A name nobody else uses.
    pub name: String,
    /// A directory on a disk.
    pub dir: PathBuf,
}

/// What came out: counts and ticks.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Output {
    /// Messages, or round trips, in the timed part.
    pub messages: u64,
    /// How long it lasted.
    pub ticks: u64,
    /// Samples in ticks with how often each was seen.
    #[serde(default)]
    pub samples: Vec<(u64, u64)>,
    /// Further samples, by name.
    #[serde(default)]
    pub more: BTreeMap<String, Vec<(u64, u64)>>,
    /// Samples of the floor right before and right after; empty where no other core was involved.
    #[serde(default)]
    pub floors: Vec<Vec<(u64, u64)>>,
    /// Ticks of the same work alone and beside the other side's, right before and right after.
    #[serde(default)]
    pub work: Vec<[u64; 2]>,
}

impl Output {
    /// Samples alone.
    pub fn of_samples(samples: &[u64]) -> Self {
        Self {
            messages: samples.len() as u64,
            ticks: samples.iter().sum(),
            samples: pack(samples),
            ..Self::default()
        }
    }

    /// Counts alone.
    pub fn of_counts(messages: u64, ticks: u64) -> Self {
        Self {
            messages,
            ticks,
            ..Self::default()
        }
    }

    /// Adds the samples to a histogram.
    pub fn add_to(&self, histogram: &mut Histogram<u64>) {
        for &(value, count) in &self.samples {
            histogram.saturating_record_n(value.max(1), count);
        }
    }
}

/// Values in ticks with how often each was seen.
pub fn pack(samples: &[u64]) -> Vec<(u64, u64)> {
    let mut histogram = new_histogram();
    for &sample in samples {
        histogram.saturating_record(sample.max(1));
    }
    let bins = histogram.iter_recorded();
    bins.map(|bin| (bin.value_iterated_to(), bin.count_at_value()))
        .collect()
}

/// The histogram of packed samples.
pub fn unpack(samples: &[(u64, u64)]) -> Histogram<u64> {
    let mut histogram = new_histogram();
    for &(value, count) in samples {
        histogram.saturating_record_n(value.max(1), count);
    }
    histogram
}

/// An empty histogram of ticks.
///
/// # Panics
///
/// Never: the bounds are allowed.
#[expect(clippy::expect_used, reason = "the bounds are allowed")]
pub fn new_histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(1, 1 << 40, 3).expect("the bounds are allowed")
}

impl Cell {
    /// What the links of this cell are made for; `which` tells several apart.
    pub fn spec(&self, which: &str) -> Spec {
        Spec {
            transport: self.transport.clone(),
            bytes: self.bytes,
            ring_bytes: self.ring_bytes,
            name: format!("{}-{which}", self.name),
            dir: self.dir.clone(),
        }
    }

    /// Measures this cell over links of type `L`.
    ///
    /// # Errors
    ///
    /// What the transport says.
    pub fn measure<L: Link>(&self) -> Result<Output, Failure> {
        match self.kind {
            Kind::Rtt => by_size!(self.bytes, rtt::measure, L, self),
            Kind::Stream => by_size!(self.bytes, stream::measure, L, self),
            Kind::Open => open::latencies::<L>(self),
            Kind::Sends => open::sends::<L>(self),
            other => Err(format!("{other:?} is not for every transport").into()),
        }
    }

    /// Measures this cell if it is one of the floors.
    ///
    /// # Errors
    ///
    /// What the kernel says.
    pub fn measure_floor(&self) -> Result<Output, Failure> {
        match self.kind {
            Kind::Rtt => floor::bounce(self),
            Kind::Stream => floor::bulk(self),
            other => Err(format!("no floor for {other:?}").into()),
        }
    }
}

/// Calls a function with the message size as its last parameter, 0 for an unusual one.
macro_rules! by_size {
    ($bytes:expr, $function:path, $link:ident, $cell:expr) => {{
        use $function as measure;
        match $bytes {
            8 => measure::<$link, 8>($cell),
            32 => measure::<$link, 32>($cell),
            48 => measure::<$link, 48>($cell),
            64 => measure::<$link, 64>($cell),
            128 => measure::<$link, 128>($cell),
            256 => measure::<$link, 256>($cell),
            1024 => measure::<$link, 1024>($cell),
            4096 => measure::<$link, 4096>($cell),
            _ => measure::<$link, 0>($cell),
        }
    }};
}
use by_size;

/// Measures a cell over a link type with the message size as its last parameter.
#[macro_export]
macro_rules! measure_sized {
    ($cell:expr, $link:ident) => {
        match $cell.bytes {
            8 => $cell.measure::<$link<8>>(),
            32 => $cell.measure::<$link<32>>(),
            48 => $cell.measure::<$link<48>>(),
            64 => $cell.measure::<$link<64>>(),
            128 => $cell.measure::<$link<128>>(),
            256 => $cell.measure::<$link<256>>(),
            1024 => $cell.measure::<$link<1024>>(),
            4096 => $cell.measure::<$link<4096>>(),
            other => Err(format!("no messages of {other} bytes").into()),
        }
    };
}
