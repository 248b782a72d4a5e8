//! The transports, one file each, and their names.
#![expect(
    clippy::inline_always,
    reason = "loops are compiled for each size of a message; so is what a transport inlines there"
)]

mod crossbeam;
mod cueue;
mod duct;
mod kernel;
mod logbuf;
mod ringfire;
mod rtrb;

use rivals_harness::{Cell, Failure, Output, measure_sized};

use self::crossbeam::Crossbeam;
use self::ringfire::Ringfire;
use self::rtrb::Rtrb;

/// Measures one cell over the transport it names.
pub(crate) fn measure(cell: &Cell) -> Result<Output, Failure> {
    match cell.transport.as_str() {
        "floor" | "floor-pause" => cell.measure_floor(),
        "rtrb" => measure_sized!(cell, Rtrb),
        "ringfire" => measure_sized!(cell, Ringfire),
        "cueue" => cell.measure::<cueue::Cueue>(),
        "nexus-logbuf" => cell.measure::<logbuf::Logbuf>(),
        "crossbeam" => measure_sized!(cell, Crossbeam),
        "pipe" => cell.measure::<kernel::Pipe>(),
        "unix-seqpacket" => cell.measure::<kernel::Seqpacket>(),
        "posix-mq" => cell.measure::<kernel::PosixMq>(),
        "sysv-mq" => cell.measure::<kernel::SysvMq>(),
        "tcp" => cell.measure::<kernel::Tcp>(),
        _ => duct::measure(cell),
    }
}
