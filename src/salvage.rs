//! Salvage: copying what a ring holds to a new one, when the old one can not be relied on.

use std::sync::Arc;

use crate::attach::Ring;
use crate::checkpoint;
use crate::cold;
use crate::error::{Corruption, OpenError};
use crate::layout::{COMMIT_BYTES, Checkpoint, Features, Identity, Role};
use crate::location::Location;
use crate::memory::{Mapped, store_identity};
use crate::options::{CreatePlan, HugePages, Options};
use crate::peer;
use crate::position;
use crate::region::{self, Access, Mapping, Origin};
use crate::ring::{self, Geometry, ProducerCore, Progress};
use crate::role;
use crate::state::{self, Here, State};

/// What [`Ring::salvage`] copied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Salvaged {
    /// Messages in the new ring.
    pub messages: u64,
    /// Where they start in the stream; positions are those of the old ring.
    pub head: u64,
    /// Where they end.
    pub tail: u64,
    /// What ended the copy before the old ring's tail, if something did.
    pub damage: Option<Corruption>,
}

/// Everything that is copied.
#[derive(Debug)]
struct Load {
    start: Progress,
    messages: Vec<Vec<u8>>,
    damage: Option<Corruption>,
    /// The old ring's newest slot of the producer: where incarnations start.
    origins: Option<Checkpoint>,
}

impl Load {
    const fn new(start: Progress, origins: Option<Checkpoint>) -> Self {
        Self {
            start,
            messages: Vec::new(),
            damage: None,
            origins,
        }
    }
}

/// A consumer that keeps passing what is being copied: so many times, then nothing waits.
const TRIES: u32 = 100;

impl Ring {
    /// Copies every message that waits in this ring to a new one at `location`: a file that is
    /// complete and on its medium before it has its name.
    ///
    /// For a ring that is poisoned, lost acknowledged data, or is damaged: nothing is written to
    /// it, no role is taken, and both sides may go on while it is copied. The new ring has the same
    /// options, another id, and the same positions; messages keep their
    /// keys ([`Consumer::next_key`](crate::Consumer::next_key)), and new ones get greater ones. Messages that the consumer takes
    /// meanwhile may be in the copy too. Needs memory for all of them.
    ///
    /// # Errors
    ///
    /// As [`Options::create`](crate::Options::create).
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// use ringduct::{Location, Options};
    /// let ring = Options::new().create(&Location::from(dir.path().join("old.ring")))?;
    /// ring.producer()?.send(b"kept")?;
    /// let new = Location::from(dir.path().join("new.ring"));
    /// assert_eq!(ring.salvage(&new)?.messages, 1);
    /// let mut rx = Options::new().open(&new)?.consumer()?;
    /// assert_eq!(rx.recv(&mut [0; 16])?, 4);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn salvage(&self, location: &Location) -> Result<Salvaged, OpenError> {
        let old = Mapped::new(Arc::new(self.map(Access::Observe)?));
        let geometry = Geometry::new(self.identity());
        let load = self.collect(&old, &geometry)?;
        let plan = self.copy_plan();
        let mut tail = load.start.position;
        let mut fill = |mapping: &Arc<Mapping>, origin: Origin| {
            tail = fill(mapping, origin, self.identity(), &load)?;
            Ok(())
        };
        region::create(location, &plan, &mut fill)?;
        Ok(Salvaged {
            messages: load.messages.len() as u64,
            head: load.start.position,
            tail,
            damage: load.damage,
        })
    }

    fn copy_plan(&self) -> CreatePlan {
        let identity = self.identity();
        CreatePlan {
            shape: identity.shape,
            kernel_page_bytes: identity.kernel_page_bytes,
            mode: 0o600,
            max_message_bytes: identity.max_message_bytes,
            application_tag: identity.application_tag,
            checksum: identity.checksummed(),
            durable: identity.durable(),
            huge: HugePages::Never,
        }
    }

    /// Copies what waits, from the words if they can be believed and from the slots if not.
    fn collect(&self, old: &Mapped, geometry: &Geometry) -> Result<Load, OpenError> {
        let newest = |role| checkpoint::newest(old, role, geometry.seed());
        let (origins, consumer) = (newest(Role::Producer), newest(Role::Consumer));
        if let (true, Some(slot)) = (self.is_cold(old)?, consumer) {
            let start = Progress::new(slot.intended, slot.messages, slot.bytes);
            return Ok(walk_proven(old, geometry, Load::new(start, origins)));
        }
        for _ in 0..TRIES {
            let head = ring::read_position(old, Role::Consumer, ring::HEAD_LOAD);
            if let Some(load) = walk_live(old, geometry, Load::new(Progress::at(head), origins)) {
                return Ok(load);
            }
        }
        let head = ring::read_position(old, Role::Consumer, ring::HEAD_LOAD);
        Ok(Load::new(Progress::at(head), origins))
    }

    /// Whether only the slots can be believed.
    fn is_cold(&self, old: &Mapped) -> Result<bool, OpenError> {
        if !self.is_durable() {
            return Ok(false);
        }
        let here = self.here(&peer::Myself::ask());
        let held = |role: Role| {
            role::is_held(self.object().lock_fd(), role.lock_byte())
                .map_err(|error| OpenError::os(self.name(), "ask who holds it", error))
        };
        let is_live = held(Role::Producer)? || held(Role::Consumer)?;
        let distrusts = self.distrusts_memory();
        let state = state::judge(old, Role::Producer, &here, is_live, distrusts);
        Ok(matches!(state, State::Cold))
    }
}

impl Options {
    /// Copies every message that waits in the ring at `from` to a new one at `to`, needing no more
    /// than the right to read: for a file system that went read-only. See [`Ring::salvage`].
    ///
    /// # Errors
    ///
    /// As [`Options::open`] and [`Options::create`].
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// use ringduct::{Location, Options};
    /// let [old, new] = ["old.ring", "new.ring"].map(|name| Location::from(dir.path().join(name)));
    /// Options::new().create(&old)?.producer()?.send(b"kept")?;
    /// assert_eq!(Options::new().salvage(&old, &new)?.messages, 1);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn salvage(&self, from: &Location, to: &Location) -> Result<Salvaged, OpenError> {
        self.open_with(from, true)?.salvage(to)
    }
}

/// From the head to the first empty word, beside a living pair. `None`: the consumer passed what
/// was being copied, and it is copied anew from where that is now.
fn walk_live(old: &Mapped, geometry: &Geometry, mut load: Load) -> Option<Load> {
    let head = load.start.position;
    let mut at = head;
    // Never round the ring: a living producer could keep this going for ever.
    while at.wrapping_sub(head) < geometry.capacity_bytes {
        let mut message = Vec::new();
        match ring::peek_at(old, geometry, at, &mut message) {
            Ok(Some(record)) => {
                let reach = position::advance(record.end(), COMMIT_BYTES);
                if position::distance(head, reach) > geometry.capacity_bytes {
                    break; // a living pair is a lap ahead: the copy is full
                }
                load.messages.push(message);
                at = record.end();
            }
            Ok(None) => {
                let now = ring::read_position(old, Role::Consumer, ring::HEAD_LOAD);
                if !position::at_or_after(at, now) {
                    return None;
                }
                break; // nothing is published there
            }
            Err(damage) => {
                load.damage = Some(damage);
                break;
            }
        }
    }
    // Where the counters are damaged too, the copy counts from zero.
    load.start = ring::count_released(old, geometry, head).unwrap_or(load.start);
    Some(load)
}

/// From the durable head over records that are whole, in a ring that nobody uses.
fn walk_proven(old: &Mapped, geometry: &Geometry, mut load: Load) -> Load {
    let mut at = load.start;
    while let Some((next, message)) = ring::copy_proven(old, geometry, load.start.position, at) {
        load.messages.push(message);
        at = next;
    }
    load
}

/// Writes the copy: words and slots as after a recovery, then the messages, as a producer would.
fn fill(
    mapping: &Arc<Mapping>,
    origin: Origin,
    old: &Identity,
    load: &Load,
) -> Result<u64, OpenError> {
    let identity = Identity {
        features: Features {
            incompatible: old.features.incompatible,
            ..Features::default()
        },
        uuid: crate::session::fresh_uuid()?,
        device: origin.id.device,
        inode: origin.id.inode,
        created_unix_ns: peer::unix_ns(),
        ..*old
    };
    let geometry = Geometry::new(&identity);
    let memory = Mapped::new(Arc::clone(mapping));
    let here = Here {
        boot: peer::boot_id(),
        home: [origin.id.device, origin.id.inode],
        mount: origin.mount,
    };
    let start = load.start;
    cold::format(&memory, &geometry, &here, &start, load.origins.as_ref());
    let mut core = ProducerCore::new(memory.clone(), geometry, start, start.position, false);
    for message in &load.messages {
        core.send_long(message).map_err(|error| OpenError::Os {
            name: "the copy".to_owned(),
            action: "write a message to it",
            source: std::io::Error::other(error),
        })?;
    }
    core.settle();
    let reached = *core.published();
    cold::format_tail(&memory, &geometry, &reached);
    store_identity(mapping, &identity.encode());
    Ok(reached.position)
}
