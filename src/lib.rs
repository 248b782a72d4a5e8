//! A lock-free single-producer single-consumer ring for two processes.

#[cfg(not(all(
    target_os = "linux",
    target_pointer_width = "64",
    target_endian = "little"
)))]
compile_error!("ringduct needs little-endian 64-bit Linux: its futex, membarrier and file locks");

mod batch;
mod channel;
mod consumer;
mod error;
mod flush;
mod fork;
mod handover;
mod io;
mod layout;
mod link;
mod location;
mod memory;
mod messages;
mod observer;
mod options;
mod peer;
mod position;
mod producer;
mod recovery;
mod region;
mod ring;
mod role;
mod session;
mod sync;
#[cfg(test)]
mod testing;
mod totals;
mod trusted;
#[cfg(feature = "zerocopy")]
mod typed;
mod wait;

pub use batch::{Batch, Claim};
pub use channel::{CallError, Channel, Client, Server};
pub use consumer::Consumer;
pub use error::{
    Corruption, Damage, OpenError, ParseLocationError, RecvError, SendError, TryRecvError,
    TrySendError,
};
pub use flush::Flush;
pub use handover::Grant;
pub use io::{ByteReader, ByteWriter};
pub use layout::Role;
pub use location::Location;
pub use messages::{Messages, TryMessages};
pub use observer::{Observer, Peeked, Rates, SideSnapshot, Snapshot};
pub use options::{HugePages, Options};
pub use peer::{Holder, PeerState};
pub use producer::Producer;
pub use region::Backing;
pub use session::{Ring, pair};
pub use totals::Totals;
pub use trusted::{Trust, Trusted, Untrusted, View};
#[cfg(feature = "zerocopy")]
pub use typed::{TypedConsumer, TypedError, TypedProducer};
pub use wait::Wait;
