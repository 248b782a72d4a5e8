//! Power cuts and disk errors made by the real kernel.
//!
//! Killing a process loses nothing: the page cache keeps every store. Here a file system loses what
//! it has not synced, in three ways:
//!
//! - [`LoopFs::cut`] shuts a mounted file system down without flushing its log, as xfstests does.
//!   What the kernel wrote early stays, what it did not is gone.
//! - [`Disk`] is a disk in memory, served over FUSE behind a loop device. It logs every write and
//!   every flush, so that images of all the states can be built that a disk with a volatile cache
//!   may be found in: everything up to the last flush, and any subset of the later writes, sector
//!   by sector.
//! - The same disk answers chosen requests with an error, once or for ever.
//!
//! Everything is mounted in a mount namespace of its own ([`private_mounts`]) and on loop devices
//! that detach themselves, so nothing is left behind however the program ends.
#![expect(
    clippy::arithmetic_side_effects,
    clippy::indexing_slicing,
    reason = "a harness: what is wrong here fails the test that runs it"
)]

mod disk;
mod image;
mod kernel;
mod loopfs;

pub use disk::{Disk, Fault, Request};
pub use image::{Entry, Pages, Replay, SECTOR_BYTES};
pub use kernel::{extents, sync_some};
pub use loopfs::{FileSystem, LoopFs, private_mounts};
