//! Writes records of one fixed size to a file, as a process that measures something would:
//!
//! ```sh
//! cargo run --features zerocopy --example records_write -- readings.ring
//! cargo run --features zerocopy --example records_read -- readings.ring
//! ```
//!
//! Expect the second to print the records of the first, be it at the same time or after the first
//! has ended. Run the first again, and it counts on where it stopped.
#![expect(non_ascii_idents, reason = "the derives make some, out of sight")]

#[path = "common/args.rs"]
mod args;
#[path = "records/reading.rs"]
mod reading;

use std::path::Path;
use std::process::ExitCode;

use reading::Reading;
use ringduct::{Location, Options, TypedProducer};

const HELP: &str = "usage: records_write FILE [COUNT]";

fn main() -> ExitCode {
    args::finish(run())
}

#[expect(clippy::print_stdout, reason = "says what it did")]
fn run() -> Result<ExitCode, Box<dyn std::error::Error>> {
    let arguments = args::arguments(HELP);
    let (file, count) = match arguments.as_slice() {
        [file] => (file, 10),
        [file, count] => (file, count.parse().map_err(|_| HELP)?),
        _ => return Err(HELP.into()),
    };
    let ring = Options::new()
        .application_tag(reading::TAG)
        .open_or_create(&Location::from(Path::new(file)))?;
    let mut tx = TypedProducer::new(ring.producer()?);
    let first = tx.get_ref().totals().messages;
    for number in first..first.saturating_add(count) {
        let sensor = u32::try_from(number % 3)?;
        tx.send(&Reading {
            number,
            sensor,
            millidegrees: i32::try_from(number % 700)?.saturating_add(20_000),
            at_ms: number.wrapping_mul(100),
        })?;
    }
    println!("wrote {count} readings, beginning with number {first}");
    Ok(ExitCode::SUCCESS)
}
