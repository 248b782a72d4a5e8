//! The process that measures one cell: it forks the other side, and writes what came out.

use rivals_harness::{Cell, Output as Measured};
use rustix::process::Signal;

use super::links::{Duct, Mq, Pipe, Unix};
use crate::failure::{Code, Failure};
use crate::output::Output;

/// Measures the cell and writes the result to standard output.
pub(super) fn run(cell: &str) -> Result<(), Failure> {
    let failed = |what: String| Failure::new(Code::Other, what);
    // Whoever started this reads the result, and nobody else.
    rustix::process::set_parent_process_death_signal(Some(Signal::KILL))
        .map_err(|errno| Failure::io("end with the parent", &errno.into()))?;
    // A panic on either side ends both.
    std::panic::set_hook(Box::new(|panic| rivals_harness::fail(panic)));
    let cell: Cell = serde_json::from_str(cell).map_err(|error| failed(error.to_string()))?;
    let measured = measure(&cell).map_err(|error| failed(error.to_string()))?;
    let text = serde_json::to_string(&measured).map_err(|error| failed(error.to_string()))?;
    Output::stdout()?.write_all(text.as_bytes())
}

fn measure(cell: &Cell) -> Result<Measured, rivals_harness::Failure> {
    match cell.transport.as_str() {
        "pipe" => cell.measure::<Pipe>(),
        "unix" => cell.measure::<Unix>(),
        "mq" => cell.measure::<Mq>(),
        _ => cell.measure::<Duct>(),
    }
}
