//! `doctor`: what of this machine matters to rings, and what to do about it.

use std::io::IsTerminal as _;
use std::path::Path;

use clap::ValueEnum;
use serde_json::{Value, json};

use crate::failure::{Code, Failure};
use crate::output::Output;
use crate::place::{self, Place};

mod kernel;
mod limits;
mod location;
mod machine;
mod memory;
mod sessions;

/// Looks at what of this machine matters to rings, and says what to do about it
///
/// Nothing is changed; for the file system of LOC a small ring is made beside it for a moment.
/// Ends with 0 unless something will break.
#[derive(clap::Args, Debug)]
pub(crate) struct Args {
    /// A ring, or where one is going to be: its file system, and whether it can be opened; the
    /// current folder by default
    #[arg(value_name = "LOC", value_parser = place::parser())]
    place: Option<Place>,
    /// How to write it
    #[arg(long, value_enum, default_value = "text")]
    format: Format,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    /// For people
    Text,
    /// One object for programs
    Json,
}

/// How bad a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Level {
    /// As it should be.
    Good,
    /// Worth knowing.
    Note,
    /// Some rings or options will not work as one may expect.
    Warning,
    /// Something will break.
    Problem,
}

impl Level {
    const fn name(self) -> &'static str {
        match self {
            Self::Good => "good",
            Self::Note => "note",
            Self::Warning => "warning",
            Self::Problem => "problem",
        }
    }
}

/// One thing that was looked at.
#[derive(Debug)]
struct Finding {
    /// Stable, for programs.
    id: &'static str,
    level: Level,
    /// What was found.
    found: String,
    /// What to do, or why nothing needs to be done.
    next: String,
    /// The figures, for programs.
    data: Value,
}

impl Finding {
    fn new(id: &'static str, found: String, data: Value) -> Self {
        Self {
            id,
            level: Level::Good,
            found,
            next: "nothing to do".to_owned(),
            data,
        }
    }

    /// The same, with something to know or to do.
    fn at(mut self, level: Level, next: impl Into<String>) -> Self {
        self.level = level;
        self.next = next.into();
        self
    }
}

/// Looks at everything and reports it.
pub(crate) fn run(args: &Args) -> Result<(), Failure> {
    let mut findings = vec![
        kernel::version(),
        kernel::proc_and_sys(),
        kernel::membarrier(),
        memory::shm(),
        limits::container(),
        memory::system_v(),
        memory::locked(),
        memory::huge_pages(),
        sessions::remove_ipc(),
        machine::processors(),
    ];
    findings.extend(location::findings(args.place.as_ref()));
    let text = match args.format {
        Format::Text => as_text(&findings, std::io::stdout().is_terminal()),
        Format::Json => as_json(&findings),
    };
    Output::stdout()?.write_all(text.as_bytes())?;
    let problems = count(&findings, Level::Problem);
    if problems == 0 {
        return Ok(());
    }
    let what = format!(
        "{problems} of {} findings will break something",
        findings.len()
    );
    Err(Failure::new(Code::Other, what).next("do what the findings marked `problem` say"))
}

fn count(findings: &[Finding], level: Level) -> usize {
    let at = |finding: &&Finding| finding.level == level;
    findings.iter().filter(at).count()
}

fn as_text(findings: &[Finding], in_colour: bool) -> String {
    use std::fmt::Write as _;
    let in_colour = in_colour && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
    let mut text = String::new();
    for finding in findings {
        let Finding {
            id,
            level,
            found,
            next,
            ..
        } = finding;
        let (on, off) = match level {
            _ if !in_colour => ("", ""),
            Level::Good => ("\x1b[32m", "\x1b[0m"),
            Level::Note => ("\x1b[36m", "\x1b[0m"),
            Level::Warning => ("\x1b[33m", "\x1b[0m"),
            Level::Problem => ("\x1b[1;31m", "\x1b[0m"),
        };
        let _infallible = writeln!(text, "{on}{:<8}{off} {id}: {found}", level.name());
        if *level > Level::Good {
            let _infallible = writeln!(text, "{:<8} {next}", "");
        }
    }
    text
}

fn as_json(findings: &[Finding]) -> String {
    let each = |finding: &Finding| {
        json!({
            "id": finding.id,
            "level": finding.level.name(),
            "found": finding.found,
            "next": finding.next,
            "data": finding.data,
        })
    };
    let all: Vec<_> = findings.iter().map(each).collect();
    let document = json!({
        "version": 1,
        "problems": count(findings, Level::Problem),
        "warnings": count(findings, Level::Warning),
        "findings": all,
    });
    format!("{document:#}\n")
}

/// The text of a small file of the kernel; nothing where it can not be read.
fn text(path: impl AsRef<Path>) -> String {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    text.trim().to_owned()
}

/// The number that such a file holds.
fn number(path: impl AsRef<Path>) -> Option<u64> {
    text(path).parse().ok()
}
