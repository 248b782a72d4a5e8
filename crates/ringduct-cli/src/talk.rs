//! What is said to people: on standard error, in colour where that is a terminal and `NO_COLOR` is
//! not set.

use std::fmt;
use std::io::{IsTerminal as _, Write as _};

use clap::builder::styling::{AnsiColor, Style};

const ERROR: Style = AnsiColor::Red.on_default().bold();
const NOTE: Style = AnsiColor::Cyan.on_default();

/// Says something that is no error: what was made, whom one waits for.
pub(crate) fn say(what: fmt::Arguments<'_>) {
    line(format_args!("{NOTE}ringduct:{NOTE:#} {what}"));
}

/// Says what went wrong and, on a second line, what to do next.
pub(crate) fn complain(what: &str, next: Option<&str>) {
    match next {
        Some(next) => line(format_args!(
            "{ERROR}error:{ERROR:#} {what}\n  {NOTE}next:{NOTE:#} {next}"
        )),
        None => line(format_args!("{ERROR}error:{ERROR:#} {what}")),
    }
}

/// Whether people look at standard error: only then is there progress to show.
pub(crate) fn to_terminal() -> bool {
    std::io::stderr().is_terminal()
}

/// Nobody can be told that standard error can not be written to.
fn line(text: fmt::Arguments<'_>) {
    let _unheard = writeln!(anstream::stderr().lock(), "{text}");
}
