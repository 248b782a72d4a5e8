//! Cuts the power under a ring, in a simulation.
//!
//! [`disk`] is a file whose stores and syncs are recorded; [`image`] says what the medium may hold
//! if the power goes at a moment of the record, and [`lazy`] goes through all of that; [`scenario`]
//! and [`script`] are what the two processes do; [`oracle`] is what they were promised; and
//! [`case`] and [`exhaust`] bring it together. [`toy`] is a ring with known holes: the test of the test.

#![expect(
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::expect_used,
    clippy::missing_panics_doc,
    clippy::similar_names,
    reason = "a tool of tests: where its own numbers are wrong it must stop, with a backtrace"
)]

pub mod case;
pub mod disk;
pub mod exhaust;
pub mod image;
pub mod judge;
pub mod lazy;
pub mod library;
pub mod oracle;
pub mod protocol;
pub mod random;
pub mod scenario;
pub mod script;
pub mod toy;
