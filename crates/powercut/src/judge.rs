//! One image: what recovery makes of it, and whether that is what was promised.

use crate::disk::Disk;
use crate::oracle::{Message, Oracle};
use crate::protocol::{Form, Machine, Plan, Protocol, Receiver, Recovered, Refused, Seat, Sender};
use crate::random::Random;
use crate::scenario::Wrong;
use std::rc::Rc;

/// Recovers a file and compares with what was promised.
pub struct Judge<'a, P: Protocol> {
    /// What recovers.
    pub protocol: &'a P,
    /// The ring.
    pub plan: &'a Plan,
    /// The promises.
    pub oracle: &'a Oracle,
}

impl<P: Protocol> std::fmt::Debug for Judge<'_, P> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Judge")
            .field("plan", &self.plan)
            .finish_non_exhaustive()
    }
}

impl<P: Protocol> Judge<'_, P> {
    /// Attaches, takes everything, and sometimes sends again; the number of events of the
    /// recovery, and what it found.
    ///
    /// # Errors
    /// The promise that is broken.
    pub fn judge(&self, disk: &Rc<Disk>, random: &mut Random) -> Result<(usize, Recovered), Wrong> {
        let boot = 1 << 40 | random.next() >> 32;
        let seat = |peer_is_live| Seat {
            carrier: disk.open(),
            plan: self.plan,
            machine: Machine {
                boot,
                instance: boot,
            },
            peer_is_live,
        };
        let refused = |refused| format!("attach was refused: {refused:?}");
        let producer_first = random.one_in(2);
        let mut producer = None;
        let mut events = 0;
        let mut first = None;
        if producer_first {
            let (end, found) = self.protocol.producer(seat(false)).map_err(refused)?;
            events = disk.events();
            (producer, first) = (Some(end), Some(found));
        }
        let (mut consumer, found) = self
            .protocol
            .consumer(seat(producer_first))
            .map_err(refused)?;
        if !producer_first {
            events = disk.events();
        }
        let cold = first.unwrap_or(found);
        if !cold.cold {
            return Err("trusted the shared words after a power cut".into());
        }
        self.oracle.judge(&cold, true, false)?;
        if (cold.head, cold.tail) != (found.head, found.tail) || found.cold == producer_first {
            return Err(format!("the second end found {found:?} after {cold:?}"));
        }
        self.take_all(&mut consumer, &cold)?;
        if random.one_in(4) {
            if producer.is_none() {
                producer = Some(self.protocol.producer(seat(true)).map_err(refused)?.0);
            }
            if let Some(mut producer) = producer {
                self.send_again(&mut producer, &mut consumer, &cold, random)?;
            }
        }
        Ok((events, cold))
    }

    /// Every message from the head to the tail.
    fn take_all(&self, consumer: &mut P::Consumer, found: &Recovered) -> Result<(), Wrong> {
        let mut bytes = Vec::new();
        for number in 0..found.kept_messages {
            let key = consumer.next_key();
            let position = consumer
                .try_recv(&mut bytes)
                .map_err(|refused| format!("message {number} was refused: {refused:?}"))?;
            self.oracle.judge_message(
                self.oracle.relative(position),
                &bytes,
                key,
                found.incarnation,
            )?;
        }
        if consumer.head() != found.tail {
            return Err(format!(
                "took all and is at {}, of {found:?}",
                consumer.head()
            ));
        }
        match consumer.try_recv(&mut bytes) {
            Err(Refused::Empty) => Ok(()),
            other => Err(format!("after the last message came {other:?}: {bytes:?}")),
        }
    }

    /// A new message, under a key that never was.
    fn send_again(
        &self,
        producer: &mut P::Producer,
        consumer: &mut P::Consumer,
        found: &Recovered,
        random: &mut Random,
    ) -> Result<(), Wrong> {
        let at = self.oracle.relative(found.tail);
        let message = Message {
            id: random.next(),
            at,
            length: 16,
        };
        let mut bytes = Vec::new();
        message.payload(&mut bytes);
        consumer
            .checkpoint()
            .map_err(|refused| format!("checkpoint of all: {refused:?}"))?;
        producer
            .try_send(&bytes)
            .map_err(|refused| format!("send to an empty ring: {refused:?}"))?;
        let key = consumer.next_key();
        self.oracle.judge_new_key(key)?;
        let mut received = Vec::new();
        let position = consumer
            .try_recv(&mut received)
            .map_err(|refused| format!("the new message: {refused:?}"))?;
        if self.oracle.relative(position) != at || received != bytes {
            return Err(format!(
                "the new message came from {position} as {received:?}"
            ));
        }
        let durable = producer
            .checkpoint(Form::Full)
            .map_err(|refused| format!("checkpoint of the new message: {refused:?}"))?;
        let end = self.oracle.relative(durable.position);
        if end == message.end() {
            Ok(())
        } else {
            Err(format!("a checkpoint returned {durable:?}"))
        }
    }
}
