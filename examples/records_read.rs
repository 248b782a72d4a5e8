//! Reads the records that `records_write` writes to a file: see there for what to run.
//!
//! Expect a line for each record, and the end when the writer has closed the ring and everything
//! was read. On an empty ring it waits for a writer.
#![expect(non_ascii_idents, reason = "the derives make some, out of sight")]

#[path = "common/args.rs"]
mod args;
#[path = "records/reading.rs"]
mod reading;

use std::io::Write;
use std::path::Path;
use std::process::ExitCode;

use reading::Reading;
use ringduct::{Location, Options, RecvError, TypedConsumer, TypedError};

const HELP: &str = "usage: records_read FILE";

fn main() -> ExitCode {
    args::finish(run())
}

fn run() -> Result<ExitCode, Box<dyn std::error::Error>> {
    let arguments = args::arguments(HELP);
    let [file] = arguments.as_slice() else {
        return Err(HELP.into());
    };
    let ring = Options::new()
        .application_tag(reading::TAG)
        .open_or_create(&Location::from(Path::new(file)))?;
    let mut rx = TypedConsumer::<Reading>::new(ring.consumer()?);
    let mut out = std::io::stdout().lock();
    loop {
        match rx.recv() {
            Ok(reading) => writeln!(
                out,
                "number {}: sensor {} read {} millidegrees after {} ms",
                reading.number, reading.sensor, reading.millidegrees, reading.at_ms
            )?,
            Err(TypedError::Ring(RecvError::Closed)) => return Ok(ExitCode::SUCCESS),
            Err(error) => return Err(error.into()),
        }
    }
}
