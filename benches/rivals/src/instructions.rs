//! Counts instructions: valgrind runs this program as a worker.

use std::hint::black_box;
use std::process::{Command, Stdio};

use ringduct::Options;
use rivals_harness::worker::WORKER;
use rivals_harness::{Cell, Failure, Output};

/// Bytes of each message.
const BYTES: usize = 8;

/// Sends and receives `ticks` messages on one thread.
pub(crate) fn work(cell: &Cell) -> Result<Output, Failure> {
    let ring = Options::new().capacity_bytes(4096).create_anonymous()?;
    let (mut tx, mut rx) = (ring.producer()?, ring.consumer()?);
    let mut buffer = [0; BYTES];
    for number in 0..cell.ticks {
        let message: [u8; BYTES] = black_box(number.to_ne_bytes());
        tx.send(&message)?;
        rx.recv(&mut buffer)?;
        black_box(&buffer);
    }
    Ok(Output::of_counts(cell.ticks, 0))
}

/// Instructions of one message there and back, from the difference between two runs.
pub(crate) fn count(cell: &Cell) -> Result<f64, Failure> {
    const FEW: u64 = 10_000;
    const MANY: u64 = 110_000;
    let total = |messages: u64| {
        let mut cell = cell.clone();
        cell.ticks = messages;
        collected(&cell)
    };
    let (few, many) = (total(FEW)?, total(MANY)?);
    Ok((many - few) / (MANY - FEW) as f64)
}

fn collected(cell: &Cell) -> Result<f64, Failure> {
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
        .arg(std::env::current_exe()?)
        .args([WORKER, &serde_json::to_string(cell)?])
        .stdin(Stdio::null())
        .output()
        .map_err(|error| format!("valgrind: {error}"))?;
    let text = String::from_utf8_lossy(&output.stderr);
    let count = text.lines().find_map(|line| line.split_once("Collected :"));
    match count.and_then(|(_, count)| count.trim().parse().ok()) {
        Some(count) => Ok(count),
        None => Err(format!("valgrind: {}", text.lines().last().unwrap_or_default()).into()),
    }
}
