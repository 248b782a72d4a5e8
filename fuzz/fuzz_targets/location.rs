//! Names and options: whatever is read is printed so that it reads back the same, and a ring is
//! made exactly when the options are what their documentation allows.
#![no_main]

use core::time::Duration;
use std::os::fd::AsRawFd;

use arbitrary::Arbitrary;
use libfuzzer_sys::fuzz_target;
use ringduct::{HugePages, Location, OpenError, Options, Ring};

/// No ring larger than this is made.
const MOST_BYTES: u64 = 1 << 20;

#[derive(Arbitrary, Debug)]
struct Input {
    text: String,
    prefix: u8,
    wishes: Wishes,
    when_opened: Wishes,
    label: String,
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
}

#[derive(Arbitrary, Clone, Copy, Debug)]
enum Number {
    Any(u64),
    Power(u8),
    Small(u16),
}

impl Number {
    fn get(self) -> u64 {
        match self {
            Self::Any(value) => value,
            Self::Power(exponent) => 1 << (exponent % 64),
            Self::Small(value) => u64::from(value),
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
        options
    }

    /// The capacity that the documentation promises, if it allows all of this.
    fn allowed(&self) -> Option<u64> {
        let at_least = self.at_least.map(Number::bounded);
        if at_least.is_some_and(|bytes| bytes > 1 << 40) {
            return None;
        }
        let capacity = match self.capacity.map(Number::bounded) {
            None => at_least.unwrap_or(1 << 20).max(4096).next_power_of_two(),
            Some(exact) => exact,
        };
        let mode = self.mode.unwrap_or(0o600);
        let longest = capacity.saturating_sub(16).min((1 << 32) - 16);
        let allowed = capacity.is_power_of_two()
            && (4096..=1 << 40).contains(&capacity)
            && at_least.is_none_or(|bytes| bytes <= capacity)
            && mode & !0o777 == 0
            && mode & 0o600 == 0o600
            && self
                .max_message
                .is_none_or(|bytes| (1..=longest).contains(&bytes.get()));
        allowed.then_some(capacity)
    }

    /// Whether an existing ring, made by this process, is what was asked for.
    fn accept(&self, ring: &Ring) -> bool {
        let own = rustix::fs::fstat(ring.descriptor().expect("a descriptor"))
            .expect("a status")
            .st_uid;
        self.owner.is_none_or(|uid| u32::from(uid) == own)
            && self
                .capacity
                .is_none_or(|bytes| bytes.bounded() == ring.capacity_bytes())
            && self
                .at_least
                .is_none_or(|bytes| bytes.bounded() <= ring.capacity_bytes())
            && self
                .max_message
                .is_none_or(|bytes| bytes.get() == ring.max_message_bytes())
            && self
                .tag
                .is_none_or(|byte| [byte; 16] == ring.application_tag())
            && self.checksum.is_none_or(|asked| asked == ring.checksum())
    }
}

fuzz_target!(|input: Input| {
    let prefixes = [
        "", "shm:", "shm:/", "sysv:", "sysv:0x", "sysv:id:", "fd:", "unix:", "./",
    ];
    let prefix = prefixes[usize::from(input.prefix) % prefixes.len()];
    read_and_print(&format!("{prefix}{}", input.text));

    let made = input.wishes.options().create_memfd(&input.label);
    let named = input.label.len() <= 200 && !input.label.contains('\0');
    match (made, input.wishes.allowed().filter(|_| named)) {
        (Ok(ring), Some(capacity)) => {
            assert_eq!(ring.capacity_bytes(), capacity);
            reopen(&ring, &input.when_opened);
        }
        // The kernel may have no room for making it; that is said as such.
        (Err(OpenError::NoSpace { .. }), Some(_)) => {}
        (Err(OpenError::InvalidOption { found, .. }), None) => assert!(!found.is_empty()),
        (made, allowed) => panic!("{made:?}, allowed {allowed:?}"),
    }
});

fn read_and_print(text: &str) {
    match text.parse::<Location>() {
        Ok(location) => assert_eq!(location.to_string().parse(), Ok(location)),
        Err(error) => assert!(!error.to_string().is_empty()),
    }
}

fn reopen(ring: &Ring, wishes: &Wishes) {
    let descriptor = ring.descriptor().expect("a descriptor");
    let opened = wishes.options().open(&Location::Fd(descriptor.as_raw_fd()));
    match opened {
        Ok(opened) => {
            assert!(wishes.accept(ring));
            assert_eq!(opened.uuid(), ring.uuid());
            match opened.producer() {
                Ok(mut tx) => tx.try_send(b"x").expect("room for a byte"),
                // Locked memory is limited.
                Err(error) => assert_eq!(wishes.lock_memory, Some(true), "{error}"),
            }
        }
        Err(OpenError::Mismatch { .. } | OpenError::WrongOwner { .. }) => {
            assert!(!wishes.accept(ring));
        }
        Err(error) => panic!("{error}"),
    }
}
