//! What waits in a ring, one message after the other, for somebody who looks on.

use core::iter::FusedIterator;

use crate::attach;
use crate::checkpoint;
use crate::error::Corruption;
use crate::examine::is_held_now;
use crate::layout::{COMMIT_BYTES, Role};
use crate::memory::Memory;
use crate::observer::{Observer, Peeked};
use crate::peer;
use crate::position;
use crate::ring::{self, Look, Progress};
use crate::state::{self, State};

/// Copies of the messages that wait in a ring, oldest first: see [`Observer::records`].
///
/// Each is copied when it is asked for, so the memory it takes is that of one message. Messages that
/// the consumer takes meanwhile may be left out. Ends at the first damage, which is its last item,
/// and after a capacity of bytes at the latest: a live pair could keep it going for ever.
#[derive(Debug)]
pub struct Records<'a> {
    observer: &'a Observer,
    look: Look,
    proof: Option<Proof>,
    /// Whether the next position came from a caller and not from a record.
    is_given: bool,
    has_ended: bool,
}

/// A durable ring whose words can not be believed: its records are, as far as they prove themselves.
#[derive(Clone, Copy, Debug)]
struct Proof {
    /// Where the newest checkpoint of the consumer is.
    head: u64,
    /// Without checksums: as far as a checkpoint of the producer acknowledged them.
    until: Option<u64>,
}

impl Observer {
    /// Copies the messages that wait, one at a time as the iterator is asked for them: the way to
    /// look through a large ring. Starts at the consumer's position; in a durable ring whose words
    /// can not be believed, after a power cut say, where a recovery would start, and ends where one
    /// would.
    ///
    /// ```
    /// let ring = ringduct::Options::new().create_anonymous()?;
    /// let mut tx = ring.producer()?;
    /// tx.try_send_all(["a", "b"])?;
    /// let observer = ring.observer()?;
    /// let mut records = observer.records();
    /// assert_eq!(records.next().transpose()?.map(|peeked| peeked.message), Some(b"a".to_vec()));
    /// assert_eq!(records.count(), 1);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn records(&self) -> Records<'_> {
        let proof = self.proof();
        let start = match proof {
            Some(proof) => proof.head,
            None => ring::read_position(self.mapped(), Role::Consumer, ring::HEAD_LOAD),
        };
        Records {
            observer: self,
            look: Look::new(start),
            proof,
            is_given: false,
            has_ended: false,
        }
    }

    /// The same from the record that starts at `position` on: see [`Observer::peek`] for what that
    /// may be. Where the consumer is farther already, from there on.
    ///
    /// ```
    /// let ring = ringduct::Options::new().create_anonymous()?;
    /// let mut tx = ring.producer()?;
    /// tx.try_send_all(["a", "b"])?;
    /// let observer = ring.observer()?;
    /// let second = observer.peek(0)?.expect("sent above").next_position;
    /// assert_eq!(observer.records_from(second).count(), 1);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn records_from(&self, position: u64) -> Records<'_> {
        let records = self.records();
        Records {
            look: Look::new(position::later(records.look.at(), position & !7)),
            is_given: true,
            ..records
        }
    }

    /// What is to be believed instead of the words, if they are not.
    fn proof(&self) -> Option<Proof> {
        let geometry = self.geometry();
        let is_held = |role| is_held_now(self.object(), role).unwrap_or(true);
        if !geometry.durable || is_held(Role::Producer) || is_held(Role::Consumer) {
            return None;
        }
        let here = attach::here(self.object(), true, peer::boot_id());
        let memory = self.mapped();
        if state::judge(memory, Role::Producer, &here, false, false) != State::Cold {
            return None;
        }
        let newest = |role| checkpoint::newest(memory, role, geometry.seed());
        let acknowledged = newest(Role::Producer).map_or(0, |slot| slot.acknowledged);
        Some(Proof {
            head: newest(Role::Consumer)?.intended,
            until: (!geometry.is_checksummed()).then_some(acknowledged),
        })
    }
}

impl Records<'_> {
    /// The next record that proves itself.
    fn proven(&mut self, proof: Proof) -> Option<Peeked> {
        let at = self.look.at();
        let is_beyond = |until| position::at_or_after(at, until);
        if proof.until.is_some_and(is_beyond) {
            return None;
        }
        let (memory, geometry) = (self.observer.mapped(), self.observer.geometry());
        let start = Progress::at(at);
        let next = ring::next_proven(memory, geometry, proof.head, start)?;
        let bytes = next.bytes().wrapping_sub(start.bytes()); // at most the longest message
        let mut message = vec![0; usize::try_from(bytes).unwrap_or(0)];
        memory.copy_out(position::advance(at, COMMIT_BYTES), &mut message);
        self.look = Look::new(next.position);
        Some(Peeked {
            position: at,
            next_position: next.position,
            message,
        })
    }

    /// The next record in front of the consumer, wherever that is by now.
    fn waiting(&mut self) -> Result<Option<Peeked>, Corruption> {
        let (memory, geometry) = (self.observer.mapped(), self.observer.geometry());
        let was_given = core::mem::take(&mut self.is_given);
        if was_given && !ring::may_be_published(memory, geometry, self.look.at()) {
            return Ok(None);
        }
        let mut message = Vec::new();
        let record = self.look.next(memory, geometry, &mut message)?;
        Ok(record.map(|record| Peeked::new((record, message))))
    }
}

impl Iterator for Records<'_> {
    type Item = Result<Peeked, Corruption>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.has_ended {
            return None;
        }
        let next = match self.proof {
            Some(proof) => Ok(self.proven(proof)),
            None => self.waiting(),
        };
        let next = self.observer.believe(next).transpose();
        self.has_ended = !matches!(next, Some(Ok(_)));
        next
    }
}

impl FusedIterator for Records<'_> {}
