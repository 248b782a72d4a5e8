//! Figures that are measured once, not round by round.

use std::time::Duration;

use rivals_harness::cell::unpack;
use rivals_harness::{Cell, Kind, Output};

use crate::figures::Figures;
use crate::names::{RINGS, SAME};
use crate::placement::Placement;
use crate::run::Runner;
use rivals_harness::statistics::percentile;

/// Measures those that do not depend on the placement.
pub(crate) fn measure(runner: &mut Runner, figures: &mut [Figures]) {
    if !runner.wanted(SAME) {
        return;
    }
    let mut found = Vec::new();
    let cell = lasting(runner, Kind::Syscalls, 64, Duration::from_millis(500));
    match runner.try_measure(&cell) {
        Ok(Output {
            ticks, messages, ..
        }) => found.push(("syscalls_per_million", ticks as f64 * 1e6 / messages as f64)),
        Err(error) => runner.skip("syscalls_per_million", &error),
    }
    let cell = runner.cell(SAME, Kind::Instructions, 8, 4096);
    match crate::instructions::count(&cell) {
        Ok(count) => found.push(("instructions_8b", count)),
        Err(error) => runner.skip("instructions_8b", &error),
    }
    for figures in figures {
        for (name, figure) in &found {
            figures.add_own(name, *figure);
        }
    }
}

/// A cell of another length.
fn lasting(runner: &mut Runner, kind: Kind, bytes: usize, time: Duration) -> Cell {
    let mut cell = runner.cell(SAME, kind, bytes, RINGS[0]);
    cell.ticks = runner.machine.ticks(time);
    cell
}

/// How long a sleeping receiver takes, once: a quarter of a second of wakes.
pub(crate) fn wakes(runner: &mut Runner, figures: &mut [Figures]) {
    if !runner.wanted(SAME) {
        return;
    }
    let cell = lasting(runner, Kind::Wake, 8, Duration::from_millis(250));
    let Some(settled) = runner.measure(&cell) else {
        return;
    };
    let machine = &runner.machine;
    let median = |name: &str| {
        let samples = settled.output.more.get(name)?;
        Some(machine.ns(percentile(&unpack(samples), 0.5, machine.step_ticks)))
    };
    let names = [
        ("wake_ns", "ringduct"),
        ("futex_wake_ns", "futex"),
        ("pipe_wake_ns", "pipe"),
        ("send_to_sleeper_ns", "send-to-sleeper"),
        ("send_after_wake_ns", "send-after-wake"),
    ];
    let Some(figures) = of(figures, settled.placement) else {
        return;
    };
    for (figure, name) in names {
        if let Some(ns) = median(name) {
            figures.add_own(figure, ns);
        }
    }
    if let (Some(ours), Some(bare)) = (median("ringduct"), median("futex")) {
        figures.add_own("wake_over_futex", ours / bare);
    }
}

/// The figures of one placement.
pub(crate) fn of(figures: &mut [Figures], placement: Placement) -> Option<&mut Figures> {
    figures
        .iter_mut()
        .find(|figures| figures.placement == placement)
}
