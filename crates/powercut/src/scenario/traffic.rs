//! Messages and checkpoints, each judged by what the oracle knows.

use super::{Book, Kind, World, Wrong, expect, set_death};
use crate::oracle::{Fact, Message, record_bytes};
use crate::protocol::{Durable, Form, Protocol, Receiver, Refused, Sender};

impl<P: Protocol> World<P> {
    pub(super) fn send(
        &self,
        lengths: &[u32],
        publish: bool,
        dies: Option<u32>,
    ) -> Result<Kind, Wrong> {
        let mut slot = self.producer.borrow_mut();
        let Some(held) = slot.as_mut() else {
            return Ok(Kind::Other);
        };
        let messages = self.next_messages(lengths);
        let payloads: Vec<Vec<u8>> = messages.iter().map(payload_of).collect();
        let slices: Vec<&[u8]> = payloads.iter().map(Vec::as_slice).collect();
        if publish {
            self.tell(Fact::MaySend(messages.clone()));
        }
        set_death(&held.handle, dies);
        let sent = match (slices.as_slice(), publish) {
            ([one], true) => held.end.try_send(one),
            _ => held.end.try_send_batch(&slices, publish),
        };
        if held.handle.is_dead() {
            *slot = None;
            return Ok(Kind::Other);
        }
        held.handle.spare();
        if publish {
            self.tell(if sent.is_ok() {
                Fact::Sent
            } else {
                Fact::NotSent
            });
        }
        if matches!(sent, Err(Refused::Sync(_))) {
            self.tell(Fact::Failed);
        }
        let book = self.book.borrow();
        self.judge_sent(&book, sent, &messages, publish)?;
        let at = book.oracle.relative(held.end.tail());
        expect(at == book.oracle.tail(), || {
            format!("tail() is at {at} after {sent:?}")
        })
        .map(|()| Kind::Other)
    }

    /// Messages of these lengths, at the tail.
    fn next_messages(&self, lengths: &[u32]) -> Vec<Message> {
        let mut book = self.book.borrow_mut();
        let mut at = book.oracle.tail();
        let messages = lengths.iter().map(|&length| {
            book.next_id += 1;
            let message = Message {
                id: book.next_id,
                at,
                length,
            };
            at = message.end();
            message
        });
        messages.collect()
    }

    /// Whether there was room, and whether that is what was said.
    fn judge_sent(
        &self,
        book: &Book,
        sent: Result<(), Refused>,
        messages: &[Message],
        publish: bool,
    ) -> Result<(), Wrong> {
        let oracle = &book.oracle;
        let bytes = messages
            .iter()
            .map(|message| record_bytes(message.length))
            .sum::<u64>()
            + 8;
        let tail = messages.first().map_or(0, |message| message.at);
        let room = |head: u64| tail + bytes <= head + self.plan.capacity_bytes;
        match sent {
            Ok(()) if !publish => Ok(()),
            Ok(()) => expect(room(oracle.may_ensure()), || {
                format!("sent {messages:?} into space that is not durably released")
            }),
            Err(Refused::TooLong) => expect(bytes > self.plan.capacity_bytes, || {
                format!("{bytes} bytes called too long")
            }),
            Err(Refused::Full) => expect(!room(oracle.released()), || {
                format!("called full with room for {bytes} bytes at {tail}")
            }),
            Err(Refused::WaitingForCheckpoint) => {
                // Of a batch, the first message that does not fit decides.
                let behind = messages.len() > 1 && oracle.may_release() > oracle.ensured();
                let helps = behind || room(oracle.may_release());
                expect(!room(oracle.ensured()) && helps, || {
                    format!("waits for a checkpoint with room for {bytes} bytes at {tail}")
                })
            }
            Err(Refused::Poisoned | Refused::Sync(_)) if book.trouble => Ok(()),
            Err(refused) => Err(format!("send was refused: {refused:?}")),
        }
    }

    pub(super) fn receive_some(&self, count: u32, dies_after: Option<u32>) -> Result<Kind, Wrong> {
        if let Some(held) = self.consumer.borrow().as_ref() {
            set_death(&held.handle, dies_after);
        }
        for _ in 0..count {
            if !self.receive()? {
                break;
            }
        }
        if let Some(held) = self.consumer.borrow().as_ref() {
            held.handle.spare();
        }
        Ok(Kind::Other)
    }

    /// Takes one message; whether there was one.
    fn receive(&self) -> Result<bool, Wrong> {
        let mut slot = self.consumer.borrow_mut();
        let Some(held) = slot.as_mut() else {
            return Ok(false);
        };
        let key = held.end.next_key();
        let head = self.book.borrow().oracle.released();
        let next = self.book.borrow().oracle.message_at(head).copied();
        if let Some(message) = next {
            self.tell(Fact::MayRelease(message.end()));
        }
        let mut bytes = Vec::new();
        let taken = held.end.try_recv(&mut bytes);
        if held.handle.is_dead() {
            *slot = None;
            return Ok(false);
        }
        match taken {
            Ok(position) => {
                let at = self.book.borrow().oracle.relative(position);
                expect(at == head, || {
                    format!("delivered from {at}, not from {head}")
                })?;
                let message = {
                    let oracle = &self.book.borrow().oracle;
                    oracle.judge_message(at, &bytes, key, oracle.incarnation())?
                };
                if at >= self.book.borrow().oracle.tail() {
                    self.tell(Fact::Sent); // its producer died, and had come through
                }
                self.tell(Fact::Released);
                self.tell(Fact::Seen(key, message.id));
                Ok(true)
            }
            Err(refused) => {
                self.tell(Fact::Head(head));
                let book = self.book.borrow();
                let none = book.oracle.message_at(head).is_none() || head >= book.oracle.tail();
                match refused {
                    Refused::Empty if none => Ok(false),
                    Refused::Poisoned if book.trouble => Ok(false),
                    _ => Err(format!("receive was refused at {head}: {refused:?}")),
                }
            }
        }
    }

    pub(super) fn checkpoint_producer(
        &self,
        form: Form,
        dies_after: Option<u32>,
    ) -> Result<Kind, Wrong> {
        let mut slot = self.producer.borrow_mut();
        let Some(held) = slot.as_mut() else {
            return Ok(Kind::Other);
        };
        let tail = self.book.borrow().oracle.tail();
        self.tell(Fact::MayAcknowledge(tail));
        set_death(&held.handle, dies_after);
        let done = held.end.checkpoint(form);
        let kind = if form == Form::Full {
            Kind::Full
        } else {
            Kind::OneSync
        };
        if held.handle.is_dead() {
            *slot = None;
            return Ok(kind);
        }
        held.handle.spare();
        self.judge_checkpoint(done, tail, Fact::Acknowledged(tail))
            .map(|()| kind)
    }

    pub(super) fn checkpoint_consumer(&self, dies_after: Option<u32>) -> Result<Kind, Wrong> {
        let mut slot = self.consumer.borrow_mut();
        let Some(held) = slot.as_mut() else {
            return Ok(Kind::Other);
        };
        let head = self.book.borrow().oracle.released();
        self.tell(Fact::MayEnsure(head));
        set_death(&held.handle, dies_after);
        let done = held.end.checkpoint();
        if held.handle.is_dead() {
            *slot = None;
            return Ok(Kind::Consumer);
        }
        held.handle.spare();
        self.judge_checkpoint(done, head, Fact::Ensured(head))
            .map(|()| Kind::Consumer)
    }

    /// Judges what a checkpoint at `at` returned, and learns `promise` from it.
    fn judge_checkpoint(
        &self,
        done: Result<Durable, Refused>,
        at: u64,
        promise: Fact,
    ) -> Result<(), Wrong> {
        match done {
            Ok(durable) => {
                self.book.borrow().oracle.judge_durable(&durable, at)?;
                self.tell(promise);
                self.tell(Fact::Incarnation(durable.incarnation));
                Ok(())
            }
            Err(Refused::Sync(_)) if self.in_trouble() => {
                self.tell(Fact::Failed);
                Ok(())
            }
            Err(Refused::Poisoned) if self.in_trouble() => Ok(()),
            Err(refused) => Err(format!("a checkpoint was refused: {refused:?}")),
        }
    }

    /// Empties the ring, ensures that, and sends: it must not get stuck.
    pub(super) fn flow(&self) -> Result<Kind, Wrong> {
        let both = self.has_producer() && self.has_consumer();
        if !both || self.in_trouble() {
            return Ok(Kind::Other);
        }
        while self.receive()? {}
        self.checkpoint_consumer(None)?;
        let before = self.book.borrow().oracle.tail();
        self.send(&[8], true, None)?;
        let after = self.book.borrow().oracle.tail();
        expect(after > before, || "an empty ring takes no message".into())?;
        expect(self.receive()?, || "the message did not arrive".into())?;
        Ok(Kind::Other)
    }
}

fn payload_of(message: &Message) -> Vec<u8> {
    let mut bytes = Vec::new();
    message.payload(&mut bytes);
    bytes
}
