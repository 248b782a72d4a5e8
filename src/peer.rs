//! Who is on the other side: what the kernel knows, and what the other side says of itself.

use core::fmt;
use std::fs;
use std::time::{SystemTime, UNIX_EPOCH};

use crate::layout::{Role, word};
use crate::memory::{Memory, Order};

/// How things stand with the holder of a role.
///
/// Whether a role is held is the kernel's answer: it frees a role the moment its holder is gone,
/// however it went. Nothing is decided by time or by process id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum PeerState {
    /// Nobody has ever held the role.
    Absent,
    /// Somebody holds the role.
    Attached,
    /// Somebody holds the role, and the process that says it is the holder is stopped (by a
    /// signal or a debugger). A hint: it needs the holder to be visible in this pid namespace.
    Stopped,
    /// Nobody holds the role; the last holder closed cleanly.
    Closed,
    /// Nobody holds the role; the last holder died without closing.
    Gone,
}

impl PeerState {
    /// Puts the kernel's answer, the role's words and the hints together.
    pub(crate) fn judge(held: bool, session: u64, closed: bool, holder: &Holder) -> Self {
        match (held, session) {
            (true, _) if holder.is_stopped() => Self::Stopped,
            (true, _) => Self::Attached,
            (false, 0) => Self::Absent,
            (false, _) if closed => Self::Closed,
            (false, _) => Self::Gone,
        }
    }
}

impl fmt::Display for PeerState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Absent => "never attached",
            Self::Attached => "attached",
            Self::Stopped => "attached, stopped",
            Self::Closed => "closed",
            Self::Gone => "gone without closing",
        })
    }
}

/// What a role's page says of the process that took the role last.
///
/// These are hints for people, written by the holder itself: a process id means nothing in another
/// pid namespace and a hostile holder may write anything. Whether the role is held at all is the
/// kernel's answer, never read from here.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Holder {
    /// Process id, in the holder's own pid namespace.
    pub pid: u32,
    /// Effective user id.
    pub uid: u32,
    /// Start time of the process, clock ticks since boot.
    pub start_time_ticks: u64,
    /// When the role was taken, nanoseconds since 1970 by the wall clock.
    pub attached_unix_ns: u64,
    /// The first 15 bytes of the program's name.
    pub program: String,
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            pid, uid, program, ..
        } = self;
        write!(
            f,
            "held, it says, by {program:?} (pid {pid}, user {uid}; unverified)"
        )
    }
}

impl Holder {
    /// Whether the process with this id and start time is stopped, as far as can be seen.
    pub(crate) fn is_stopped(&self) -> bool {
        let stat = Stat::of(&self.pid.to_string());
        stat.is_some_and(|stat| {
            stat.start_time == self.start_time_ticks && matches!(stat.state, 'T' | 't')
        })
    }
}

/// The two fields of a process's `stat` file that are used here.
struct Stat {
    state: char,
    start_time: u64,
}

impl Stat {
    /// Reads `/proc/PID/stat`: fields 3 and 22, counted after the program's name in parentheses,
    /// which may hold anything.
    fn of(pid: &str) -> Option<Self> {
        let text = fs::read(format!("/proc/{pid}/stat")).ok()?;
        let after_name = text.rsplit(|byte| *byte == b')').next()?;
        let mut fields = core::str::from_utf8(after_name)
            .ok()?
            .split_ascii_whitespace();
        let state = fields.next()?.chars().next()?;
        let start_time = fields.nth(18)?.parse().ok()?;
        Some(Self { state, start_time })
    }
}

/// What this process writes about itself when it takes a role.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Myself {
    pub(crate) boot_id: [u64; 2],
    pid: u64,
    uid: u64,
    start_time: u64,
    attached_at: u64,
    program: [u64; 2],
}

impl Myself {
    /// Asks the kernel; what it does not tell stays zero.
    pub(crate) fn ask() -> Self {
        let program = fs::read("/proc/self/comm").unwrap_or_default();
        let mut name = [0_u8; 16];
        for (to, from) in name
            .iter_mut()
            .zip(program.iter().filter(|byte| **byte != b'\n'))
        {
            *to = *from;
        }
        Self {
            boot_id: boot_id(),
            pid: u64::from(std::process::id()),
            uid: u64::from(rustix::process::geteuid().as_raw()),
            start_time: Stat::of("self").map_or(0, |stat| stat.start_time),
            attached_at: unix_ns(),
            program: halves(u128::from_le_bytes(name)),
        }
    }

    /// Writes the hints of a role that this process holds.
    pub(crate) fn store(&self, memory: &impl Memory, role: Role) {
        let put = |offset: crate::layout::Offset, value| {
            memory.store(offset.of(role), value, Order::RELAXED);
        };
        put(word::PID, self.pid);
        put(word::UID, self.uid);
        put(word::START_TIME, self.start_time);
        put(word::ATTACHED_AT, self.attached_at);
        for (offset, value) in word::PROGRAM.into_iter().zip(self.program) {
            put(offset, value);
        }
        for (offset, value) in word::BOOT_ID.into_iter().zip(self.boot_id) {
            put(offset, value);
        }
    }
}

/// Reads the hints of a role.
pub(crate) fn read_holder(memory: &impl Memory, role: Role) -> Holder {
    let get = |offset: crate::layout::Offset| memory.load(offset.of(role), Order::RELAXED);
    let [low, high] = word::PROGRAM.map(get);
    let name = u128::from(low) | (u128::from(high) << 64);
    let name: Vec<u8> = name
        .to_le_bytes()
        .into_iter()
        .take_while(|byte| *byte != 0)
        .collect();
    Holder {
        pid: u32::try_from(get(word::PID)).unwrap_or(0),
        uid: u32::try_from(get(word::UID)).unwrap_or(0),
        start_time_ticks: get(word::START_TIME),
        attached_unix_ns: get(word::ATTACHED_AT),
        program: String::from_utf8_lossy(&name).into_owned(),
    }
}

/// Reads the boot id that a role's last holder attached under.
pub(crate) fn read_boot_id(memory: &impl Memory, role: Role) -> [u64; 2] {
    word::BOOT_ID.map(|offset| memory.load(offset.of(role), Order::RELAXED))
}

/// Nanoseconds since 1970 by the wall clock; zero before.
pub(crate) fn unix_ns() -> u64 {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}

/// The id of this boot, as two numbers; zeros when the kernel does not tell.
pub(crate) fn boot_id() -> [u64; 2] {
    let text = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    let digits: String = text.chars().filter(char::is_ascii_hexdigit).collect();
    halves(u128::from_str_radix(&digits, 16).unwrap_or(0))
}

/// Low and high half.
const fn halves(value: u128) -> [u64; 2] {
    let bytes = value.to_le_bytes();
    match (bytes.first_chunk(), bytes.last_chunk()) {
        (Some(low), Some(high)) => [u64::from_le_bytes(*low), u64::from_le_bytes(*high)],
        _ => [0, 0], // sixteen bytes have two halves
    }
}
