//! `top`: all rings there are, live, on one screen.

mod rows;
mod screen;

use std::io::IsTerminal as _;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use rows::Rows;
use screen::{Key, Screen};

use crate::failure::Failure;
use crate::output::Output;
use crate::{inspect, signals};

/// Shows all rings in shared memory, among the System V segments and under the given folders, each
/// second anew. Ends with q or Ctrl-C. Where standard output is no terminal: once.
#[derive(clap::Args, Debug)]
pub(crate) struct Args {
    /// Folders to look through, with all below them; links are not followed
    #[arg(value_name = "DIR")]
    dirs: Vec<PathBuf>,
}

/// Between two screens.
const EVERY: Duration = Duration::from_secs(1);

/// Before the first one, for the rates.
const GLANCE: Duration = Duration::from_millis(100);

/// Shows the rings until it is told to end.
pub(crate) fn run(args: &Args) -> Result<(), Failure> {
    signals::catch();
    let mut rows = Rows::find(&args.dirs)?;
    inspect::pause(GLANCE)?;
    rows.look();
    if !std::io::stdout().is_terminal() {
        let mut page = rows.lines().join("\n");
        page.push('\n');
        return Output::stdout()?.write_all(page.as_bytes());
    }
    let mut screen = Screen::enter()?;
    loop {
        screen.show(&rows.lines())?;
        let until = Instant::now().checked_add(EVERY);
        match screen.await_key(until.unwrap_or_else(Instant::now))? {
            Key::Quit => return Ok(()),
            Key::Resized => {}
            Key::None => {
                rows.find_again(&args.dirs)?;
                rows.look();
            }
        }
    }
}
