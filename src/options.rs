//! What a caller may ask of a ring: a builder, and two pure functions that judge what was asked.

use core::fmt;
use core::time::Duration;

use crate::error::OpenError;
use crate::layout::{Features, Identity, MAX_CAPACITY_BYTES, Shape};
use crate::region::Trust;

/// Capacity of a ring whose creator names none.
const DEFAULT_CAPACITY_BYTES: u64 = 1 << 20;

/// Permission bits of a ring whose creator names none: nobody but the owner.
const DEFAULT_MODE: u32 = 0o600;

/// How long an attach waits for another one to finish when no bound is named.
const DEFAULT_ATTACH_TIMEOUT: Duration = Duration::from_secs(5);

/// Whether a ring is to lie in huge pages.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum HugePages {
    /// Ordinary pages.
    #[default]
    Never,
    /// Ordinary pages that the kernel may join into huge ones when it can; never an error.
    Try,
    /// Huge pages, or an error. The ring's unit becomes the huge page (usually 2 MiB), so its
    /// header takes eight of them. Works for files on a `hugetlbfs` mount, for memory files and
    /// anonymous rings, and for System V; not for `shm:` names.
    Always,
}

impl fmt::Display for HugePages {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Never => "never",
            Self::Try => "try",
            Self::Always => "always",
        })
    }
}

/// How to make, find and map a ring.
///
/// Everything has a default. What is given explicitly must also be true of a ring that already
/// exists: opening one that differs is an error that carries both values. What is not given is
/// accepted as it is. Values are checked when a ring is made or opened, not by the setters.
///
/// ```
/// use ringduct::Options;
///
/// let options = Options::new()
///     .capacity_bytes(1 << 16)
///     .checksum(true)
///     .prefault(true);
/// assert_ne!(format!("{options:?}"), format!("{:?}", Options::new()));
/// ```
#[derive(Clone, Debug, Default)]
#[must_use = "options do nothing until a ring is made or opened with them"]
pub struct Options {
    capacity_bytes: Option<u64>,
    capacity_at_least_bytes: Option<u64>,
    mode: Option<u32>,
    prefault: Option<bool>,
    huge_pages: Option<HugePages>,
    lock_memory: Option<bool>,
    owner: Option<u32>,
    max_message_bytes: Option<u64>,
    application_tag: Option<[u8; 16]>,
    checksum: Option<bool>,
    attach_timeout: Option<Duration>,
    durable: Option<bool>,
    distrust_memory: Option<bool>,
    writable_data: Option<bool>,
}

impl Options {
    /// Nothing given: every default holds, and every existing ring is accepted.
    ///
    /// ```
    /// let ring = ringduct::Options::new().create_anonymous()?;
    /// assert_eq!(ring.capacity_bytes(), 1 << 20);
    /// # Ok::<(), ringduct::OpenError>(())
    /// ```
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the bytes of the data area exactly: a power of two, at least one page (4096 bytes on
    /// most machines), at most 2^40. Without it a ring gets 1 MiB, or one huge page if that is
    /// more. An existing ring must have exactly this capacity.
    ///
    /// ```
    /// let options = ringduct::Options::new();
    /// assert_eq!(options.clone().capacity_bytes(8192).create_anonymous()?.capacity_bytes(), 8192);
    /// assert!(options.capacity_bytes(5000).create_anonymous().is_err());
    /// # Ok::<(), ringduct::OpenError>(())
    /// ```
    pub fn capacity_bytes(mut self, bytes: u64) -> Self {
        self.capacity_bytes = Some(bytes);
        self
    }

    /// Asks for at least this many bytes of data area, 0 to 2^40: a new ring gets the next allowed
    /// power of two, which it reports, and an existing ring must have as many or more.
    ///
    /// ```
    /// let options = ringduct::Options::new().capacity_at_least_bytes(5000);
    /// assert_eq!(options.create_anonymous()?.capacity_bytes(), 8192);
    /// # Ok::<(), ringduct::OpenError>(())
    /// ```
    pub fn capacity_at_least_bytes(mut self, bytes: u64) -> Self {
        self.capacity_at_least_bytes = Some(bytes);
        self
    }

    /// Sets the permission bits of a new ring: within `0o777`, with reading and writing for the
    /// owner. The default is `0o600`, and the umask has no say. Bits for running a program are
    /// dropped for memory files and System V.
    ///
    /// An existing ring is refused if its group or others may write to it and this mode, or the
    /// default, does not say so: whoever opens a shared ring names its mode too.
    ///
    /// ```
    /// assert!(ringduct::Options::new().mode(0o640).create_anonymous().is_ok());
    /// assert!(ringduct::Options::new().mode(0o400).create_anonymous().is_err()); // not writable
    /// # Ok::<(), ringduct::OpenError>(())
    /// ```
    pub fn mode(mut self, mode: u32) -> Self {
        self.mode = Some(mode);
        self
    }

    /// Maps every page while attaching, so that no first use of a page costs a fault later. Off by
    /// default. Needs Linux 5.14. On a file this marks every writable page as changed once.
    ///
    /// ```
    /// let ring = ringduct::Options::new().prefault(true).create_anonymous()?;
    /// assert!(ring.producer().is_ok());
    /// # Ok::<(), ringduct::OpenError>(())
    /// ```
    pub fn prefault(mut self, prefault: bool) -> Self {
        self.prefault = Some(prefault);
        self
    }

    /// Maps the data writable in the consumer, for shorter round trips and faster streams of messages
    /// of 1 to 16 KiB. Off by default: a stray store of the consumer's program is caught by the
    /// processor instead of destroying a message. Who the peer is does not matter here: it has a
    /// mapping of its own. Nothing changes for a producer that is attached with this option.
    ///
    /// Some processors (AMD's Zen 4 was measured) give a reader sole possession of a cache line that
    /// another core has written, if the reader's page is writable, and a shared copy otherwise. The
    /// writer gets the first kind back sooner: a round trip took about two thirds of the time. Pages of
    /// a file on a disk are writable only once they were written to, so there it does not.
    ///
    /// In a stream the consumer also stores back what it has read of messages of 1 to 16 KiB before it
    /// releases them, in rings of up to 8 MiB that are not durable (x86-64 only). No byte changes, and the
    /// producer's next copy finds the lines where it gets them soonest: 1.1 to 2 times as many messages
    /// of 1 KiB came through, 2.6 to 3.3 times as many of 4 KiB, and 0.8 to 2.9 times of 16 KiB, fewest in
    /// the larger rings. Also in files; there the consumer's stores may wait for write-back, as the
    /// producer's do, and fail where those can.
    ///
    /// A consumer whose descriptors were closed behind the library's back has lost its role without
    /// knowing; with this option it can then destroy a message, not only skip some.
    ///
    /// The ends of a [`pair`](crate::pair) share one mapping, which is writable in any case, and do so
    /// too.
    ///
    /// ```
    /// let ring = ringduct::Options::new().writable_data(true).create_anonymous()?;
    /// assert!(ring.consumer().is_ok());
    /// # Ok::<(), ringduct::OpenError>(())
    /// ```
    pub fn writable_data(mut self, writable_data: bool) -> Self {
        self.writable_data = Some(writable_data);
        self
    }

    /// Chooses the pages; [`HugePages::Never`] by default. [`HugePages::Always`] refuses an
    /// existing ring that was made with ordinary pages.
    ///
    /// ```
    /// use ringduct::HugePages;
    /// let ring = ringduct::Options::new().huge_pages(HugePages::Try).create_anonymous()?;
    /// assert!(ring.producer().is_ok());
    /// # Ok::<(), ringduct::OpenError>(())
    /// ```
    pub fn huge_pages(mut self, huge_pages: HugePages) -> Self {
        self.huge_pages = Some(huge_pages);
        self
    }

    /// Keeps this process's mapping of the ring in memory, never swapped out. Off by default.
    /// Counts header and capacity against the memlock limit of the process.
    ///
    /// ```
    /// let options = ringduct::Options::new().capacity_bytes(4096).lock_memory(true);
    /// assert!(options.create_anonymous()?.producer().is_ok());
    /// # Ok::<(), ringduct::OpenError>(())
    /// ```
    pub fn lock_memory(mut self, lock_memory: bool) -> Self {
        self.lock_memory = Some(lock_memory);
        self
    }

    /// Names the user id that must own an existing ring; the caller's effective user id by
    /// default. Whoever owns the ring can corrupt it: name only whom you trust to that extent.
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # let place = ringduct::Location::from(dir.path().join("x.ring"));
    /// use ringduct::{OpenError, Options};
    /// Options::new().create(&place)?;
    /// let another = Options::new().owner(54321).open(&place).unwrap_err();
    /// assert!(matches!(another, OpenError::WrongOwner { expected: 54321, .. }));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn owner(mut self, uid: u32) -> Self {
        self.owner = Some(uid);
        self
    }

    /// Sets the longest message, in bytes: from 1 to the capacity less 16, and at most 2^32 - 16,
    /// which is also the default. An existing ring must have exactly this limit.
    ///
    /// ```
    /// let ring = ringduct::Options::new().max_message_bytes(100).create_anonymous()?;
    /// assert!(ring.producer()?.try_send(&[0; 101]).is_err());
    /// # Ok::<(), ringduct::OpenError>(())
    /// ```
    pub fn max_message_bytes(mut self, bytes: u64) -> Self {
        self.max_message_bytes = Some(bytes);
        self
    }

    /// Marks a new ring with 16 bytes of the application's choice, so that two programs notice
    /// when they mean different things; all zero by default. An existing ring must carry the same.
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # let place = ringduct::Location::from(dir.path().join("x.ring"));
    /// use ringduct::Options;
    /// Options::new().application_tag(*b"orders version 3").create(&place)?;
    /// let other = Options::new().application_tag(*b"orders version 4");
    /// assert!(other.open(&place).is_err());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn application_tag(mut self, tag: [u8; 16]) -> Self {
        self.application_tag = Some(tag);
        self
    }

    /// Chooses whether every record of a new ring carries a checksum that receivers verify. Off by
    /// default. An existing ring must agree.
    ///
    /// ```
    /// let ring = ringduct::Options::new().checksum(true).create_anonymous()?;
    /// assert!(ring.checksum());
    /// # Ok::<(), ringduct::OpenError>(())
    /// ```
    pub fn checksum(mut self, checksum: bool) -> Self {
        self.checksum = Some(checksum);
        self
    }

    /// Chooses whether a new ring can outlive a power cut: see
    /// [`Producer::checkpoint`](crate::Producer::checkpoint). Off by default. Its space is then used
    /// again only once a checkpoint of the consumer is on the medium. Needs a file on ext4, xfs,
    /// btrfs or f2fs. An existing ring must agree.
    ///
    /// ```
    /// use ringduct::{OpenError, Options};
    /// let error = Options::new().durable(true).create_anonymous().unwrap_err();
    /// assert!(matches!(error, OpenError::NotDurable { .. }));
    /// ```
    pub fn durable(mut self, durable: bool) -> Self {
        self.durable = Some(durable);
        self
    }

    /// Recovers a durable ring as after a power cut even if boot, file and mount look the same: for
    /// rings that were restored in place, or on a disk that lost its cache. Off by default. Messages
    /// that no checkpoint covers may be lost. Without effect while the other side is attached, and
    /// on rings that are not durable.
    ///
    /// ```
    /// let options = ringduct::Options::new().distrust_memory(true);
    /// assert!(options.create_anonymous()?.producer().is_ok());
    /// # Ok::<(), ringduct::OpenError>(())
    /// ```
    pub fn distrust_memory(mut self, distrust: bool) -> Self {
        self.distrust_memory = Some(distrust);
        self
    }

    /// Bounds the wait for another process that is attaching at this moment: 5 seconds by default;
    /// zero tries once; [`Duration::MAX`] waits for ever. Never bounds the wait for a role: a role
    /// that is taken is refused at once.
    ///
    /// ```
    /// use std::time::Duration;
    /// let options = ringduct::Options::new().attach_timeout(Duration::ZERO);
    /// assert!(options.create_anonymous()?.producer().is_ok());
    /// # Ok::<(), ringduct::OpenError>(())
    /// ```
    pub fn attach_timeout(mut self, timeout: Duration) -> Self {
        self.attach_timeout = Some(timeout);
        self
    }
}

/// What to do about pages while mapping.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct MapExtras {
    pub(crate) prefault: bool,
    pub(crate) huge: HugePages,
    pub(crate) lock_memory: bool,
    /// Whether a consumer's mapping of the data may be written to.
    pub(crate) writable_data: bool,
}

/// Everything a creator needs, checked.
#[derive(Clone, Copy, Debug)]
pub(crate) struct CreatePlan {
    pub(crate) shape: Shape,
    pub(crate) kernel_page_bytes: u64,
    pub(crate) mode: u32,
    pub(crate) max_message_bytes: u64,
    pub(crate) application_tag: [u8; 16],
    pub(crate) checksum: bool,
    pub(crate) durable: bool,
    pub(crate) huge: HugePages,
}

impl Options {
    /// What was chosen for pages, or the default.
    pub(crate) fn huge_pages_or_default(&self) -> HugePages {
        self.huge_pages.unwrap_or_default()
    }

    /// What to do while mapping.
    pub(crate) fn map_extras(&self) -> MapExtras {
        MapExtras {
            prefault: self.prefault.unwrap_or(false),
            huge: self.huge_pages_or_default(),
            lock_memory: self.lock_memory.unwrap_or(false),
            writable_data: self.writable_data.unwrap_or(false),
        }
    }

    /// Whether to recover as after a power cut in any case.
    pub(crate) fn distrusts_memory(&self) -> bool {
        self.distrust_memory.unwrap_or(false)
    }

    /// Whom an existing ring may belong to and be written by.
    pub(crate) fn trust(&self) -> Trust {
        Trust {
            owner: self.expected_owner(),
            mode: self.mode.unwrap_or(DEFAULT_MODE),
        }
    }

    /// The user id that an existing ring must belong to.
    pub(crate) fn expected_owner(&self) -> u32 {
        self.owner
            .unwrap_or_else(|| rustix::process::geteuid().as_raw())
    }

    /// How long to wait for another attach.
    pub(crate) fn attach_timeout_or_default(&self) -> Duration {
        self.attach_timeout.unwrap_or(DEFAULT_ATTACH_TIMEOUT)
    }

    /// Checks everything that a creator needs and fills in the defaults.
    ///
    /// `unit_bytes` is the page the ring will be made of, a huge one perhaps.
    pub(crate) fn plan(
        &self,
        unit_bytes: u64,
        kernel_page_bytes: u64,
    ) -> Result<CreatePlan, OpenError> {
        let capacity_bytes = self.plan_capacity(unit_bytes)?;
        let Some(shape) = Shape::new(unit_bytes, capacity_bytes) else {
            return Err(invalid(
                "capacity_bytes",
                capacity_bytes,
                capacity_range(unit_bytes),
            ));
        };
        let mode = self.mode.unwrap_or(DEFAULT_MODE);
        if mode & !0o777 != 0 || mode & 0o600 != 0o600 {
            return Err(invalid(
                "mode",
                format_args!("{mode:#o}"),
                "permission bits 0o600 to 0o777 with reading and writing for the owner".to_owned(),
            ));
        }
        let longest = shape.longest_message_bytes();
        let max_message_bytes = self.max_message_bytes.unwrap_or(longest);
        if max_message_bytes == 0 || max_message_bytes > longest {
            return Err(invalid(
                "max_message_bytes",
                max_message_bytes,
                format!("1 to {longest} with a capacity of {capacity_bytes} bytes"),
            ));
        }
        Ok(CreatePlan {
            shape,
            kernel_page_bytes,
            mode,
            max_message_bytes,
            application_tag: self.application_tag.unwrap_or_default(),
            checksum: self.checksum.unwrap_or(false),
            durable: self.durable.unwrap_or(false),
            huge: self.huge_pages_or_default(),
        })
    }

    fn plan_capacity(&self, unit_bytes: u64) -> Result<u64, OpenError> {
        let at_least = self.capacity_at_least_bytes;
        if let Some(bytes) = at_least.filter(|bytes| *bytes > MAX_CAPACITY_BYTES) {
            return Err(invalid(
                "capacity_at_least_bytes",
                bytes,
                format!("0 to {MAX_CAPACITY_BYTES}"),
            ));
        }
        let Some(exact) = self.capacity_bytes else {
            // Bounded by 2^40 just above, so the next power of two exists.
            let wanted = at_least.unwrap_or(DEFAULT_CAPACITY_BYTES);
            return Ok(wanted.max(unit_bytes).next_power_of_two());
        };
        if !exact.is_power_of_two() || exact < unit_bytes || exact > MAX_CAPACITY_BYTES {
            return Err(invalid(
                "capacity_bytes",
                exact,
                nearest_capacities(exact, unit_bytes),
            ));
        }
        match at_least.filter(|bytes| *bytes > exact) {
            Some(bytes) => Err(invalid(
                "capacity_at_least_bytes",
                bytes,
                format!("0 to the capacity that was also given, {exact}"),
            )),
            None => Ok(exact),
        }
    }

    /// Compares what was given explicitly with a ring that exists.
    pub(crate) fn check_existing(&self, name: &str, ring: &Identity) -> Result<(), OpenError> {
        let capacity = ring.shape.capacity_bytes();
        if let Some(asked) = self.capacity_bytes.filter(|asked| *asked != capacity) {
            return Err(mismatch(name, "capacity_bytes", asked, capacity));
        }
        if let Some(asked) = self
            .capacity_at_least_bytes
            .filter(|asked| *asked > capacity)
        {
            let asked = format_args!("at least {asked}");
            return Err(mismatch(name, "capacity_bytes", asked, capacity));
        }
        let longest = ring.max_message_bytes;
        if let Some(asked) = self.max_message_bytes.filter(|asked| *asked != longest) {
            return Err(mismatch(name, "max_message_bytes", asked, longest));
        }
        let tag = ring.application_tag;
        if let Some(asked) = self.application_tag.filter(|asked| *asked != tag) {
            let (asked, found) = (asked.escape_ascii(), tag.escape_ascii());
            return Err(mismatch(name, "application_tag", asked, found));
        }
        let checksum = ring.features.incompatible & Features::CHECKSUM != 0;
        if let Some(asked) = self.checksum.filter(|asked| *asked != checksum) {
            return Err(mismatch(name, "checksum", asked, checksum));
        }
        let ordinary = ring.shape.unit_bytes() == ring.kernel_page_bytes;
        let durable = ring.durable();
        if let Some(asked) = self.durable.filter(|asked| *asked != durable) {
            return Err(mismatch(name, "durable", asked, durable));
        }
        if self.huge_pages == Some(HugePages::Always) && ordinary {
            let (asked, found) = (HugePages::Always, HugePages::Never);
            return Err(mismatch(name, "huge_pages", asked, found));
        }
        Ok(())
    }
}

/// Any range of capacities, in words.
fn capacity_range(unit_bytes: u64) -> String {
    format!("a power of two from {unit_bytes} to {MAX_CAPACITY_BYTES}")
}

/// The allowed capacities next to one that is not allowed.
fn nearest_capacities(bytes: u64, unit_bytes: u64) -> String {
    let range = capacity_range(unit_bytes);
    if bytes < unit_bytes {
        return format!("{range}; the nearest is {unit_bytes}");
    }
    if bytes > MAX_CAPACITY_BYTES {
        return format!("{range}; the nearest is {MAX_CAPACITY_BYTES}");
    }
    let above = bytes.next_power_of_two();
    format!("{range}; the nearest are {} and {above}", above >> 1)
}

fn invalid(option: &'static str, found: impl fmt::Display, expected: String) -> OpenError {
    OpenError::InvalidOption {
        option,
        found: found.to_string(),
        expected,
    }
}

fn mismatch(
    name: &str,
    option: &'static str,
    expected: impl fmt::Display,
    found: impl fmt::Display,
) -> OpenError {
    OpenError::Mismatch {
        name: name.to_owned(),
        option,
        expected: expected.to_string(),
        found: found.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAGE: u64 = 4096;

    fn planned(options: &Options) -> CreatePlan {
        options.plan(PAGE, PAGE).unwrap()
    }

    fn refused(options: &Options) -> String {
        options.plan(PAGE, PAGE).unwrap_err().to_string()
    }

    fn identity(options: &Options) -> Identity {
        let plan = planned(options);
        Identity {
            shape: plan.shape,
            features: Features {
                incompatible: if plan.checksum { Features::CHECKSUM } else { 0 },
                ..Features::default()
            },
            minor: 0,
            uuid: [0; 16],
            device: 0,
            inode: 0,
            created_unix_ns: 0,
            application_tag: plan.application_tag,
            max_message_bytes: plan.max_message_bytes,
            kernel_page_bytes: plan.kernel_page_bytes,
        }
    }

    /// Goal: the documented defaults.
    #[test]
    fn defaults_are_as_documented() {
        let plan = planned(&Options::new());
        assert_eq!(plan.shape.capacity_bytes(), 1 << 20);
        assert_eq!(plan.mode, 0o600);
        assert_eq!(plan.max_message_bytes, (1 << 20) - 16);
        assert_eq!(plan.application_tag, [0; 16]);
        assert!(!plan.checksum);
        let huge = Options::new().plan(2 << 20, PAGE).unwrap();
        assert_eq!(huge.shape.capacity_bytes(), 2 << 20);
        let options = Options::new();
        assert_eq!(
            options.expected_owner(),
            rustix::process::geteuid().as_raw()
        );
        assert_eq!(options.attach_timeout_or_default(), Duration::from_secs(5));
    }

    /// Goal: only allowed capacities pass, and a refusal names the neighbours.
    #[test]
    fn capacities_are_checked() {
        for shift in 12..=40 {
            let bytes = 1 << shift;
            let plan = planned(&Options::new().capacity_bytes(bytes));
            assert_eq!(plan.shape.capacity_bytes(), bytes);
        }
        let near = |bytes| refused(&Options::new().capacity_bytes(bytes));
        assert!(near(0).contains("the nearest is 4096"));
        assert!(near(2048).contains("the nearest is 4096"));
        assert!(near(5000).contains("4096 and 8192"), "{}", near(5000));
        assert!(near(8193).contains("8192 and 16384"));
        assert!(near((1 << 40) - 1).contains("549755813888 and 1099511627776"));
        assert!(near((1 << 40) + 1).contains("the nearest is 1099511627776"));
        assert!(near(u64::MAX).contains("the nearest is 1099511627776"));
        for (asked, given) in [
            (0, 4096),
            (1, 4096),
            (4096, 4096),
            (4097, 8192),
            (1 << 40, 1 << 40),
        ] {
            let plan = planned(&Options::new().capacity_at_least_bytes(asked));
            assert_eq!(plan.shape.capacity_bytes(), given);
        }
        for asked in [(1 << 40) + 1, u64::MAX] {
            refused(&Options::new().capacity_at_least_bytes(asked));
        }
        refused(
            &Options::new()
                .capacity_bytes(4096)
                .capacity_at_least_bytes(4097),
        );
        planned(
            &Options::new()
                .capacity_bytes(8192)
                .capacity_at_least_bytes(4097),
        );
    }

    /// Goal: modes and message limits at their edges.
    #[test]
    fn modes_and_message_limits_are_checked() {
        for mode in [0o600, 0o660, 0o666, 0o777] {
            assert_eq!(planned(&Options::new().mode(mode)).mode, mode);
        }
        for mode in [0, 0o400, 0o200, 0o1600, 0o4600, 0o077, u32::MAX] {
            refused(&Options::new().mode(mode));
        }
        let small = Options::new().capacity_bytes(4096);
        for bytes in [1, 4080] {
            planned(&small.clone().max_message_bytes(bytes));
        }
        for bytes in [0, 4081, u64::MAX] {
            refused(&small.clone().max_message_bytes(bytes));
        }
    }

    /// Goal: an existing ring is measured by what was given, and by nothing else.
    #[test]
    fn existing_rings_are_compared_with_what_was_given() {
        let made = Options::new()
            .capacity_bytes(8192)
            .max_message_bytes(100)
            .application_tag(*b"orders v3\0\0\0\0\0\0\0")
            .checksum(true);
        let ring = identity(&made);
        let new = Options::new;
        let accepted = [
            new(),
            made.clone(),
            new().capacity_at_least_bytes(8192),
            new().capacity_at_least_bytes(1),
            new().mode(0o666).prefault(true).huge_pages(HugePages::Try),
        ];
        for options in accepted {
            options.check_existing("x", &ring).unwrap();
        }
        let refused = [
            (new().capacity_bytes(4096), "4096", "8192"),
            (new().capacity_at_least_bytes(8193), "at least 8193", "8192"),
            (new().max_message_bytes(99), "99", "100"),
            (new().application_tag([1; 16]), r"\x01", "orders v3"),
            (new().checksum(false), "false", "true"),
            (new().huge_pages(HugePages::Always), "always", "never"),
        ];
        for (options, asked, has) in refused {
            let error = options.check_existing("x", &ring).unwrap_err();
            let OpenError::Mismatch {
                expected, found, ..
            } = &error
            else {
                panic!("{error}");
            };
            assert!(expected.contains(asked) && found.contains(has), "{error}");
        }
    }
}
