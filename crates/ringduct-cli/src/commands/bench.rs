//! `bench`: round trips and streams between two processes, beside what the kernel has and beside
//! the floor of the machine.

use std::path::PathBuf;
use std::time::Duration;

use clap::ValueEnum;

use crate::failure::{Code, Failure};
use crate::output::Output;
use crate::place::{self, Place};
use crate::{cores, signals, size};

mod figures;
mod links;
mod plan;
mod report;
mod rounds;
mod svg;
mod worker;

/// Measures round trips and streams between two pinned processes
///
/// Rounds are interleaved: every transport is measured once before any is measured again. Each
/// figure is the median of the rounds, with half the distance of their quartiles as its spread.
/// The floor is one cache line bounced between the same two processors, right before and after
/// each measurement: figures of two runs can only be compared over it. The waits are the default
/// ones, which spin and then sleep.
#[derive(clap::Args, Debug)]
pub(crate) struct Args {
    /// A folder, or a name beside which the rings are made for the time of the run: a path or
    /// shm:NAME; shared memory by default
    #[arg(value_name = "LOC", value_parser = place::parser())]
    place: Option<Place>,
    /// Also measure what the kernel has
    #[arg(long, value_enum, value_delimiter = ',', value_name = "LIST")]
    against: Vec<Rival>,
    /// Bytes of the messages
    #[arg(
        long,
        value_delimiter = ',',
        value_name = "SIZES",
        default_value = "64,1K"
    )]
    #[arg(value_parser = size::bytes)]
    sizes: Vec<u64>,
    /// Room of each ring, and of what it is compared with as far as the kernel allows
    #[arg(long, value_name = "SIZE", default_value = "64K", value_parser = size::bytes)]
    capacity: u64,
    /// How often everything is measured
    #[arg(long, value_name = "N", default_value = "5")]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=1000))]
    rounds: u32,
    /// How long each measurement lasts
    #[arg(long, value_name = "TIME", default_value = "100ms", value_parser = size::duration)]
    duration: Duration,
    /// The two processors; two cores by default
    #[arg(long, value_name = "A,B", value_delimiter = ',', num_args = 1)]
    cores: Vec<usize>,
    /// Give every message a checksum
    #[arg(long)]
    checksum: bool,
    /// Write the figures as one JSON object instead of a table
    #[arg(long)]
    json: bool,
    /// Draw the figures into this file
    #[arg(long, value_name = "FILE")]
    svg: Option<PathBuf>,
    /// Write all round trips into this file, as an `HdrHistogram` interval log with one tag each
    #[arg(long, value_name = "FILE")]
    hdr: Option<PathBuf>,
    /// Measure one cell, as a process of its own
    #[arg(long, hide = true, value_name = "CELL")]
    worker: Option<String>,
}

/// What rings are compared with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Rival {
    /// A pipe
    Pipe,
    /// Unix sockets that keep messages apart
    Unix,
    /// A POSIX message queue
    Mq,
}

impl Rival {
    const fn name(self) -> &'static str {
        match self {
            Self::Pipe => "pipe",
            Self::Unix => "unix",
            Self::Mq => "mq",
        }
    }
}

/// Measures, and reports.
pub(crate) fn run(args: &Args) -> Result<(), Failure> {
    if let Some(cell) = &args.worker {
        return worker::run(cell);
    }
    let plan = plan::Plan::new(args)?;
    signals::catch();
    let figures = rounds::all(&plan)?;
    // Files first: whoever reads standard output may leave early.
    if let Some(path) = &args.svg {
        svg::draw(path, &plan, &figures)?;
    }
    if let Some(path) = &args.hdr {
        report::hdr(path, &plan, &figures)?;
    }
    let text = if args.json {
        report::json(&plan, &figures)
    } else {
        report::table(&plan, &figures)
    };
    Output::stdout()?.write_all(text.as_bytes())
}

/// The processors to use.
fn two_cores(args: &Args) -> Result<[usize; 2], Failure> {
    match args.cores[..] {
        [] => cores::two().ok_or_else(|| {
            Failure::new(Code::Other, "cannot tell which processors may be used")
                .next("name two with --cores, such as --cores 0,1")
        }),
        [first, second] => Ok([first, second]),
        _ => Err(Failure::new(
            Code::Usage,
            "--cores takes two numbers, such as 0,1",
        )),
    }
}
