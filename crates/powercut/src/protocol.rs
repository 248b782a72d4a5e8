//! What the scenarios run: the library, or a toy with a known hole.

use crate::disk::Handle;

pub use ringduct::simulator::{Carrier, Form, Machine, Plan, Recovered, Refused, UNIT_BYTES};

/// What a checkpoint made durable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Durable {
    /// Rises with every recovery after a power cut.
    pub incarnation: u64,
    /// Everything before it is durable.
    pub position: u64,
    /// Messages before that position.
    pub messages: u64,
}

/// A protocol over a file of words.
pub trait Protocol: Clone + 'static {
    /// Its sending end.
    type Producer: Sender + 'static;
    /// Its receiving end.
    type Consumer: Receiver + 'static;

    /// The largest ring it should be tried with, in bytes.
    fn largest_capacity(&self) -> u64;

    /// Recoveries after which a message that was delivered before them may have another key.
    fn remembered_incarnations(&self) -> u64;

    /// Stores what a creator stores into a file of zeros.
    fn format(&self, carrier: &Handle, plan: &Plan, machine: Machine);

    /// Takes the sending end, after recovery.
    ///
    /// # Errors
    /// Whatever the protocol refuses.
    fn producer(&self, seat: Seat<'_>) -> Result<(Self::Producer, Recovered), Refused>;

    /// Takes the receiving end, after recovery.
    ///
    /// # Errors
    /// Whatever the protocol refuses.
    fn consumer(&self, seat: Seat<'_>) -> Result<(Self::Consumer, Recovered), Refused>;
}

/// What an end is given to attach with.
#[derive(Debug)]
pub struct Seat<'a> {
    /// The process's view of the file.
    pub carrier: Handle,
    /// What the ring was made with.
    pub plan: &'a Plan,
    /// The boot and the mount.
    pub machine: Machine,
    /// Whether another process holds the other end.
    pub peer_is_live: bool,
}

/// A sending end.
pub trait Sender {
    /// Sends one message.
    ///
    /// # Errors
    /// No room, too long, poisoned.
    fn try_send(&mut self, message: &[u8]) -> Result<(), Refused>;
    /// Sends all or none; unless `publish`, writes them and abandons them.
    ///
    /// # Errors
    /// No room, too long, poisoned.
    fn try_send_batch(&mut self, messages: &[&[u8]], publish: bool) -> Result<(), Refused>;
    /// Makes what was sent durable.
    ///
    /// # Errors
    /// Poisoned, or the sync's error.
    fn checkpoint(&mut self, form: Form) -> Result<Durable, Refused>;
    /// Where the next message goes.
    fn tail(&self) -> u64;
    /// Leaves in order; dropping an end without this is a kill.
    fn close(self);
}

/// A receiving end.
pub trait Receiver {
    /// Takes the next message and releases its space; says where it was.
    ///
    /// # Errors
    /// Empty, corrupt, poisoned.
    fn try_recv(&mut self, out: &mut Vec<u8>) -> Result<u64, Refused>;
    /// Makes what was released durable, so that its space can be used again.
    ///
    /// # Errors
    /// Poisoned, or the sync's error.
    fn checkpoint(&mut self) -> Result<Durable, Refused>;
    /// The incarnation and position of the next message.
    fn next_key(&self) -> (u64, u64);
    /// Where the next message is taken from.
    fn head(&self) -> u64;
    /// Leaves in order; dropping an end without this is a kill.
    fn close(self);
}
