//! POSIX message queues.
#![expect(unsafe_code, reason = "libc alone has such queues")]

use std::ffi::CStr;
use std::io;
use std::ptr;

/// A queue without a name. It is the process's until that ends.
#[derive(Clone, Copy, Debug)]
pub(in super::super) struct Queue(libc::mqd_t);

impl Queue {
    /// Makes one for `slots` messages of `bytes` each; the name is gone at once.
    pub(super) fn make(name: &CStr, slots: usize, bytes: usize) -> io::Result<Self> {
        let wrong = |_| io::ErrorKind::InvalidInput;
        // SAFETY: all bytes zero are valid attributes.
        let mut attributes: libc::mq_attr = unsafe { std::mem::zeroed() };
        attributes.mq_maxmsg = i64::try_from(slots).map_err(wrong)?;
        attributes.mq_msgsize = i64::try_from(bytes).map_err(wrong)?;
        let flags = libc::O_CREAT | libc::O_EXCL | libc::O_RDWR;
        // SAFETY: the name ends with a zero; the attributes are valid for reads.
        let queue = unsafe { libc::mq_open(name.as_ptr(), flags, 0o600, &raw const attributes) };
        if queue < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the name ends with a zero.
        unsafe { libc::mq_unlink(name.as_ptr()) };
        Ok(Self(queue))
    }

    /// Sends, however long that takes.
    #[inline]
    pub(super) fn put(self, message: &[u8]) -> io::Result<()> {
        // SAFETY: the message is valid for reads of its length.
        let sent = unsafe { libc::mq_send(self.0, message.as_ptr().cast(), message.len(), 0) };
        if sent < 0 {
            return Err(io::Error::last_os_error());
        }
        Ok(())
    }

    /// Receives, however long that takes, and returns the length.
    #[inline]
    pub(super) fn take(self, buffer: &mut [u8]) -> io::Result<usize> {
        let (start, length) = (buffer.as_mut_ptr().cast(), buffer.len());
        // SAFETY: the buffer is valid for writes of its length; no priority is asked for.
        let received = unsafe { libc::mq_receive(self.0, start, length, ptr::null_mut()) };
        usize::try_from(received).map_err(|_| io::Error::last_os_error())
    }
}
