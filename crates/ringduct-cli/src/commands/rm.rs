//! `rm`: removes rings, never one that somebody holds.

use std::path::PathBuf;

use ringduct::OpenError;

use super::ls;
use crate::failure::{Code, Failure, holder};
use crate::inspect::find::{self, Found};
use crate::inspect::{self, show};
use crate::output::Output;
use crate::place::{self, Place};
use crate::signals;

/// Removes rings that nobody holds, by the kernel's word. What they hold is lost.
#[derive(clap::Args, Debug)]
#[command(group = clap::ArgGroup::new("what").required(true).args(["places", "stale"]).multiple(true))]
pub(crate) struct Args {
    /// The rings to remove; with --stale: folders to look through
    #[arg(value_name = "LOC", value_parser = place::parser())]
    places: Vec<Place>,
    /// Remove every ring that nobody holds under the given folders or, without any, in shared memory
    /// and among the System V segments; durable ones, which are meant to wait, are left
    #[arg(long)]
    stale: bool,
}

/// Removes what was asked for, and says what was.
pub(crate) fn run(args: &Args) -> Result<(), Failure> {
    signals::catch();
    let mut output = Output::stdout()?;
    if args.stale {
        return remove_stale(&args.places, &mut output);
    }
    inspect::each(&args.places, |place| {
        inspect::own().remove(place.location())?;
        output.write_all(format!("removed {place}\n").as_bytes())
    })
}

fn remove_stale(places: &[Place], output: &mut Output) -> Result<(), Failure> {
    let mut dirs = Vec::new();
    for place in places {
        dirs.push(folder(place)?);
    }
    let mut failed = Ok(());
    let effort = find::rings(&dirs, dirs.is_empty(), &mut |found| {
        let name = show::name(&found.location.to_string());
        let line = match remove_if_stale(&found) {
            Ok(Outcome::Removed(what)) => format!("removed {name}: {what}\n"),
            Ok(Outcome::Left(why)) => format!("left {name}: {why}\n"),
            Err(failure) => {
                failed = Err(failure.said());
                return Ok(());
            }
        };
        output.write_all(line.as_bytes())
    })?;
    ls::say_unreadable(effort);
    failed
}

/// A folder, which the command line took for the location of a ring.
fn folder(place: &Place) -> Result<PathBuf, Failure> {
    match place.location() {
        ringduct::Location::File(path) => Ok(path.clone()),
        _ => Err(
            Failure::new(Code::Usage, format!("{place}: --stale takes folders"))
                .next("name a folder, or leave --stale away to remove this ring"),
        ),
    }
}

enum Outcome {
    Removed(String),
    Left(String),
}

fn remove_if_stale(found: &Found) -> Result<Outcome, Failure> {
    let left = |why: &str| Ok(Outcome::Left(why.to_owned()));
    match &found.header {
        Ok(header) if header.is_durable() => {
            return left("durable; name it (`ringduct rm LOC`) to remove it");
        }
        Ok(_) | Err(OpenError::Damaged { .. }) => {}
        Err(error) => return Ok(Outcome::Left(error.to_string())),
    }
    let what = content(found);
    // Its owner is asked for, not taken from the ring: nobody removes what belongs to somebody else.
    match inspect::own().remove(&found.location) {
        Ok(()) => Ok(Outcome::Removed(what)),
        Err(OpenError::RoleTaken { role, holder, .. }) => Ok(Outcome::Left(format!(
            "its {role} is there: {}",
            holder::describe(&holder)
        ))),
        Err(OpenError::NotFound { .. }) => left("somebody else removed it"),
        Err(OpenError::WrongOwner { found, .. }) => {
            Ok(Outcome::Left(format!("it belongs to user {found}")))
        }
        Err(error @ OpenError::Busy { .. }) => Ok(Outcome::Left(error.to_string())),
        Err(error) => Err(error.into()),
    }
}

/// What goes with a ring.
fn content(found: &Found) -> String {
    match found.options().observe(&found.location) {
        Ok(observer) => match observer.snapshot().backlog_messages {
            0 => "it was empty".to_owned(),
            count => format!("{count} messages were waiting in it"),
        },
        Err(_) => "it was damaged".to_owned(),
    }
}
