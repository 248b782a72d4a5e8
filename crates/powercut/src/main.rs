//! The long run: cases until enough images were judged, the time is over, or it is told to stop
//! (SIGINT, SIGTERM). It says then how much it did.

#![expect(
    clippy::print_stdout,
    clippy::arithmetic_side_effects,
    reason = "a tool that reports on the standard output; its numbers are small"
)]
#![expect(
    clippy::disallowed_types,
    reason = "a signal sets a flag of this process; nobody shares it"
)]

use clap::Parser;
use indicatif::{ProgressBar, ProgressStyle};
use ringduct_powercut::case::{self, Effort, Failure, Tally};
use ringduct_powercut::library::Library;
use signal_hook::consts::{SIGINT, SIGTERM};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
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

/// When to stop, and how far all threads are.
struct Run {
    end: Option<Instant>,
    stopped: Arc<AtomicBool>,
    bar: ProgressBar,
}

impl Run {
    fn begin(arguments: &Arguments) -> std::io::Result<Self> {
        let stopped = Arc::new(AtomicBool::new(false));
        for signal in [SIGINT, SIGTERM] {
            signal_hook::flag::register(signal, Arc::clone(&stopped))?;
        }
        let bar = ProgressBar::new(arguments.images).with_style(
            ProgressStyle::with_template(
                "{elapsed_precise} {bar:30} {human_pos}/{human_len} images {per_sec} {eta}",
            )
            .unwrap_or_else(|_| ProgressStyle::default_bar()),
        );
        bar.enable_steady_tick(Duration::from_millis(500));
        let length = arguments
            .minutes
            .map(|minutes| Duration::from_secs(60 * minutes));
        Ok(Self {
            end: length.map(|length| Instant::now() + length),
            stopped,
            bar,
        })
    }

    fn goes_on(&self, arguments: &Arguments) -> bool {
        self.bar.position() < arguments.images
            && self.end.is_none_or(|end| Instant::now() < end)
            && !self.stopped.load(Ordering::Relaxed)
    }

    /// One thread's share of the cases.
    fn share(&self, arguments: &Arguments, thread: u64) -> Result<Tally, Box<Failure>> {
        let mut tally = Tally::default();
        let mut seed = arguments.seed.wrapping_add(thread);
        let mut told = Instant::now();
        while self.goes_on(arguments) {
            let found = case::run(&Library, seed, Effort::default(), None)?;
            self.bar.inc(found.images);
            tally.add(&found);
            seed = seed.wrapping_add(arguments.threads);
            // Nobody sees the bar where the output goes to a file.
            if thread == 0 && self.bar.is_hidden() && told.elapsed() > Duration::from_secs(60) {
                let (all, elapsed) = (self.bar.position(), self.bar.elapsed());
                println!("{all} images in {elapsed:.0?}, up to seed {seed}");
                told = Instant::now();
            }
        }
        Ok(tally)
    }
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
    let run = match Run::begin(&arguments) {
        Ok(run) => run,
        Err(error) => {
            println!("signals can not be heard: {error}");
            return ExitCode::FAILURE;
        }
    };
    let start = Instant::now();
    let shares: Vec<_> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..arguments.threads)
            .map(|thread| {
                scope.spawn({
                    let (arguments, run) = (&arguments, &run);
                    move || run.share(arguments, thread)
                })
            })
            .collect();
        threads
            .into_iter()
            .map(std::thread::ScopedJoinHandle::join)
            .collect()
    });
    run.bar.abandon();
    let mut tally = Tally::default();
    for share in shares {
        match share {
            Ok(Ok(found)) => tally.add(&found),
            Ok(Err(failure)) => return told(&failure),
            Err(_) => return ExitCode::FAILURE,
        }
    }
    println!(
        "seed {}, {:.1?}{}: {tally:#?}",
        arguments.seed,
        start.elapsed(),
        if run.stopped.load(Ordering::Relaxed) {
            ", stopped by a signal"
        } else {
            ""
        }
    );
    ExitCode::SUCCESS
}

fn told(failure: &Failure) -> ExitCode {
    println!("{failure}");
    ExitCode::FAILURE
}
