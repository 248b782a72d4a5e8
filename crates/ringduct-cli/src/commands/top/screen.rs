//! A terminal's other screen, and the keys that are pressed there; both as before afterwards.

use std::io::{self, IsTerminal as _};
use std::os::fd::AsFd as _;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::termios::{
    LocalModes, OptionalActions, SpecialCodeIndex, Termios, tcgetattr, tcgetwinsize, tcsetattr,
};

use crate::failure::Failure;
use crate::output::Output;
use crate::signals;

/// The other screen, without a cursor.
const ENTER: &[u8] = b"\x1b[?1049h\x1b[?25l";
const LEAVE: &[u8] = b"\x1b[?25h\x1b[?1049l";

/// What happened at the terminal.
pub(super) enum Key {
    /// Somebody wants to end.
    Quit,
    /// The screen has another size.
    Resized,
    /// Nothing, for as long as was asked for.
    None,
}

/// The other screen, until it is dropped.
pub(super) struct Screen {
    output: Output,
    /// How the keyboard was before, if standard input is one.
    before: Option<Termios>,
    shown: (usize, usize),
}

impl Screen {
    /// Enters the other screen; keys come at once and are not echoed.
    pub(super) fn enter() -> Result<Self, Failure> {
        let stdin = io::stdin();
        let mut before = None;
        if stdin.is_terminal() {
            let failed = |errno: Errno| Failure::io("set up the terminal", &errno.into());
            let was = tcgetattr(&stdin).map_err(failed)?;
            let mut now = was.clone();
            now.local_modes
                .remove(LocalModes::ICANON | LocalModes::ECHO);
            now.special_codes[SpecialCodeIndex::VSUSP] = 0; // who stops it is left with this screen
            tcsetattr(&stdin, OptionalActions::Now, &now).map_err(failed)?;
            before = Some(was);
        }
        let mut screen = Self {
            output: Output::stdout()?,
            before,
            shown: (0, 0),
        };
        screen.output.write_all(ENTER)?;
        Ok(screen)
    }

    /// Shows as many of the lines as there is room for.
    pub(super) fn show(&mut self, lines: &[String]) -> Result<(), Failure> {
        self.shown = size();
        let (rows, columns) = self.shown;
        let room = rows.saturating_sub(1); // the last line is for what to press
        let mut page = "\x1b[H".to_owned();
        for line in lines.iter().take(room) {
            page.extend(line.chars().take(columns));
            page.push_str("\x1b[K\r\n");
        }
        let hidden = lines.len().saturating_sub(room);
        let foot = match hidden {
            0 => "q ends".to_owned(),
            count => format!("q ends; {count} more rings"),
        };
        page.push_str("\x1b[J");
        page.extend(foot.chars().take(columns));
        self.output.write_all(page.as_bytes())
    }

    /// Waits for a key that means something, another size, or the time.
    pub(super) fn await_key(&self, until: Instant) -> Result<Key, Failure> {
        loop {
            signals::check()?;
            if size() != self.shown {
                return Ok(Key::Resized);
            }
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(Key::None);
            }
            if self.before.is_none() {
                std::thread::sleep(left.min(signals::MOMENT));
            } else if is_ready(left.min(signals::MOMENT))? {
                let mut keys = [0; 64];
                let count = match rustix::io::read(io::stdin().as_fd(), &mut keys) {
                    Ok(0) => return Ok(Key::Quit), // the terminal is gone
                    Ok(count) => count,
                    Err(Errno::INTR | Errno::AGAIN) => 0,
                    Err(errno) => return Err(Failure::io("read keys", &errno.into())),
                };
                if keys
                    .iter()
                    .take(count)
                    .any(|key| matches!(key, b'q' | b'Q' | 3 | 4))
                {
                    return Ok(Key::Quit);
                }
            }
        }
    }
}

/// Whether a key was pressed within this time.
fn is_ready(wait: Duration) -> Result<bool, Failure> {
    let stdin = io::stdin();
    let timeout = Timespec::try_from(wait).ok();
    let mut fds = [PollFd::new(&stdin, PollFlags::IN)];
    match poll(&mut fds, timeout.as_ref()) {
        Ok(count) => Ok(count > 0),
        Err(Errno::INTR) => Ok(false),
        Err(errno) => Err(Failure::io("wait for keys", &errno.into())),
    }
}

/// Rows and columns; the classical ones where the terminal does not know.
fn size() -> (usize, usize) {
    match tcgetwinsize(io::stdout()) {
        Ok(size) if size.ws_row > 0 && size.ws_col > 0 => (size.ws_row.into(), size.ws_col.into()),
        _ => (24, 80),
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        let _terminal_gone = self.output.write_all(LEAVE).is_err();
        if let Some(before) = &self.before {
            let _terminal_gone = tcsetattr(io::stdin(), OptionalActions::Now, before).is_err();
        }
    }
}
