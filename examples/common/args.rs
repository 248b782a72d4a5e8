//! What the examples do with their arguments, and how they end.

use std::process::ExitCode;

/// The arguments after the program's name. `--help` prints `help` and ends the program.
#[expect(clippy::print_stdout, reason = "help was asked for")]
pub(crate) fn arguments(help: &str) -> Vec<String> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if arguments
        .iter()
        .any(|text| text == "--help" || text == "-h")
    {
        println!("{help}");
        std::process::exit(0);
    }
    arguments
}

/// Turns the outcome of a program into its exit code; an error is said on standard error.
#[expect(clippy::print_stderr, reason = "where a program says what went wrong")]
pub(crate) fn finish(outcome: Result<ExitCode, Box<dyn std::error::Error>>) -> ExitCode {
    outcome.unwrap_or_else(|error| {
        eprintln!("error: {error}");
        ExitCode::FAILURE
    })
}
