//! The record that `records_write` and `records_read` agree on.

use zerocopy::{FromBytes, Immutable, IntoBytes};

/// Marks rings that hold these records, so that no other ring is taken for one.
pub(crate) const TAG: [u8; 16] = *b"reading, 24 byte";

/// One measurement. Little-endian, as every machine is that this library runs on.
#[derive(Clone, Copy, Debug, PartialEq, FromBytes, IntoBytes, Immutable)]
#[repr(C)]
pub(crate) struct Reading {
    /// Counts from zero.
    pub(crate) number: u64,
    /// Which sensor.
    pub(crate) sensor: u32,
    /// Thousandths of a degree Celsius.
    pub(crate) millidegrees: i32,
    /// Milliseconds since the first reading.
    pub(crate) at_ms: u64,
}
