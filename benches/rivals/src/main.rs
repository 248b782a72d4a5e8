//! Measures ringduct beside its rivals and beside the floor of the machine, between two processes:
//!
//! ```sh
//! cargo run --release --manifest-path benches/rivals/Cargo.toml -- --quick --json OUT.json
//! ```
//!
//! `README.md` in this directory says what is measured and how to read it.

mod arguments;
mod check;
mod figures;
mod full;
mod instructions;
mod json;
mod links;
mod machine;
mod names;
mod placement;
mod programs;
mod run;
mod singles;
mod svg;
mod syscalls;
mod table;
mod touch;
mod wake;

use std::process::ExitCode;

use clap::Parser;
use rivals_harness::Failure;

use arguments::Arguments;

fn main() -> ExitCode {
    if let Some(code) = rivals_harness::worker::main(links::measure) {
        return code;
    }
    match measure(&Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn measure(arguments: &Arguments) -> Result<(), Failure> {
    if let Some(path) = &arguments.check {
        return check::check(&std::fs::read_to_string(path)?);
    }
    let machine = machine::Machine::look(arguments.cores.as_deref(), arguments.far_ns)?;
    let everything = run::everything(arguments, &machine)?;
    print!("{}", table::ratios(&everything));
    if let Some(path) = &arguments.markdown {
        std::fs::write(path, table::markdown(&everything, &machine))?;
    }
    if let Some(directory) = &arguments.svg {
        svg::draw(directory, &everything, &machine)?;
    }
    if let Some(path) = &arguments.json {
        std::fs::write(path, json::render(&everything, &machine)?)?;
    }
    Ok(())
}
