//! Who is at the other end of a connection, by the kernel's word.
#![expect(
    unsafe_code,
    reason = "rustix has no room for the pid 0 of a peer in another pid namespace"
)]

use std::fmt;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::AsRawFd as _;
use std::os::unix::net::UnixStream;

/// A process that connected, as it was then.
#[derive(Debug)]
pub(super) struct Peer {
    uid: u32,
    pid: i32,
    program: Option<String>,
}

impl Peer {
    /// Asks the kernel.
    pub(super) fn of(socket: &UnixStream) -> io::Result<Self> {
        let libc::ucred { pid, uid, .. } = credentials(socket)?;
        let program = std::fs::read_to_string(format!("/proc/{pid}/comm"));
        let program = program.ok().map(|name| name.trim_end().to_owned());
        Ok(Self { uid, pid, program })
    }

    /// The effective user id it had.
    pub(super) fn uid(&self) -> u32 {
        self.uid
    }
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.program, self.pid) {
            (Some(program), pid) => write!(f, "pid {pid} ({program:?})")?,
            (None, 0) => f.write_str("a process in another pid namespace")?,
            (None, pid) => write!(f, "pid {pid}")?,
        }
        write!(f, ", user {}", self.uid)
    }
}

fn credentials(socket: &UnixStream) -> io::Result<libc::ucred> {
    let mut found = MaybeUninit::<libc::ucred>::zeroed();
    let mut bytes = libc::socklen_t::try_from(size_of::<libc::ucred>())
        .map_err(|_| io::ErrorKind::InvalidInput)?;
    // SAFETY: `found` is valid for writing `bytes` bytes, and `bytes` for reading and writing; the
    // descriptor is open as long as `socket` is borrowed.
    let outcome = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_PEERCRED,
            found.as_mut_ptr().cast(),
            &raw mut bytes,
        )
    };
    if outcome != 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: three integers, which were zero and have perhaps been written: any bits are valid.
    Ok(unsafe { found.assume_init() })
}
