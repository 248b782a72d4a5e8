//! `send`: standard input, or the arguments, into a ring.

use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt as _;
use std::time::{Duration, Instant};

use ringduct::{Producer, SendError, TrySendError};

use crate::WAIT;
use crate::checkpoints::{self, When};
use crate::failure::Failure;
use crate::framing::Framing;
use crate::input::Input;
use crate::pacer::{self, Pacer};
use crate::place::{self, Place};
use crate::progress::Progress;
use crate::{signals, size};
use direct::Direct;

mod direct;

/// Sends standard input, or the given messages.
///
/// Makes the ring if there is none. Ends when the input does, and closes the ring; the consumer
/// takes what is there and ends too.
///
/// A killed `send` has published every message or none of a run of at most 128 KiB of input; what
/// it had read beyond that is lost with it. `ringduct stat` tells how many messages there were.
#[derive(clap::Args, Debug)]
pub(crate) struct Args {
    /// Where the ring is
    #[arg(value_name = "LOC", value_parser = place::parser())]
    place: Place,
    /// Send these, and do not read standard input
    #[arg(value_name = "MESSAGE")]
    messages: Vec<OsString>,
    /// How the input is cut: line, nul, fixed:BYTES, prefix (4 bytes of length, the lowest first), raw
    ///
    /// A line is sent without its newline; the last one may lack it; any other byte is part of it,
    /// a carriage return or a NUL too. `raw` cuts anywhere: `recv --framing raw` gives back the same
    /// stream.
    #[arg(short, long, default_value = "line", value_parser = Framing::parse)]
    framing: Framing,
    /// Stop after so many messages; of a file, the rest is left to whoever reads it next
    #[arg(short = 'n', long, value_name = "N")]
    count: Option<u64>,
    /// At most so many messages a second
    #[arg(long, value_name = "N", value_parser = pacer::rate)]
    rate: Option<f64>,
    /// How long to wait for room for a message
    #[arg(long, value_name = "DURATION", value_parser = size::duration)]
    timeout: Option<Duration>,
    /// Show rate, total and how full the ring is, on a terminal
    #[arg(long)]
    progress: bool,
    /// Make the ring safe from power cuts: every:MESSAGES, each DURATION, and at the end, or only at the end
    #[arg(long, value_name = "every:N|DURATION|end", value_parser = When::parse)]
    checkpoint: Option<When>,
    /// When the ring is full and its consumer has gone, wait for the next one
    #[arg(long)]
    follow: bool,
}

/// What a run of messages is followed by, once it was published.
enum Next {
    /// More of what was read already.
    More,
    /// Reading.
    Input,
    /// Room for a message of this many bytes.
    Room(usize),
}

/// The most that one run of messages takes, so that the consumer works meanwhile.
const RUN_BYTES: usize = 64 << 10;

struct Sending<'a> {
    args: &'a Args,
    tx: Producer,
    pacer: Pacer,
    progress: Progress,
    left: u64,
}

/// Sends.
pub(crate) fn run(args: &Args) -> Result<(), Failure> {
    signals::catch();
    let mut tx = args.place.open_or_create()?.producer()?;
    tx.set_wait(WAIT);
    checkpoints::begin(args.checkpoint, &mut tx, &args.place)?;
    let mut sending = Sending {
        args,
        pacer: Pacer::new(args.rate),
        progress: Progress::new(args.progress, tx.capacity_bytes()),
        left: args.count.unwrap_or(u64::MAX),
        tx,
    };
    let outcome = if args.messages.is_empty() {
        sending.stdin()
    } else {
        sending.arguments()
    };
    let finished = checkpoints::finish(args.checkpoint, &mut sending.tx, &args.place);
    sending.progress.finish();
    outcome.and(finished) // dropping the producer closes the ring
}

impl Sending<'_> {
    fn arguments(&mut self) -> Result<(), Failure> {
        for message in &self.args.messages {
            if self.left == 0 {
                break;
            }
            let message = message.as_bytes();
            self.wait_for_turn()?;
            while let Err(error) = self.tx.try_send(message) {
                self.wait_for_room_after(error, message.len())?;
            }
            self.passed(1, message.len());
        }
        Ok(())
    }

    fn stdin(&mut self) -> Result<(), Failure> {
        let framing = self.args.framing;
        let (capacity, most) = (self.tx.capacity_bytes(), self.tx.max_message_bytes());
        if let Some(mut direct) = Direct::new(framing, capacity, most)? {
            return self.direct(&mut direct);
        }
        let mut input = Input::stdin(framing, most)?;
        let outcome = self.input(&mut input);
        input.give_back();
        outcome
    }

    fn input(&mut self, input: &mut Input) -> Result<(), Failure> {
        while self.left > 0 {
            signals::check()?;
            match self.run_of(input)? {
                Next::More => {}
                Next::Room(bytes) => self.wait_for_room(bytes)?,
                Next::Input => {
                    let (progress, tx) = (&mut self.progress, &self.tx);
                    if !input.fill(|| progress.passed(0, 0, || tx.backlog_bytes()))? {
                        break;
                    }
                }
            }
        }
        Ok(())
    }

    /// Publishes messages that were read already, all at once.
    fn run_of(&mut self, input: &mut Input) -> Result<Next, Failure> {
        let most = self.wait_for_turn()?;
        let place = &self.args.place;
        let batch = self.tx.batch();
        let mut batch = batch.map_err(|error| Failure::try_send(place, error))?;
        let mut bytes = 0_usize;
        let next = loop {
            if batch.len() as u64 >= most || bytes >= RUN_BYTES {
                break Ok(Next::More);
            }
            let message = match input.next() {
                Ok(Some(message)) => message,
                Ok(None) => break Ok(Next::Input),
                Err(failure) => break Err(failure),
            };
            let length = message.len();
            match batch.push(message) {
                Ok(()) => input.advance(),
                Err(TrySendError::Full | TrySendError::WaitingForCheckpoint) => {
                    break Ok(Next::Room(length));
                }
                Err(TrySendError::TooLong { message_bytes, .. }) => {
                    break Err(input.too_long(message_bytes));
                }
                Err(error) => break Err(Failure::try_send(place, error)),
            }
            bytes = bytes.saturating_add(length);
        };
        let count = batch.commit();
        self.passed(count as u64, bytes);
        next.map_err(|failure| failure.of(&self.args.place))
    }

    /// Waits until `--rate` lets something pass, and says how many messages may.
    fn wait_for_turn(&mut self) -> Result<u64, Failure> {
        let (progress, tx) = (&mut self.progress, &self.tx);
        let idle = || progress.passed(0, 0, || tx.backlog_bytes());
        Ok(self.pacer.wait(idle)?.min(self.left))
    }

    fn passed(&mut self, messages: u64, bytes: usize) {
        self.left = self.left.saturating_sub(messages);
        self.pacer.passed(messages);
        let tx = &self.tx;
        self.progress
            .passed(messages, bytes as u64, || tx.backlog_bytes());
    }

    fn wait_for_room_after(&mut self, error: TrySendError, bytes: usize) -> Result<(), Failure> {
        match error {
            TrySendError::Full | TrySendError::WaitingForCheckpoint => self.wait_for_room(bytes),
            error => Err(Failure::try_send(&self.args.place, error)),
        }
    }

    /// Waits until a message of so many bytes fits.
    fn wait_for_room(&mut self, bytes: usize) -> Result<(), Failure> {
        let place = &self.args.place;
        let deadline = self
            .args
            .timeout
            .and_then(|timeout| Instant::now().checked_add(timeout));
        loop {
            signals::check()?;
            self.passed(0, 0);
            match self
                .tx
                .wait_for_room(bytes, Some(signals::a_moment_until(deadline)))
            {
                Ok(()) => return Ok(()),
                Err(SendError::TimedOut | SendError::WaitingForCheckpoint)
                    if deadline.is_none_or(|deadline| Instant::now() < deadline) => {}
                Err(ending @ (SendError::Closed | SendError::PeerGone)) if self.args.follow => {
                    let say = format_args!("{place}: {ending}; waiting for the next one");
                    self.progress.say(say);
                }
                Err(error) => return Err(Failure::send(place, error)),
            }
        }
    }
}
