//! How the tool ends when it does not end well: what happened, to which ring, what to do next, and
//! an exit code that scripts can rely on.

use std::io;
use std::process::ExitCode;

use crate::place::Place;
use crate::talk;

mod ends;
pub(crate) mod holder;
mod open;

/// What to do with a damaged ring.
pub(crate) const LOOK_AT_IT: &str =
    "look at it with `ringduct verify`; copy what is whole with `ringduct salvage`";

/// What an exit code means. Stable; listed in `--help`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Code {
    /// Anything that has no code of its own.
    Other = 1,
    /// The command line is wrong.
    Usage = 2,
    /// A deadline passed.
    TimedOut = 3,
    /// The other side died without closing.
    PeerGone = 4,
    /// The ring is damaged, or is none.
    Damaged = 5,
    /// Another process holds the role.
    RoleTaken = 6,
    /// No room for the ring.
    NoSpace = 7,
}

/// Why a command did not do what was asked for.
#[derive(Debug)]
pub(crate) struct Failure {
    /// The exit code.
    code: u8,
    /// What happened, beginning with the ring it happened to; nothing if it ends without a word.
    what: Option<String>,
    /// What to do next, where it is not plain.
    next: Option<String>,
}

impl Failure {
    /// A failure: `what` happened, beginning with the name of the ring.
    pub(crate) fn new(code: Code, what: impl Into<String>) -> Self {
        Self {
            code: code as u8,
            what: Some(what.into()),
            next: None,
        }
    }

    /// The same, with what to do next.
    #[must_use]
    pub(crate) fn next(mut self, next: impl Into<String>) -> Self {
        self.next = Some(next.into());
        self
    }

    /// The same, which happened to this ring.
    #[must_use]
    pub(crate) fn of(mut self, place: &Place) -> Self {
        let what = self.what.map(|what| format!("{place}: {what}"));
        self.what = what;
        self
    }

    /// The program was asked to end: 128 and the number of the signal, without a word.
    pub(crate) fn signal(signal: i32) -> Self {
        Self {
            code: u8::try_from(signal).unwrap_or(0).saturating_add(128),
            what: None,
            next: None,
        }
    }

    /// Whoever read standard output had enough: nothing went wrong, and there is no more to do.
    pub(crate) fn nobody_reads() -> Self {
        Self {
            code: 0,
            what: None,
            next: None,
        }
    }

    /// The kernel refused something that has nothing to do with a ring.
    pub(crate) fn io(action: &str, error: &io::Error) -> Self {
        let code = match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Code::NoSpace,
            _ => Code::Other,
        };
        Self::new(code, format!("cannot {action}: {error}"))
    }

    /// The exit code.
    #[cfg(test)]
    pub(crate) fn code(&self) -> u8 {
        self.code
    }

    /// What happened; nothing if it ends without a word.
    #[cfg(test)]
    pub(crate) fn what(&self) -> &str {
        self.what.as_deref().unwrap_or_default()
    }

    /// Whether there is nothing to say: a signal came, or nobody reads.
    pub(crate) fn is_silent(&self) -> bool {
        self.what.is_none()
    }

    /// Tells people now; the exit code is what is left.
    #[must_use]
    pub(crate) fn said(self) -> Self {
        let _code = self.report();
        Self {
            what: None,
            next: None,
            ..self
        }
    }

    /// Tells people, and gives the exit code.
    pub(crate) fn report(&self) -> ExitCode {
        if let Some(what) = &self.what {
            talk::complain(what, self.next.as_deref());
        }
        ExitCode::from(self.code)
    }
}
