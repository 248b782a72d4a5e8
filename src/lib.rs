//! A lock-free ring through which two processes on one Linux machine stream messages: one producer,
//! one consumer, no system call per message.
//!
//! Open or make a [`Ring`] with [`Options`] at a [`Location`], take an end of it, and send or
//! receive:
//!
//! ```
//! use ringduct::{Location, Options};
//!
//! let place: Location = "shm:ringduct-docs".parse()?;
//! let ring = Options::new().open_or_create(&place)?;
//! let mut tx = ring.producer()?; // in one process
//! let mut rx = ring.consumer()?; // in another
//! tx.send(b"hello")?;
//! let mut buffer = [0; 64];
//! let length = rx.recv(&mut buffer)?;
//! assert_eq!(&buffer[..length], b"hello");
//! # drop((tx, rx));
//! # ring.remove()?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Which call
//!
//! | you want | sending | receiving |
//! |---|---|---|
//! | never wait | [`Producer::try_send`] | [`Consumer::try_recv`] |
//! | wait | [`Producer::send`] | [`Consumer::recv`] |
//! | wait until | [`Producer::send_deadline`], [`Producer::send_timeout`] | [`Consumer::recv_deadline`], [`Consumer::recv_timeout`] |
//! | many at once | [`Producer::batch`], [`Producer::try_send_all`] | [`Consumer::drain`] |
//! | no copy | [`Producer::try_claim`] | [`Consumer::try_view`] |
//! | a descriptor | [`Claim::read_from`] | [`Consumer::write_next`] |
//! | a `Vec` | | [`Consumer::recv_vec`], [`Consumer::messages`] |
//! | look first | | [`Consumer::peek`], [`Consumer::peek_vec`], [`Consumer::peek_len`], [`Consumer::peek_many`] |
//! | only the newest | | [`Consumer::skip_to_latest`] |
//!
//! Blocking calls spin for a moment and then sleep in the kernel; [`Wait`] changes that.
//!
//! # What survives what
//!
//! The death of either process at any instant loses, invents, tears and reorders nothing that was
//! published; a message taken and not yet released is delivered again. This holds for every
//! backing.
//!
//! A power cut leaves what checkpoints cover, in rings made with [`Options::durable`]: see
//! [`Producer::checkpoint`], [`Consumer::checkpoint`], [`CheckpointPolicy`], [`Recovery`] and, to do
//! everything exactly once, [`MessageKey`]. Elsewhere nothing is promised for a power cut.
//!
//! # Trust
//!
//! [`Producer`] and [`Consumer`] trust nobody by default: messages are copied, what the other side
//! writes is bounded before use, damage is a [`Corruption`]. [`Consumer::trust_peer`] and
//! [`Producer::trust_peer`] are `unsafe` decisions, made once, that give borrowed views and
//! in-place slices; a [`pair`] inside one process has them by construction.
//!
//! # Files that change
//!
//! A live pair goes on with the file that it has opened, whatever happens to its name or its mode.
//! A file that was cut off under it is a [`Damage::FileTruncated`] from calls that wait, and else the
//! signal SIGBUS; with the [guard](#features) it is an error from every call.
//!
//! # Features
//!
//! | feature | what it adds |
//! |---|---|
//! | `guard` | the module `guard`: errors instead of SIGBUS, for rings in files that others may truncate |
//! | `zerocopy` | typed messages: `TypedProducer`, `TypedConsumer` |
//!
//! The bytes are described in [`format`](mod@format).

#[cfg(not(all(
    target_os = "linux",
    target_pointer_width = "64",
    target_endian = "little"
)))]
compile_error!("ringduct needs little-endian 64-bit Linux: its futex, membarrier and file locks");

mod attach;
mod batch;
mod channel;
mod checkpoint;
mod checkpoints;
mod checks;
mod checksum;
mod cold;
mod consumer;
mod descriptors;
mod durability;
mod error;
mod examine;
mod facts;
mod flush;
mod fork;
#[cfg(feature = "guard")]
pub mod guard;
mod handover;
mod io;
mod layout;
mod link;
mod location;
mod memory;
mod messages;
mod observer;
mod options;
mod pace;
mod peek;
mod peer;
mod policy;
mod position;
mod producer;
mod records;
mod recovery;
mod region;
mod ring;
mod role;
mod salvage;
mod served;
mod session;
#[cfg(feature = "simulator")]
#[doc(hidden)]
pub mod simulator;
mod state;
mod sync;
#[cfg(test)]
mod testing;
mod totals;
mod trusted;
#[cfg(feature = "zerocopy")]
mod typed;
mod ucred;
mod wait;

#[doc = include_str!("../FORMAT.md")]
pub mod format {}

/// The README's code, compiled and run.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

pub use attach::Ring;
pub use batch::{Batch, Claim};
pub use channel::{CallError, Channel, Client, Server};
pub use checkpoint::{CheckpointForm, Durable};
pub use checkpoints::MessageKey;
pub use consumer::Consumer;
pub use error::{
    CheckpointError, Corruption, Damage, OpenError, ParseLocationError, RecvError, SendError,
    TryRecvError, TrySendError,
};
pub use examine::{Examination, Fault};
pub use flush::Flush;
pub use handover::Grant;
pub use io::{ByteReader, ByteWriter};
pub use layout::{Header, Role};
pub use location::Location;
pub use messages::{Messages, TryMessages};
pub use observer::{Observer, Peeked, Rates, SideSnapshot, Snapshot};
pub use options::{HugePages, Options};
pub use peer::{Holder, PeerState};
pub use policy::CheckpointPolicy;
pub use producer::Producer;
pub use records::Records;
pub use recovery::{Recovery, RecoveryState};
pub use region::Backing;
pub use salvage::Salvaged;
pub use session::pair;
pub use totals::Totals;
pub use trusted::{Trust, Trusted, Untrusted, View};
#[cfg(feature = "zerocopy")]
pub use typed::{TypedConsumer, TypedError, TypedProducer};
pub use wait::Wait;
