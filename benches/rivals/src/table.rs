//! The ratios with their targets, for people, and the tables for the README.

use std::fmt::Write;

use crate::figures::{Everything, Figures};
use crate::machine::Machine;
use crate::names::{FLOOR, RINGS, SAME, SIZES, THREADS_ONLY, TRANSPORTS};

/// What is compared with the rivals.
const OURS: &str = SAME;

/// Round trip over the floor, at most, by size.
const FLOOR_TARGETS: [Option<f64>; 8] = [
    Some(1.10),
    Some(1.10),
    Some(1.10),
    Some(1.15),
    Some(1.30),
    Some(1.60),
    Some(2.5),
    None,
];

/// The best C++ rings: bytes, round trip over the floor, M messages a second with 64 KiB. From
/// another run on a like machine, the first through its floor.
const CPP: [(usize, f64, f64); 5] = [
    (8, 1.10, 68.0),
    (64, 1.23, 131.0),
    (128, 1.60, 71.0),
    (256, 1.68, 34.0),
    (1024, 2.65, 14.0),
];

/// A figure against its target.
fn line(out: &mut String, what: &str, found: Option<f64>, target: Option<(f64, bool)>) {
    let Some(found) = found.filter(|found| found.is_finite()) else {
        return;
    };
    _ = write!(out, "  {what:<58} {found:>8.3}");
    if let Some((target, at_most)) = target {
        let sign = if at_most { "<=" } else { ">=" };
        let met = if at_most {
            found <= target
        } else {
            found >= target
        };
        _ = write!(
            out,
            "   {sign} {:<6} {}",
            (target * 1e3).round() / 1e3,
            if met { "met" } else { "MISSED" }
        );
    }
    out.push('\n');
}

fn rivals() -> impl Iterator<Item = &'static str> {
    TRANSPORTS
        .into_iter()
        .filter(|name| !name.starts_with("ringduct"))
}

/// The ratios of the issue, in the placement that is reported.
pub(crate) fn ratios(everything: &Everything) -> String {
    let figures = &everything.reported;
    let mut out = format!(
        "{}, floor: {:.1} ns a round trip\n",
        figures.placement,
        figures.floor_ns()
    );
    let pause = figures.rtt(crate::names::FLOOR_PAUSE, 8);
    if let Some(pause) = pause {
        _ = writeln!(out, "the same with a pause between looks: {pause:.1} ns");
    }
    round_trips(&mut out, figures);
    streams(&mut out, figures);
    same(&mut out, figures);
    others(&mut out, figures);
    for other in &everything.others {
        let (seen, ns) = (other.placement, other.floor_ns());
        _ = writeln!(out, "also seen: {seen}, floor: {ns:.1} ns");
    }
    if everything.unsettled > 0 {
        let times = everything.unsettled;
        _ = writeln!(out, "the placement changed during {times} measurements");
    }
    for (name, why) in &everything.skipped(figures) {
        _ = writeln!(out, "skipped: {name}: {why}");
    }
    out
}

fn round_trips(out: &mut String, figures: &Figures) {
    _ = writeln!(out, "round trip of {OURS}");
    for (bytes, target) in SIZES.into_iter().zip(FLOOR_TARGETS) {
        line(
            out,
            &format!("{bytes:>5} B over the floor"),
            figures.over_floor(OURS, bytes),
            target.map(|at| (at, true)),
        );
    }
    for bytes in SIZES {
        let all = rivals().filter_map(|name| Some((name, figures.rtt_ratio(OURS, name, bytes)?)));
        let Some((name, ratio)) = all.max_by(|a, b| a.1.total_cmp(&b.1)) else {
            continue;
        };
        let target = if bytes <= 128 { 0.92 } else { 0.97 };
        line(
            out,
            &format!("{bytes:>5} B over the best rival, {name}"),
            Some(ratio),
            Some((target, true)),
        );
    }
    for (bytes, over, _) in CPP {
        line(
            out,
            &format!("{bytes:>5} B over the floor, against C++"),
            figures.over_floor(OURS, bytes),
            Some((over, true)),
        );
    }
}

fn streams(out: &mut String, figures: &Figures) {
    _ = writeln!(out, "streaming of {OURS}");
    for (ring, bytes) in RINGS
        .into_iter()
        .flat_map(|ring| SIZES.map(|bytes| (ring, bytes)))
    {
        let at = (bytes, ring);
        let all = rivals().filter_map(|name| Some((name, figures.stream_ratio(OURS, name, at)?)));
        let Some((name, ratio)) = all.min_by(|a, b| a.1.total_cmp(&b.1)) else {
            continue;
        };
        let target = if bytes <= 64 { 1.5 } else { 1.2 };
        let what = format!(
            "{bytes:>5} B, {} KiB, over the best rival, {name}",
            ring >> 10
        );
        line(out, &what, Some(ratio), Some((target, false)));
    }
    for (bytes, _, rate) in CPP {
        let ours = figures.stream(OURS, bytes, RINGS[0]);
        line(
            out,
            &format!("{bytes:>5} B, M messages/s, against C++"),
            ours,
            Some((rate, false)),
        );
    }
    for bytes in [1024, 4096] {
        line(
            out,
            &format!("{bytes:>5} B over the copy in bulk"),
            figures.over_bulk(OURS, bytes),
            Some((0.8, false)),
        );
    }
}

/// Transports of our own against each other: the worst size of each.
fn same(out: &mut String, figures: &Figures) {
    let [rtt, stream] = figures.spread_a_over_a();
    line(out, "A over A, round trip, worst size", rtt, None);
    line(out, "A over A, streaming, worst size", stream, None);
    let pairs = [
        ("park over spin", SAME, "ringduct-shm-spin", 0.03),
        (
            "safe over trusted",
            "ringduct-shm-spin",
            "ringduct-shm-spin-trusted",
            0.10,
        ),
    ];
    for (what, one, other, slack) in pairs {
        let ratio = |bytes: &usize| figures.rtt_ratio(one, other, *bytes);
        let worst = SIZES.iter().filter_map(ratio).reduce(f64::max);
        let allowed = f64::max(1.0 + slack, rtt.unwrap_or(1.0));
        line(
            out,
            &format!("{what}, round trip, worst size"),
            worst,
            Some((allowed, true)),
        );
        let ratio = |bytes: &usize| figures.stream_ratio(one, other, (*bytes, RINGS[0]));
        let worst = SIZES.iter().filter_map(ratio).reduce(f64::min);
        let allowed = 1.0 - f64::max(slack, stream.map_or(0.0, |spread| 1.0 - 1.0 / spread));
        line(
            out,
            &format!("{what}, streaming, worst size"),
            worst,
            Some((allowed, false)),
        );
    }
}

fn others(out: &mut String, figures: &Figures) {
    line(
        out,
        "checksummed over not, 64 B",
        figures.checksummed_64(),
        Some((0.5, false)),
    );
    let rtt = figures.rtt_ratio(OURS, "pipe", 64);
    line(
        out,
        "round trip over pipe, 64 B",
        rtt,
        Some((1.0 / 30.0, true)),
    );
    let stream = figures.stream_ratio(OURS, "pipe", (64, RINGS[0]));
    line(
        out,
        "streaming over pipe, 64 B",
        stream,
        Some((50.0, false)),
    );
    let own = |name: &str| figures.own(name);
    line(
        out,
        "wake over a bare futex",
        own("wake_over_futex"),
        Some((1.2, true)),
    );
    line(
        out,
        "system calls a million messages",
        own("syscalls_per_million"),
        Some((20.0, true)),
    );
    line(
        out,
        "instructions there and back, 8 B",
        own("instructions_8b"),
        Some((60.0, true)),
    );
}

/// Tables in Markdown, those of the placement that is reported first.
pub(crate) fn markdown(everything: &Everything, machine: &Machine) -> String {
    let mut out = format!(
        "{}, Linux {}, cores {} and {}; two processes, or two threads where marked with a \
         star.\n",
        machine.cpu, machine.kernel, machine.cores[0], machine.cores[1]
    );
    for figures in everything.each() {
        _ = writeln!(
            out,
            "\nRound trip, {}, median over the floor of {:.0} ns:\n",
            figures.placement,
            figures.floor_ns()
        );
        one_table(&mut out, |name, bytes| figures.over_floor(name, bytes));
        for ring in RINGS {
            _ = writeln!(
                out,
                "\nStreaming, {}, M messages a second, buffer of {} KiB:\n",
                figures.placement,
                ring >> 10
            );
            one_table(&mut out, |name, bytes| figures.stream(name, bytes, ring));
        }
    }
    out
}

fn one_table(out: &mut String, figure: impl Fn(&str, usize) -> Option<f64>) {
    _ = write!(out, "| transport |");
    for bytes in SIZES {
        _ = write!(out, " {bytes} B |");
    }
    _ = write!(out, "\n|---|{}\n", "--:|".repeat(SIZES.len()));
    for name in TRANSPORTS.into_iter().filter(|name| *name != FLOOR) {
        let row = SIZES.map(|bytes| figure(name, bytes));
        if row.iter().all(Option::is_none) {
            continue;
        }
        let star = if THREADS_ONLY.contains(&name) {
            "*"
        } else {
            ""
        };
        _ = write!(out, "| {name}{star} |");
        for cell in row {
            _ = match cell {
                Some(figure) if figure >= 100.0 => write!(out, " {figure:.0} |"),
                Some(figure) if figure >= 10.0 => write!(out, " {figure:.1} |"),
                Some(figure) => write!(out, " {figure:.2} |"),
                None => write!(out, " – |"),
            };
        }
        out.push('\n');
    }
}
