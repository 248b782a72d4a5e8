//! A ring without any name, handed to another process over a Unix socket:
//!
//! ```sh
//! cargo run --example handover
//! ```
//!
//! Expect the second process, which this one starts, to print what it received through a sealed
//! memory file. The socket only carries the descriptor; it could as well be one of a listener.

#[path = "common/args.rs"]
mod args;

use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::process::{Command, ExitCode};

use ringduct::{Grant, Options};

const HELP: &str = "usage: handover";

fn main() -> ExitCode {
    let arguments = args::arguments(HELP);
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    args::finish(match arguments.as_slice() {
        [] => hand_over(),
        ["--receiver"] => receive(),
        _ => Err(HELP.into()),
    })
}

#[expect(clippy::print_stdout, reason = "says what it did")]
fn hand_over() -> Result<ExitCode, Box<dyn std::error::Error>> {
    let (here, there) = UnixStream::pair()?;
    let mut receiver = Command::new(std::env::current_exe()?)
        .arg("--receiver")
        .stdin(OwnedFd::from(there))
        .spawn()?;
    let ring = Options::new().create_memfd("handover-example")?;
    ring.hand_over(&here, Grant::ReadWrite)?;
    let mut tx = ring.producer()?;
    tx.send(b"through memory without a name")?;
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
fn receive() -> Result<ExitCode, Box<dyn std::error::Error>> {
    let socket = UnixStream::from(std::io::stdin().as_fd().try_clone_to_owned()?);
    let ring = Options::new().receive(&socket)?;
    println!(
        "receiver: got a {} of {} bytes",
        ring.backing(),
        ring.capacity_bytes()
    );
    for message in ring.consumer()? {
        println!("receiver: {}", message?.escape_ascii());
    }
    Ok(ExitCode::SUCCESS)
}
