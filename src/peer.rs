//! Who is on the other side: what the kernel knows, and what the other side says of itself.

use core::fmt;

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
