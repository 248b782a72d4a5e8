//! Tests between processes.
//!
//! The program runs itself again as the other processes: with `RINGDUCT_TEST_ROLE` set it is one
//! of them, and shares nothing with the test but what it is told to open. Without, it is the tests.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    reason = "a test fails by panicking"
)]

mod agent;
mod backings;
mod death;
mod driver;
mod durable;
mod forks;
mod intruder;
mod kernel;
mod memory;
mod message;
mod names;
mod oracle;
mod quiet;
mod races;
mod setup;
mod spaces;
mod step;
mod storm;
mod users;
mod waiting;

use std::process::ExitCode;

use libtest_mimic::Arguments;

/// What a child is: the first word names the role, the rest are its arguments.
const ROLE: &str = "RINGDUCT_TEST_ROLE";

fn main() -> ExitCode {
    if let Ok(role) = std::env::var(ROLE) {
        kernel::die_with_parent();
        let words: Vec<&str> = role.split(' ').collect();
        match words[0] {
            "agent" => agent::main(&words[1..]),
            "step" => step::child(&words[1..]),
            "storm" => storm::child(&words[1..]),
            "durable" => durable::child(&words[1..]),
            "forks" => forks::child(&words[1..]),
            "quiet" => quiet::child(&words[1..]),
            other => panic!("no such role: {other}"),
        }
        return ExitCode::SUCCESS;
    }
    let arguments = Arguments::from_args();
    let mut trials = Vec::new();
    backings::add(&mut trials);
    waiting::add(&mut trials);
    quiet::add(&mut trials);
    death::add(&mut trials);
    races::add(&mut trials);
    users::add(&mut trials);
    names::add(&mut trials);
    forks::add(&mut trials);
    spaces::add(&mut trials);
    step::add(&mut trials);
    storm::add(&mut trials);
    durable::add(&mut trials);
    libtest_mimic::run(&arguments, trials).exit_code()
}
