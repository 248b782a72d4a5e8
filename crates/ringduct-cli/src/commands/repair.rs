//! `repair`: what a recovery would keep, and with `--apply` the recovery.

use std::fmt::Write as _;

use ringduct::{Examination, Recovery, RecoveryState};

use super::verify;
use crate::failure::{Code, Failure};
use crate::inspect;
use crate::output::Output;
use crate::place::{self, Place};
use crate::{size, talk};

/// Says what a recovery of the ring would keep and drop. Nothing is written without --apply.
#[derive(clap::Args, Debug)]
pub(crate) struct Args {
    /// The ring
    #[arg(value_name = "LOC", value_parser = place::parser())]
    place: Place,
    /// Recover it now; an attach of either side does the same by itself
    #[arg(long)]
    apply: bool,
}

/// Foretells the recovery, or makes it.
pub(crate) fn run(args: &Args) -> Result<(), Failure> {
    let place = &args.place;
    let found = inspect::any(place).examine(place.location())?;
    let foretold = foretell(place, found)?;
    let mut output = Output::stdout()?;
    if foretold.state != RecoveryState::Cold {
        let text = format!("{place}: nothing to repair\n{}", what_waits(&foretold));
        return output.write_all(text.as_bytes());
    }
    if !args.apply {
        let text = format!("{place}: a recovery would\n{}", account(&foretold));
        output.write_all(text.as_bytes())?;
        talk::say(format_args!(
            "{place}: nothing was written; `ringduct repair --apply {place}` recovers it, and so does \
             the next attach"
        ));
        return Ok(());
    }
    // Takes the locks: whoever came meanwhile has recovered it, or is there and keeps us out.
    let made = inspect::own().open(place.location())?.recover()?;
    let text = format!("{place}: recovered\n{}", account(&made));
    output.write_all(text.as_bytes())
}

/// What the next attach would find, or why there is nothing that a recovery could do.
fn foretell(place: &Place, found: Examination) -> Result<Recovery, Failure> {
    if found.in_use {
        return Err(Failure::new(
            Code::RoleTaken,
            format!("{place}: somebody uses it: there is nothing to repair under its users"),
        )
        .next(format!(
            "wait until both sides have left; `ringduct stat {place}` shows them, `ringduct verify \
             {place}` examines it as it is"
        )));
    }
    if let Some(fault) = found.fault {
        return Err(verify::damaged(place, &fault.to_string()));
    }
    if let Some(refusal) = found.refusal {
        return Err(Failure::from(refusal));
    }
    found.recovery.ok_or_else(|| {
        Failure::new(Code::Other, format!("{place}: can not be recovered")) // never both absent
    })
}

fn what_waits(recovery: &Recovery) -> String {
    let Recovery {
        kept_messages,
        head,
        tail,
        ..
    } = recovery;
    format!("  {kept_messages} messages wait, from position {head} to {tail}\n")
}

fn account(recovery: &Recovery) -> String {
    let Recovery {
        kept_messages,
        head,
        tail,
        dropped_messages,
        possibly_acknowledged_bytes,
        incarnation,
        ..
    } = recovery;
    let mut text = format!(
        "  keep {kept_messages} messages, from position {head} to {tail}\n  drop {}\n  begin \
         incarnation {incarnation}\n",
        match dropped_messages {
            0 => "nothing that is known of".to_owned(),
            count => format!("at least {count} messages, which no checkpoint covered"),
        }
    );
    if *possibly_acknowledged_bytes > 0 {
        let bytes = size::show_bytes(*possibly_acknowledged_bytes);
        let _never_fails = writeln!(
            text,
            "  miss {bytes} that the last checkpoint may have covered"
        );
    }
    text
}
