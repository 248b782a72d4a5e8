//! Hostile peers, in processes of their own.
//!
//! - `stepping`: a call is run instruction by instruction, and between any two a word of the ring
//!   changes to any value of a dictionary, or a byte of a message to another.
//! - `attaching`: an attach, a recovery, a checkpoint, and a word that changes between two looks.
//! - `counting`: how often a call reads each word of the ring, by the processor's watchpoints.
//! - `toggling`: a word that is another one at each look, to keep a call past its deadline.
//! - `hammering`: another program writes into the whole ring while calls of every kind run.
//! - `rights`: a store to pages that a role maps read-only ends the process.
//!
//! The program runs itself again as the other processes: with `RINGDUCT_TEST_ROLE` set it is one of
//! them. Whoever lies shares nothing with its victim but the bytes of the ring, which it maps by
//! itself and knows from `FORMAT.md`. All of it is worth most on a release build, where the
//! compiler might read a word twice: `cargo test --release --test hostile`. Registers and watchpoints
//! are those of x86-64; elsewhere nothing of this is run.
#![cfg_attr(
    target_arch = "x86_64",
    expect(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic,
        clippy::indexing_slicing,
        clippy::arithmetic_side_effects,
        reason = "a test fails by panicking"
    )
)]
#![expect(clippy::print_stdout, reason = "a test says what it did")]

#[cfg(target_arch = "x86_64")]
mod attaching;
#[cfg(target_arch = "x86_64")]
mod calls;
#[cfg(target_arch = "x86_64")]
mod counting;
#[cfg(target_arch = "x86_64")]
mod dictionary;
#[cfg(target_arch = "x86_64")]
mod hammering;
#[cfg(target_arch = "x86_64")]
mod liar;
#[cfg(target_arch = "x86_64")]
mod raw;
#[cfg(target_arch = "x86_64")]
mod rights;
#[cfg(target_arch = "x86_64")]
mod stage;
#[cfg(target_arch = "x86_64")]
mod stepping;
#[cfg(target_arch = "x86_64")]
mod toggling;
#[cfg(target_arch = "x86_64")]
mod trace;
#[cfg(target_arch = "x86_64")]
mod victim;
#[cfg(target_arch = "x86_64")]
mod watchdog;

#[cfg(target_arch = "x86_64")]
use crate::watchdog::Watchdog;

/// What a child is: the first word names the role, the rest are its arguments.
#[cfg(target_arch = "x86_64")]
const ROLE: &str = "RINGDUCT_TEST_ROLE";

/// This program, to be run again in a role.
#[cfg(target_arch = "x86_64")]
fn myself(role: &str) -> std::process::Command {
    let mut command = std::process::Command::new(std::env::current_exe().unwrap());
    command.env(ROLE, role);
    command
}

#[cfg(not(target_arch = "x86_64"))]
fn main() {
    println!("SKIPPED: no x86-64");
}

#[cfg(target_arch = "x86_64")]
fn main() -> std::process::ExitCode {
    if let Ok(role) = std::env::var(ROLE) {
        raw::die_with_parent();
        let words: Vec<&str> = role.split(' ').collect();
        match words[0] {
            "attaching" => attaching::child(&words[1..]),
            "stage" => stage::child(&words[1..]),
            "victim" => victim::child(&words[1..]),
            "liar" => liar::child(&words[1..]),
            "rights" => rights::child(&words[1..]),
            other => panic!("no such role: {other}"),
        }
        return std::process::ExitCode::SUCCESS;
    }
    let arguments = libtest_mimic::Arguments::from_args();
    let mut trials = Vec::new();
    stepping::add(&mut trials);
    attaching::add(&mut trials);
    counting::add(&mut trials);
    toggling::add(&mut trials);
    hammering::add(&mut trials);
    rights::add(&mut trials);
    libtest_mimic::run(&arguments, trials).exit_code()
}
