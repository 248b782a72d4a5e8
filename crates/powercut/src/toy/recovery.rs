//! What a [`super::Toy`] does before an end is taken.

use super::{Core, DATA, Hole, SUM, Side, Slot, at};
use crate::protocol::{Carrier, Machine, Recovered, Refused};

impl Core {
    /// Finds out what is true, and makes it so.
    pub(super) fn attach(&self, machine: Machine, live: bool) -> Result<Recovered, Refused> {
        let same_boot = [Side::PRODUCER.page, Side::CONSUMER.page]
            .into_iter()
            .any(|page| self.load(page + at::BOOT) == machine.boot);
        if same_boot && self.is_poisoned() {
            return Err(Refused::Poisoned);
        }
        if live || self.same_boot(machine) {
            return self.found(false, 0);
        }
        self.cold(machine).map_err(|refused| self.poison(refused))
    }

    /// The shared words, with what a dead producer published last.
    fn found(&self, cold: bool, possibly: u64) -> Result<Recovered, Refused> {
        let (_, ensured) = self.newest(Side::CONSUMER)?;
        let head = self.load(Side::CONSUMER.page + at::POSITION);
        let limit = ensured.position + self.plan.capacity_bytes - 8;
        let (tail, count) = self.walk(ensured.position, limit, false);
        let (_, gone) = self.walk(ensured.position, head, false);
        Ok(Recovered {
            cold,
            incarnation: self.newest(Side::PRODUCER)?.1.incarnation,
            head: self.plan.base.wrapping_add(head),
            tail: self.plan.base.wrapping_add(tail),
            kept_messages: count - gone,
            dropped_messages: 0,
            possibly_acknowledged_bytes: possibly,
        })
    }

    /// Only what is proved.
    fn cold(&self, machine: Machine) -> Result<Recovered, Refused> {
        for page in [Side::PRODUCER.page, Side::CONSUMER.page] {
            self.store(page + at::BOOT, 0);
            self.store(page + at::POISON, 0);
        }
        let (consumer_at, consumer) = self.newest(Side::CONSUMER)?;
        let (producer_at, producer) = self.newest(Side::PRODUCER)?;
        let head = consumer.position;
        let limit = if self.plan.checksummed || self.hole == Hole::PlainLooksFurther {
            head + self.plan.capacity_bytes - 8
        } else {
            producer.position.max(head)
        };
        let (tail, _) = self.walk(head, limit, self.plan.checksummed);
        if tail < producer.position {
            let base = self.plan.base;
            return Err(Refused::DataLoss {
                acknowledged: base.wrapping_add(producer.position),
                found: base.wrapping_add(tail),
            });
        }
        if self.hole != Hole::SlotNotRestored {
            // Within a boot the page cache may be all that knows what is decided by here.
            self.sync_slot(self.write_slot(Side::PRODUCER, producer_at, &producer))?;
            self.sync_slot(self.write_slot(Side::CONSUMER, consumer_at, &consumer))?;
        }
        if self.hole != Hole::NoScrub {
            self.scrub(tail, head);
        }
        for word in (head..tail).step_by(8) {
            let offset = self.data(word);
            self.store(offset, self.load(offset)); // dirty, whatever became of it
        }
        if self.hole != Hole::ScrubNotSynced {
            self.carrier
                .sync(DATA, self.plan.total_bytes())
                .map_err(Refused::Sync)?;
        }
        let mut next = producer.clone();
        if self.hole != Hole::SameIncarnation {
            next.incarnation = producer.incarnation.max(consumer.incarnation) + 1;
        }
        next.starts.retain(|&(_, start)| start < tail);
        while next.starts.get(1).is_some_and(|&(_, start)| start <= head) {
            next.starts.remove(0);
        }
        next.starts.push((next.incarnation, tail));
        (next.position, next.intended) = (tail, tail);
        self.write_both(Side::PRODUCER, producer_at, &next)?;
        let incarnation = next.incarnation;
        self.write_both(
            Side::CONSUMER,
            consumer_at,
            &Slot {
                incarnation,
                ..consumer
            },
        )?;
        self.store(Side::PRODUCER.page + at::POSITION, tail);
        self.store(Side::CONSUMER.page + at::POSITION, head);
        self.store(Side::CONSUMER.page + at::DURABLE_HEAD, head);
        for side in [Side::PRODUCER, Side::CONSUMER] {
            self.store(side.page + at::CLEAN, 1);
            self.store(side.page + at::INSTANCE, machine.instance);
            self.store(side.page + at::BOOT, machine.boot);
        }
        self.found(true, producer.intended.saturating_sub(tail))
    }

    /// Writes the older slot, and then the newer, each synced.
    fn write_both(&self, side: Side, newest: usize, slot: &Slot) -> Result<(), Refused> {
        let mut slot = slot.clone();
        let older = 1 - newest;
        if self.read_slot(side, older).is_none() && self.hole != Hole::TornSlotRevived {
            // Half of the new slot could complete what is left there of another.
            self.store(side.slots[older] + SUM, 0);
            self.sync_slot(side.slots[older])?;
        }
        for index in [older, newest] {
            slot.sequence += 1;
            let page = self.write_slot(side, index, &slot);
            if self.hole != Hole::BothSlotsAtOnce {
                self.sync_slot(page)?;
            }
        }
        side.slots
            .into_iter()
            .try_for_each(|page| self.sync_slot(page))
    }
}
