//! `ringduct` on the command line: make rings, stream through them, look into them.
//!
//! Everything here stands on the library's public interface alone. Data goes to standard output
//! and nothing else does; what is said to people goes to standard error.

mod checkpoints;
mod cli;
mod commands;
mod container;
mod cores;
mod failure;
mod format;
mod framing;
mod input;
mod inspect;
mod memory;
mod output;
mod pacer;
mod place;
mod progress;
mod signals;
mod size;
mod stdin;
mod talk;

use std::process::ExitCode;

use clap::Parser as _;
use ringduct::Wait;

/// How `send` and `recv` wait: the stages of a pipeline share processors with each other, and one that
/// spins takes time from the one it waits for.
const WAIT: Wait = Wait::SpinThenPark {
    spin: std::time::Duration::ZERO,
};

fn main() -> ExitCode {
    match cli::Tool::parse().run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.report(),
    }
}
