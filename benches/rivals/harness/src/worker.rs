//! The second program: measures one cell and prints what came out.

use std::process::ExitCode;

use crate::cell::{Cell, Output};
use crate::link::{Failure, fail};

/// The first argument of a worker; the second is the cell.
pub const WORKER: &str = "worker";

/// Measures the cell in the arguments with `measure` if this program was started as a worker.
pub fn main(measure: impl FnOnce(&Cell) -> Result<Output, Failure>) -> Option<ExitCode> {
    let mut arguments = std::env::args().skip(1);
    if arguments.next().as_deref() != Some(WORKER) {
        return None;
    }
    // A panic on either side ends both.
    std::panic::set_hook(Box::new(|panic| fail(panic)));
    let done = arguments
        .next()
        .ok_or_else(|| "no cell".into())
        .and_then(|cell| Ok(serde_json::from_str(&cell)?))
        .and_then(|cell| measure(&cell))
        .and_then(|output| Ok(serde_json::to_string(&output)?));
    match done {
        Ok(output) => println!("{output}"),
        Err(error) => {
            eprintln!("{error}");
            return Some(ExitCode::FAILURE);
        }
    }
    Some(ExitCode::SUCCESS)
}
