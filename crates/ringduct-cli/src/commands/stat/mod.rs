//! `stat`: how rings stand.

mod json;
mod prometheus;
mod table;

use std::io::IsTerminal as _;
use std::time::Duration;

use ringduct::{Observer, Rates, Snapshot};

use crate::failure::{Code, Failure};
use crate::inspect;
use crate::output::Output;
use crate::place::{self, Place};
use crate::{signals, size};

/// Shows how rings stand: both sides, backlog and rates. Takes nothing, disturbs nobody.
#[derive(clap::Args, Debug)]
pub(crate) struct Args {
    /// The rings
    #[arg(value_name = "LOC", required = true, value_parser = place::parser())]
    places: Vec<Place>,
    /// Show them again and again, so far apart, with the rates in between
    #[arg(long, value_name = "DURATION", value_parser = size::duration)]
    watch: Option<Duration>,
    /// How they are shown; json: one object on a line for each ring
    #[arg(long, value_enum, default_value = "table")]
    format: Format,
}

/// How rings are shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Format {
    Table,
    Json,
    Prometheus,
}

/// Between the two looks that rates are taken from, where no --watch says otherwise.
const GLANCE: Duration = Duration::from_millis(100);

/// To the top left corner, and everything from there on erased.
const CLEAR: &str = "\x1b[H\x1b[2J";

/// One ring, looked at.
struct Watched {
    name: String,
    observer: Observer,
    last: Snapshot,
}

/// What is shown of a ring.
struct Reading<'a> {
    name: &'a str,
    observer: &'a Observer,
    snapshot: &'a Snapshot,
    /// None where only one look was taken.
    rates: Option<Rates>,
    taken_at_unix_ns: u64,
}

/// Shows the rings once, or until a signal comes.
pub(crate) fn run(args: &Args) -> Result<(), Failure> {
    if args.watch.is_some() && args.format == Format::Prometheus {
        return Err(Failure::new(
            Code::Usage,
            "--watch and --format prometheus exclude each other",
        )
        .next("a scrape is one exposition: run `ringduct stat --format prometheus` for each"));
    }
    signals::catch();
    let mut rings = Vec::new();
    let opened = inspect::each(&args.places, |place| {
        let observer = place.observe(&inspect::any(place))?;
        rings.push(Watched {
            name: place.to_string(),
            last: observer.snapshot(),
            observer,
        });
        Ok(())
    });
    if rings.is_empty() {
        return opened;
    }
    let mut output = Output::stdout()?;
    if args.format == Format::Prometheus {
        let readings: Vec<_> = rings.iter().map(|ring| ring.reading(None)).collect();
        output.write_all(prometheus::exposition(&readings).as_bytes())?;
        return opened;
    }
    let is_screen = std::io::stdout().is_terminal() && args.format == Format::Table;
    let mut wait = GLANCE;
    loop {
        inspect::pause(wait)?;
        let mut page = String::new();
        if args.watch.is_some() && is_screen {
            page.push_str(CLEAR);
        }
        for ring in &mut rings {
            let now = ring.observer.snapshot();
            let rates = now.rates_since(&ring.last);
            ring.last = now;
            let reading = ring.reading(Some(rates));
            match args.format {
                Format::Json => json::append(&reading, &mut page),
                _ => table::append(&reading, &mut page),
            }
        }
        output.write_all(page.as_bytes())?;
        match args.watch {
            Some(every) => wait = every.max(GLANCE),
            None => return opened,
        }
    }
}

impl Watched {
    fn reading(&self, rates: Option<Rates>) -> Reading<'_> {
        Reading {
            name: &self.name,
            observer: &self.observer,
            snapshot: &self.last,
            rates,
            taken_at_unix_ns: inspect::show::now_unix_ns(),
        }
    }
}
