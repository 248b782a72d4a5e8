//! An ingest that loses nothing and does nothing twice, whatever happens to it:
//!
//! ```sh
//! cargo run --release --example durable                  # kill -9 of either side, and of both
//! cargo run --release --example durable -- --power-cut   # as root: power cuts too
//! ```
//!
//! Expect an account of what was done to the two processes and what they found, and at the end that
//! every message was dealt with exactly once. The program starts itself again as the producer and
//! as the consumer; the recipe to copy is in [`produce`] and [`consume`].
//!
//! *The producer* reads a source that can be read again (here it is made up). It goes on at the
//! number of messages that the ring says were published, and once a checkpoint has returned it may
//! let the source forget what it covers.
//!
//! *At least once*: the consumer works on a message before it releases it (`peek`, work, `skip`),
//! and the work is safe before it calls `checkpoint`. Whoever dies in between, the message comes
//! again.
//!
//! *Exactly once*: the result of the work and the key of the message go to the disk in one step, and
//! a message whose key is not greater than the one that was kept is passed over. Two more conditions
//! make that hold through a power cut. The work begins only when the message is itself on the
//! medium, or the cut could take the message and leave its effect: `set_durable_only` sees to that,
//! at the price of waiting for the producer's checkpoints. And the producer sends the same again
//! under the same number.

#[path = "common/args.rs"]
mod args;
#[path = "durable/disk.rs"]
mod disk;
#[path = "durable/kept.rs"]
mod kept;
#[path = "durable/play.rs"]
mod play;
#[path = "common/signals.rs"]
mod signals;

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use kept::Kept;
use ringduct::{Location, Options, Producer, RecoveryState, RecvError, Ring, SendError};

const HELP: &str = "usage: durable [--power-cut] [--messages N] [FOLDER]
FOLDER keeps ring and result, and a later run goes on there; without it a fresh
one under /var/tmp is used and removed. --power-cut needs root: it cuts the power
of an ext4 image on a loop device, which it puts into FOLDER and removes.";

type Failure = Box<dyn std::error::Error>;

fn main() -> ExitCode {
    let arguments = args::arguments(HELP);
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments.as_slice() {
        ["--producer", folder, count] => end(number(count).and_then(|n| produce(folder, n))),
        ["--consumer", folder, count] => end(number(count).and_then(|n| consume(folder, n))),
        _ => args::finish(plan(&arguments).and_then(|plan| play::run(&plan))),
    }
}

/// What was asked for.
pub(crate) struct Plan {
    pub(crate) folder: Option<PathBuf>,
    pub(crate) messages: u64,
    pub(crate) power_cut: bool,
}

fn plan(arguments: &[&str]) -> Result<Plan, Failure> {
    let mut plan = Plan {
        folder: None,
        messages: 2000,
        power_cut: false,
    };
    let mut arguments = arguments.iter();
    while let Some(argument) = arguments.next() {
        match *argument {
            "--power-cut" => plan.power_cut = true,
            "--messages" => plan.messages = number(arguments.next().ok_or(HELP)?)?,
            other if other.starts_with('-') || plan.folder.is_some() => return Err(HELP.into()),
            folder => plan.folder = Some(folder.into()),
        }
    }
    Ok(plan)
}

fn number(text: &str) -> Result<u64, Failure> {
    let error = |_| format!("{text:?} is not a number of messages\n{HELP}");
    Ok(text.parse().map_err(error)?)
}

/// The ring, which whoever comes first makes: small, so that the consumer's checkpoints matter.
fn ring(folder: &str) -> Result<Ring, Failure> {
    let place = Location::from(Path::new(folder).join("ingest.ring"));
    let options = Options::new().durable(true).checksum(true);
    Ok(options.capacity_bytes(1 << 16).open_or_create(&place)?)
}

/// The producer's process.
fn produce(folder: &str, count: u64) -> Result<(), Failure> {
    let mut tx = ring(folder)?.producer()?;
    if tx.recovery().state == RecoveryState::Cold {
        tell("found", tx.recovery())?;
    }
    let first = tx.totals().messages;
    tell("resumes", first)?;
    for number in first..count {
        send(&mut tx, &kept::message(number))?;
        if number % 20 == 19 {
            tell("acknowledged", tx.checkpoint()?.messages)?;
        }
    }
    tell("acknowledged", tx.checkpoint()?.messages)
}

/// Sends, whether there is a consumer or not.
fn send(tx: &mut Producer, message: &[u8]) -> Result<(), SendError> {
    loop {
        match tx.send(message) {
            Err(SendError::Closed | SendError::PeerGone) => {} // the next one will come
            outcome => return outcome,
        }
    }
}

/// The consumer's process.
fn consume(folder: &str, count: u64) -> Result<(), Failure> {
    let mut rx = ring(folder)?.consumer()?;
    if rx.recovery().state == RecoveryState::Cold {
        tell("found", rx.recovery())?;
    }
    rx.set_durable_only(true)?;
    let mut kept = Kept::load(folder)?;
    let mut message = Vec::new();
    while kept.messages < count {
        match rx.peek_vec(&mut message, None) {
            Ok(()) => {}
            Err(RecvError::Closed | RecvError::PeerGone) => continue, // the next one will come
            Err(error) => return Err(error.into()),
        }
        let key = rx.next_key();
        if kept.last.is_some_and(|last| key <= last) {
            rx.skip(1)?;
            tell("again", key)?;
            continue;
        }
        kept.work(key, &message)?;
        kept.store(folder)?; // result and key in one step
        rx.skip(1)?;
        if kept.messages % 16 == 0 {
            rx.checkpoint()?; // gives the producer space; how often is a matter of taste
        }
        tell("dealt", kept.messages)?;
    }
    rx.checkpoint()?;
    Ok(())
}

/// Tells the first process, and fails if that is gone.
fn tell(word: &str, what: impl std::fmt::Display) -> Result<(), Failure> {
    let mut out = std::io::stdout().lock();
    Ok(writeln!(out, "{word} {what}")?)
}

/// Ends one of the two processes; the first one decides whether a failure was to be expected.
fn end(outcome: Result<(), Failure>) -> ExitCode {
    let Err(error) = outcome else {
        return ExitCode::SUCCESS;
    };
    drop(tell("failed", error)); // with nobody to listen nothing is left to do
    ExitCode::FAILURE
}
