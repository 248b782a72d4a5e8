//! A ring in use: what waits in it now, looked at as an observer does.

use super::{BOTH, Examination, Fault, Subject};
use crate::checkpoint;
use crate::error::{Corruption, Damage};
use crate::layout::{Role, padding_bytes};
use crate::position;
use crate::recovery::{Recovery, RecoveryState};
use crate::ring::{HEAD_LOAD, Look, Progress, TAIL_LOAD, passed, read_position};

/// A side that makes checkpoints while its slots are read: so often, then something is wrong.
const SLOT_TRIES: u32 = 100;

impl Subject<'_> {
    pub(super) fn examine_live(&self) -> Examination {
        let mut found = self.begin();
        found.in_use = true;
        found.state = Some(RecoveryState::Live);
        if found.fault.is_none() && self.geometry.durable {
            found.fault = self.missing_slot();
        }
        let head = read_position(&self.memory, Role::Consumer, HEAD_LOAD);
        let tail = read_position(&self.memory, Role::Producer, TAIL_LOAD);
        let start = read_position(&self.memory, Role::Consumer, HEAD_LOAD);
        let walked = self
            .check_bounds(head, tail, start)
            .map_err(|damage| Fault::of_corruption(&damage, self.shape()))
            .and_then(|()| self.walk_beside(&mut found, start, tail));
        found.fault = found.fault.or(walked.err());
        if found.fault.is_none() {
            let slot = checkpoint::newest(&self.memory, Role::Producer, self.geometry.seed());
            found.recovery = Some(Recovery {
                state: RecoveryState::Live,
                incarnation: slot.map_or(0, |slot| slot.incarnation),
                head: start,
                tail: found.whole_until,
                kept_messages: found.whole_messages,
                dropped_messages: 0,
                possibly_acknowledged_bytes: 0,
            });
        }
        found
    }

    /// Of two slots one is whole at every instant; two reads may still meet both while they are
    /// written.
    fn missing_slot(&self) -> Option<Fault> {
        let seed = self.geometry.seed();
        let has_slot =
            |role| (0..SLOT_TRIES).any(|_| checkpoint::newest(&self.memory, role, seed).is_some());
        let role = BOTH.into_iter().find(|role| !has_slot(*role))?;
        Some(Fault::of_slots(self.shape(), role))
    }

    /// While the tail was read the head was somewhere between `head` and `start`, and the tail at
    /// most a capacity from it, on either side.
    fn check_bounds(&self, head: u64, tail: u64, start: u64) -> Result<(), Corruption> {
        let damage = |what, expected, found| {
            Err(Corruption {
                what,
                position: found,
                expected,
                found,
            })
        };
        if !position::is_aligned(tail) {
            return damage(Damage::Tail, tail & !7, tail);
        }
        if !position::is_aligned(start) {
            return damage(Damage::Head, start & !7, start);
        }
        let capacity = self.geometry.capacity_bytes;
        let (first, last) = (head.wrapping_sub(capacity), start.wrapping_add(capacity));
        if !position::is_between(first, tail, last) {
            return damage(Damage::Head, tail, start);
        }
        Ok(())
    }

    /// From the head to where the tail was, over what the consumer has not passed meanwhile.
    fn walk_beside(&self, found: &mut Examination, start: u64, tail: u64) -> Result<(), Fault> {
        let (memory, geometry) = (&self.memory, &self.geometry);
        let mut at = Progress::at(start);
        let mut look = Look::new(start);
        let mut message = Vec::new();
        let outcome = loop {
            if position::at_or_after(look.at(), tail) {
                break Ok(());
            }
            match look.next(memory, geometry, &mut message) {
                Ok(Some(record)) => {
                    if record.position() != at.position {
                        // What the consumer took meanwhile waits no more: the count starts here.
                        at = Progress::at(record.position());
                    }
                    let padding = padding_bytes(u64::from(record.message_bytes()));
                    at.advance(record.end(), 1, padding);
                }
                Ok(None) if look.is_spent(geometry) || passed(memory, look.at()).is_some() => {
                    break Ok(());
                }
                Ok(None) => break Err(Fault::of_hole(self.shape(), look.at(), tail)),
                Err(damage) => break Err(Fault::of_corruption(&damage, self.shape())),
            }
        };
        found.whole_messages = at.messages;
        found.whole_bytes = at.bytes();
        found.whole_until = at.position;
        outcome
    }
}
