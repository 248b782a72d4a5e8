//! `salvage`: copies what a ring holds to a new one.

use crate::failure::{Code, Failure};
use crate::inspect;
use crate::place::{self, Place};
use crate::talk;

/// Copies every whole message of a ring to a new one, and writes nothing to the old one.
#[derive(clap::Args, Debug)]
pub(crate) struct Args {
    /// The ring to copy from: damaged, poisoned, copied or in use
    #[arg(value_name = "LOC", value_parser = place::parser())]
    place: Place,
    /// Where to make the new one; there must be none
    #[arg(value_name = "TO", value_parser = place::parser())]
    to: Place,
}

/// Makes the copy.
pub(crate) fn run(args: &Args) -> Result<(), Failure> {
    let Args { place, to } = args;
    let copied = inspect::any(place).salvage(place.location(), to.location())?;
    let (count, head, tail) = (copied.messages, copied.head, copied.tail);
    let what = format!("{count} messages, from position {head} to {tail}");
    match copied.damage {
        None => {
            talk::say(format_args!("{to}: a copy of {place}: {what}"));
            Ok(())
        }
        Some(damage) => Err(Failure::new(
            Code::Damaged,
            format!("{place}: {what}, are in {to}; there the copy ends: {damage}"),
        )
        .next(format!(
            "`ringduct dump {place}` shows what is left; go on with {to}"
        ))),
    }
}
