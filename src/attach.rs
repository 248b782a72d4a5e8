//! An open ring, and taking an end of it, step by step.
//!
//! Register for barriers; take the attach lock; take the role; map; see in which state the ring is
//! (and recover all of it, if it is durable and cold: `settle`); recover what this role owns; write
//! the hints; last, the session number. A process that dies
//! anywhere in between leaves the role free and the words as they were, or this role's words
//! brought forward, which its successor would do again with the same result.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::checks::{check_file, check_writable, refuse};
use crate::consumer::Consumer;
use crate::error::{Corruption, OpenError};
use crate::fork::ForkToken;
use crate::layout::{Identity, Role, word};
use crate::link::{Link, LinkParts};
use crate::memory::{Mapped, Memory, Order};
use crate::observer::Observer;
use crate::options::{MapExtras, Options};
use crate::peer::{self, Myself};
use crate::producer::Producer;
use crate::region::{self, Access, Backing, Mapping, Object};
use crate::ring::{ConsumerCore, Geometry, ProducerCore, SESSION_STORE, read_session};
use crate::role::{self, AttachLock, Lease};
use crate::state::Here;
use crate::{cold, recovery, sync};

/// A ring that is open and checked, with no role taken yet.
///
/// Take an end with [`Ring::producer`] or [`Ring::consumer`]; look on with [`Ring::observer`]. The
/// ring itself can be dropped or kept; the ends do not need it.
#[derive(Clone, Debug)]
pub struct Ring {
    object: Arc<Object>,
    identity: Identity,
    extras: MapExtras,
    attach_timeout: Duration,
    distrusts_memory: bool,
}

impl Ring {
    /// Checks what was opened against its real size and the options.
    pub(crate) fn new(object: Object, options: &Options) -> Result<Self, OpenError> {
        let total_bytes = object.total_bytes()?;
        let header = object.read_header()?;
        let checked = header.check(total_bytes, region::kernel_page_bytes());
        let identity = checked.map_err(|fault| refuse(&object, fault, total_bytes))?;
        options.check_existing(object.name(), &identity)?;
        check_file(&object, &identity)?;
        check_writable(&object, &identity)?;
        if identity.durable() {
            object.check_durable_use()?;
        }
        Ok(Self {
            object: Arc::new(object),
            identity,
            extras: options.map_extras(),
            attach_timeout: options.attach_timeout_or_default(),
            distrusts_memory: options.distrusts_memory(),
        })
    }

    /// Takes the producer's role.
    ///
    /// # Errors
    ///
    /// [`OpenError::RoleTaken`] with what the holder says of itself; [`OpenError::Busy`] when
    /// another process keeps attaching; [`OpenError::NotFound`] when the ring was removed since it
    /// was opened; [`OpenError::NeedsHandOver`] when another user's ring was handed over and has
    /// given this process a role already; [`OpenError::Cold`] and [`OpenError::Corrupt`] when what
    /// the ring holds can not be relied on.
    ///
    /// ```
    /// use ringduct::{OpenError, Options};
    /// let ring = Options::new().create_anonymous()?;
    /// let first = ring.producer()?;
    /// let second = ring.producer().unwrap_err();
    /// assert!(second.to_string().contains(&format!("pid {}", std::process::id())));
    /// drop(first);
    /// assert!(ring.producer().is_ok());
    /// # Ok::<(), OpenError>(())
    /// ```
    pub fn producer(&self) -> Result<Producer, OpenError> {
        self.attach_producer(None)
    }

    /// Takes the consumer's role.
    ///
    /// # Errors
    ///
    /// As [`Ring::producer`].
    ///
    /// ```
    /// let ring = ringduct::Options::new().create_anonymous()?;
    /// let mut tx = ring.producer()?;
    /// tx.send(b"kept")?;
    /// drop(tx);
    /// let mut rx = ring.consumer()?; // later, perhaps in another process
    /// assert_eq!(rx.recv(&mut [0; 16])?, 4);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn consumer(&self) -> Result<Consumer, OpenError> {
        self.attach_consumer(None)
    }

    /// Maps the ring read-only, to look on.
    ///
    /// # Errors
    ///
    /// What the kernel says.
    ///
    /// ```
    /// let ring = ringduct::Options::new().create_anonymous()?;
    /// assert_eq!(ring.observer()?.snapshot().backlog_bytes, 0);
    /// # Ok::<(), ringduct::OpenError>(())
    /// ```
    pub fn observer(&self) -> Result<Observer, OpenError> {
        let extras = MapExtras {
            lock_memory: false,
            prefault: false,
            ..self.extras
        };
        let mapping = self
            .object
            .map(self.identity.shape, Access::Observe, extras)?;
        let mapped = Mapped::new(Arc::new(mapping));
        Ok(Observer::new(
            Arc::clone(&self.object),
            mapped,
            self.identity,
        ))
    }

    pub(crate) fn attach_producer(
        &self,
        mapping: Option<Arc<Mapping>>,
    ) -> Result<Producer, OpenError> {
        let attach = self.begin(Role::Producer, mapping)?;
        let geometry = Geometry::new(&self.identity);
        let recovered = recovery::producer(&attach.mapped, &geometry, attach.trusts_backlog());
        let resumed = recovered.map_err(|what| self.damaged(&attach.mapped, what))?;
        let free = self.free_from(&attach, &geometry, &resumed)?;
        let (mapped, fences) = (attach.mapped.clone(), attach.fences);
        let mut core = ProducerCore::new(mapped, geometry, resumed.own, free, fences);
        core.store_progress();
        let mut durability = self.durability(&attach, &geometry, &resumed)?;
        self.erase_abandoned(&mut core, &mut durability)?;
        let mut link = attach.finish(&self.object);
        link.forget_past_endings(|| false);
        self.check_whole(link.mapped())?;
        link.wait_for_durable(geometry.durable);
        Ok(Producer::from_parts(core, link, durability))
    }

    pub(crate) fn attach_consumer(
        &self,
        mapping: Option<Arc<Mapping>>,
    ) -> Result<Consumer, OpenError> {
        // The one mapping of a pair is its producer's, too.
        let is_writable = self.extras.writable_data || mapping.is_some();
        let attach = self.begin(Role::Consumer, mapping)?;
        let geometry = Geometry::new(&self.identity);
        let recovered = recovery::consumer(&attach.mapped, &geometry, attach.trusts_backlog());
        let resumed = recovered.map_err(|what| self.damaged(&attach.mapped, what))?;
        let (mapped, fences) = (attach.mapped.clone(), attach.fences);
        let mut core = ConsumerCore::new(mapped, geometry, resumed.own, fences);
        core.settle();
        core.choose_lines(is_writable);
        let durability = self.durability(&attach, &geometry, &resumed)?;
        let mut link = attach.finish(&self.object);
        // An ending is news only to a consumer that still has something to take.
        link.forget_past_endings(|| core.has_message(&core.begin()));
        self.check_whole(link.mapped())?;
        Ok(Consumer::from_parts(core, link, durability))
    }

    /// Maps the ring with the options it was opened with.
    pub(crate) fn map(&self, access: Access) -> Result<Mapping, OpenError> {
        let shape = self.identity.shape;
        if self.identity.durable() && access != Access::Observe {
            self.object.map_durably(shape, access, self.extras)
        } else {
            self.object.map(shape, access, self.extras)
        }
    }

    /// The checked header.
    pub(crate) const fn identity(&self) -> &Identity {
        &self.identity
    }

    /// Whether the shared words are not to be believed in any case.
    pub(crate) const fn distrusts_memory(&self) -> bool {
        self.distrusts_memory
    }

    /// The backing, without the ring.
    pub(crate) fn into_object(self) -> Arc<Object> {
        self.object
    }

    /// The backing.
    pub(crate) fn object(&self) -> &Object {
        &self.object
    }

    /// Everything up to the point where the role's own words are recovered.
    fn begin(&self, role: Role, mapping: Option<Arc<Mapping>>) -> Result<Attach, OpenError> {
        let name = self.object.name();
        let failed = |error| OpenError::os(name, "prepare for forks", error);
        let token = ForkToken::get().map_err(failed)?;
        // Before the role is taken, so that no sleeper's barrier ever misses this publisher.
        let fences = !sync::register_for_barriers();
        let can_issue_barriers = sync::barrier_everywhere();
        let lock = AttachLock::take(&self.object, self.attach_timeout)?;
        self.object.check_still_there()?;
        let lease = self.take_role(role)?;
        let mapping = match mapping {
            Some(shared) => shared,
            None => Arc::new(self.map(Access::End(role))?),
        };
        let mapped = Mapped::new(mapping);
        let peer_byte = role.peer().lock_byte();
        let failed = |error| OpenError::os(name, "ask who holds the other role", error);
        let peer_is_live = role::is_held(self.object.lock_fd(), peer_byte).map_err(failed)?;
        let myself = Myself::ask();
        let here = self.here(&myself);
        let cold = if self.identity.durable() {
            self.settle(role, &mapped, &here, peer_is_live)?
        } else {
            self.check_boot(&mapped, peer_is_live, &myself)?;
            None
        };
        let (last_session, _) = read_session(&mapped, role);
        Ok(Attach {
            role,
            session: last_session.wrapping_add(1),
            mapped,
            lease,
            token,
            fences,
            can_issue_barriers,
            peer_is_live,
            myself,
            here: self.identity.durable().then_some(here),
            cold,
            _lock: lock,
        })
    }

    /// Takes the lock of a role. A holder that has closed already is on its way out: it leaves its
    /// mark first and lets go of the role then, so it is waited for.
    fn take_role(&self, role: Role) -> Result<Lease, OpenError> {
        let deadline = Instant::now().checked_add(self.attach_timeout);
        loop {
            if let Some(lease) = Lease::try_take(&self.object, role.lock_byte())? {
                return Ok(lease);
            }
            self.wait_for_leaver(role, deadline)?;
        }
    }

    /// Waits a moment if the holder of a role has closed, and refuses otherwise.
    fn wait_for_leaver(&self, role: Role, deadline: Option<Instant>) -> Result<(), OpenError> {
        let mapping = self.look()?;
        let (_, closed) = read_session(&mapping, role);
        if closed && deadline.is_none_or(|end| Instant::now() < end) {
            std::thread::sleep(Duration::from_micros(200));
            return Ok(());
        }
        Err(OpenError::RoleTaken {
            name: self.object.name().to_owned(),
            role,
            holder: Box::new(peer::read_holder(&mapping, role)),
        })
    }

    /// Maps the ring for reading, for a moment.
    fn look(&self) -> Result<Mapped, OpenError> {
        let shape = self.identity.shape;
        let mapping = self
            .object
            .map(shape, Access::Observe, MapExtras::default())?;
        Ok(Mapped::new(Arc::new(mapping)))
    }

    /// Refuses a file ring that was last used under another boot.
    fn check_boot(
        &self,
        mapped: &Mapped,
        peer_is_live: bool,
        myself: &Myself,
    ) -> Result<(), OpenError> {
        if peer_is_live || self.object.backing() != Backing::File {
            return Ok(());
        }
        let is_other_boot = |role| {
            let (session, _) = read_session(mapped, role);
            session != 0 && peer::read_boot_id(mapped, role) != myself.boot_id
        };
        if is_other_boot(Role::Producer) || is_other_boot(Role::Consumer) {
            return Err(self.cold("last used under another boot of the machine"));
        }
        Ok(())
    }

    fn cold(&self, why: &'static str) -> OpenError {
        OpenError::Cold {
            name: self.object.name().to_owned(),
            why,
        }
    }

    fn corrupt(&self, what: Corruption) -> OpenError {
        OpenError::corrupt(self.object.name(), what)
    }

    /// The same, or that the file is not whole any more, which is what made it so.
    fn damaged(&self, mapped: &Mapped, what: Corruption) -> OpenError {
        let loss = self.object.loss(mapped.mapping());
        self.corrupt(loss.unwrap_or(what))
    }

    /// Refuses a ring whose file was cut off, or could not be read, while an end was attached.
    fn check_whole(&self, mapped: &Mapped) -> Result<(), OpenError> {
        let loss = self.object.loss(mapped.mapping());
        loss.map_or(Ok(()), |loss| Err(self.corrupt(loss)))
    }

    /// Opens a fresh descriptor of the ring, to hand to another process: over a Unix socket, or
    /// inherited. The receiver opens it as [`Location::Fd`](crate::Location::Fd).
    ///
    /// A descriptor is fresh so that the receiver shares nothing with this process but the bytes;
    /// close it here once it is handed over. A receiver of another user needs a ring whose mode lets
    /// it in, or [`Ring::hand_over_to`].
    ///
    /// # Errors
    ///
    /// [`OpenError::InvalidOption`] for System V, which has no descriptors: hand over its key or
    /// id. Otherwise what the kernel says.
    ///
    /// ```
    /// use std::os::fd::AsRawFd;
    /// let ring = ringduct::Options::new().create_memfd("orders")?;
    /// let (first, second) = (ring.descriptor()?, ring.descriptor()?);
    /// assert_ne!(first.as_raw_fd(), second.as_raw_fd());
    /// # Ok::<(), ringduct::OpenError>(())
    /// ```
    pub fn descriptor(&self) -> Result<std::os::fd::OwnedFd, OpenError> {
        self.object.fresh_description(false)
    }

    /// The same for reading only: enough for [`Options::observe`], and no more.
    ///
    /// # Errors
    ///
    /// As [`Ring::descriptor`].
    ///
    /// ```
    /// use ringduct::{Location, Options};
    /// use std::os::fd::AsRawFd;
    /// let ring = Options::new().create_memfd("orders")?;
    /// let view = ring.read_only_descriptor()?;
    /// let location = Location::Fd(view.as_raw_fd());
    /// assert!(Options::new().observe(&location).is_ok());
    /// assert!(Options::new().open(&location)?.producer().is_ok()); // the same user may reopen it
    /// # Ok::<(), ringduct::OpenError>(())
    /// ```
    pub fn read_only_descriptor(&self) -> Result<std::os::fd::OwnedFd, OpenError> {
        self.object.fresh_description(true)
    }

    /// Bytes of the data area: a power of two, and what was asked for or more.
    ///
    /// ```
    /// let options = ringduct::Options::new().capacity_at_least_bytes(5000);
    /// assert_eq!(options.create_anonymous()?.capacity_bytes(), 8192);
    /// # Ok::<(), ringduct::OpenError>(())
    /// ```
    pub const fn capacity_bytes(&self) -> u64 {
        self.identity.shape.capacity_bytes()
    }

    /// Bytes of the longest message this ring takes.
    ///
    /// ```
    /// let ring = ringduct::Options::new().capacity_bytes(4096).create_anonymous()?;
    /// assert_eq!(ring.max_message_bytes(), 4080);
    /// # Ok::<(), ringduct::OpenError>(())
    /// ```
    pub const fn max_message_bytes(&self) -> u64 {
        self.identity.max_message_bytes
    }

    /// Whether records carry checksums.
    ///
    /// ```
    /// let ring = ringduct::Options::new().checksum(true).create_anonymous()?;
    /// assert!(ring.checksum());
    /// # Ok::<(), ringduct::OpenError>(())
    /// ```
    pub const fn checksum(&self) -> bool {
        self.identity.checksummed()
    }

    /// The ring's own random id.
    ///
    /// ```
    /// let one = ringduct::Options::new().create_anonymous()?;
    /// let other = ringduct::Options::new().create_anonymous()?;
    /// assert_ne!(one.uuid(), other.uuid());
    /// # Ok::<(), ringduct::OpenError>(())
    /// ```
    pub const fn uuid(&self) -> [u8; 16] {
        self.identity.uuid
    }

    /// The tag its creator chose; zeros when none was chosen.
    ///
    /// ```
    /// let tag = *b"orders version 3";
    /// let ring = ringduct::Options::new().application_tag(tag).create_anonymous()?;
    /// assert_eq!(ring.application_tag(), tag);
    /// # Ok::<(), ringduct::OpenError>(())
    /// ```
    pub const fn application_tag(&self) -> [u8; 16] {
        self.identity.application_tag
    }

    /// The name it was opened by.
    ///
    /// ```
    /// let ring = ringduct::Options::new().capacity_bytes(4096).create_anonymous()?;
    /// assert_eq!(ring.name(), "anonymous");
    /// # Ok::<(), ringduct::OpenError>(())
    /// ```
    pub fn name(&self) -> &str {
        self.object.name()
    }

    /// What it is made of.
    ///
    /// ```
    /// let ring = ringduct::Options::new().capacity_bytes(4096).create_anonymous()?;
    /// assert_eq!(ring.backing(), ringduct::Backing::Anonymous);
    /// # Ok::<(), ringduct::OpenError>(())
    /// ```
    pub fn backing(&self) -> Backing {
        self.object.backing()
    }
}

/// An attach under way: the role is held, nothing is written yet.
#[derive(Debug)]
struct Attach {
    role: Role,
    session: u64,
    mapped: Mapped,
    lease: Lease,
    token: ForkToken,
    fences: bool,
    can_issue_barriers: bool,
    peer_is_live: bool,
    myself: Myself,
    /// Where this is, for a durable ring's page.
    here: Option<Here>,
    /// What a cold recovery found, if there was one.
    cold: Option<cold::Found>,
    /// How the role's last holder left.
    _lock: AttachLock,
}

impl Attach {
    /// Writes who is here; the session number last.
    fn finish(self, object: &Arc<Object>) -> Link {
        use word::fence_mode::{BARRIER, FENCE};
        let put = |offset: crate::layout::Offset, value| {
            self.mapped
                .store(offset.of(self.role), value, Order::RELAXED);
        };
        put(word::PARKED, 0);
        put(word::FENCE_MODE, if self.fences { FENCE } else { BARRIER });
        self.myself.store(&self.mapped, self.role);
        if let Some(here) = self.here {
            here.store(&self.mapped, self.role);
        }
        self.mapped
            .store(word::SESSION.of(self.role), self.session, SESSION_STORE);
        Link::new(LinkParts {
            own: self.role,
            session: self.session,
            mapped: self.mapped,
            lease: self.lease,
            object: Arc::clone(object),
            token: self.token,
            can_issue_barriers: self.can_issue_barriers,
            boot_id: self.myself.boot_id,
        })
    }
}

mod removal;
mod settle;
pub(crate) use settle::here;
#[cfg(test)]
mod tests;
