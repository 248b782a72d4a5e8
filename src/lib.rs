//! A lock-free single-producer single-consumer ring for two processes.

#[cfg(not(all(
    target_os = "linux",
    target_pointer_width = "64",
    target_endian = "little"
)))]
compile_error!("ringduct needs little-endian 64-bit Linux: its futex, membarrier and file locks");

mod error;
mod layout;
mod peer;
mod position;

pub use error::{
    Corruption, Damage, OpenError, ParseLocationError, RecvError, SendError, TryRecvError,
    TrySendError,
};
pub use layout::Role;
pub use peer::Holder;
