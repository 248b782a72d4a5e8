//! Who is at the other end of a socket, by the kernel's word.
#![expect(
    unsafe_code,
    reason = "rustix has no room for the pid 0 of a peer in another pid namespace: it would take \
              such credentials for an error, or worse"
)]

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;

/// The user who connected, listened or made the pair, at that moment.
pub(crate) fn peer_uid(socket: &UnixStream) -> io::Result<u32> {
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
    let found = unsafe { found.assume_init() };
    Ok(found.uid)
}
