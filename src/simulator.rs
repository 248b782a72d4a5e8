//! The durable protocol over a file of words, for tests that play power cuts.
//!
//! Nothing here is for users, and nothing of the protocol is here: the same cores, checkpoints and
//! recovery as everywhere run over a [`Carrier`] that records what they store and sync. What may be
//! left after a cut, and what must then be true, is the business of whoever implements it.

use crate::checkpoint::{CheckpointForm, Checkpointer, Durable, Fault};
use crate::cold::{self, Failure, Manner};
use crate::error::{Damage, TrySendError};
use crate::layout::{Checkpoint, Page, Role, SLOT_WORDS, Slot, Word, word};
use crate::memory::{At, DurableMemory, Extent, Fence, Memory, Order, SyncFault};
use crate::recovery::{self, Resumed};
use crate::ring::{ConsumerCore, Geometry, ProducerCore, Progress, SESSION_STORE, read_session};
use crate::state::{self, Here, State};

/// Bytes of a page of the simulated header, and of the pages that become dirty.
pub const UNIT_BYTES: u64 = 1024;

/// A file of words; offsets are multiples of eight.
pub trait Carrier {
    /// Loads the word at an offset.
    fn load(&self, offset: u64) -> u64;
    /// Stores the word at an offset.
    fn store(&self, offset: u64, value: u64);
    /// Brings the bytes from one offset to another to the medium.
    ///
    /// # Errors
    ///
    /// The number of an error of the kernel.
    fn sync(&self, from: u64, to: u64) -> Result<(), i32>;
}

/// What a simulated ring is like.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// A power of two, at least 64.
    pub capacity_bytes: u64,
    /// Whether records carry checksums.
    pub checksummed: bool,
    /// The ring's id.
    pub uuid: [u8; 16],
    /// The position it starts at, a multiple of eight.
    pub base: u64,
}

impl Plan {
    /// Bytes of the whole file.
    pub const fn total_bytes(&self) -> u64 {
        UNIT_BYTES.wrapping_mul(8).wrapping_add(self.capacity_bytes) // small numbers
    }

    fn geometry(&self) -> Geometry {
        Geometry::simulated(self.capacity_bytes, self.checksummed, &self.uuid)
    }
}

/// When and where something runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Machine {
    /// Another number after each power cut.
    pub boot: u64,
    /// Another number after each mount.
    pub instance: u64,
}

impl Machine {
    const fn here(self) -> Here {
        Here {
            boot: [self.boot, 1],
            home: [1, 1],
            mount: self.instance,
        }
    }
}

/// How a producer's checkpoint is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "not for users")]
pub enum Form {
    /// Two syncs.
    Full,
    /// One.
    OneSync,
}

/// Why something was not done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "not for users")]
#[expect(
    missing_docs,
    reason = "as the errors of the library that they stand for"
)]
pub enum Refused {
    Full,
    WaitingForCheckpoint,
    TooLong,
    Empty,
    Poisoned,
    Corrupt,
    Sync(i32),
    DataLoss { acknowledged: u64, found: u64 },
    RoleTaken,
}

impl From<Fault> for Refused {
    fn from(fault: Fault) -> Self {
        match fault {
            Fault::Poisoned => Self::Poisoned,
            Fault::Sync(errno) => Self::Sync(errno),
        }
    }
}

impl From<TrySendError> for Refused {
    fn from(error: TrySendError) -> Self {
        match error {
            TrySendError::Full => Self::Full,
            TrySendError::WaitingForCheckpoint => Self::WaitingForCheckpoint,
            TrySendError::TooLong { .. } => Self::TooLong,
            TrySendError::Poisoned => Self::Poisoned,
            TrySendError::Corrupt(_) | TrySendError::Forked => Self::Corrupt,
        }
    }
}

/// What an attach found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_structs, reason = "not for users")]
#[expect(missing_docs, reason = "as in `Recovery`")]
pub struct Recovered {
    pub cold: bool,
    pub incarnation: u64,
    pub head: u64,
    pub tail: u64,
    pub kept_messages: u64,
    pub dropped_messages: u64,
    pub possibly_acknowledged_bytes: u64,
}

/// A carrier as the protocol sees it.
#[derive(Clone, Debug)]
struct Flat<C> {
    carrier: C,
    capacity_bytes: u64,
}

impl<C: Carrier> Flat<C> {
    const fn data_start() -> u64 {
        UNIT_BYTES.wrapping_mul(8)
    }

    fn word(word: Word) -> u64 {
        let page = match word.role {
            Role::Producer => Page::Producer,
            Role::Consumer => Page::Consumer,
        };
        let page = UNIT_BYTES.wrapping_mul(page as u64); // below eight pages
        page.wrapping_add(u64::from(word.offset.bytes()))
    }

    fn slot(slot: Slot) -> u64 {
        let page = match slot.role {
            Role::Producer => Page::ProducerCheckpoint,
            Role::Consumer => Page::ConsumerCheckpoint,
        };
        let page = (page as u64).wrapping_add(u64::from(slot.second));
        UNIT_BYTES.wrapping_mul(page) // below eight pages
    }

    /// The offset of a data word.
    fn data(&self, position: u64) -> u64 {
        let mask = self.capacity_bytes.wrapping_sub(1) & !7;
        Self::data_start().wrapping_add(position & mask)
    }

    fn sync_data(&self, from: u64, to: u64) -> Result<(), i32> {
        let length = to.wrapping_sub(from).min(self.capacity_bytes);
        let mask = self.capacity_bytes.wrapping_sub(1);
        let start = from & mask;
        let first = length.min(self.capacity_bytes.wrapping_sub(start));
        let at = Self::data_start();
        let begin = at.wrapping_add(start);
        self.carrier.sync(begin, begin.wrapping_add(first))?;
        let rest = length.wrapping_sub(first);
        if rest > 0 {
            self.carrier.sync(at, at.wrapping_add(rest))?;
        }
        Ok(())
    }
}

impl<C: Carrier> Memory for Flat<C> {
    type Place<'a>
        = At<'a, Self>
    where
        Self: 'a;

    fn place(&self, position: u64) -> At<'_, Self> {
        At::new(self, position)
    }

    fn load(&self, word: Word, _order: Order) -> u64 {
        self.carrier.load(Self::word(word))
    }

    fn store(&self, word: Word, value: u64, _order: Order) {
        self.carrier.store(Self::word(word), value);
    }

    fn increment(&self, word: Word, order: Order) {
        self.store(word, self.load(word, order).wrapping_add(1), order);
    }

    fn load_data(&self, position: u64, _order: Order) -> u64 {
        self.carrier.load(self.data(position))
    }

    fn store_data(&self, position: u64, value: u64, _order: Order) {
        self.carrier.store(self.data(position), value);
    }

    fn copy_in(&self, position: u64, bytes: &[u8]) {
        for (index, chunk) in (0_u64..).zip(bytes.chunks(8)) {
            let mut word = [0; 8];
            for (to, from) in word.iter_mut().zip(chunk) {
                *to = *from;
            }
            let at = position.wrapping_add(index.wrapping_mul(8)); // within a capacity
            self.carrier.store(self.data(at), u64::from_le_bytes(word));
        }
    }

    fn copy_out(&self, position: u64, out: &mut [u8]) {
        for (index, chunk) in (0_u64..).zip(out.chunks_mut(8)) {
            let at = position.wrapping_add(index.wrapping_mul(8)); // within a capacity
            let word = self.carrier.load(self.data(at)).to_le_bytes();
            for (to, from) in chunk.iter_mut().zip(word) {
                *to = from;
            }
        }
    }

    fn fence(&self, _fence: Fence) {}
}

impl<C: Carrier> DurableMemory for Flat<C> {
    fn load_slot(&self, slot: Slot) -> [u64; SLOT_WORDS] {
        let mut at = Self::slot(slot);
        core::array::from_fn(|_| {
            let word = self.carrier.load(at);
            at = at.wrapping_add(8);
            word
        })
    }

    fn store_slot(&self, slot: Slot, words: &[u64; SLOT_WORDS]) {
        let start = Self::slot(slot);
        for (index, word) in (0_u64..).zip(words) {
            self.carrier
                .store(start.wrapping_add(index.wrapping_mul(8)), *word);
        }
    }

    fn sync(&self, extent: Extent) -> Result<(), SyncFault> {
        let outcome = match extent {
            Extent::Slot(slot) => {
                let start = Self::slot(slot);
                self.carrier.sync(start, start.wrapping_add(UNIT_BYTES))
            }
            Extent::Data { from, to } => self.sync_data(from, to),
            Extent::Everything => {
                let end = Self::data_start().wrapping_add(self.capacity_bytes);
                self.carrier.sync(0, end)
            }
        };
        outcome.map_err(|errno| SyncFault { errno })
    }

    fn page_bytes(&self) -> u64 {
        UNIT_BYTES.min(self.capacity_bytes)
    }
}

/// What a creator stores into a file of zeros.
pub fn format(carrier: &(impl Carrier + Clone), plan: &Plan, machine: Machine) {
    let memory = Flat {
        carrier: carrier.clone(),
        capacity_bytes: plan.capacity_bytes,
    };
    let start = Progress::new(plan.base, 0, 0);
    cold::format(&memory, &plan.geometry(), &machine.here(), &start, None);
}

/// What both ends have besides their core.
#[derive(Clone, Copy, Debug)]
struct Tie {
    session: u64,
    checkpointer: Checkpointer,
    origins: Checkpoint,
}

/// What an attach works out before it goes on.
struct Begun<C> {
    memory: Flat<C>,
    geometry: Geometry,
    cold: Option<cold::Found>,
    session: u64,
    inherits: bool,
}

fn begin<C: Carrier>(
    carrier: C,
    plan: &Plan,
    machine: Machine,
    own: Role,
    peer_is_live: bool,
) -> Result<Begun<C>, Refused> {
    let memory = Flat {
        carrier,
        capacity_bytes: plan.capacity_bytes,
    };
    let geometry = plan.geometry();
    let here = machine.here();
    let cold = match state::judge(&memory, own, &here, peer_is_live, false) {
        State::Live | State::SameBoot => None,
        State::Poisoned => return Err(Refused::Poisoned),
        State::Contradiction { .. } => return Err(Refused::Corrupt),
        State::Cold => Some(recover(&memory, &geometry, &here)?),
    };
    let (last, _) = read_session(&memory, own);
    Ok(Begun {
        memory,
        geometry,
        cold,
        session: last.wrapping_add(1),
        // Closed or not: what closed last may have left undone what its predecessor did.
        inherits: last != 0 && cold.is_none(),
    })
}

fn recover<C: Carrier>(
    memory: &Flat<C>,
    geometry: &Geometry,
    here: &Here,
) -> Result<cold::Found, Refused> {
    let manner = Manner {
        here: *here,
        doubt_clean_pages: state::may_be_clean_and_lost(memory, here),
    };
    cold::recover(memory, geometry, manner).map_err(|failure| match failure {
        Failure::Corrupt(_) => Refused::Corrupt,
        Failure::DataLoss {
            acknowledged,
            found,
        } => Refused::DataLoss {
            acknowledged,
            found,
        },
        Failure::Sync(errno) => Refused::Sync(errno),
    })
}

impl<C: Carrier> Begun<C> {
    fn tie(&self, own: Role, reached: u64, what: Damage) -> Result<Tie, Refused> {
        let Self {
            memory, geometry, ..
        } = self;
        let checkpointer = Checkpointer::load(memory, geometry, own, self.inherits);
        let checkpointer = checkpointer.ok_or(Refused::Corrupt)?;
        cold::check_against_slot(&checkpointer, reached, what).map_err(|_| Refused::Corrupt)?;
        let origins = crate::checkpoint::newest(memory, Role::Producer, geometry.seed());
        Ok(Tie {
            session: self.session,
            checkpointer,
            origins: origins.ok_or(Refused::Corrupt)?,
        })
    }

    fn finish(&self, own: Role, machine: Machine) {
        let memory = &self.memory;
        memory.store(word::PARKED.of(own), 0, Order::RELAXED);
        machine.here().store(memory, own);
        memory.store(word::SESSION.of(own), self.session, SESSION_STORE);
    }

    fn report(&self, tie: &Tie, resumed: &Resumed) -> Recovered {
        Recovered {
            cold: self.cold.is_some(),
            incarnation: tie.origins.incarnation,
            head: resumed.head,
            tail: resumed.tail,
            kept_messages: resumed.kept_messages,
            dropped_messages: self.cold.map_or(0, |found| found.dropped_messages),
            possibly_acknowledged_bytes: self
                .cold
                .map_or(0, |found| found.possibly_acknowledged_bytes),
        }
    }
}

/// The producer's end.
#[derive(Debug)]
pub struct Producer<C: Carrier> {
    core: ProducerCore<Flat<C>>,
    tie: Tie,
}

impl<C: Carrier + Clone> Producer<C> {
    /// Takes the role, recovering what must be.
    ///
    /// # Errors
    ///
    /// As the library's attach.
    pub fn attach(
        carrier: C,
        plan: &Plan,
        machine: Machine,
        peer_is_live: bool,
    ) -> Result<(Self, Recovered), Refused> {
        let begun = begin(carrier, plan, machine, Role::Producer, peer_is_live)?;
        let (memory, geometry) = (&begun.memory, &begun.geometry);
        let resumed = recovery::producer(memory, geometry, peer_is_live);
        let resumed = resumed.map_err(|_| Refused::Corrupt)?;
        let free = recovery::durable_head(memory, geometry, &resumed);
        let free = free.map_err(|_| Refused::Corrupt)?;
        let mut core = ProducerCore::new(memory.clone(), *geometry, resumed.own, free, false);
        core.store_progress();
        let tie = begun.tie(Role::Producer, resumed.tail, Damage::Tail)?;
        memory.store(word::SHORT.of(Role::Producer), 0, Order::RELAXED);
        core.inherit_reach();
        let mut this = Self { core, tie };
        this.erase_abandoned()?;
        begun.finish(Role::Producer, machine);
        let report = begun.report(&this.tie, &resumed);
        Ok((this, report))
    }

    fn erase_abandoned(&mut self) -> Result<(), Refused> {
        if self.core.has_abandoned() {
            if self.core.geometry().is_checksummed() {
                let (from, to) = self.core.erase_abandoned();
                let memory = self.core.memory().clone();
                self.tie
                    .checkpointer
                    .sync(&memory, Extent::Data { from, to })?;
            }
            self.core.forget_abandoned();
        }
        Ok(())
    }

    fn make_ready(&mut self) -> Result<(), Refused> {
        self.tie.checkpointer.check(self.core.memory())?;
        self.erase_abandoned()
    }

    /// Publishes a message.
    ///
    /// # Errors
    ///
    /// As the library's.
    pub fn try_send(&mut self, message: &[u8]) -> Result<(), Refused> {
        if self.core.send_short(message).is_some() {
            return Ok(());
        }
        self.make_ready()?;
        self.core.send_long(message)?;
        Ok(())
    }

    /// Writes messages and publishes them together, or abandons them.
    ///
    /// # Errors
    ///
    /// As the library's; nothing is published then.
    pub fn try_send_batch(&mut self, messages: &[&[u8]], publish: bool) -> Result<(), Refused> {
        self.make_ready()?;
        let mut pending = self.core.begin();
        for message in messages {
            self.core.push(&mut pending, message)?;
        }
        if publish {
            self.core.publish(pending);
        }
        Ok(())
    }

    /// Makes a checkpoint.
    ///
    /// # Errors
    ///
    /// As the library's.
    pub fn checkpoint(&mut self, form: Form) -> Result<Durable, Refused> {
        let form = match form {
            Form::Full => CheckpointForm::Full,
            Form::OneSync => CheckpointForm::OneSync,
        };
        let reached = *self.core.published();
        let (memory, geometry) = (self.core.memory(), self.core.geometry());
        let checkpointer = &mut self.tie.checkpointer;
        Ok(checkpointer.producer(memory, geometry, reached, form)?)
    }

    /// The position after the last message.
    pub fn tail(&self) -> u64 {
        self.core.published().position
    }

    /// Leaves cleanly.
    pub fn close(mut self) {
        self.core.close(self.tie.session);
    }
}

/// The consumer's end.
#[derive(Debug)]
pub struct Consumer<C: Carrier> {
    core: ConsumerCore<Flat<C>>,
    tie: Tie,
}

impl<C: Carrier + Clone> Consumer<C> {
    /// Takes the role, recovering what must be.
    ///
    /// # Errors
    ///
    /// As the library's attach.
    pub fn attach(
        carrier: C,
        plan: &Plan,
        machine: Machine,
        peer_is_live: bool,
    ) -> Result<(Self, Recovered), Refused> {
        let begun = begin(carrier, plan, machine, Role::Consumer, peer_is_live)?;
        let (memory, geometry) = (&begun.memory, &begun.geometry);
        let resumed = recovery::consumer(memory, geometry, peer_is_live);
        let resumed = resumed.map_err(|_| Refused::Corrupt)?;
        let core = ConsumerCore::new(memory.clone(), *geometry, resumed.own, false);
        let tie = begun.tie(Role::Consumer, resumed.head, Damage::Head)?;
        begun.finish(Role::Consumer, machine);
        let report = begun.report(&tie, &resumed);
        Ok((Self { core, tie }, report))
    }

    /// Takes and releases the next message; its position.
    ///
    /// # Errors
    ///
    /// [`Refused::Empty`], [`Refused::Corrupt`].
    pub fn try_recv(&mut self, out: &mut Vec<u8>) -> Result<u64, Refused> {
        let mut taken = self.core.begin();
        let next = self.core.next(&taken).map_err(|_| Refused::Corrupt)?;
        let record = next.ok_or(Refused::Empty)?;
        out.clear();
        out.resize(record.message_bytes() as usize, 0);
        self.core.copy(record, out).map_err(|_| Refused::Corrupt)?;
        taken.add(record);
        self.core.release(taken);
        Ok(record.position())
    }

    /// Makes a checkpoint.
    ///
    /// # Errors
    ///
    /// As the library's.
    pub fn checkpoint(&mut self) -> Result<Durable, Refused> {
        let reached = *self.core.released();
        let (memory, geometry) = (self.core.memory(), self.core.geometry());
        let checkpointer = &mut self.tie.checkpointer;
        Ok(checkpointer.consumer(memory, geometry, reached)?)
    }

    /// Incarnation and position of the next message.
    pub fn next_key(&self) -> (u64, u64) {
        let position = self.head();
        (self.tie.origins.incarnation_of(position), position)
    }

    /// The position after the last message that was released.
    pub fn head(&self) -> u64 {
        self.core.released().position
    }

    /// Leaves cleanly.
    pub fn close(mut self) {
        self.core.close(self.tie.session);
    }
}
