//! What `--full` measures besides.

use std::collections::BTreeMap;
use std::fs::File;
use std::sync::mpsc;
use std::time::Duration;

use hdrhistogram::Histogram;
use rivals_harness::cell::{new_histogram, unpack};
use rivals_harness::{Cell, Kind, Output};
use serde_json::{Value, json};

use crate::machine::Machine;
use crate::names::{FULL, RINGS, SAME, TRANSPORTS};
use crate::placement::{Placement, Settled};
use crate::run::{Runner, progress};
use rivals_harness::statistics::percentile;

/// Times between two messages that are due.
const GAPS: [Duration; 2] = [Duration::from_micros(10), Duration::from_micros(1)];

/// Between two write-backs of a file.
const WRITE_BACK: Duration = Duration::from_millis(50);

/// Rounds of each latency under load.
const ROUNDS: usize = 3;

/// Times that sends to a file and to shared memory are measured.
const SEND_ROUNDS: usize = 5;

/// One curve: a transport at a rate, in one placement.
#[derive(Debug)]
pub(crate) struct Curve {
    pub(crate) transport: String,
    pub(crate) placement: Placement,
    pub(crate) messages_per_s: f64,
    pub(crate) samples: Histogram<u64>,
}

/// Everything.
#[derive(Debug, Default)]
pub(crate) struct Full {
    pub(crate) open: Vec<Curve>,
    sends: Vec<Value>,
    touch: Value,
    syscalls_spin: Option<f64>,
}

/// Measures it.
pub(crate) fn measure(runner: &mut Runner) -> Full {
    let mut full = Full::default();
    let names: Vec<_> = TRANSPORTS.into_iter().chain(FULL).collect();
    let wanted: Vec<_> = names
        .into_iter()
        .filter(|name| runner.wanted(name))
        .collect();
    let bar = progress((ROUNDS * GAPS.len() * wanted.len()) as u64);
    bar.set_message("latency under load");
    let mut samples: BTreeMap<_, Histogram<u64>> = BTreeMap::new();
    for _ in 0..ROUNDS {
        for (at, gap) in GAPS.into_iter().enumerate() {
            for name in &wanted {
                bar.inc(1);
                let mut cell = runner.cell(name, Kind::Open, 64, RINGS[0]);
                cell.ticks = runner.machine.ticks(Duration::from_millis(500));
                cell.gap_ticks = runner.machine.ticks(gap);
                if let Some(settled) = runner.measure(&cell) {
                    let key = (at, settled.placement, *name);
                    let all = samples.entry(key).or_insert_with(new_histogram);
                    settled.output.add_to(all);
                }
            }
        }
    }
    bar.finish_and_clear();
    let curve = |((gap, placement, name), samples): ((usize, _, &str), _)| Curve {
        transport: name.to_owned(),
        placement,
        messages_per_s: 1.0 / GAPS[gap].as_secs_f64(),
        samples,
    };
    full.open = samples.into_iter().map(curve).collect();
    sends(runner, &mut full);
    touch(runner, &mut full);
    let mut cell = runner.cell("ringduct-shm-spin", Kind::Syscalls, 64, RINGS[0]);
    cell.ticks = runner.machine.ticks(Duration::from_millis(500));
    let counted = runner.try_measure(&cell).ok();
    full.syscalls_spin = counted.map(|output| output.ticks as f64 * 1e6 / output.messages as f64);
    full
}

/// Sends to a ring in a file on a disk beside those to one in shared memory, left alone and with
/// somebody who has changed pages written back all the time, as `sync` or the kernel would.
fn sends(runner: &mut Runner, full: &mut Full) {
    let kinds = [
        ("ringduct-shm-spin", false),
        ("ringduct-file-spin", false),
        ("ringduct-shm-spin", true),
        ("ringduct-file-spin", true),
    ];
    let mut samples: BTreeMap<_, Histogram<u64>> = BTreeMap::new();
    for _ in 0..SEND_ROUNDS {
        for (name, synced) in kinds {
            if !runner.wanted(name) {
                continue;
            }
            let mut cell: Cell = runner.cell(name, Kind::Sends, 256, RINGS[1]);
            cell.ticks = runner.machine.ticks(Duration::from_secs(1));
            cell.gap_ticks = runner.machine.ticks(Duration::from_micros(2));
            let settled = if synced {
                with_syncs(runner, &cell)
            } else {
                runner.measure(&cell)
            };
            if let Some(settled) = settled {
                let all = samples.entry((settled.placement, synced, name));
                settled.output.add_to(all.or_insert_with(new_histogram));
            }
        }
    }
    for ((placement, synced, name), samples) in samples {
        let mut row = percentiles(&samples, &runner.machine);
        row["transport"] = name.into();
        row["bytes"] = 256.into();
        row["placement"] = json!(placement);
        row["written_back_every_ms"] = synced
            .then_some(u64::try_from(WRITE_BACK.as_millis()).unwrap_or(0))
            .into();
        full.sends.push(row);
    }
}

/// Measures a cell while its file, if it has one, is written back again and again.
fn with_syncs(runner: &mut Runner, cell: &Cell) -> Option<Settled> {
    let path = cell.dir.join(cell.spec("sends").name);
    let (done, ended) = mpsc::channel::<()>();
    std::thread::scope(|scope| {
        scope.spawn(move || {
            while ended.recv_timeout(WRITE_BACK) == Err(mpsc::RecvTimeoutError::Timeout) {
                // The file is not there at first, and never for shared memory.
                if let Ok(file) = File::open(&path) {
                    drop(file.sync_data());
                }
            }
        });
        let output = runner.measure(cell);
        drop(done);
        output
    })
}

fn touch(runner: &mut Runner, full: &mut Full) {
    if !runner.wanted(SAME) {
        return;
    }
    let mut cell = runner.cell(SAME, Kind::Touch, 1016, RINGS[1]);
    cell.ticks = runner.machine.ticks(Duration::from_secs(2));
    let Ok(Output { more, .. }) = runner.try_measure(&cell) else {
        return;
    };
    let machine = &runner.machine;
    let median = |name: &str| {
        let samples = more.get(name)?;
        Some(
            machine
                .ns(percentile(&unpack(samples), 0.5, machine.step_ticks))
                .round(),
        )
    };
    let row = |name: &str| {
        json!({
            "attach_both_ns": median(&format!("{name}-attach")),
            "first_lap_ns_per_message": median(&format!("{name}-first")),
            "second_lap_ns_per_message": median(&format!("{name}-second")),
        })
    };
    full.touch = json!({ "prefault": row("prefault"), "without": row("plain"), "bytes": 1016 });
}

fn percentiles(samples: &Histogram<u64>, machine: &Machine) -> Value {
    let at = |part: f64| {
        machine
            .ns(percentile(samples, part, machine.step_ticks))
            .round()
    };
    json!({
        "p50_ns": at(0.5),
        "p99_ns": at(0.99),
        "p999_ns": at(0.999),
        "p9999_ns": at(0.9999),
        "max_ns": machine.ns(samples.max() as f64).round(),
        "samples": samples.len(),
    })
}

/// The object in the JSON.
pub(crate) fn render(full: &Full, machine: &Machine) -> Value {
    let open = full.open.iter().map(|curve| {
        let mut row = percentiles(&curve.samples, machine);
        row["transport"] = curve.transport.clone().into();
        row["placement"] = json!(curve.placement);
        row["messages_per_s"] = curve.messages_per_s.round().into();
        row["bytes"] = 64.into();
        row
    });
    json!({
        "open_loop": open.collect::<Vec<_>>(),
        "sends_file_and_shm": full.sends,
        "first_touch": full.touch,
        "syscalls_per_million_spin": full.syscalls_spin,
    })
}
