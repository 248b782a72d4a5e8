//! The measuring loops, the same for every transport, and what they need: two pinned processes or
//! threads, a clock, messages.
//!
//! A transport is a [`Link`]: one direction, with a [`Sender`] and a [`Receiver`]. Every loop is
//! generic over it, so each transport gets its own machine code, as it would in a program that
//! uses it.

pub mod cell;
pub mod clock;
pub mod duo;
pub mod floor;
pub mod link;
pub mod messages;
pub mod open;
pub mod rtt;
pub mod shared;
mod siblings;
pub mod statistics;
pub mod stream;
pub mod worker;

pub use cell::{Cell, Kind, Output};
pub use link::{Ends, Failure, Link, Mode, Receiver, Sender, Spec, fail};
