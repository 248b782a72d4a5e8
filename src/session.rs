//! Creating, opening, looking on: from options and a location to a ring.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::attach::Ring;
use crate::cold;
use crate::consumer::Consumer;
use crate::error::OpenError;
use crate::layout::{FORMAT_MINOR, Features, Identity};
use crate::location::Location;
use crate::memory::{Mapped, store_identity};
use crate::observer::Observer;
use crate::options::{CreatePlan, Options};
use crate::peer;
use crate::producer::Producer;
use crate::region::{self, Access, Mapping, Origin, Target};
use crate::ring::{Geometry, Progress};
use crate::state::Here;
use crate::trusted::Trusted;

impl Options {
    /// Makes a new ring at `location`: complete before anybody can see it, or not at all.
    ///
    /// # Errors
    ///
    /// [`OpenError::AlreadyExists`], [`OpenError::InvalidOption`], [`OpenError::NoSpace`], or what
    /// the kernel says. Nothing is left behind.
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # let place = ringduct::Location::from(dir.path().join("orders.ring"));
    /// use ringduct::{OpenError, Options};
    /// let ring = Options::new().capacity_bytes(1 << 16).create(&place)?;
    /// assert_eq!(ring.capacity_bytes(), 65536);
    /// let again = Options::new().create(&place).unwrap_err();
    /// assert!(matches!(again, OpenError::AlreadyExists { .. }));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn create(&self, location: &Location) -> Result<Ring, OpenError> {
        let plan = self.plan_for(Target::Location(location))?;
        let object = region::create(location, &plan, &mut |mapping, origin| {
            fill(mapping, origin, &plan)
        })?;
        Ring::new(object, self)
    }

    /// Opens the ring at `location`. Options that were given must match it; those that were not
    /// accept it as it is.
    ///
    /// # Errors
    ///
    /// [`OpenError::NotFound`], [`OpenError::NotARing`] and the other findings of a check that
    /// writes nothing; [`OpenError::Mismatch`] with both values.
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # let place = ringduct::Location::from(dir.path().join("orders.ring"));
    /// use ringduct::{OpenError, Options};
    /// Options::new().capacity_bytes(1 << 16).create(&place)?;
    /// assert_eq!(Options::new().open(&place)?.capacity_bytes(), 65536);
    /// let other = Options::new().capacity_bytes(1 << 20).open(&place).unwrap_err();
    /// assert!(matches!(other, OpenError::Mismatch { .. }));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn open(&self, location: &Location) -> Result<Ring, OpenError> {
        self.open_with(location, false)
    }

    pub(crate) fn open_with(
        &self,
        location: &Location,
        read_only: bool,
    ) -> Result<Ring, OpenError> {
        if let Location::Unix(path) = location {
            return self.open_served(&location.to_string(), path, read_only);
        }
        let started = Instant::now();
        loop {
            let object = region::open(location, self.trust(), read_only)?;
            let waited = started.elapsed();
            match Ring::new(object, self) {
                // System V only: its creator has a name before it has a ring. Wait for it.
                Err(OpenError::Unfinished { .. }) if waited < self.attach_timeout_or_default() => {
                    std::thread::sleep(Duration::from_millis(1));
                }
                outcome => return outcome,
            }
        }
    }

    /// Opens the ring at `location`, or makes it if there is none. Two processes may do this at the
    /// same time: one makes it, both get it.
    ///
    /// # Errors
    ///
    /// As [`Options::open`] and [`Options::create`].
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # let place = ringduct::Location::from(dir.path().join("orders.ring"));
    /// use ringduct::Options;
    /// let made = Options::new().open_or_create(&place)?;
    /// let opened = Options::new().open_or_create(&place)?;
    /// assert_eq!(made.uuid(), opened.uuid());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn open_or_create(&self, location: &Location) -> Result<Ring, OpenError> {
        // A name may come and go between the two calls, but not for ever.
        for _ in 0..16 {
            match self.open(location) {
                Err(OpenError::NotFound { .. }) => {}
                outcome => return outcome,
            }
            match self.create(location) {
                Err(OpenError::AlreadyExists { .. }) => {}
                outcome => return outcome,
            }
        }
        self.open(location)
    }

    /// Makes a ring in a sealed memory file, to be handed over by descriptor: see
    /// [`Ring::descriptor`]. `name` is what `/proc` shows; it need not be unique.
    ///
    /// # Errors
    ///
    /// [`OpenError::InvalidOption`], [`OpenError::NoSpace`], or what the kernel says.
    ///
    /// ```
    /// use ringduct::{Location, Options};
    /// use std::os::fd::AsRawFd;
    /// let ring = Options::new().create_memfd("orders")?;
    /// let mut tx = ring.producer()?;
    /// let handed_over = ring.descriptor()?; // send this to another process
    /// let there = Options::new().open(&Location::Fd(handed_over.as_raw_fd()))?;
    /// let mut rx = there.consumer()?;
    /// tx.send(b"hello")?;
    /// assert_eq!(rx.recv(&mut [0; 16])?, 5);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn create_memfd(&self, name: &str) -> Result<Ring, OpenError> {
        let plan = self.plan_for(Target::Memory)?;
        let object = region::memfd(name, &plan, &mut |mapping, origin| {
            fill(mapping, origin, &plan)
        })?;
        Ring::new(object, self)
    }

    /// Makes a ring that only this process and the children it forks can reach. Each side attaches
    /// its end after the fork.
    ///
    /// # Errors
    ///
    /// As [`Options::create_memfd`].
    ///
    /// ```
    /// let ring = ringduct::Options::new().create_anonymous()?;
    /// let mut tx = ring.producer()?; // in the parent, say
    /// let mut rx = ring.consumer()?; // in the child
    /// tx.send(b"hello")?;
    /// assert_eq!(rx.recv(&mut [0; 16])?, 5);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn create_anonymous(&self) -> Result<Ring, OpenError> {
        let plan = self.plan_for(Target::Memory)?;
        let object = region::anonymous(&plan, &mut |mapping, origin| fill(mapping, origin, &plan))?;
        Ring::new(object, self)
    }

    /// Opens the ring at `location` for looking on: read-only, without a role. Needs only the right
    /// to read.
    ///
    /// # Errors
    ///
    /// As [`Options::open`].
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # let place = ringduct::Location::from(dir.path().join("orders.ring"));
    /// use ringduct::Options;
    /// let mut tx = Options::new().create(&place)?.producer()?;
    /// tx.send(b"abc")?;
    /// let observer = Options::new().observe(&place)?;
    /// assert_eq!(observer.snapshot().backlog_messages, 1);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn observe(&self, location: &Location) -> Result<Observer, OpenError> {
        self.open_with(location, true)?.observer()
    }

    fn plan_for(&self, target: Target<'_>) -> Result<CreatePlan, OpenError> {
        let unit = region::unit_bytes(target, self.huge_pages_or_default())?;
        self.plan(unit, region::kernel_page_bytes())
    }
}

/// Writes the header of a new ring, the magic last; what a durable ring starts with before that.
fn fill(mapping: &Arc<Mapping>, origin: Origin, plan: &CreatePlan) -> Result<(), OpenError> {
    let checksum = if plan.checksum { Features::CHECKSUM } else { 0 };
    let durable = if plan.durable { Features::DURABLE } else { 0 };
    let Origin { id, mount } = origin;
    let identity = Identity {
        shape: plan.shape,
        features: Features {
            incompatible: checksum | durable,
            ..Features::default()
        },
        minor: FORMAT_MINOR,
        uuid: fresh_uuid()?,
        device: id.device,
        inode: id.inode,
        created_unix_ns: peer::unix_ns(),
        application_tag: plan.application_tag,
        max_message_bytes: plan.max_message_bytes,
        kernel_page_bytes: plan.kernel_page_bytes,
    };
    if plan.durable {
        let here = Here {
            boot: peer::boot_id(),
            home: [id.device, id.inode],
            mount,
        };
        let memory = Mapped::new(Arc::clone(mapping));
        cold::format(
            &memory,
            &Geometry::new(&identity),
            &here,
            &Progress::at(0),
            None,
        );
    }
    store_identity(mapping, &identity.encode());
    Ok(())
}

/// Sixteen random bytes, from the kernel.
pub(crate) fn fresh_uuid() -> Result<[u8; 16], OpenError> {
    use std::io::Read;
    let mut uuid = [0; 16];
    let mut read = || std::fs::File::open("/dev/urandom")?.read_exact(&mut uuid);
    match read() {
        Ok(()) => Ok(uuid),
        Err(error) => Err(OpenError::os("/dev/urandom", "draw the ring's id", error)),
    }
}

/// A pair for two threads of one process, on the same code as a pair of processes.
///
/// The memory has no name and nobody else can open it, so the ends trust each other: they offer
/// borrowed views and in-place claims. `capacity_bytes` is a power of two, at least a page.
///
/// # Errors
///
/// [`OpenError::InvalidOption`] for another capacity, or what the kernel says.
///
/// ```
/// let (mut tx, mut rx) = ringduct::pair(1 << 16)?;
/// let worker = std::thread::spawn(move || {
///     let mut sum = 0_u64;
///     while let Ok(message) = rx.view(None) {
///         sum += u64::from(message[0]);
///     }
///     sum
/// });
/// for number in 0..=100 {
///     tx.send(&[number])?;
/// }
/// drop(tx);
/// assert_eq!(worker.join().unwrap(), 5050);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn pair(capacity_bytes: u64) -> Result<(Producer<Trusted>, Consumer<Trusted>), OpenError> {
    Options::new().capacity_bytes(capacity_bytes).pair()
}

impl Options {
    /// A pair for two threads with these options: see [`pair`].
    ///
    /// # Errors
    ///
    /// As [`pair`].
    ///
    /// ```
    /// let (tx, _rx) = ringduct::Options::new().capacity_at_least_bytes(5000).pair()?;
    /// assert_eq!(tx.capacity_bytes(), 8192);
    /// # Ok::<(), ringduct::OpenError>(())
    /// ```
    pub fn pair(&self) -> Result<(Producer<Trusted>, Consumer<Trusted>), OpenError> {
        let ring = self.create_anonymous()?;
        let mapping = Arc::new(ring.map(Access::Pair)?);
        let producer = ring.attach_producer(Some(Arc::clone(&mapping)))?;
        let consumer = ring.attach_consumer(Some(mapping))?;
        Ok((producer.into_trusted(), consumer.into_trusted()))
    }
}
