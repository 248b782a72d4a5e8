//! Looking on from outside: everything is read, nothing written, nobody disturbed.

use std::sync::Arc;
use std::time::Instant;

use crate::error::Corruption;
use crate::layout::{Identity, Role, word};
use crate::memory::{Mapped, Memory, Order};
use crate::peer::{self, Holder, PeerState};
use crate::region::{Backing, Object};
use crate::ring::{self, Geometry, Record, RoleSnapshot};
use crate::role;
use crate::state;
use crate::totals::Totals;

/// A read-only look at a ring, live or dead: see [`Options::observe`](crate::Options::observe).
///
/// An observer takes no role and maps every page read-only: the pair does not notice it.
///
/// ```
/// let ring = ringduct::Options::new().create_anonymous()?;
/// let mut tx = ring.producer()?;
/// tx.send(b"one")?;
/// tx.send(b"two!")?;
/// let observer = ring.observer()?;
/// let snapshot = observer.snapshot();
/// assert_eq!(snapshot.backlog_messages, 2);
/// assert_eq!(snapshot.producer.totals.bytes, 7);
/// let waiting: Vec<_> = observer.peek_all()?;
/// assert_eq!(waiting[1].message, b"two!");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Observer {
    object: Arc<Object>,
    mapped: Mapped,
    identity: Identity,
    geometry: Geometry,
}

/// One side of a ring at one moment.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct SideSnapshot {
    /// Whether the role is held, and how its last holder left.
    pub state: PeerState,
    /// What the last holder says of itself.
    pub holder: Holder,
    /// How far this side has come. Messages and bytes may lag behind the position by a stride of
    /// 512 bytes while the side goes on; they are exact when it has closed or rests, but for a
    /// consumer that rests with more than 4,096 bytes still to take.
    pub totals: Totals,
    /// Whether it sleeps in the kernel now, or was about to.
    pub parked: bool,
    /// Whether it orders its publishes with fences of its own, for want of `membarrier`.
    pub fences: bool,
    /// Times the role was taken since the ring was made.
    pub sessions: u64,
    /// Times it found the ring full (producer) or empty (consumer) and had to wait.
    pub waits: u64,
    /// Times it went to sleep in the kernel.
    pub sleeps: u64,
    /// Wakes it has sent to the other side.
    pub wakes_sent: u64,
    /// In a durable ring: the position that a power cut leaves it at, as it says itself.
    pub durable_position: Option<u64>,
    /// In a durable ring: whether a sync of this side has failed.
    pub poisoned: bool,
}

/// A ring at one moment. A live ring moves on while it is read: numbers of the two sides may be a
/// few messages apart.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Snapshot {
    /// When the snapshot was taken, on the monotonic clock.
    pub taken_at: Instant,
    /// The producer's side.
    pub producer: SideSnapshot,
    /// The consumer's side.
    pub consumer: SideSnapshot,
    /// Bytes published and not released, 8 for each message and padding included.
    pub backlog_bytes: u64,
    /// Messages published and not released.
    pub backlog_messages: u64,
    /// In a durable ring: whether the producer has run out of space that a checkpoint of the
    /// consumer covers.
    pub waits_for_checkpoint: bool,
    /// What became of the ring's file, if it is not what it was: then nothing here is to be believed.
    pub damage: Option<Corruption>,
}

/// Messages and bytes a second between two snapshots.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
#[expect(
    clippy::struct_field_names,
    reason = "the unit comes last in every name"
)]
pub struct Rates {
    /// Messages published a second.
    pub published_messages_per_s: f64,
    /// Payload bytes published a second.
    pub published_bytes_per_s: f64,
    /// Messages released a second.
    pub released_messages_per_s: f64,
    /// Payload bytes released a second.
    pub released_bytes_per_s: f64,
}

/// A copy of a message that waits in a ring.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Peeked {
    /// Where its record starts.
    pub position: u64,
    /// Where the next record starts.
    pub next_position: u64,
    /// The payload.
    pub message: Vec<u8>,
}

impl Peeked {
    pub(crate) fn new((record, message): (Record, Vec<u8>)) -> Self {
        Self {
            position: record.position(),
            next_position: record.end(),
            message,
        }
    }
}

impl Snapshot {
    /// Rates since an `earlier` snapshot of the same ring; zeros if no time has passed.
    ///
    /// ```
    /// let ring = ringduct::Options::new().create_anonymous()?;
    /// let mut tx = ring.producer()?;
    /// let observer = ring.observer()?;
    /// let before = observer.snapshot();
    /// tx.send(b"x")?;
    /// let rates = observer.snapshot().rates_since(&before);
    /// assert!(rates.published_messages_per_s > 0.0);
    /// assert_eq!(rates.released_messages_per_s, 0.0);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn rates_since(&self, earlier: &Self) -> Rates {
        let seconds = self
            .taken_at
            .saturating_duration_since(earlier.taken_at)
            .as_secs_f64();
        let rate = |now: u64, then: u64| {
            #[expect(clippy::cast_precision_loss, reason = "rates are for people")]
            let count = now.wrapping_sub(then) as f64;
            if seconds > 0.0 { count / seconds } else { 0.0 }
        };
        let (tx, tx0) = (self.producer.totals, earlier.producer.totals);
        let (rx, rx0) = (self.consumer.totals, earlier.consumer.totals);
        Rates {
            published_messages_per_s: rate(tx.messages, tx0.messages),
            published_bytes_per_s: rate(tx.bytes, tx0.bytes),
            released_messages_per_s: rate(rx.messages, rx0.messages),
            released_bytes_per_s: rate(rx.bytes, rx0.bytes),
        }
    }
}

impl Observer {
    pub(crate) fn new(object: Arc<Object>, mapped: Mapped, identity: Identity) -> Self {
        Self {
            object,
            mapped,
            identity,
            geometry: Geometry::new(&identity),
        }
    }

    /// Reads everything about the ring but the messages.
    ///
    /// ```
    /// use ringduct::PeerState;
    /// let ring = ringduct::Options::new().create_anonymous()?;
    /// let tx = ring.producer()?;
    /// let snapshot = ring.observer()?.snapshot();
    /// assert_eq!(snapshot.producer.state, PeerState::Attached);
    /// assert_eq!(snapshot.consumer.state, PeerState::Absent);
    /// # drop(tx);
    /// # Ok::<(), ringduct::OpenError>(())
    /// ```
    pub fn snapshot(&self) -> Snapshot {
        let mut snapshot = self.words();
        // Looked at last: what was read from a lost page is zero.
        snapshot.damage = self.object.loss(self.mapped.mapping());
        snapshot
    }

    fn words(&self) -> Snapshot {
        // Who is there, before the words: whoever leaves marks that first and lets go then. The
        // consumer's words first: its counters can then not be ahead of the producer's.
        let held = [Role::Producer, Role::Consumer].map(|role| self.is_held(role));
        let rx = ring::role_snapshot(&self.mapped, &self.geometry, Role::Consumer);
        let tx = ring::role_snapshot(&self.mapped, &self.geometry, Role::Producer);
        let [tx_held, rx_held] = held;
        let capacity = self.geometry.capacity_bytes;
        // A tail one publish behind the head makes a small negative number: nothing waits then.
        let behind = |ahead: u64, passed: u64, most: u64| {
            let gap = ahead.wrapping_sub(passed);
            if gap > most { 0 } else { gap }
        };
        Snapshot {
            taken_at: Instant::now(),
            damage: None,
            backlog_bytes: behind(tx.progress.position, rx.progress.position, capacity),
            backlog_messages: behind(tx.progress.messages, rx.progress.messages, capacity / 8),
            waits_for_checkpoint: self
                .mapped
                .load(word::SHORT.of(Role::Producer), Order::RELAXED)
                != 0,
            producer: self.side(Role::Producer, &tx, tx_held),
            consumer: self.side(Role::Consumer, &rx, rx_held),
        }
    }

    /// Whether the role is held, and the session that was there before the kernel was asked.
    fn is_held(&self, role: Role) -> (bool, u64) {
        let (session, _) = ring::read_session(&self.mapped, role);
        let held = role::is_held(self.object.lock_fd(), role.lock_byte()).unwrap_or(true);
        (held, session)
    }

    fn side(&self, role: Role, words: &RoleSnapshot, (held, before): (bool, u64)) -> SideSnapshot {
        let holder = peer::read_holder(&self.mapped, role);
        // A session that began between the looks is a successor's, who holds the role.
        let held = held || words.session != before;
        let closed = words.closed_session == words.session;
        SideSnapshot {
            state: PeerState::judge(held, words.session, closed, &holder),
            holder,
            totals: Totals::of(&words.progress),
            parked: words.parked,
            fences: words.fence_mode == word::fence_mode::FENCE,
            sessions: words.session,
            waits: words.waits,
            sleeps: words.sleeps,
            wakes_sent: words.wakes_sent,
            durable_position: self.geometry.durable.then(|| {
                let word = word::DURABLE.of(role);
                self.mapped.load(word, ring::DURABLE_LOAD)
            }),
            poisoned: self.geometry.durable && state::is_poisoned(&self.mapped, role),
        }
    }

    /// Copies the message whose record starts at `position`, if one is published there and the
    /// consumer has not passed it meanwhile.
    ///
    /// Start at the consumer's position and go on at `next_position`: what lies between two starts
    /// is payload and not to be told from a record. Copied first and checked
    /// then, so a message that was overwritten during the copy is never returned.
    ///
    /// # Errors
    ///
    /// [`Corruption`] when what is there can not be a record.
    ///
    /// ```
    /// let ring = ringduct::Options::new().create_anonymous()?;
    /// let mut tx = ring.producer()?;
    /// tx.send(b"abc")?;
    /// let observer = ring.observer()?;
    /// let first = observer.peek(0)?.expect("published above");
    /// assert_eq!(first.message, b"abc");
    /// assert_eq!(observer.peek(first.next_position)?, None);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn peek(&self, position: u64) -> Result<Option<Peeked>, Corruption> {
        if !ring::may_be_published(&self.mapped, &self.geometry, position) {
            return self.believe(Ok(None));
        }
        let mut message = Vec::new();
        let found = ring::peek_at(&self.mapped, &self.geometry, position & !7, &mut message);
        let record = self.believe(found)?;
        Ok(record.map(|record| Peeked::new((record, message))))
    }

    /// Copies every message that waits now, oldest first; messages that the consumer takes
    /// meanwhile may be missing at the front. Takes memory for all of them; [`Observer::records`]
    /// does not.
    ///
    /// # Errors
    ///
    /// As [`Observer::peek`].
    ///
    /// ```
    /// let ring = ringduct::Options::new().create_anonymous()?;
    /// let mut tx = ring.producer()?;
    /// tx.try_send_all(["a", "b"])?;
    /// assert_eq!(ring.observer()?.peek_all()?.len(), 2);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn peek_all(&self) -> Result<Vec<Peeked>, Corruption> {
        let found = ring::peek_all(&self.mapped, &self.geometry);
        let found = self.believe(found)?;
        Ok(found.into_iter().map(Peeked::new).collect())
    }

    /// What was read, unless a page was found missing meanwhile.
    pub(crate) fn believe<X>(&self, found: Result<X, Corruption>) -> Result<X, Corruption> {
        if self.mapped.is_intact() {
            return found;
        }
        // Nor is a forked child's, which is not guarded; nothing was found missing there.
        let mapping = self.mapped.mapping();
        let loss = mapping.fault().and_then(|_| self.object.loss(mapping));
        loss.map_or(found, Err)
    }

    pub(crate) const fn mapped(&self) -> &Mapped {
        &self.mapped
    }

    pub(crate) const fn geometry(&self) -> &Geometry {
        &self.geometry
    }

    pub(crate) fn object(&self) -> &Object {
        &self.object
    }

    /// Bytes of the data area.
    ///
    /// ```
    /// let ring = ringduct::Options::new().capacity_bytes(4096).create_anonymous()?;
    /// let observer = ring.observer()?;
    /// assert_eq!(observer.capacity_bytes(), 4096);
    /// # Ok::<(), ringduct::OpenError>(())
    /// ```
    pub const fn capacity_bytes(&self) -> u64 {
        self.geometry.capacity_bytes
    }

    /// Bytes of the longest message this ring takes.
    ///
    /// ```
    /// let ring = ringduct::Options::new().capacity_bytes(4096).create_anonymous()?;
    /// let observer = ring.observer()?;
    /// assert_eq!(observer.max_message_bytes(), 4080);
    /// # Ok::<(), ringduct::OpenError>(())
    /// ```
    pub const fn max_message_bytes(&self) -> u64 {
        self.geometry.max_message_bytes
    }

    /// The ring's own random id.
    ///
    /// ```
    /// let ring = ringduct::Options::new().capacity_bytes(4096).create_anonymous()?;
    /// let observer = ring.observer()?;
    /// assert_eq!(observer.uuid(), ring.uuid());
    /// # Ok::<(), ringduct::OpenError>(())
    /// ```
    pub const fn uuid(&self) -> [u8; 16] {
        self.identity.uuid
    }

    /// The tag its creator chose; zeros when none was chosen.
    ///
    /// ```
    /// let ring = ringduct::Options::new().capacity_bytes(4096).create_anonymous()?;
    /// let observer = ring.observer()?;
    /// assert_eq!(observer.application_tag(), [0; 16]);
    /// # Ok::<(), ringduct::OpenError>(())
    /// ```
    pub const fn application_tag(&self) -> [u8; 16] {
        self.identity.application_tag
    }

    /// Whether records carry checksums.
    ///
    /// ```
    /// let ring = ringduct::Options::new().capacity_bytes(4096).create_anonymous()?;
    /// let observer = ring.observer()?;
    /// assert!(!observer.checksum());
    /// # Ok::<(), ringduct::OpenError>(())
    /// ```
    pub const fn checksum(&self) -> bool {
        self.identity.checksummed()
    }

    /// When the ring was made, nanoseconds since 1970 by its creator's wall clock.
    ///
    /// ```
    /// let ring = ringduct::Options::new().capacity_bytes(4096).create_anonymous()?;
    /// let observer = ring.observer()?;
    /// assert!(observer.created_unix_ns() > 1_700_000_000_000_000_000); // after 2023
    /// # Ok::<(), ringduct::OpenError>(())
    /// ```
    pub const fn created_unix_ns(&self) -> u64 {
        self.identity.created_unix_ns
    }

    /// The name it was opened by.
    ///
    /// ```
    /// let ring = ringduct::Options::new().capacity_bytes(4096).create_anonymous()?;
    /// let observer = ring.observer()?;
    /// assert_eq!(observer.name(), ring.name());
    /// # Ok::<(), ringduct::OpenError>(())
    /// ```
    pub fn name(&self) -> &str {
        self.object.name()
    }

    /// What it is made of.
    ///
    /// ```
    /// let ring = ringduct::Options::new().capacity_bytes(4096).create_anonymous()?;
    /// let observer = ring.observer()?;
    /// assert_eq!(observer.backing(), ring.backing());
    /// # Ok::<(), ringduct::OpenError>(())
    /// ```
    pub fn backing(&self) -> Backing {
        self.object.backing()
    }
}
