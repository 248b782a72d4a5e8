//! Examining: whether a ring is sound, and what the next attach would make of it. Nothing is
//! written, no role is taken, nobody is disturbed.
//!
//! A ring that nobody holds is judged by the very code that a successor runs, over a mapping that
//! can not be written. Whoever writes to a ring holds a role, so the kernel is asked before and
//! after: if the answer or a session changed, what was found is thrown away. A ring in use is walked
//! as an observer does, each record copied first and believed only if the consumer had not passed
//! it by then.

mod dead;
mod fault;
mod live;

use std::sync::Arc;

pub use fault::Fault;

use crate::checks::refuse;
use crate::error::OpenError;
use crate::layout::{Checkpoint, Header, Identity, Role, Shape, Slot, word};
use crate::location::Location;
use crate::memory::{DurableMemory, Mapped, Memory, Order};
use crate::options::{MapExtras, Options};
use crate::recovery::{Recovery, RecoveryState};
use crate::region::{self, Access, Object};
use crate::ring::{Geometry, read_session};
use crate::role;

/// Somebody who comes and goes while a ring is examined: so often, then it is examined as in use.
const TRIES: u32 = 8;

/// What [`Options::examine`] found.
#[derive(Debug)]
#[non_exhaustive]
pub struct Examination {
    /// The identity page, as it is written.
    pub header: Header,
    /// Whether a role was held meanwhile. Of a ring in use only what waited at the beginning is
    /// examined.
    pub in_use: bool,
    /// What could be believed; `None` if the header is damaged, which is all there is then.
    pub state: Option<RecoveryState>,
    /// What the next attach would find and keep; `None` if it would be refused.
    pub recovery: Option<Recovery>,
    /// Why the next attach would be refused, where that is not the fault below: a reboot or a copy
    /// of a ring that is not durable, a sync that failed, data lost.
    pub refusal: Option<OpenError>,
    /// The first thing that is wrong: header, then words, then slots, then records, oldest first.
    pub fault: Option<Fault>,
    /// Messages that are whole, from the consumer's position up to the first fault or the end.
    pub whole_messages: u64,
    /// Bytes of payload of those.
    pub whole_bytes: u64,
    /// Where those end.
    pub whole_until: u64,
    /// Durable rings: slots that are neither whole nor empty. One is what a kill or a power cut in
    /// the middle of a checkpoint leaves, and no fault.
    pub torn_slots: u32,
}

impl Options {
    /// Reads the identity page of what is at `location`, believing nothing of it: for tools that
    /// look for rings, and for damaged ones. Maps nothing.
    ///
    /// # Errors
    ///
    /// [`OpenError::NotFound`], [`OpenError::WrongOwner`]; [`OpenError::NotARing`] for whatever does
    /// not begin as a ring does.
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # let place = ringduct::Location::from(dir.path().join("x.ring"));
    /// use ringduct::Options;
    /// let ring = Options::new().capacity_bytes(8192).create(&place)?;
    /// let header = Options::new().header(&place)?;
    /// assert_eq!((header.capacity_bytes, header.uuid), (8192, ring.uuid()));
    /// assert_eq!(header.fault, None);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn header(&self, location: &Location) -> Result<Header, OpenError> {
        let object = self.object_at(location)?;
        Ok(Page::read(&object)?.header)
    }

    /// Examines the ring at `location`, in use or not: structure, and checksums where there are any,
    /// with the first fault named; and what the next attach would find, by the same code. Needs only
    /// the right to read. A copy of a ring is examined as what it is.
    ///
    /// Options that were given are compared as by [`Options::open`]; with
    /// [`Options::distrust_memory`] a durable ring that nobody uses is examined as after a power cut.
    ///
    /// # Errors
    ///
    /// As [`Options::header`]; [`OpenError::Unsupported`] for a ring of another format or machine;
    /// what the kernel says. Damage is no error here.
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # let path = dir.path().join("x.ring");
    /// # let place = ringduct::Location::from(&*path);
    /// use std::os::unix::fs::FileExt;
    /// use ringduct::Options;
    /// let ring = Options::new().checksum(true).create(&place)?;
    /// ring.producer()?.send(b"one message")?;
    /// let sound = Options::new().examine(&place)?;
    /// assert_eq!((sound.fault, sound.whole_messages), (None, 1));
    /// assert_eq!(sound.recovery.map(|recovery| recovery.kept_messages), Some(1));
    ///
    /// let file = std::fs::File::options().write(true).open(&path)?;
    /// file.write_all_at(b"X", 8 * 4096 + 8)?; // into the payload
    /// let fault = Options::new().examine(&place)?.fault.expect("damaged above");
    /// assert_eq!((fault.what, fault.offset_bytes), ("record checksum", 8 * 4096));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn examine(&self, location: &Location) -> Result<Examination, OpenError> {
        let object = self.object_at(location)?;
        let page = Page::read(&object)?;
        let identity = match page.identity {
            Ok(identity) => identity,
            Err(None) => return Ok(Examination::of(page.header)),
            Err(Some(refusal)) => return Err(refusal),
        };
        self.check_existing(object.name(), &identity)?;
        let extras = MapExtras::default();
        let mapping = object.map(identity.shape, Access::Observe, extras)?;
        let subject = Subject {
            memory: Mapped::new(Arc::new(mapping)),
            geometry: Geometry::new(&identity),
            distrusts_memory: self.distrusts_memory(),
            object: &object,
            identity,
            header: page.header,
        };
        subject.examine()
    }

    /// Opens what is at `location`, but for what is at a socket, which is received.
    fn object_at(&self, location: &Location) -> Result<Arc<Object>, OpenError> {
        match location {
            Location::Unix(_) => Ok(self.open_with(location, true)?.into_object()),
            _ => region::open(location, self.trust(), true).map(Arc::new),
        }
    }
}

/// An identity page, read and judged.
struct Page {
    header: Header,
    /// What may be used. Without it: `None` for damage, which is in the header's fault, or why this
    /// is none that this process could read.
    identity: Result<Identity, Option<OpenError>>,
}

impl Page {
    /// Refuses whatever does not begin as a ring does.
    fn read(object: &Object) -> Result<Self, OpenError> {
        let total_bytes = object.total_bytes()?;
        let raw = object.read_header()?;
        let mut header = raw.fields(total_bytes);
        let identity = match raw.check(total_bytes, region::kernel_page_bytes()) {
            Ok(identity) => Ok(identity),
            Err(fault) => {
                if !fault.has_magic() {
                    return Err(refuse(object, fault, total_bytes));
                }
                header.fault = Some(Fault::of_header(&fault));
                let is_damage = fault.is_damage();
                Err((!is_damage).then(|| refuse(object, fault, total_bytes)))
            }
        };
        Ok(Self { header, identity })
    }
}

impl Examination {
    fn of(header: Header) -> Self {
        Self {
            fault: header.fault,
            header,
            in_use: false,
            state: None,
            recovery: None,
            refusal: None,
            whole_messages: 0,
            whole_bytes: 0,
            whole_until: 0,
            torn_slots: 0,
        }
    }
}

/// What is examined.
struct Subject<'a> {
    object: &'a Object,
    memory: Mapped,
    identity: Identity,
    geometry: Geometry,
    header: Header,
    distrusts_memory: bool,
}

/// Whoever writes to a ring changes one of these, or holds a role.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Witness {
    is_held: [bool; 2],
    sessions: [u64; 2],
    generations: [u64; 2],
}

const BOTH: [Role; 2] = [Role::Producer, Role::Consumer];

impl Subject<'_> {
    fn examine(&self) -> Result<Examination, OpenError> {
        for _ in 0..TRIES {
            let before = self.witness()?;
            if before.is_held != [false, false] {
                break;
            }
            let found = self.examine_dead()?;
            if self.witness()? == before {
                return Ok(self.unless_lost(found));
            }
        }
        Ok(self.unless_lost(self.examine_live()))
    }

    /// What was found, unless pages of the file were gone meanwhile: then what was read is nothing.
    fn unless_lost(&self, mut found: Examination) -> Examination {
        if let Some(loss) = self.object.loss(self.memory.mapping()) {
            found.fault = Some(Fault::of_corruption(&loss, self.shape()));
            found.recovery = None;
        }
        found
    }

    fn witness(&self) -> Result<Witness, OpenError> {
        let sessions = BOTH.map(|role| read_session(&self.memory, role).0);
        let generations =
            BOTH.map(|role| self.memory.load(word::GENERATION.of(role), Order::RELAXED));
        let mut is_held = [false; 2];
        for (held, role) in is_held.iter_mut().zip(BOTH) {
            *held = is_held_now(self.object, role)?;
        }
        Ok(Witness {
            is_held,
            sessions,
            generations,
        })
    }

    const fn shape(&self) -> Shape {
        self.identity.shape
    }

    /// An examination with what words and slots alone tell: the rest is the caller's.
    fn begin(&self) -> Examination {
        let mut found = Examination::of(self.header.clone());
        found.fault = self.fault_of_words();
        if self.geometry.durable {
            found.torn_slots = self.torn_slots();
        }
        found
    }

    /// Words whose every value is known, in either role's page.
    fn fault_of_words(&self) -> Option<Fault> {
        let fault = |what, role, offset, expected, found| {
            Some(Fault::of_word(
                what,
                self.shape(),
                (role, offset),
                expected,
                found,
            ))
        };
        for role in BOTH {
            let get = |offset: crate::layout::Offset| self.memory.load(offset.of(role), SESSION);
            // In this order: whoever attaches meanwhile raises the second one.
            let (closed, session) = (get(word::CLOSED_SESSION), get(word::SESSION));
            if closed > session {
                let what = "closed session";
                return fault(what, role, word::CLOSED_SESSION, session, closed);
            }
            let mode = get(word::FENCE_MODE);
            let last = word::fence_mode::FENCE;
            if mode > last {
                return fault("fence mode", role, word::FENCE_MODE, last, mode);
            }
        }
        let [producer, consumer] =
            BOTH.map(|role| self.memory.load(word::GENERATION.of(role), Order::RELAXED));
        if !self.geometry.durable && producer != consumer {
            let (what, role) = ("recovery generation", Role::Consumer);
            return fault(what, role, word::GENERATION, producer, consumer);
        }
        None
    }

    fn torn_slots(&self) -> u32 {
        let seed = self.geometry.seed();
        let slots = BOTH.into_iter().flat_map(|role| {
            [false, true]
                .into_iter()
                .map(move |second| Slot { role, second })
        });
        let torn = slots.filter(|slot| {
            let words = self.memory.load_slot(*slot);
            words.iter().any(|word| *word != 0)
                && Checkpoint::decode(&words, seed, slot.role, slot.second).is_none()
        });
        u32::try_from(torn.count()).unwrap_or(4) // of four
    }
}

const SESSION: Order = crate::ring::SESSION_LOAD;

/// Whether the kernel says that somebody holds a role.
pub(crate) fn is_held_now(object: &Object, role: Role) -> Result<bool, OpenError> {
    role::is_held(object.lock_fd(), role.lock_byte())
        .map_err(|error| OpenError::os(object.name(), "ask who holds it", error))
}
