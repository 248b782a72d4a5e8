//! The two ends of a [`super::Toy`].

use super::{Core, DATA, Hole, Side, Slot, at};
use crate::oracle::record_bytes;
use crate::protocol::{Carrier, Durable, Form, Receiver, Recovered, Refused, Sender, UNIT_BYTES};

impl Core {
    /// Syncs a slot's page.
    pub(super) fn sync_slot(&self, page: u64) -> Result<(), Refused> {
        if self.hole == Hole::NoSlotSync {
            return Ok(());
        }
        self.carrier
            .sync(page, page + UNIT_BYTES)
            .map_err(Refused::Sync)
    }

    /// Takes a seat: the predecessor's newest slot may be known to nobody but the page cache.
    fn sit(&self) -> Result<(usize, Slot, bool), Refused> {
        let side = self.side();
        let (index, slot) = self.newest(side)?;
        if self.hole != Hole::SlotNotRestored {
            let page = self.write_slot(side, index, &slot);
            self.sync_slot(page)
                .map_err(|refused| self.poison(refused))?;
        }
        let clean = self.load(side.page + at::CLEAN) != 0;
        self.store(side.page + at::CLEAN, 0);
        Ok((index, slot, clean))
    }

    /// A checkpoint that failed.
    fn latch(&self, latched: &mut bool, refused: Refused) -> Refused {
        if self.hole == Hole::RetryAfterError {
            return refused;
        }
        *latched = true;
        self.poison(refused)
    }
}

/// The sending end.
#[derive(Debug)]
pub struct Producer {
    core: Core,
    tail: u64,
    slot_at: usize,
    slot: Slot,
    acknowledged: u64,
    redirty: bool,
    latched: bool,
}

impl Producer {
    pub(super) fn new(core: Core, found: &Recovered) -> Result<Self, Refused> {
        let (slot_at, slot, clean) = core.sit()?;
        let tail = found.tail.wrapping_sub(core.plan.base);
        core.store(Side::PRODUCER.page + at::POSITION, tail);
        if !clean && core.hole != Hole::NoSuccessorScrub {
            core.scrub(tail, core.load(Side::CONSUMER.page + at::DURABLE_HEAD));
            let synced = core
                .carrier
                .sync(DATA, core.plan.total_bytes())
                .map_err(Refused::Sync);
            synced.map_err(|refused| core.poison(refused))?;
        }
        let redirty = !clean && core.hole != Hole::NoRedirty;
        let acknowledged = slot.position;
        Ok(Self {
            core,
            tail,
            slot_at,
            slot,
            acknowledged,
            redirty,
            latched: false,
        })
    }

    /// Writes records without the first commit word, which it returns, or says why not.
    fn write(&mut self, messages: &[&[u8]]) -> Result<(Vec<(u64, u64)>, u64), Refused> {
        let core = &self.core;
        let lengths = messages
            .iter()
            .map(|message| u32::try_from(message.len()).unwrap_or(!0));
        let bytes = lengths.map(record_bytes).sum::<u64>() + 8;
        if bytes > core.plan.capacity_bytes {
            return Err(Refused::TooLong);
        }
        let room = |head: u64| head + core.plan.capacity_bytes >= self.tail + bytes;
        let head = core.load(Side::CONSUMER.page + at::POSITION);
        let ensured = core.load(Side::CONSUMER.page + at::DURABLE_HEAD);
        if !room(head) {
            return Err(Refused::Full);
        }
        if !room(ensured) && core.hole != Hole::VolatileReclaim {
            return Err(Refused::WaitingForCheckpoint);
        }
        let mut commits = Vec::new();
        let mut at = self.tail;
        core.store(core.data(self.tail + bytes - 8), 0);
        for message in messages {
            let commit = (at, core.commit_word(at, message));
            commits.push(commit);
            if core.hole == Hole::BatchStoredEarly && commits.len() > 1 {
                core.store(core.data(at), commit.1);
            }
            for (word, chunk) in (at + 8..).step_by(8).zip(message.chunks(8)) {
                let mut padded = [0; 8];
                padded[..chunk.len()].copy_from_slice(chunk);
                core.store(core.data(word), u64::from_le_bytes(padded));
            }
            at += record_bytes(u32::try_from(message.len()).expect("it has room"));
        }
        Ok((commits, at))
    }

    /// Data, then slot; both are checked.
    fn full(&mut self) -> Result<(), Refused> {
        let core = &self.core;
        let slot = Slot {
            sequence: self.slot.sequence + 1,
            position: self.tail,
            intended: self.tail,
            ..self.slot.clone()
        };
        let index = 1 - self.slot_at;
        if core.hole == Hole::SlotBeforeData {
            core.sync_slot(core.write_slot(Side::PRODUCER, index, &slot))?;
        }
        if core.hole != Hole::NoDataSync {
            core.sync_data(self.acknowledged.min(self.tail), self.tail)?;
        }
        if core.hole != Hole::SlotBeforeData {
            core.sync_slot(core.write_slot(Side::PRODUCER, index, &slot))?;
        }
        self.slot = slot;
        Ok(())
    }

    /// Slot and data at once; what the slot says is proved by the records.
    fn one_sync(&mut self) -> Result<(), Refused> {
        let core = &self.core;
        let slot = Slot {
            sequence: self.slot.sequence + 1,
            position: self.acknowledged.min(self.tail),
            intended: self.tail,
            ..self.slot.clone()
        };
        core.write_slot(Side::PRODUCER, 1 - self.slot_at, &slot);
        core.carrier
            .sync(0, core.plan.total_bytes())
            .map_err(Refused::Sync)?;
        self.slot = slot;
        Ok(())
    }
}

impl Sender for Producer {
    fn try_send(&mut self, message: &[u8]) -> Result<(), Refused> {
        self.try_send_batch(&[message], true)
    }

    fn try_send_batch(&mut self, messages: &[&[u8]], publish: bool) -> Result<(), Refused> {
        let (commits, end) = self.write(messages)?;
        if publish {
            for (at, commit) in commits.into_iter().rev() {
                self.core.store(self.core.data(at), commit);
            }
            self.tail = end;
            self.core.store(Side::PRODUCER.page + at::POSITION, end);
        }
        Ok(())
    }

    fn checkpoint(&mut self, form: Form) -> Result<Durable, Refused> {
        if self.latched || self.core.is_poisoned() {
            return Err(Refused::Poisoned);
        }
        let ensured = self.core.load(Side::CONSUMER.page + at::DURABLE_HEAD);
        self.acknowledged = self.acknowledged.max(ensured);
        if self.redirty {
            self.acknowledged = ensured;
            for at in (ensured..self.tail).step_by(8) {
                let offset = self.core.data(at);
                self.core.store(offset, self.core.load(offset));
            }
        }
        let done = match form {
            Form::Full => self.full(),
            Form::OneSync => self.one_sync(),
        };
        done.map_err(|refused| self.core.latch(&mut self.latched, refused))?;
        if self.core.is_poisoned() {
            return Err(Refused::Poisoned);
        }
        self.redirty = false;
        self.slot_at = 1 - self.slot_at;
        self.acknowledged = self.tail;
        let (_, ensured) = self.core.newest(Side::CONSUMER)?;
        let (_, count) = self.core.walk(ensured.position, self.tail, false);
        Ok(Durable {
            incarnation: self.slot.incarnation,
            position: self.core.plan.base.wrapping_add(self.tail),
            messages: ensured.messages + count,
        })
    }

    fn tail(&self) -> u64 {
        self.core.plan.base.wrapping_add(self.tail)
    }

    fn close(self) {
        if !self.redirty {
            self.core.store(Side::PRODUCER.page + at::CLEAN, 1);
        }
    }
}

/// The receiving end.
#[derive(Debug)]
pub struct Consumer {
    core: Core,
    head: u64,
    slot_at: usize,
    slot: Slot,
    latched: bool,
}

impl Consumer {
    pub(super) fn new(core: Core) -> Result<Self, Refused> {
        let (slot_at, slot, _) = core.sit()?;
        core.store(Side::CONSUMER.page + at::DURABLE_HEAD, slot.position);
        let head = core.load(Side::CONSUMER.page + at::POSITION);
        Ok(Self {
            core,
            head,
            slot_at,
            slot,
            latched: false,
        })
    }
}

impl Receiver for Consumer {
    fn try_recv(&mut self, out: &mut Vec<u8>) -> Result<u64, Refused> {
        let limit = self.slot.position + self.core.plan.capacity_bytes - 8;
        let end = self
            .core
            .record(self.head, limit, false, out)
            .ok_or(Refused::Empty)?;
        let position = self.core.plan.base.wrapping_add(self.head);
        self.head = end;
        self.core.store(Side::CONSUMER.page + at::POSITION, end);
        Ok(position)
    }

    fn checkpoint(&mut self) -> Result<Durable, Refused> {
        if self.latched || self.core.is_poisoned() {
            return Err(Refused::Poisoned);
        }
        let core = &self.core;
        let (_, count) = core.walk(self.slot.position, self.head, false);
        let slot = Slot {
            sequence: self.slot.sequence + 1,
            position: self.head,
            messages: self.slot.messages + count,
            ..self.slot.clone()
        };
        let durable_head = Side::CONSUMER.page + at::DURABLE_HEAD;
        let page = core.write_slot(Side::CONSUMER, 1 - self.slot_at, &slot);
        if core.hole == Hole::ReclaimBeforeSync {
            core.store(durable_head, self.head);
        }
        let synced = core.sync_slot(page);
        synced.map_err(|refused| core.latch(&mut self.latched, refused))?;
        if core.is_poisoned() {
            return Err(Refused::Poisoned);
        }
        core.store(durable_head, self.head);
        self.slot = slot;
        self.slot_at = 1 - self.slot_at;
        Ok(Durable {
            incarnation: self.slot.incarnation,
            position: core.plan.base.wrapping_add(self.head),
            messages: self.slot.messages,
        })
    }

    fn next_key(&self) -> (u64, u64) {
        let (_, slot) = self.core.newest(Side::PRODUCER).unwrap_or_default();
        let before = slot
            .starts
            .iter()
            .rev()
            .find(|&&(_, start)| start <= self.head);
        let incarnation = before.map_or(1, |&(incarnation, _)| incarnation);
        (incarnation, self.core.plan.base.wrapping_add(self.head))
    }

    fn head(&self) -> u64 {
        self.core.plan.base.wrapping_add(self.head)
    }

    fn close(self) {
        self.core.store(Side::CONSUMER.page + at::CLEAN, 1);
    }
}
