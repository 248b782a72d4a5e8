//! Streams forty million messages from one process to another and checks every byte:
//!
//! ```sh
//! cargo run --release --example stream
//! ```
//!
//! Expect, in well under a minute, the rate of a flood of messages of 0 to 1024 bytes through a
//! ring in POSIX shared memory, and the one-way latency, once in that flood, where it is the time
//! spent in the queue, and once at a calm pace. The program starts itself a second time as the
//! producer. `--messages N` changes the number.
#![expect(
    clippy::arithmetic_side_effects,
    reason = "counts far from their limits"
)]

#[path = "common/args.rs"]
mod args;
#[path = "common/clock.rs"]
mod clock;
#[path = "stream/messages.rs"]
mod messages;
#[path = "stream/report.rs"]
mod report;
#[path = "common/signals.rs"]
mod signals;

use std::process::{Child, Command, ExitCode};
use std::time::{Duration, Instant};

use clock::monotonic_ns;
use messages::{Messages, Pace};
use report::{Bar, Phase};
use ringduct::{Consumer, Location, Options, RecvError, Ring, Wait};

const HELP: &str = "usage: stream [--messages N]";

type Failure = Box<dyn std::error::Error>;

fn main() -> ExitCode {
    let arguments = args::arguments(HELP);
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    args::finish(match arguments.as_slice() {
        [] => consume(40_000_000),
        ["--messages", count] => number(count).and_then(consume),
        ["--producer", location, count] => number(count).and_then(|count| produce(location, count)),
        _ => Err(HELP.into()),
    })
}

fn number(text: &str) -> Result<u64, Failure> {
    let error = |_| format!("{text:?} is not a number of messages\n{HELP}");
    Ok(text.parse().map_err(error)?)
}

/// The second process.
fn produce(location: &str, count: u64) -> Result<ExitCode, Failure> {
    let ring = Options::new().open(&location.parse()?)?;
    let outcome = publish(&ring, count);
    if outcome.is_err() {
        // If the consumer was killed nobody else removes the name. If it was not, it does.
        drop(ring.remove());
    }
    outcome.map(|()| ExitCode::SUCCESS)
}

fn publish(ring: &Ring, count: u64) -> Result<(), Failure> {
    let mut tx = ring.producer()?;
    tx.set_wait(wait());
    let mut messages = Messages::new();
    for index in 0..count {
        tx.send(messages.make(index, monotonic_ns))?;
    }
    // A message of the greatest length fits once everything was taken.
    let everything = usize::try_from(tx.max_message_bytes())?;
    tx.wait_for_room(everything, None)?;
    let pace = Pace::of_this_machine();
    for index in 0..pace.messages {
        pace.wait(index);
        tx.send(messages.make_timed(index, monotonic_ns()))?;
    }
    Ok(tx.wait_for_room(everything, None)?)
}

/// The first process.
fn consume(count: u64) -> Result<ExitCode, Failure> {
    signals::catch();
    let location = Location::Shm(format!("ringduct-stream-{}", std::process::id()));
    let options = Options::new().capacity_bytes(1 << 22).prefault(true);
    let ring = Named(options.create(&location)?);
    let mut rx = ring.0.consumer()?;
    rx.set_wait(wait());
    let program = std::env::current_exe()?;
    let producer = Command::new(program)
        .args(["--producer", &location.to_string(), &count.to_string()])
        .spawn()?;
    let mut producer = Second(producer);
    let bar = Bar::start(ring.0.observer()?, count);
    let mut stream = Phase::new("in the flood")?;
    let mut calm = Phase::new("at a calm pace")?;
    while rx.wait_for_message(in_a_second()).is_err() {
        if let Some(status) = producer.0.try_wait()? {
            return Err(format!("the producer ended with {status}").into());
        }
    }
    let messages = Messages::new();
    let check = |index, message: &[u8]| messages.check(index, message);
    receive(&mut rx, count, &mut stream, check)?;
    drop(bar);
    let check = |index, message: &[u8]| messages.check_timed(index, message);
    receive(&mut rx, Pace::of_this_machine().messages, &mut calm, check)?;
    match rx.recv(&mut [0; 1]) {
        Err(RecvError::Closed) => {}
        other => return Err(format!("expected the producer to close, found {other:?}").into()),
    }
    let status = producer.0.wait()?;
    if !status.success() {
        return Err(format!("the producer ended with {status}").into());
    }
    report::print(&stream, &calm)?;
    Ok(ExitCode::SUCCESS)
}

/// Takes `count` messages, each of which `check` accepts and may find a time of sending in.
fn receive(
    rx: &mut Consumer,
    count: u64,
    phase: &mut Phase,
    check: impl Fn(u64, &[u8]) -> Result<Option<u64>, String>,
) -> Result<(), Failure> {
    phase.start();
    let mut wrong = None;
    while phase.messages < count {
        let left = usize::try_from(count - phase.messages)?;
        let taken = rx.drain(left.min(256), |message| {
            match check(phase.messages, message) {
                Ok(None) => {}
                Ok(Some(sent_at)) => phase.record(monotonic_ns(), sent_at),
                Err(what) => wrong = wrong.take().or(Some(what)),
            }
            phase.count(message.len());
        })?;
        if let Some(what) = wrong {
            return Err(what.into());
        }
        if taken == 0 {
            match rx.wait_for_message(in_a_second()) {
                Ok(()) | Err(RecvError::TimedOut) => {}
                Err(error) => return Err(error.into()),
            }
        }
        if signals::asked_to_end().is_some() {
            return Err("interrupted".into());
        }
    }
    phase.stop();
    Ok(())
}

fn in_a_second() -> Option<Instant> {
    Instant::now().checked_add(Duration::from_secs(1))
}

/// With a core for each side, looking again beats sleeping; on a single core it only keeps the
/// other side from running.
fn wait() -> Wait {
    let spin = if messages::one_core() { 0 } else { 20 };
    let spin = Duration::from_millis(spin);
    Wait::SpinThenPark { spin }
}

/// A ring whose name goes when this does, unless somebody still holds a role.
struct Named(Ring);

impl Drop for Named {
    fn drop(&mut self) {
        // Nobody is left to tell; a ring that is still in use stays.
        drop(self.0.remove());
    }
}

/// A process that does not outlive this one's interest in it.
struct Second(Child);

impl Drop for Second {
    fn drop(&mut self) {
        // It may have ended already.
        drop(self.0.kill());
        drop(self.0.wait());
    }
}
