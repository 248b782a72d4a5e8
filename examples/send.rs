//! Sends standard input through a ring. In two terminals, either one first:
//!
//! ```sh
//! cargo run --release --example send -- shm:demo < input
//! cargo run --release --example recv -- shm:demo > output
//! ```
//!
//! Expect `output` to equal `input`. The ring stays when both have ended; `shm:demo` can as well be
//! a path (`demo.ring`) or a System V key (`sysv:0x5eed`). Ctrl-C closes the ring.

#[path = "common/args.rs"]
mod args;
#[path = "common/signals.rs"]
mod signals;
#[path = "common/transfer.rs"]
mod transfer;

use std::io::Read;
use std::process::ExitCode;

use ringduct::{Producer, SendError};
use rustix::event::{PollFd, PollFlags, Timespec};
use transfer::{a_moment, say};

const HELP: &str = "usage: send LOCATION < input\nLOCATION: PATH, shm:NAME, sysv:0xKEY, sysv:id:N";

type Outcome = Result<ExitCode, Box<dyn std::error::Error>>;

fn main() -> ExitCode {
    args::finish(run())
}

fn run() -> Outcome {
    let arguments = args::arguments(HELP);
    let [location] = arguments.as_slice() else {
        return Err(HELP.into());
    };
    signals::catch();
    let mut tx = transfer::open_or_create(&location.parse()?)?.producer()?;
    let bytes = tx.max_message_bytes().min(1 << 16);
    let mut buffer = vec![0; usize::try_from(bytes)?];
    let mut input = std::io::stdin().lock();
    let progress = transfer::progress();
    loop {
        if let Some(code) = wait_for_input()? {
            return Ok(code); // dropping `tx` closes the ring
        }
        let count = input.read(&mut buffer)?;
        if count == 0 {
            progress.finish();
            return Ok(ExitCode::SUCCESS);
        }
        let (part, _) = buffer.split_at(count);
        if let Some(code) = send(&mut tx, part)? {
            return Ok(code);
        }
        progress.inc(u64::try_from(count)?);
    }
}

/// Returns once there is something to read, or with the exit code if the program shall end.
fn wait_for_input() -> Result<Option<ExitCode>, rustix::io::Errno> {
    let stdin = std::io::stdin();
    let moment = Timespec {
        tv_sec: 0,
        tv_nsec: 200_000_000,
    };
    while signals::asked_to_end().is_none() {
        let mut polled = [PollFd::new(&stdin, PollFlags::IN)];
        match rustix::event::poll(&mut polled, Some(&moment)) {
            Ok(0) | Err(rustix::io::Errno::INTR) => {}
            Ok(_) => return Ok(None),
            Err(errno) => return Err(errno),
        }
    }
    Ok(signals::asked_to_end())
}

/// Sends one message; returns with the exit code if the program shall end instead.
fn send(tx: &mut Producer, part: &[u8]) -> Result<Option<ExitCode>, SendError> {
    while signals::asked_to_end().is_none() {
        match tx.try_send(part) {
            Ok(()) => return Ok(None),
            Err(ringduct::TrySendError::Full) => {}
            // The blocking form says every other error again.
            Err(_) => return tx.send(part).map(|()| None),
        }
        match tx.wait_for_room(part.len(), a_moment()) {
            Ok(()) | Err(SendError::TimedOut) => {}
            Err(ending @ (SendError::Closed | SendError::PeerGone)) => {
                say(&format!("{ending}; waiting for the next one"));
            }
            Err(error) => return Err(error),
        }
    }
    Ok(signals::asked_to_end())
}
