//! Writes what comes through a ring to standard output. In two terminals, either one first:
//!
//! ```sh
//! cargo run --release --example recv -- shm:demo > output
//! cargo run --release --example send -- shm:demo < input
//! ```
//!
//! Expect it to end when `send` has closed the ring and everything was written. If it is killed, a
//! second one goes on where the first one was: a message leaves the ring after it was written, so
//! one message may be written twice. If `send` is killed, it waits for the next one.

#[path = "common/args.rs"]
mod args;
#[path = "common/signals.rs"]
mod signals;
#[path = "common/transfer.rs"]
mod transfer;

use std::io::{ErrorKind, Write};
use std::process::ExitCode;

use ringduct::RecvError;
use transfer::{a_moment, say};

const HELP: &str = "usage: recv LOCATION > output\nLOCATION: PATH, shm:NAME, sysv:0xKEY, sysv:id:N";

fn main() -> ExitCode {
    args::finish(run())
}

fn run() -> Result<ExitCode, Box<dyn std::error::Error>> {
    let arguments = args::arguments(HELP);
    let [location] = arguments.as_slice() else {
        return Err(HELP.into());
    };
    signals::catch();
    let mut rx = transfer::open_or_create(&location.parse()?)?.consumer()?;
    // The file itself: `Stdout` would look for line ends, and keep what follows the last one.
    let mut output =
        std::fs::File::from(std::os::fd::AsFd::as_fd(&std::io::stdout()).try_clone_to_owned()?);
    let mut message = Vec::new();
    let progress = transfer::progress();
    loop {
        if let Some(code) = signals::asked_to_end() {
            return Ok(code); // dropping `rx` closes this end
        }
        match rx.peek_vec(&mut message, a_moment()) {
            Ok(()) => {}
            Err(RecvError::TimedOut) => continue,
            Err(RecvError::Closed) => {
                progress.finish();
                return Ok(ExitCode::SUCCESS);
            }
            Err(ending @ RecvError::PeerGone) => {
                say(&format!("{ending}; waiting for the next one"));
                continue;
            }
            Err(error) => return Err(error.into()),
        }
        match output.write_all(&message) {
            Ok(()) => {}
            // Whoever read this has had enough. The message stays in the ring.
            Err(error) if error.kind() == ErrorKind::BrokenPipe => return Ok(ExitCode::SUCCESS),
            Err(error) => return Err(error.into()),
        }
        rx.skip(1)?;
        progress.inc(u64::try_from(message.len())?);
    }
}
