//! `ls`: the rings there are.

use std::fmt::Write as _;
use std::path::PathBuf;

use ringduct::{Header, OpenError};

use crate::failure::Failure;
use crate::inspect::find::{self, Found};
use crate::inspect::{show, side};
use crate::output::Output;
use crate::{size, talk};

/// Lists the rings in shared memory, among the System V segments and under the given folders.
#[derive(clap::Args, Debug)]
pub(crate) struct Args {
    /// Folders to look through, with all below them; links are not followed
    #[arg(value_name = "DIR")]
    dirs: Vec<PathBuf>,
}

/// Writes one line for each ring, in the order of their names.
pub(crate) fn run(args: &Args) -> Result<(), Failure> {
    let mut lines = Vec::new();
    let effort = find::rings(&args.dirs, true, &mut |found| {
        let name = show::name(&found.location.to_string());
        lines.push((name, describe(&found)));
        Ok(())
    })?;
    lines.sort();
    let mut page = row(
        &["CAPACITY", "MESSAGES", "PRODUCER", "CONSUMER", "KIND"],
        "RING",
    );
    for (name, columns) in lines {
        let columns: Vec<&str> = columns.iter().map(String::as_str).collect();
        page.push_str(&row(&columns, &name));
    }
    Output::stdout()?.write_all(page.as_bytes())?;
    say_unreadable(effort);
    Ok(())
}

/// Says how much was not looked at, if anything was not.
pub(crate) fn say_unreadable(effort: find::Effort) {
    if effort.unreadable > 0 {
        let count = effort.unreadable;
        talk::say(format_args!("{count} files or folders could not be read"));
    }
}

/// One line: columns of a fixed width, and the name, which may contain blanks, last.
fn row(columns: &[&str], name: &str) -> String {
    let mut line = String::new();
    for (text, width) in columns.iter().zip([10, 10, 16, 16, 18]) {
        let _never_fails = write!(line, "{text:<width$} ");
    }
    line.push_str(name);
    line.push('\n');
    line
}

fn describe(found: &Found) -> [String; 5] {
    let unknown = |capacity: &str, kind: String| {
        let [messages, producer, consumer] = ["?", "?", "?"].map(str::to_owned);
        [capacity.to_owned(), messages, producer, consumer, kind]
    };
    let header = match &found.header {
        Ok(header) => header,
        Err(error) => return unknown("?", reason(error)),
    };
    let capacity = size::show_bytes(header.capacity_bytes);
    if let Some(fault) = &header.fault {
        return unknown("?", format!("damaged ({})", fault.what));
    }
    match found.options().observe(&found.location) {
        Ok(observer) => {
            let snapshot = observer.snapshot();
            [
                capacity,
                snapshot.backlog_messages.to_string(),
                side::brief(&snapshot.producer),
                side::brief(&snapshot.consumer),
                kind(header),
            ]
        }
        Err(error) => unknown(&capacity, reason(&error)),
    }
}

/// What a ring was made with.
fn kind(header: &Header) -> String {
    match (header.is_durable(), header.checksummed()) {
        (true, true) => "durable, checksums",
        (true, false) => "durable",
        (false, true) => "checksums",
        (false, false) => "plain",
    }
    .to_owned()
}

/// Why a ring can not be looked at, in a word.
fn reason(error: &OpenError) -> String {
    match error {
        OpenError::Unsupported { property, .. } => format!("other {property}"),
        OpenError::NotARing { found, .. } => show::name(found), // it has another name, say
        OpenError::Os { source, .. } => source.kind().to_string(),
        _ => "damaged".to_owned(),
    }
}
