//! Tests in which the kernel cuts the power and the disk fails.
//!
//! The program runs itself again as the processes that are cut: with `RINGDUCT_KERNEL_ROLE` set it
//! is one of them, and shares nothing with the test but files and a pipe to report to. Without, it
//! is the tests.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a test fails by panicking, and says what it did"
)]

mod account;
mod agent;
mod child;
mod create;
mod cuts;
mod errors;
mod images;
mod need;
mod places;
mod random;
mod reads;
mod rings;
mod standin;
mod trace;
mod victim;

use std::path::Path;
use std::process::ExitCode;

use libtest_mimic::Arguments;

/// What a child is: the first word names the role, the rest are its arguments.
const ROLE: &str = "RINGDUCT_KERNEL_ROLE";

/// How much to do: as the environment wishes, or so much.
fn amount(name: &str, otherwise: u64) -> u64 {
    std::env::var(name).map_or(otherwise, |text| text.parse().expect("a number"))
}

fn main() -> ExitCode {
    if let Ok(role) = std::env::var(ROLE) {
        child::die_with_parent();
        let words: Vec<&str> = role.split(' ').collect();
        match words[0] {
            "create" => create::child(&words[1..]),
            "nudge" => child::nudge(Path::new(words[1]), words[2].parse().unwrap()),
            "agent" => agent::child(&words[1..]),
            "victim" => victim::child(&words[1..]),
            "reader" => reads::child(&words[1..]),
            "standin" => standin::child(&words[1..]),
            other => panic!("no such role: {other}"),
        }
        return ExitCode::SUCCESS;
    }
    if let Err(error) = ringduct_kernelcut::private_mounts() {
        // The tests find out for themselves what they lack.
        eprintln!("no mounts of our own: {error}");
    }
    let mut arguments = Arguments::from_args();
    // A child that one test forks holds the files of another one's mount until it executes, and
    // keeps it from being unmounted.
    arguments.test_threads = Some(1);
    let mut trials = Vec::new();
    standin::add(&mut trials);
    create::add(&mut trials);
    rings::add(&mut trials);
    errors::add(&mut trials);
    places::add(&mut trials);
    reads::add(&mut trials);
    libtest_mimic::run(&arguments, trials).exit_code()
}
