//! Whether the two ends share a core of the machine, or a cache.

use std::fmt;

use clap::ValueEnum;
use rivals_harness::Output;
use rivals_harness::cell::unpack;
use serde::Serialize;

use crate::machine::Machine;
use rivals_harness::statistics::percentile;

/// Where the two ends were.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub(crate) enum Placement {
    /// On two cores that share their last cache.
    #[serde(rename = "cross core, one cache")]
    Near,
    /// On two cores that share none.
    #[serde(rename = "cross core, two caches")]
    Far,
    /// On two hyper-threads of one core.
    #[serde(rename = "same core")]
    Same,
}

impl Placement {
    pub(crate) const ALL: [Self; 3] = [Self::Near, Self::Far, Self::Same];
}

impl fmt::Display for Placement {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Near => "cross core, one cache",
            Self::Far => "cross core, two caches",
            Self::Same => "same core",
        })
    }
}

/// The placement to report.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Wanted {
    /// Waits for two cores that share their last cache.
    Near,
    /// Waits for two cores that share none.
    Far,
    /// Waits for two cores, near or far.
    Cross,
    /// Waits for two hyper-threads of one core.
    Same,
    /// Waits for nothing; reports what there was enough of, two cores first.
    Any,
}

impl Wanted {
    /// The placements that will do.
    pub(crate) const fn placements(self) -> &'static [Placement] {
        match self {
            Self::Near => &[Placement::Near],
            Self::Far => &[Placement::Far],
            Self::Cross => &[Placement::Near, Placement::Far],
            Self::Same => &[Placement::Same],
            Self::Any => &Placement::ALL,
        }
    }
}

/// One measurement whose placement did not change meanwhile.
#[derive(Debug)]
pub(crate) struct Settled {
    pub(crate) output: Output,
    pub(crate) placement: Placement,
    /// The mean of the floors right before and right after.
    pub(crate) floor_ns: f64,
}

impl Settled {
    /// Looks at the floors around a measurement; `None` if they tell of two placements.
    pub(crate) fn of(output: Output, machine: &Machine) -> Option<Self> {
        let ns = |samples: &Vec<(u64, u64)>| {
            machine.ns(percentile(&unpack(samples), 0.5, machine.step_ticks))
        };
        let floors: Vec<_> = output.floors.iter().map(ns).collect();
        let ([before, after], [work_before, work_after]) = (&floors[..], &output.work[..]) else {
            return None;
        };
        let placement = machine.placement(*before, *work_before);
        let floor_ns = f64::midpoint(*before, *after);
        (machine.placement(*after, *work_after) == placement).then_some(Self {
            output,
            placement,
            floor_ns,
        })
    }
}
