//! The long run: cases until enough images were judged, or the time is over.

#![expect(
    clippy::print_stdout,
    clippy::arithmetic_side_effects,
    reason = "a tool that reports on the standard output; its numbers are small"
)]

use clap::Parser;
use indicatif::{ProgressBar, ProgressStyle};
use ringduct_powercut::case::{self, Effort, Failure, Tally};
use ringduct_powercut::library::Library;
use std::process::ExitCode;
use std::time::{Duration, Instant};

/// Cuts the power under a ring, in a simulation, again and again.
#[derive(Clone, Debug, Parser)]
#[command(version, max_term_width = 100)]
struct Arguments {
    /// Images to judge at least, such as 1e9
    #[arg(long, default_value = "1e7", value_parser = count)]
    images: u64,

    /// Seed of the first case; each further case takes the next
    #[arg(long, default_value_t = 1)]
    seed: u64,

    /// Stop after so many minutes, even with fewer images
    #[arg(long)]
    minutes: Option<u64>,

    /// Threads, each with cases of its own
    #[arg(long, default_value_t = 1)]
    threads: u64,

    /// Run the case of the seed alone and judge this image alone; 0 for what was no image
    #[arg(long)]
    only: Option<u64>,
}

/// Reads 1000, 1e9 or 2.5e8.
fn count(text: &str) -> Result<u64, String> {
    let wrong = || format!("{text} is no count");
    let (digits, zeros) = text.split_once(['e', 'E']).unwrap_or((text, "0"));
    let (whole, part) = digits.split_once('.').unwrap_or((digits, ""));
    let zeros: u32 = zeros.parse().map_err(|_| wrong())?;
    let zeros = zeros.checked_sub(u32::try_from(part.len()).map_err(|_| wrong())?);
    let number: u64 = format!("{whole}{part}").parse().map_err(|_| wrong())?;
    zeros
        .and_then(|zeros| 10_u64.checked_pow(zeros))
        .and_then(|scale| number.checked_mul(scale))
        .ok_or_else(wrong)
}

/// One thread's share of the cases.
fn share(
    arguments: &Arguments,
    thread: u64,
    end: Option<Instant>,
    bar: &ProgressBar,
) -> Result<Tally, Box<Failure>> {
    let mut tally = Tally::default();
    let mut seed = arguments.seed.wrapping_add(thread);
    while bar.position() < arguments.images && end.is_none_or(|end| Instant::now() < end) {
        let found = case::run(&Library, seed, Effort::default(), None)?;
        bar.inc(found.images);
        tally.add(&found);
        seed = seed.wrapping_add(arguments.threads);
    }
    Ok(tally)
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    if let Some(only) = arguments.only {
        return match case::run(&Library, arguments.seed, Effort::default(), Some(only)) {
            Ok(_) => {
                println!(
                    "nothing is wrong with image {only} of seed {}",
                    arguments.seed
                );
                ExitCode::SUCCESS
            }
            Err(failure) => told(&failure),
        };
    }
    let bar = ProgressBar::new(arguments.images).with_style(
        ProgressStyle::with_template(
            "{elapsed_precise} {bar:30} {human_pos}/{human_len} images {per_sec} {eta}",
        )
        .unwrap_or_else(|_| ProgressStyle::default_bar()),
    );
    bar.enable_steady_tick(Duration::from_millis(500));
    let start = Instant::now();
    let end = arguments
        .minutes
        .map(|minutes| start + Duration::from_secs(60 * minutes));
    let shares: Vec<_> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..arguments.threads)
            .map(|thread| {
                scope.spawn({
                    let (arguments, bar) = (&arguments, &bar);
                    move || share(arguments, thread, end, bar)
                })
            })
            .collect();
        threads
            .into_iter()
            .map(std::thread::ScopedJoinHandle::join)
            .collect()
    });
    bar.abandon();
    let mut tally = Tally::default();
    for share in shares {
        match share {
            Ok(Ok(found)) => tally.add(&found),
            Ok(Err(failure)) => return told(&failure),
            Err(_) => return ExitCode::FAILURE,
        }
    }
    println!(
        "seed {}, {:.0?}: {tally:#?}",
        arguments.seed,
        start.elapsed()
    );
    ExitCode::SUCCESS
}

fn told(failure: &Failure) -> ExitCode {
    println!("{failure}");
    ExitCode::FAILURE
}
