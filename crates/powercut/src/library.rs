//! The library, as a [`Protocol`].

use crate::disk::Handle;
use crate::protocol::{
    Durable, Form, Machine, Plan, Protocol, Receiver, Recovered, Refused, Seat, Sender,
};
use ringduct::simulator::{self, Consumer, Producer};

/// The protocol that is shipped.
#[derive(Clone, Copy, Debug)]
pub struct Library;

impl Protocol for Library {
    type Producer = Producer<Handle>;
    type Consumer = Consumer<Handle>;

    fn largest_capacity(&self) -> u64 {
        4096
    }

    fn remembered_incarnations(&self) -> u64 {
        8
    }

    fn format(&self, carrier: &Handle, plan: &Plan, machine: Machine) {
        simulator::format(carrier, plan, machine);
    }

    fn producer(&self, seat: Seat<'_>) -> Result<(Self::Producer, Recovered), Refused> {
        Producer::attach(seat.carrier, seat.plan, seat.machine, seat.peer_is_live)
    }

    fn consumer(&self, seat: Seat<'_>) -> Result<(Self::Consumer, Recovered), Refused> {
        Consumer::attach(seat.carrier, seat.plan, seat.machine, seat.peer_is_live)
    }
}

impl Sender for Producer<Handle> {
    fn try_send(&mut self, message: &[u8]) -> Result<(), Refused> {
        Self::try_send(self, message)
    }

    fn try_send_batch(&mut self, messages: &[&[u8]], publish: bool) -> Result<(), Refused> {
        Self::try_send_batch(self, messages, publish)
    }

    fn checkpoint(&mut self, form: Form) -> Result<Durable, Refused> {
        Self::checkpoint(self, form).map(durable)
    }

    fn tail(&self) -> u64 {
        Self::tail(self)
    }

    fn close(self) {
        Self::close(self);
    }
}

impl Receiver for Consumer<Handle> {
    fn try_recv(&mut self, out: &mut Vec<u8>) -> Result<u64, Refused> {
        Self::try_recv(self, out)
    }

    fn checkpoint(&mut self) -> Result<Durable, Refused> {
        Self::checkpoint(self).map(durable)
    }

    fn next_key(&self) -> (u64, u64) {
        Self::next_key(self)
    }

    fn head(&self) -> u64 {
        Self::head(self)
    }

    fn close(self) {
        Self::close(self);
    }
}

fn durable(found: ringduct::Durable) -> Durable {
    let ringduct::Durable {
        incarnation,
        position,
        messages,
        ..
    } = found;
    Durable {
        incarnation,
        position,
        messages,
    }
}
