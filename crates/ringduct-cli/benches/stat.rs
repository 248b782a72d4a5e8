//! What `ringduct stat --watch` costs the pair that it looks at.
//!
//! One pair streams all the time; slices without and with the tool beside it alternate, and what
//! went through in each is counted. The difference of the medians is the cost; how far slices
//! without the tool differ among themselves is what this run can not tell from nothing.
//!
//! `cargo bench -p ringduct-cli --bench stat`; ends with 1 if the tool costs more than a hundredth
//! and more than that spread. Without `--bench`, as under `cargo test`, a short run with no verdict.
#![expect(clippy::print_stdout, reason = "the report")]
#![expect(
    clippy::unwrap_used,
    reason = "a benchmark that can not run fails by panicking"
)]

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, ExitCode, Stdio};
use std::sync::mpsc::{self, Receiver, TryRecvError};
use std::thread;
use std::time::{Duration, Instant};

use ringduct::{Location, Observer, Options, Ring};

const MESSAGE_BYTES: usize = 64;
const CAPACITY_BYTES: u64 = 64 << 10;

fn main() -> ExitCode {
    let is_full = std::env::args().any(|arg| arg == "--bench");
    let (slices, slice) = if is_full {
        (14, Duration::from_millis(2500))
    } else {
        (2, Duration::from_millis(300))
    };
    let dir = tempfile::tempdir_in("/dev/shm").unwrap();
    let path = dir.path().join("stat.ring");
    let options = Options::new().capacity_bytes(CAPACITY_BYTES);
    let ring = options.create(&Location::from(&*path)).unwrap();
    let observer = ring.observer().unwrap();
    let (running, stop) = mpsc::channel();
    let pair = thread::spawn(move || stream(&ring, &stop));
    let (mut without, mut with) = (Vec::new(), Vec::new());
    rate_over(&observer, slice); // to get warm
    for _ in 0..slices {
        without.push(rate_over(&observer, slice));
        let tool = watch(path.to_str().unwrap());
        with.push(rate_over(&observer, slice));
        end(tool);
    }
    drop(running);
    pair.join().unwrap();
    let is_cheap = report(without, with);
    if is_cheap || !is_full {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

/// Sends and receives in two threads until the other end of `stop` is gone.
fn stream(ring: &Ring, stop: &Receiver<()>) {
    let (mut tx, mut rx) = (ring.producer().unwrap(), ring.consumer().unwrap());
    thread::scope(|scope| {
        scope.spawn(move || {
            let mut message = [0; MESSAGE_BYTES];
            while rx.recv(&mut message).is_ok() {}
        });
        loop {
            for _ in 0..10_000 {
                tx.send(&[7; MESSAGE_BYTES]).unwrap();
            }
            if stop.try_recv() == Err(TryRecvError::Disconnected) {
                break;
            }
        }
        drop(tx); // the consumer sees the ring closed
    });
}

/// Messages a second over a slice of time.
fn rate_over(observer: &Observer, slice: Duration) -> f64 {
    let (first, started) = (observer.snapshot(), Instant::now());
    thread::sleep(slice.saturating_sub(started.elapsed()));
    observer
        .snapshot()
        .rates_since(&first)
        .published_messages_per_s
}

/// Starts the tool, and waits until it looks.
fn watch(name: &str) -> Child {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ringduct"));
    command.args(["stat", "--watch", "1s", "--format", "json", name]);
    let mut tool = command.stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(tool.stdout.take().unwrap());
    lines.read_line(&mut String::new()).unwrap();
    tool.stdout = Some(lines.into_inner());
    tool
}

fn end(mut tool: Child) {
    tool.kill().unwrap();
    tool.wait().unwrap();
}

/// Writes both medians, and returns whether the cost is small enough.
fn report(mut without: Vec<f64>, mut with: Vec<f64>) -> bool {
    for (what, rates) in [("without", &mut without), ("with", &mut with)] {
        rates.sort_by(f64::total_cmp);
        let [low, middle, high] = [1, 2, 3].map(|quarter| quantile(rates, quarter) / 1e6);
        println!("{what:>8}: {middle:.2} M messages/s, quartiles {low:.2} to {high:.2}");
    }
    let median = quantile(&without, 2);
    let cost = 1.0 - quantile(&with, 2) / median;
    let spread = (quantile(&without, 3) - quantile(&without, 1)) / median;
    println!(
        "cost: {:.2} %; slices without the tool: half of them lie within {:.2} %",
        cost * 100.0,
        spread * 100.0
    );
    cost < 0.01 || cost < spread
}

/// The value at so many quarters of a sorted list.
fn quantile(sorted: &[f64], quarters: usize) -> f64 {
    let last = sorted.len().saturating_sub(1);
    let index = last.saturating_mul(quarters) / 4;
    sorted.get(index).copied().unwrap_or(0.0)
}
