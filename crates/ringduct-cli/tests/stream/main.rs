//! `create`, `send` and `recv` from end to end: every test runs the built program.
#![expect(clippy::unwrap_used, reason = "helpers of tests fail by panicking")]
#![expect(clippy::panic, reason = "as above")]
#![expect(clippy::arithmetic_side_effects, reason = "as above")]
#![expect(clippy::print_stdout, reason = "seeds and skips are said")]

mod deaths;
mod durable;
mod errors;
mod refusals;
mod streams;
mod support;
mod terminal;
