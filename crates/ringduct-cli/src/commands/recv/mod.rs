//! `recv`: from a ring to standard output, or to a command.

use std::ffi::OsString;
use std::time::{Duration, Instant};

use ringduct::{Consumer, RecvError, TryRecvError};

use crate::WAIT;
use crate::checkpoints::{self, When};
use crate::failure::Failure;
use crate::format::Format;
use crate::framing::Framing;
use crate::pacer::{self, Pacer};
use crate::place::{self, Place};
use crate::progress::Progress;
use crate::{signals, size};
use sink::Sink;

mod exec;
mod peek;
mod printer;
mod sink;

/// Receives, to standard output.
///
/// Makes the ring if there is none, and waits for a producer. Ends when the producer has closed and
/// everything was taken.
///
/// A message leaves the ring only after it was written. A killed `recv` that is started again
/// begins with the first one that had not left: at most 64 KiB of messages, or one if it is longer,
/// are written a second time, and none is missing.
#[derive(clap::Args, Debug)]
pub(crate) struct Args {
    /// Where the ring is
    #[arg(value_name = "LOC", value_parser = place::parser())]
    place: Place,
    /// What separates messages: line, nul, fixed:BYTES, prefix (4 bytes of length, the lowest first), raw
    ///
    /// `line` writes each message and a newline, whatever is in it: choose `prefix`, or a --format,
    /// for messages that may contain newlines. `fixed` and `raw` write nothing but the messages;
    /// `fixed` stops at one of another length.
    #[arg(short, long, default_value = "line", value_parser = Framing::parse)]
    framing: Framing,
    /// How each message is written
    #[arg(long, value_enum, default_value = "raw")]
    format: Format,
    /// Stop after so many messages; the others stay in the ring
    #[arg(short = 'n', long, value_name = "N")]
    count: Option<u64>,
    /// At most so many messages a second
    #[arg(long, value_name = "N", value_parser = pacer::rate)]
    rate: Option<f64>,
    /// How long to wait for a message
    #[arg(long, value_name = "DURATION", value_parser = size::duration)]
    timeout: Option<Duration>,
    /// Show rate, total and how full the ring is, on a terminal
    #[arg(long)]
    progress: bool,
    /// Never see again after a power cut what was taken: every:MESSAGES, each DURATION, and at the end, or only at the end
    #[arg(long, value_name = "every:N|DURATION|end", value_parser = When::parse)]
    checkpoint: Option<When>,
    /// When the producer has closed or died and everything was taken, wait for the next one
    #[arg(long)]
    follow: bool,
    /// Only look: take no role, leave every message where it is, end at the last one
    ///
    /// Works beside a consumer; what that takes meanwhile may be missing. With --follow, goes on to
    /// look for more.
    #[arg(long, conflicts_with_all = ["exec", "checkpoint", "progress"])]
    peek: bool,
    /// Run this command for each message, which is its standard input; no shell
    ///
    /// Takes all arguments up to `;` or the end. The message leaves the ring when the command has
    /// succeeded; otherwise `recv` stops, and the next one begins with the same message.
    #[arg(long, value_name = "COMMAND", num_args = 1.., allow_hyphen_values = true,
          value_terminator = ";", conflicts_with = "format")]
    exec: Vec<OsString>,
}

struct Receiving<'a> {
    args: &'a Args,
    rx: Consumer,
    sink: Sink,
    pacer: Pacer,
    progress: Progress,
    left: u64,
}

/// Receives.
pub(crate) fn run(args: &Args) -> Result<(), Failure> {
    signals::catch();
    if args.peek {
        return peek::run(args);
    }
    let mut rx = args.place.open_or_create()?.consumer()?;
    rx.set_wait(WAIT);
    checkpoints::begin(args.checkpoint, &mut rx, &args.place)?;
    let mut receiving = Receiving {
        args,
        sink: Sink::new(args, rx.capacity_bytes())?,
        pacer: Pacer::new(args.rate),
        progress: Progress::new(args.progress, rx.capacity_bytes()),
        left: args.count.unwrap_or(u64::MAX),
        rx,
    };
    let outcome = receiving.everything();
    let finished = checkpoints::finish(args.checkpoint, &mut receiving.rx, &args.place);
    receiving.progress.finish();
    outcome.and(finished) // dropping the consumer closes this end
}

impl Receiving<'_> {
    fn everything(&mut self) -> Result<(), Failure> {
        while self.left > 0 {
            signals::check()?;
            let most = usize::try_from(self.wait_for_turn()?).unwrap_or(usize::MAX);
            let looked = self.sink.take(&mut self.rx, most);
            // What was shown is whole, even if what comes after it is damaged.
            let bytes = self
                .sink
                .flush()
                .map_err(|failure| failure.of(&self.args.place))?;
            let goes_on = match looked {
                Ok(0) | Err(TryRecvError::Empty) => self.wait_for_message()?,
                Ok(count) => self.release(count, bytes)?,
                Err(TryRecvError::Closed) => self.ended(RecvError::Closed)?,
                Err(error) => return Err(Failure::try_recv(&self.args.place, error)),
            };
            if !goes_on {
                break;
            }
        }
        Ok(())
    }

    /// They were written: they may go.
    fn release(&mut self, count: usize, bytes: u64) -> Result<bool, Failure> {
        let released = self.rx.skip(count);
        let count = released.map_err(|error| Failure::try_recv(&self.args.place, error))? as u64;
        self.left = self.left.saturating_sub(count);
        self.pacer.passed(count);
        let rx = &self.rx;
        self.progress.passed(count, bytes, || rx.backlog_bytes());
        Ok(true)
    }

    /// Waits until `--rate` lets something pass, and says how many messages may.
    fn wait_for_turn(&mut self) -> Result<u64, Failure> {
        let (progress, rx) = (&mut self.progress, &self.rx);
        let idle = || progress.passed(0, 0, || rx.backlog_bytes());
        Ok(self.pacer.wait(idle)?.min(self.left))
    }

    /// Waits until there is a message. `false`: there will be none.
    fn wait_for_message(&mut self) -> Result<bool, Failure> {
        let deadline = self
            .args
            .timeout
            .and_then(|timeout| Instant::now().checked_add(timeout));
        loop {
            signals::check()?;
            let rx = &self.rx;
            self.progress.passed(0, 0, || rx.backlog_bytes());
            match self
                .rx
                .wait_for_message(Some(signals::a_moment_until(deadline)))
            {
                Ok(()) => return Ok(true),
                Err(RecvError::TimedOut)
                    if deadline.is_none_or(|deadline| Instant::now() < deadline) => {}
                Err(error) => {
                    if !self.ended(error)? {
                        return Ok(false);
                    }
                }
            }
        }
    }

    /// The producer has gone, and everything was taken. Whether to wait for the next one.
    fn ended(&mut self, error: RecvError) -> Result<bool, Failure> {
        let place = &self.args.place;
        match error {
            RecvError::Closed | RecvError::PeerGone if self.args.follow => {
                let say = format_args!("{place}: {error}; waiting for the next one");
                self.progress.say(say);
                Ok(true)
            }
            RecvError::Closed => Ok(false),
            error => Err(Failure::recv(place, error)),
        }
    }
}
