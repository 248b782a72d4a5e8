//! What it costs to outlive a power cut, beside what the kernel asks for the same bytes:
//!
//! ```sh
//! cargo bench --bench durable -- [--dir FOLDER] [--json FILE]
//! ```
//!
//! Everything lies in files under `FOLDER` (default `/var/tmp`), which must be on a disk. Ours and
//! theirs take turns in every round, so a slow minute of the machine or the disk slows both. Shown
//! are medians, in brackets the first and the third quartile. `cargo test --benches` runs it
//! once, briefly: that says whether it works, nothing about speed.

#[path = "durable/measures.rs"]
mod measures;
#[path = "durable/table.rs"]
mod table;

use std::error::Error;
use std::path::PathBuf;
use std::process::ExitCode;

use measures::{Amounts, Bench, Failure};
use ringduct::OpenError;

const HELP: &str = "usage: durable [--dir FOLDER] [--json FILE]";

/// What was asked for.
struct Asked {
    dir: PathBuf,
    json: Option<PathBuf>,
    amounts: Amounts,
}

#[expect(clippy::print_stderr, reason = "where a program says what went wrong")]
fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

#[expect(clippy::print_stdout, reason = "the table, or why there is none")]
fn run() -> Result<(), Failure> {
    let asked = arguments()?;
    let folder = tempfile::tempdir_in(&asked.dir)?;
    let mut bench = match Bench::new(folder.path(), asked.amounts) {
        Ok(bench) => bench,
        Err(error) if is_no_disk(&*error) && std::env::var_os("CI").is_none() => {
            println!("SKIPPED durable: {error}");
            return Ok(());
        }
        Err(error) => return Err(error),
    };
    for _ in 0..asked.amounts.rounds {
        bench.round()?;
    }
    let rows = bench.rows();
    println!("{}", table::text(&rows));
    if let Some(path) = asked.json {
        std::fs::write(path, table::json(&rows))?;
    }
    Ok(())
}

fn is_no_disk(error: &(dyn Error + Send + Sync + 'static)) -> bool {
    matches!(
        error.downcast_ref::<OpenError>(),
        Some(OpenError::NotDurable { .. })
    )
}

/// `cargo bench` adds `--bench`; `cargo test --benches` does not.
fn arguments() -> Result<Asked, Failure> {
    let mut asked = Asked {
        dir: PathBuf::from("/var/tmp"),
        json: None,
        amounts: Amounts::BRIEF,
    };
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        match (argument.as_str(), arguments.len()) {
            ("--bench", _) => asked.amounts = Amounts::WHOLE,
            ("--dir", 1..) => asked.dir = arguments.next().unwrap_or_default().into(),
            ("--json", 1..) => asked.json = arguments.next().map(PathBuf::from),
            // What the harness of tests is given, as well.
            ("-q" | "--quiet" | "--nocapture", _) => {}
            _ => return Err(HELP.into()),
        }
    }
    Ok(asked)
}
