//! Where messages go that are looked at, before they are released.

use std::ops::ControlFlow;

use ringduct::{Consumer, TryRecvError};

use super::Args;
use super::exec::Exec;
use super::printer::Printer;
use crate::failure::Failure;

/// Takes messages. What goes wrong is kept and told by [`Sink::flush`]: until that has succeeded,
/// no message that was taken may leave the ring.
pub(super) enum Sink {
    /// Standard output.
    Printer(Printer),
    /// A command for each.
    Exec(Exec),
}

impl Sink {
    /// What the arguments ask for.
    pub(super) fn new(args: &Args, capacity_bytes: u64) -> Result<Self, Failure> {
        Ok(match args.exec.split_first() {
            Some((program, arguments)) => Self::Exec(Exec::new(program, arguments)),
            None => Self::Printer(Printer::new(args.framing, args.format, capacity_bytes)?),
        })
    }

    /// Takes what is there, up to `most` messages, and says how many.
    pub(super) fn take(&mut self, rx: &mut Consumer, most: usize) -> Result<usize, TryRecvError> {
        if let Self::Printer(printer) = self {
            let length = rx.peek_len()?;
            if printer.takes_in_place(length) && most > 0 {
                printer.take_in_place(rx, length);
                return Ok(1);
            }
        }
        rx.peek_many(most, |message| self.take_one(message))
    }

    /// Takes a message; breaks when it has to be flushed before the next one.
    #[inline]
    fn take_one(&mut self, message: &[u8]) -> ControlFlow<()> {
        match self {
            Self::Printer(printer) => printer.take(message),
            Self::Exec(exec) => exec.take(message),
        }
    }

    /// Everything taken is dealt with, or the reason why not; says how many bytes of messages.
    pub(super) fn flush(&mut self) -> Result<u64, Failure> {
        match self {
            Self::Printer(printer) => printer.flush(),
            Self::Exec(exec) => exec.finish(),
        }
    }
}
