//! A lock-free single-producer single-consumer ring for two processes.

#[cfg(not(all(
    target_os = "linux",
    target_pointer_width = "64",
    target_endian = "little"
)))]
compile_error!("ringduct needs little-endian 64-bit Linux: its futex, membarrier and file locks");

mod error;
mod fork;
mod layout;
mod location;
mod options;
mod peer;
mod position;
mod region;
mod role;
#[cfg(test)]
mod testing;

pub use error::{
    Corruption, Damage, OpenError, ParseLocationError, RecvError, SendError, TryRecvError,
    TrySendError,
};
pub use layout::Role;
pub use location::Location;
pub use options::{HugePages, Options};
pub use peer::Holder;
pub use region::Backing;
