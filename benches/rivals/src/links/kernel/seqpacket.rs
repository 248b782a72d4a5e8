//! A pair of Unix sockets that keep messages apart.
#![expect(unsafe_code, reason = "the standard library has no such sockets")]

use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};

use rivals_harness::{Failure, Link, Mode, Receiver, Sender, Spec};

use super::length;

/// Both ends, in both processes.
#[derive(Debug)]
pub(crate) struct Seqpacket(OwnedFd, OwnedFd);

/// Sets the size of a socket's buffer.
pub(super) fn set_buffer(socket: RawFd, option: i32, bytes: usize) -> Result<(), Failure> {
    let bytes = i32::try_from(bytes)?;
    let size = u32::try_from(size_of_val(&bytes))?;
    // SAFETY: the value is valid for reads of its size.
    let result = unsafe {
        libc::setsockopt(
            socket,
            libc::SOL_SOCKET,
            option,
            (&raw const bytes).cast(),
            size,
        )
    };
    if result == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error().into())
    }
}

impl Link for Seqpacket {
    const MODE: Mode = Mode::Processes;
    type Tx = Socket;
    type Rx = Socket;

    fn make(spec: &Spec) -> Result<Self, Failure> {
        let mut pair = [-1; 2];
        // SAFETY: there is room for two descriptors.
        let result =
            unsafe { libc::socketpair(libc::AF_UNIX, libc::SOCK_SEQPACKET, 0, pair.as_mut_ptr()) };
        if result != 0 {
            return Err(io::Error::last_os_error().into());
        }
        set_buffer(pair[0], libc::SO_SNDBUF, spec.ring_bytes)?;
        // SAFETY: just made, owned by nobody else.
        let [tx, rx] = pair.map(|fd| unsafe { OwnedFd::from_raw_fd(fd) });
        Ok(Self(tx, rx))
    }

    fn tx(&self) -> Result<Self::Tx, Failure> {
        Ok(Socket(self.0.try_clone()?))
    }

    fn rx(&self) -> Result<Self::Rx, Failure> {
        Ok(Socket(self.1.try_clone()?))
    }
}

#[derive(Debug)]
pub(crate) struct Socket(OwnedFd);

impl Sender for Socket {
    #[inline]
    fn send(&mut self, message: &[u8]) {
        // SAFETY: the message is valid for reads of its length.
        let result = unsafe {
            libc::send(
                self.0.as_raw_fd(),
                message.as_ptr().cast(),
                message.len(),
                0,
            )
        };
        length(result);
    }
}

impl Receiver for Socket {
    #[inline]
    fn recv(&mut self, buffer: &mut [u8]) -> usize {
        // SAFETY: the buffer is valid for writes of its length.
        let result = unsafe {
            libc::recv(
                self.0.as_raw_fd(),
                buffer.as_mut_ptr().cast(),
                buffer.len(),
                0,
            )
        };
        length(result)
    }
}
