//! A ring that nobody holds: judged by the code of a successor, over a mapping for reading.

use super::{BOTH, Examination, Fault, Subject};
use crate::attach;
use crate::checkpoint::{self, Checkpointer};
use crate::checks::check_origin;
use crate::cold::{self, Failure};
use crate::error::{Corruption, Damage, OpenError};
use crate::layout::Role;
use crate::peer;
use crate::recovery::{self, Recovery, RecoveryState, Resumed};
use crate::region::Backing;
use crate::ring::{HEAD_LOAD, Progress, TAIL_LOAD, next_proven, read_position, read_session, walk};
use crate::state::{self, Here, State};

impl Subject<'_> {
    /// The caller sees to it that nobody held a role from before to after.
    pub(super) fn examine_dead(&self) -> Result<Examination, OpenError> {
        let mut found = self.begin();
        if self.geometry.durable {
            self.judge_durable(&mut found)?;
        } else {
            self.judge_plain(&mut found);
        }
        Ok(found)
    }

    fn judge_plain(&self, found: &mut Examination) {
        found.refusal = self.plain_refusal();
        found.state = Some(match found.refusal {
            Some(_) => RecoveryState::Cold,
            None => self.state_of_words(),
        });
        self.resume(found);
    }

    /// Why a ring that is not durable would be refused, whatever it holds.
    fn plain_refusal(&self) -> Option<OpenError> {
        if let Err(refusal) = check_origin(self.object, &self.identity) {
            return Some(refusal);
        }
        let boot = peer::boot_id();
        let is_other_boot = |role| {
            let (session, _) = read_session(&self.memory, role);
            session != 0 && peer::read_boot_id(&self.memory, role) != boot
        };
        let is_cold = self.object.backing() == Backing::File && BOTH.into_iter().any(is_other_boot);
        is_cold.then(|| OpenError::Cold {
            name: self.object.name().to_owned(),
            why: "last used under another boot of the machine",
        })
    }

    fn judge_durable(&self, found: &mut Examination) -> Result<(), OpenError> {
        let here = attach::here(self.object, true, peer::boot_id());
        if let Some(role) = self.role_without_slot() {
            found.fault = found.fault.or(Some(Fault::of_slots(self.shape(), role)));
        }
        let not_durable = |why: Option<&'static str>| {
            why.map(|why| OpenError::NotDurable {
                name: self.object.name().to_owned(),
                why,
            })
        };
        let doubts = self.object.doubts()?;
        match self.judge(&here) {
            State::Poisoned => {
                found.state = Some(RecoveryState::SameBoot);
                found.refusal = Some(OpenError::Poisoned {
                    name: self.object.name().to_owned(),
                });
                self.resume(found);
            }
            State::Cold => {
                found.state = Some(RecoveryState::Cold);
                found.refusal = not_durable(doubts);
                self.survey(found);
            }
            _ => {
                found.state = Some(self.state_of_words());
                let no_mount = doubts.unwrap_or("a disk that is no more");
                found.refusal = not_durable((here.mount == 0).then_some(no_mount));
                self.resume(found);
            }
        }
        Ok(())
    }

    fn judge(&self, here: &Here) -> State {
        let distrusts = self.distrusts_memory;
        state::judge(&self.memory, Role::Producer, here, false, distrusts)
    }

    fn role_without_slot(&self) -> Option<Role> {
        let seed = self.geometry.seed();
        BOTH.into_iter()
            .find(|role| checkpoint::newest(&self.memory, *role, seed).is_none())
    }

    fn state_of_words(&self) -> RecoveryState {
        let is_new = |role| read_session(&self.memory, role).0 == 0;
        if BOTH.into_iter().all(is_new) {
            RecoveryState::New
        } else {
            RecoveryState::SameBoot
        }
    }

    /// As a successor goes on where the shared words are believed.
    fn resume(&self, found: &mut Examination) {
        let resumed = match self.resumed() {
            Ok(resumed) => resumed,
            Err(damage) => {
                let damage = self.oldest(damage);
                found.fault = found
                    .fault
                    .or(Some(Fault::of_corruption(&damage, self.shape())));
                let head = read_position(&self.memory, Role::Consumer, HEAD_LOAD);
                self.count_whole(found, Progress::at(head));
                return;
            }
        };
        self.count_whole(found, Progress::at(resumed.head));
        let state = found.state.unwrap_or(RecoveryState::SameBoot);
        if found.fault.is_none() && found.refusal.is_none() {
            let seed = self.geometry.seed();
            let slot = self
                .geometry
                .durable
                .then(|| checkpoint::newest(&self.memory, Role::Producer, seed))
                .flatten();
            found.recovery = Some(Recovery {
                state,
                incarnation: slot.map_or(0, |slot| slot.incarnation),
                head: resumed.head,
                tail: resumed.tail,
                kept_messages: resumed.kept_messages,
                dropped_messages: 0,
                possibly_acknowledged_bytes: 0,
            });
        }
    }

    /// Everything that an attach of either role would check.
    fn resumed(&self) -> Result<Resumed, Corruption> {
        let resumed = recovery::producer(&self.memory, &self.geometry, false)?;
        recovery::consumer(&self.memory, &self.geometry, false)?;
        if self.geometry.durable {
            recovery::durable_head(&self.memory, &self.geometry, &resumed)?;
            for (role, reached, what) in [
                (Role::Producer, resumed.tail, Damage::Tail),
                (Role::Consumer, resumed.head, Damage::Head),
            ] {
                let own = Checkpointer::load(&self.memory, &self.geometry, role, true);
                if let Some(own) = own {
                    cold::check_against_slot(&own, reached, what)?;
                }
            }
        }
        Ok(resumed)
    }

    /// A successor walks the newest records first; people want to know of the oldest damage.
    fn oldest(&self, damage: Corruption) -> Corruption {
        let head = read_position(&self.memory, Role::Consumer, HEAD_LOAD);
        let tail = read_position(&self.memory, Role::Producer, TAIL_LOAD);
        if recovery::check_pair(&self.geometry, head, tail).is_err() {
            return damage;
        }
        let from_head = walk(&self.memory, &self.geometry, Progress::at(head), head, head);
        from_head.err().unwrap_or(damage)
    }

    /// As a successor goes on where only checkpoints are believed.
    fn survey(&self, found: &mut Examination) {
        let seed = self.geometry.seed();
        let slot = checkpoint::newest(&self.memory, Role::Consumer, seed);
        let start = slot.map_or(0, |slot| slot.intended);
        match cold::foretell(&self.memory, &self.geometry) {
            Ok(what) => {
                found.whole_messages = what.tail.messages.wrapping_sub(what.head.messages);
                found.whole_bytes = what.tail.bytes().wrapping_sub(what.head.bytes());
                found.whole_until = what.tail.position;
                // The words are not believed, so what is wrong with them is no fault.
                found.fault = None;
                if found.refusal.is_none() {
                    found.recovery = Some(Recovery {
                        state: RecoveryState::Cold,
                        incarnation: what.incarnation.wrapping_add(1), // a recovery begins one
                        head: what.head.position,
                        tail: what.tail.position,
                        kept_messages: found.whole_messages,
                        dropped_messages: what.dropped_messages,
                        possibly_acknowledged_bytes: what.possibly_acknowledged_bytes,
                    });
                }
            }
            Err(Failure::DataLoss {
                acknowledged,
                found: reached,
            }) => {
                found.fault = Some(Fault::of_loss(self.shape(), acknowledged, reached));
                found.refusal = Some(OpenError::DataLoss {
                    name: self.object.name().to_owned(),
                    acknowledged,
                    found: reached,
                });
                self.count_whole(found, Progress::at(start));
            }
            Err(Failure::Corrupt(damage)) => {
                let fault = Fault::of_corruption(&damage, self.shape());
                found.fault = found.fault.or(Some(fault));
                self.count_whole(found, Progress::at(start));
            }
            Err(Failure::Sync(_)) => {} // a survey syncs nothing
        }
    }

    /// Counts the records that are whole from a position on.
    fn count_whole(&self, found: &mut Examination, start: Progress) {
        let mut at = start;
        while let Some(next) = next_proven(&self.memory, &self.geometry, start.position, at) {
            at = next;
        }
        found.whole_messages = at.messages;
        found.whole_bytes = at.bytes().wrapping_sub(start.bytes());
        found.whole_until = at.position;
    }
}
