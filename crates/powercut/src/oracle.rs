//! What was promised, kept apart from the library's code: positions are counted here again.
//!
//! The oracle learns facts in the order of the record. At any moment it can say of what a recovery
//! found whether a promise was broken.

use crate::protocol::{Durable, Plan, Recovered};
use crate::random::Random;
use std::collections::HashMap;

/// A message that was sent or is being sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Message {
    /// Different for every message ever sent; its bytes follow from it.
    pub id: u64,
    /// Where its record starts, counted from the ring's base.
    pub at: u64,
    /// Bytes of payload.
    pub length: u32,
}

impl Message {
    /// Where the next record starts.
    pub fn end(&self) -> u64 {
        self.at + record_bytes(self.length)
    }

    /// Writes the payload.
    pub fn payload(&self, out: &mut Vec<u8>) {
        out.clear();
        let mut random = Random::new(self.id);
        let length = self.length as usize;
        while out.len() < length {
            out.extend_from_slice(&random.next().to_le_bytes());
        }
        out.truncate(length);
    }

    /// Whether `bytes` are the payload.
    fn matches(&self, bytes: &[u8]) -> bool {
        let mut random = Random::new(self.id);
        bytes.len() == self.length as usize
            && bytes
                .chunks(8)
                .all(|chunk| random.next().to_le_bytes().starts_with(chunk))
    }
}

/// Bytes of a record: commit word and padded payload.
pub fn record_bytes(length: u32) -> u64 {
    8 + u64::from(length).next_multiple_of(8)
}

/// (incarnation, position): what a consumer deduplicates by.
pub type Key = (u64, u64);

/// Something that was promised, or may have happened.
#[derive(Clone, Debug)]
pub enum Fact {
    /// These may become visible from now on.
    MaySend(Vec<Message>),
    /// Those that may be visible are.
    Sent,
    /// Those that may be visible never will be.
    NotSent,
    /// A checkpoint of the producer may make this durable.
    MayAcknowledge(u64),
    /// The producer's checkpoint returned this position.
    Acknowledged(u64),
    /// The consumer may release up to here.
    MayRelease(u64),
    /// It did.
    Released,
    /// It did not, or a killed one did up to here.
    Head(u64),
    /// A checkpoint of the consumer may have made this durable.
    MayEnsure(u64),
    /// The consumer's checkpoint returned this position.
    Ensured(u64),
    /// A consumer saw this key on this message.
    Seen(Key, u64),
    /// A checkpoint's sync failed, and its caller was told.
    Failed,
    /// A recovery as after a power cut kept this head and this tail.
    Cold(u64, u64),
    /// A handle showed this incarnation.
    Incarnation(u64),
    /// The power went.
    Cut,
}

/// The promises.
#[derive(Clone, Debug)]
pub struct Oracle {
    /// Incarnations after which a message may have another key.
    remembered: u64,
    base: u64,
    checksummed: bool,
    /// All that were sent and may be delivered still, in order.
    sent: Vec<Message>,
    maybe: Vec<Message>,
    /// Messages before those.
    gone: u64,
    tail: u64,
    acknowledged: u64,
    may_acknowledge: u64,
    released: u64,
    may_release: u64,
    ensured: u64,
    may_ensure: u64,
    incarnation: u64,
    failed: bool,
    ids: HashMap<Key, u64>,
    keys: HashMap<u64, Key>,
}

impl Oracle {
    /// Of a ring just made, whose slots remember so many incarnations.
    pub fn new(plan: &Plan, remembered: u64) -> Self {
        Self {
            remembered,
            base: plan.base,
            checksummed: plan.checksummed,
            sent: Vec::new(),
            maybe: Vec::new(),
            gone: 0,
            tail: 0,
            acknowledged: 0,
            may_acknowledge: 0,
            released: 0,
            may_release: 0,
            ensured: 0,
            may_ensure: 0,
            incarnation: 0,
            failed: false,
            ids: HashMap::new(),
            keys: HashMap::new(),
        }
    }

    /// Learns.
    pub fn learn(&mut self, fact: &Fact) {
        match fact {
            Fact::MaySend(messages) => self.maybe.clone_from(messages),
            Fact::Sent => {
                self.tail = self.tail_at_most();
                self.sent.append(&mut self.maybe);
            }
            Fact::NotSent => self.maybe.clear(),
            Fact::MayAcknowledge(at) => self.may_acknowledge = *at,
            Fact::Acknowledged(at) => self.acknowledged = *at,
            Fact::MayRelease(at) => self.may_release = *at,
            Fact::Released => self.released = self.may_release,
            Fact::Head(at) => (self.released, self.may_release) = (*at, *at),
            Fact::MayEnsure(at) => self.may_ensure = self.may_ensure.max(*at),
            Fact::Ensured(at) => {
                (self.ensured, self.may_ensure) = (*at, self.may_ensure.max(*at));
            }
            Fact::Seen(key, id) => {
                self.ids.insert(*key, *id);
                self.keys.insert(*id, *key);
            }
            Fact::Failed => self.failed = true,
            Fact::Cold(head, tail) => self.cold(*head, *tail),
            Fact::Incarnation(incarnation) => {
                self.incarnation = self.incarnation.max(*incarnation);
            }
            Fact::Cut => self.failed = false,
        }
    }

    /// A recovery kept just this; it is on the medium.
    fn cold(&mut self, head: u64, tail: u64) {
        self.sent.append(&mut self.maybe);
        self.sent.retain(|message| message.end() <= tail);
        (self.tail, self.acknowledged, self.may_acknowledge) = (tail, tail, tail);
        (self.released, self.may_release) = (head, head);
        (self.ensured, self.may_ensure) = (head, head);
        self.failed = false;
    }

    /// Forgets messages that can never be delivered again.
    pub fn prune(&mut self) {
        let ensured = self.ensured;
        let gone = self
            .sent
            .partition_point(|message| message.end() <= ensured);
        self.gone += gone as u64;
        for message in self.sent.drain(..gone) {
            self.keys.remove(&message.id);
        }
    }

    /// A position as counted from the base.
    pub fn relative(&self, position: u64) -> u64 {
        position.wrapping_sub(self.base)
    }

    /// Where the next message goes, if nobody was killed in the middle of sending.
    pub fn tail(&self) -> u64 {
        self.tail
    }

    /// Where the next message goes if a killed sender had come through.
    pub fn tail_at_most(&self) -> u64 {
        self.maybe.last().map_or(self.tail(), Message::end)
    }

    /// Whether a killed sender may have come through.
    pub fn is_open(&self) -> bool {
        !self.maybe.is_empty()
    }

    /// What the producer was told is durable.
    pub fn acknowledged(&self) -> u64 {
        self.acknowledged
    }

    /// What the consumer released for certain.
    pub fn released(&self) -> u64 {
        self.released
    }

    /// What the consumer may have released.
    pub fn may_release(&self) -> u64 {
        self.may_release
    }

    /// What the consumer was told is durable.
    pub fn ensured(&self) -> u64 {
        self.ensured
    }

    /// What may be durable.
    pub fn may_ensure(&self) -> u64 {
        self.may_ensure
    }

    /// Whether an error was told in this boot.
    pub fn failed(&self) -> bool {
        self.failed
    }

    /// The message whose record starts at `at`, be it certain or not.
    pub fn message_at(&self, at: u64) -> Option<&Message> {
        let index = self.sent.partition_point(|message| message.at < at);
        let sent = self.sent.get(index).filter(|message| message.at == at);
        sent.or_else(|| self.maybe.iter().find(|message| message.at == at))
    }

    /// Whether a record may end at `at`.
    fn is_boundary(&self, at: u64) -> bool {
        at == self.tail() || at == self.tail_at_most() || self.message_at(at).is_some()
    }

    /// Messages from `head` up to `tail`.
    fn count(&self, head: u64, tail: u64) -> u64 {
        let sent = self.sent.partition_point(|message| message.at < tail)
            - self.sent.partition_point(|message| message.at < head);
        let maybe = self
            .maybe
            .iter()
            .filter(|m| m.at >= head && m.at < tail)
            .count();
        (sent + maybe) as u64
    }

    /// Judges what an attach says it found.
    ///
    /// # Errors
    /// The promise that is broken.
    pub fn judge(&self, found: &Recovered, may_be_cold: bool, live: bool) -> Result<(), String> {
        let (head, tail) = (self.relative(found.head), self.relative(found.tail));
        if found.cold {
            check(may_be_cold, || {
                "recovered as after a power cut, without one".into()
            })?;
            let most = self.may_release.max(self.may_ensure);
            check(self.ensured <= head && head <= most, || {
                format!("head {head} is not from {} to {most}", self.ensured)
            })?;
            check(
                tail >= self.acknowledged.max(head) && tail <= self.tail_at_most(),
                || {
                    let most = self.tail_at_most();
                    format!(
                        "tail {tail} is not from {} to {most}",
                        self.acknowledged.max(head)
                    )
                },
            )?;
            check(found.incarnation >= self.incarnation, || {
                "an incarnation is used twice".into()
            })?;
            let exact = self.acknowledged.max(head);
            check(
                self.checksummed || self.may_acknowledge > exact || tail == exact,
                || format!("a plain ring's tail is {tail}, not {exact}"),
            )?;
        } else {
            let tails = [self.tail(), self.tail_at_most()];
            check(tails.contains(&tail), || {
                format!("tail {tail} is none of {tails:?}")
            })?;
            let heads = [self.released, self.may_release];
            check(heads.contains(&head), || {
                format!("head {head} is none of {heads:?}")
            })?;
        }
        check(self.is_boundary(head), || {
            format!("no record starts at the head, {head}")
        })?;
        check(self.is_boundary(tail), || {
            format!("no record ends at the tail, {tail}")
        })?;
        let kept = self.count(head, tail);
        // Beside a live peer the number is as its account says, which may lag.
        check(live || found.kept_messages == kept, || {
            format!(
                "{} messages kept, it says, of {kept} from {head} to {tail}",
                found.kept_messages
            )
        })
    }

    /// Judges a message that was delivered by an end of this incarnation.
    ///
    /// # Errors
    /// The promise that is broken.
    pub fn judge_message(
        &self,
        at: u64,
        bytes: &[u8],
        key: Key,
        incarnation: u64,
    ) -> Result<Message, String> {
        let message = *self.message_at(at).ok_or_else(|| {
            format!(
                "delivered {} bytes at {at}, where none was sent",
                bytes.len()
            )
        })?;
        check(message.matches(bytes), || {
            format!("delivered at {at} other bytes than those of {message:?}: {bytes:?}")
        })?;
        check(self.relative(key.1) == at, || {
            format!("the key {key:?} has another position than the message at {at}")
        })?;
        match (self.keys.get(&message.id), self.ids.get(&key)) {
            // Of more incarnations than a slot remembers, a message may be taken for a new one.
            (Some(old), None) if *old != key && old.0 + self.remembered <= incarnation => {
                check(old.0 < key.0, || {
                    format!("key {key:?} is older than {old:?}")
                })?;
                Ok(message)
            }
            (Some(old), _) if *old != key => Err(format!(
                "message {message:?} had the key {old:?}, now {key:?}"
            )),
            (_, Some(old)) if *old != message.id => Err(format!(
                "key {key:?} of message {message:?} was that of message {old}"
            )),
            _ => Ok(message),
        }
    }

    /// Judges the key of a message that was never delivered before.
    ///
    /// # Errors
    /// The key was used.
    pub fn judge_new_key(&self, key: Key) -> Result<(), String> {
        check(!self.ids.contains_key(&key), || {
            format!("key {key:?} was that of another message")
        })
    }

    /// Judges what a checkpoint returned; `at` is where its side stands.
    ///
    /// # Errors
    /// The promise that is broken.
    pub fn judge_durable(&self, durable: &Durable, at: u64) -> Result<(), String> {
        let found = self.relative(durable.position);
        check(!self.failed, || {
            "a checkpoint is fine after one that failed".into()
        })?;
        check(found == at, || {
            format!("a checkpoint at {at} returned {found}")
        })?;
        let count = self.gone + self.sent.partition_point(|message| message.end() <= at) as u64;
        check(durable.messages == count, || {
            format!(
                "a checkpoint at {at} counts {} messages of {count}",
                durable.messages
            )
        })?;
        check(durable.incarnation >= self.incarnation, || {
            "an older incarnation".into()
        })
    }

    /// Learns after a checkpoint that its incarnation is in use.
    pub fn incarnation(&self) -> u64 {
        self.incarnation
    }
}

/// The promise, or how it was broken.
fn check(holds: bool, wrong: impl FnOnce() -> String) -> Result<(), String> {
    if holds { Ok(()) } else { Err(wrong()) }
}
