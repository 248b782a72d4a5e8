//! `verify`: whether a ring is sound, with the first thing that is wrong named.

use std::fmt::Write as _;

use ringduct::Examination;

use crate::failure::{Code, Failure};
use crate::inspect;
use crate::output::Output;
use crate::place::{self, Place};
use crate::size;

/// Examines structure and checksums, in use or not, and writes nothing to the ring.
#[derive(clap::Args, Debug)]
pub(crate) struct Args {
    /// The ring
    #[arg(value_name = "LOC", value_parser = place::parser())]
    place: Place,
}

/// Says that the ring is sound, or fails.
pub(crate) fn run(args: &Args) -> Result<(), Failure> {
    let place = &args.place;
    let found = inspect::any(place).examine(place.location())?;
    let mut output = Output::stdout()?;
    output.write_all(report(place, &found).as_bytes())?;
    match found.fault {
        None => Ok(()),
        Some(fault) => Err(damaged(place, &fault.to_string())),
    }
}

/// The ring is damaged: what that means, and what can be done.
pub(crate) fn damaged(place: &Place, fault: &str) -> Failure {
    Failure::new(Code::Damaged, format!("{place}: damaged: {fault}")).next(
        "copy what is whole with `ringduct salvage`, then remove it with `ringduct rm`; `ringduct \
         dump` shows what is there",
    )
}

fn report(place: &Place, found: &Examination) -> String {
    let verdict = match &found.fault {
        Some(fault) => format!("damaged: {fault}"),
        None => "sound".to_owned(),
    };
    let mut text = format!("{place}: {verdict}\n");
    if found.state.is_some() {
        let messages = found.whole_messages;
        let bytes = size::show_bytes(found.whole_bytes);
        let sums = match (found.header.checksummed(), found.fault.is_some()) {
            (true, false) => "checksums right",
            (true, true) => "checksums right so far",
            (false, _) => "no checksums to try",
        };
        let until = found.whole_until;
        let _never_fails = writeln!(
            text,
            "  {messages} whole messages wait ({bytes}), up to position {until}; {sums}"
        );
    }
    if found.in_use {
        text.push_str("  in use: what came meanwhile was not looked at\n");
    }
    if found.torn_slots > 0 {
        let _never_fails = writeln!(
            text,
            "  {} of 4 checkpoint slots are not whole, as a kill or a power cut leaves them",
            found.torn_slots
        );
    }
    if let Some(refusal) = &found.refusal {
        let _never_fails = writeln!(text, "  the next attach would be refused: {refusal}");
    }
    text
}
