//! Two processes over a System V segment:
//!
//! ```sh
//! cargo run --example sysv
//! ```
//!
//! Expect the second process, which this one starts, to find the segment by its key and print what
//! came. While it runs `ipcs -m` shows the segment; at the end it is removed.

#[path = "common/args.rs"]
mod args;

use std::process::{Command, ExitCode};

use ringduct::{Location, Options, Ring};

const HELP: &str = "usage: sysv";

fn main() -> ExitCode {
    let arguments = args::arguments(HELP);
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    args::finish(match arguments.as_slice() {
        [] => send(),
        ["--receiver", location] => receive(location),
        _ => Err(HELP.into()),
    })
}

#[expect(clippy::print_stdout, reason = "says what it did")]
fn send() -> Result<ExitCode, Box<dyn std::error::Error>> {
    // A key of this process's own. A real program has one fixed key.
    let key = i32::try_from(std::process::id())? | 0x5e00_0000;
    let location = Location::SysVKey(key);
    let ring = Segment(Options::new().create(&location)?);
    println!("sender: made a {} at {location}", ring.0.backing());
    let mut tx = ring.0.producer()?;
    let mut receiver = Command::new(std::env::current_exe()?)
        .args(["--receiver", &location.to_string()])
        .spawn()?;
    for word in ["one", "two", "three"] {
        tx.send(word.as_bytes())?;
    }
    tx.close();
    let status = receiver.wait()?;
    println!("sender: the receiver ended with {status}");
    Ok(if status.success() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

#[expect(clippy::print_stdout, reason = "says what it did")]
fn receive(location: &str) -> Result<ExitCode, Box<dyn std::error::Error>> {
    for message in Options::new().open(&location.parse()?)?.consumer()? {
        println!("receiver: {}", message?.escape_ascii());
    }
    Ok(ExitCode::SUCCESS)
}

/// A segment outlives every process, so somebody has to remove it.
struct Segment(Ring);

impl Drop for Segment {
    fn drop(&mut self) {
        // Nobody is left to tell; a ring that is still in use stays.
        drop(self.0.remove());
    }
}
