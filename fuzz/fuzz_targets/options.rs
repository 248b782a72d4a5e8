//! Options of any value, alone and together: a ring is made exactly where the documentation allows
//! it, an existing one is accepted exactly if it is what was asked for, and anything else is an
//! error that says which option it was.
#![no_main]

use core::time::Duration;
use std::os::fd::AsRawFd;

use arbitrary::Arbitrary;
use libfuzzer_sys::fuzz_target;
use ringduct::{
    CheckpointError, CheckpointForm, CheckpointPolicy, Consumer, HugePages, Location, OpenError,
    Options, Producer, Ring,
};

/// No ring larger than this is made.
const MOST_BYTES: u64 = 1 << 20;

#[derive(Arbitrary, Debug)]
struct Input {
    place: Place,
    creator: Creator,
    wishes: Wishes,
    when_opened: Wishes,
    policy: Policy,
}

#[derive(Arbitrary, Clone, Copy, Debug)]
enum Place {
    MemoryFile {
        label_bytes: u8,
        nul: bool,
    },
    Anonymous,
    File,
    Shm,
    /// Places where a ring can only be opened.
    Descriptor(u8),
    Segment(u8),
    Socket,
}

#[derive(Arbitrary, Clone, Copy, Debug)]
enum Creator {
    Create,
    OpenOrCreate,
}

#[derive(Arbitrary, Debug)]
struct Wishes {
    capacity: Option<Number>,
    at_least: Option<Number>,
    mode: Option<u16>,
    prefault: Option<bool>,
    try_huge: Option<bool>,
    lock_memory: Option<bool>,
    owner: Option<u8>,
    max_message: Option<Number>,
    tag: Option<u8>,
    checksum: Option<bool>,
    timeout: Option<u64>,
    durable: Option<bool>,
    distrust: Option<bool>,
}

#[derive(Arbitrary, Clone, Copy, Debug)]
enum Number {
    Any(u64),
    Power(u8),
    Small(u16),
    /// What a ring of this capacity takes at most, and some more or less.
    Longest {
        exponent: u8,
        more: i8,
    },
}

#[derive(Arbitrary, Debug)]
struct Policy {
    messages: Option<Number>,
    bytes: Option<Number>,
    nanoseconds: Option<u64>,
    background: bool,
}

impl Number {
    fn get(self) -> u64 {
        match self {
            Self::Any(value) => value,
            Self::Power(exponent) => 1 << (exponent % 64),
            Self::Small(value) => u64::from(value),
            Self::Longest { exponent, more } => {
                (1_u64 << (exponent % 42)).saturating_add_signed(i64::from(more) - 16)
            }
        }
    }

    /// The number, unless a ring of so many bytes could be made and would be too large for a test.
    fn bounded(self) -> u64 {
        let value = self.get();
        if value <= 1 << 40 {
            value % (MOST_BYTES + 1)
        } else {
            value
        }
    }
}

impl Wishes {
    fn options(&self) -> Options {
        let mut options = Options::new();
        if let Some(bytes) = self.capacity {
            options = options.capacity_bytes(bytes.bounded());
        }
        if let Some(bytes) = self.at_least {
            options = options.capacity_at_least_bytes(bytes.bounded());
        }
        if let Some(mode) = self.mode {
            options = options.mode(mode.into());
        }
        if let Some(prefault) = self.prefault {
            options = options.prefault(prefault);
        }
        if let Some(huge) = self.try_huge {
            options = options.huge_pages(if huge {
                HugePages::Try
            } else {
                HugePages::Never
            });
        }
        if let Some(lock) = self.lock_memory {
            options = options.lock_memory(lock);
        }
        if let Some(uid) = self.owner {
            options = options.owner(uid.into());
        }
        if let Some(bytes) = self.max_message {
            options = options.max_message_bytes(bytes.get());
        }
        if let Some(byte) = self.tag {
            options = options.application_tag([byte; 16]);
        }
        if let Some(checksum) = self.checksum {
            options = options.checksum(checksum);
        }
        if let Some(nanoseconds) = self.timeout {
            options = options.attach_timeout(Duration::from_nanos(nanoseconds));
        }
        if let Some(durable) = self.durable {
            options = options.durable(durable);
        }
        if let Some(distrust) = self.distrust {
            options = options.distrust_memory(distrust);
        }
        options
    }

    /// The options that the documentation does not allow for a new ring; its capacity if there is
    /// none.
    fn wrong(&self) -> Result<u64, Vec<&'static str>> {
        let mut wrong = Vec::new();
        let at_least = self.at_least.map(Number::bounded);
        if at_least.is_some_and(|bytes| bytes > 1 << 40) {
            wrong.push("capacity_at_least_bytes");
        }
        let capacity = match self.capacity.map(Number::bounded) {
            None => at_least
                .unwrap_or(1 << 20)
                .clamp(4096, 1 << 40)
                .next_power_of_two(),
            Some(exact) => exact,
        };
        if !capacity.is_power_of_two() || !(4096..=1 << 40).contains(&capacity) {
            wrong.push("capacity_bytes");
        }
        if at_least.is_some_and(|bytes| bytes > capacity) {
            wrong.push("capacity_at_least_bytes");
        }
        let mode = self.mode.unwrap_or(0o600);
        if mode & !0o777 != 0 || mode & 0o600 != 0o600 {
            wrong.push("mode");
        }
        let longest = capacity.saturating_sub(16).min((1 << 32) - 16);
        if self
            .max_message
            .is_some_and(|bytes| !(1..=longest).contains(&bytes.get()))
        {
            wrong.push("max_message_bytes");
        }
        if wrong.is_empty() {
            Ok(capacity)
        } else {
            Err(wrong)
        }
    }

    /// What of an existing ring, made by this user, is not as was asked for.
    fn different(&self, ring: &Ring) -> Vec<&'static str> {
        let own = rustix::process::geteuid().as_raw();
        let status = rustix::fs::fstat(ring.descriptor().expect("a descriptor"));
        let mode = status.expect("a status").st_mode;
        // Others may write only where they are meant to.
        let asked = u32::from(self.mode.unwrap_or(0o600));
        let capacity = ring.capacity_bytes();
        let differ = [
            ("mode", mode & 0o022 & !asked != 0),
            ("owner", self.owner.is_some_and(|uid| u32::from(uid) != own)),
            (
                "capacity_bytes",
                self.capacity
                    .is_some_and(|bytes| bytes.bounded() != capacity),
            ),
            (
                "capacity_bytes",
                self.at_least
                    .is_some_and(|bytes| bytes.bounded() > capacity),
            ),
            (
                "max_message_bytes",
                self.max_message
                    .is_some_and(|bytes| bytes.get() != ring.max_message_bytes()),
            ),
            (
                "application_tag",
                self.tag
                    .is_some_and(|byte| [byte; 16] != ring.application_tag()),
            ),
            (
                "checksum",
                self.checksum.is_some_and(|asked| asked != ring.checksum()),
            ),
            ("durable", self.durable == Some(true)), // none is, in memory
        ];
        differ
            .into_iter()
            .filter(|differ| differ.1)
            .map(|differ| differ.0)
            .collect()
    }
}

fuzz_target!(|input: Input| {
    let wishes = &input.wishes;
    let options = wishes.options();
    let make = |location: &Location| match input.creator {
        Creator::Create => options.create(location),
        Creator::OpenOrCreate => options.open_or_create(location),
    };
    let mut location = None;
    let mut wrong = wishes.wrong().err().unwrap_or_default();
    let made = match input.place {
        Place::MemoryFile { label_bytes, nul } => {
            let label = "x".repeat(label_bytes.into()) + if nul { "\0" } else { "" };
            if nul || label.len() > 200 {
                wrong.push("name");
            }
            options.create_memfd(&label)
        }
        Place::Anonymous => options.create_anonymous(),
        Place::File => make(location.insert(Location::from(path("ring")))),
        Place::Shm => make(location.insert(Location::Shm(name()))),
        Place::Descriptor(number) => {
            return check_unmakable(&options, &Location::Fd(number.into()));
        }
        Place::Segment(id) => return check_unmakable(&options, &Location::SysVId(id.into())),
        Place::Socket => return check_unmakable(&options, &Location::Unix(path("socket"))),
    };
    match made {
        Ok(ring) => {
            assert_eq!(wishes.wrong().as_ref(), Ok(&ring.capacity_bytes()));
            assert_ne!(wishes.durable, Some(true));
            if let Some(location) = &location {
                check_existing(location, &options, &input.when_opened, &ring);
            }
            reopen(&ring, &input.when_opened);
            ends(&ring, &input.policy);
            if location.is_some() {
                ring.remove().expect("it is there");
            }
        }
        Err(OpenError::InvalidOption {
            option,
            found,
            expected,
        }) => {
            assert!(wrong.contains(&option), "{option} of {wrong:?}");
            assert!(!found.is_empty() || option == "name");
            assert!(!expected.is_empty());
        }
        Err(OpenError::NotDurable { .. }) => assert_eq!(wishes.durable, Some(true)),
        // The kernel may have no room for making it; that is said as such.
        Err(OpenError::NoSpace { .. }) => assert!(wrong.is_empty()),
        Err(error) => panic!("{error:?}"),
    }
});

fn name() -> String {
    format!("ringduct-fuzz-{}", std::process::id())
}

fn path(what: &str) -> std::path::PathBuf {
    std::path::Path::new("/dev/shm").join(format!("{}.{what}", name()))
}

/// A place where no ring can be made.
fn check_unmakable(options: &Options, location: &Location) {
    let error = options.create(location).expect_err("made there");
    let expected = matches!(
        error,
        OpenError::InvalidOption { .. } | OpenError::NotDurable { .. }
    );
    assert!(expected, "{error:?}");
}

/// A name that is taken stays what it is.
fn check_existing(location: &Location, options: &Options, wishes: &Wishes, ring: &Ring) {
    let error = options.create(location).expect_err("made twice");
    assert!(
        matches!(error, OpenError::AlreadyExists { .. }),
        "{error:?}"
    );
    let different = wishes.different(ring);
    match wishes.options().open_or_create(location) {
        Ok(opened) => {
            assert!(different.is_empty(), "{different:?}");
            assert_eq!(opened.uuid(), ring.uuid());
        }
        Err(error) => check_difference(&error, &different),
    }
    if let Err(error) = wishes.options().observe(location) {
        check_difference(&error, &different);
    }
}

fn check_difference(error: &OpenError, different: &[&str]) {
    match error {
        OpenError::WrongOwner { .. } => assert!(different.contains(&"owner")),
        OpenError::WrongMode { .. } => assert!(different.contains(&"mode")),
        OpenError::Mismatch {
            option,
            expected,
            found,
            ..
        } => {
            assert!(different.contains(option), "{option} of {different:?}");
            assert_ne!(expected, found);
        }
        error => panic!("{error:?}"),
    }
}

fn reopen(ring: &Ring, wishes: &Wishes) {
    let descriptor = ring.descriptor().expect("a descriptor");
    let different = wishes.different(ring);
    match wishes.options().open(&Location::Fd(descriptor.as_raw_fd())) {
        Ok(opened) => {
            assert!(different.is_empty(), "{different:?}");
            match opened.producer() {
                Ok(mut tx) => tx.try_send(b"x").expect("room for a byte"),
                // Locked memory is limited.
                Err(error) => assert_eq!(wishes.lock_memory, Some(true), "{error}"),
            }
        }
        // A file that is no memory file is not handed over.
        Err(OpenError::Unsealed { .. } | OpenError::NotARing { .. }) => {}
        Err(error) => check_difference(&error, &different),
    }
}

/// Checkpoints and policies of any value, where nothing can be durable.
fn ends(ring: &Ring, policy: &Policy) {
    let (Ok(mut tx), Ok(mut rx)) = (ring.producer(), ring.consumer()) else {
        return; // locked memory is limited
    };
    let mut asked = CheckpointPolicy::new().in_background(policy.background);
    if let Some(number) = policy.messages {
        asked = asked.every_messages(number.get());
    }
    if let Some(number) = policy.bytes {
        asked = asked.every_bytes(number.get());
    }
    if let Some(nanoseconds) = policy.nanoseconds {
        asked = asked.every(Duration::from_nanos(nanoseconds));
    }
    refused(tx.set_checkpoints(asked));
    refused(rx.set_checkpoints(asked));
    refused(tx.checkpoint());
    refused(tx.checkpoint_as(CheckpointForm::OneSync));
    refused(rx.checkpoint());
    refused(rx.set_durable_only(true));
    through(&mut tx, &mut rx, ring);
}

fn refused<T: core::fmt::Debug>(outcome: Result<T, CheckpointError>) {
    let error = outcome.expect_err("durable in memory");
    assert!(
        matches!(
            error,
            CheckpointError::NotDurable { .. } | CheckpointError::NeedsChecksums
        ),
        "{error:?}"
    );
}

/// The longest message passes, and one byte more does not.
fn through(tx: &mut Producer, rx: &mut Consumer, ring: &Ring) {
    let longest = ring.max_message_bytes() as usize;
    rx.drain(usize::MAX, |_| ()).ok();
    let message = vec![7; longest + 1];
    assert!(tx.try_send(&message).is_err());
    tx.try_send(&message[1..]).expect("as long as it may be");
    let mut out = Vec::new();
    rx.try_recv_vec(&mut out).expect("it was sent");
    assert_eq!(out.len(), longest);
}
