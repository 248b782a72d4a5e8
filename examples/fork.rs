//! A parent and its child over anonymous memory, which nobody else can open:
//!
//! ```sh
//! cargo run --example fork
//! ```
//!
//! Expect the child to add up a hundred numbers that the parent sends. The ring is made before the
//! fork, and each side attaches its end after it.
#![expect(unsafe_code, reason = "std has no fork")]

#[path = "common/args.rs"]
mod args;

use std::process::ExitCode;

use ringduct::{Options, Ring};
use rustix::process::{Pid, WaitOptions};

const HELP: &str = "usage: fork";

fn main() -> ExitCode {
    args::arguments(HELP);
    args::finish(run())
}

#[expect(clippy::print_stdout, reason = "says what it did")]
fn run() -> Result<ExitCode, Box<dyn std::error::Error>> {
    let ring = Options::new().create_anonymous()?;
    // SAFETY: no other thread runs, so the child may do all that the parent may.
    let pid = unsafe { libc::fork() };
    match pid {
        -1 => Err(std::io::Error::last_os_error().into()),
        0 => child(&ring),
        pid => {
            let mut tx = ring.producer()?;
            for number in 1..=100_u64 {
                tx.send(&number.to_le_bytes())?;
            }
            tx.close();
            println!("parent: sent 100 numbers");
            let status = rustix::process::waitpid(Pid::from_raw(pid), WaitOptions::empty())?;
            match status.and_then(|(_, status)| status.exit_status()) {
                Some(0) => Ok(ExitCode::SUCCESS),
                other => Err(format!("the child ended with {other:?}").into()),
            }
        }
    }
}

#[expect(clippy::print_stdout, reason = "says what it did")]
fn child(ring: &Ring) -> Result<ExitCode, Box<dyn std::error::Error>> {
    let mut rx = ring.consumer()?;
    let mut sum = 0_u64;
    for message in rx.messages() {
        let number = message?.as_slice().try_into()?;
        sum = sum.saturating_add(u64::from_le_bytes(number));
    }
    println!("child: the sum is {sum}");
    Ok(ExitCode::SUCCESS)
}
