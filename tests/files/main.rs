//! Files that change under a ring that is in use: cut off, extended, punched, replaced, renamed, with
//! other rights. With the guard, and without it.
//!
//! The program runs itself again as the processes that use the ring: with `RINGDUCT_FILES_AGENT` set
//! it is one of them. Without, it is the tests, which change the file.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a test fails by panicking, and says what it did"
)]

mod agent;
mod bench;
mod driver;
#[cfg(feature = "guard")]
mod guarded;
#[cfg(feature = "guard")]
mod handlers;
mod kernel;
mod message;
mod names;
mod plain;

use std::process::ExitCode;

use libtest_mimic::Arguments;

/// Set in the processes that are driven.
const AGENT: &str = "RINGDUCT_FILES_AGENT";

fn main() -> ExitCode {
    if std::env::var_os(AGENT).is_some() {
        kernel::die_with_parent();
        agent::main();
        return ExitCode::SUCCESS;
    }
    let arguments = Arguments::from_args();
    let mut trials = Vec::new();
    plain::add(&mut trials);
    names::add(&mut trials);
    #[cfg(feature = "guard")]
    guarded::add(&mut trials);
    #[cfg(feature = "guard")]
    handlers::add(&mut trials);
    libtest_mimic::run(&arguments, trials).exit_code()
}
