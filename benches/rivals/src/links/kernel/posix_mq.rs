//! A POSIX message queue, as long as the kernel allows, at most the buffer asked for.
#![expect(unsafe_code, reason = "the standard library has no such queues")]

use std::ffi::CString;
use std::io;

use rivals_harness::{Failure, Link, Mode, Receiver, Sender, Spec};

use super::length;

/// A queue without a name, in both processes.
#[derive(Debug)]
pub(crate) struct PosixMq(libc::mqd_t);

fn open(name: &CString, slots: usize, bytes: usize) -> Result<libc::mqd_t, Failure> {
    // SAFETY: the attributes are plain numbers.
    let mut attributes: libc::mq_attr = unsafe { std::mem::zeroed() };
    attributes.mq_maxmsg = i64::try_from(slots)?;
    attributes.mq_msgsize = i64::try_from(bytes)?;
    let flags = libc::O_CREAT | libc::O_EXCL | libc::O_RDWR;
    // SAFETY: name and attributes are valid for reads.
    let queue = unsafe { libc::mq_open(name.as_ptr(), flags, 0o600, &raw const attributes) };
    if queue < 0 {
        return Err(io::Error::last_os_error().into());
    }
    // SAFETY: the name is valid for reads.
    unsafe { libc::mq_unlink(name.as_ptr()) };
    Ok(queue)
}

impl Link for PosixMq {
    const MODE: Mode = Mode::Processes;
    type Tx = Queue;
    type Rx = Queue;

    fn make(spec: &Spec) -> Result<Self, Failure> {
        let name = CString::new(format!("/{}", spec.name))?;
        let mut slots = spec.slots();
        loop {
            match open(&name, slots, spec.bytes) {
                Ok(queue) => return Ok(Self(queue)),
                Err(error) if slots <= 2 => return Err(error),
                Err(_) if slots > 16 => slots /= 2,
                Err(_) => slots = if slots > 10 { 10 } else { 2 },
            }
        }
    }

    fn tx(&self) -> Result<Self::Tx, Failure> {
        Ok(Queue(self.0))
    }

    fn rx(&self) -> Result<Self::Rx, Failure> {
        Ok(Queue(self.0))
    }
}

#[derive(Debug)]
pub(crate) struct Queue(libc::mqd_t);

impl Sender for Queue {
    #[inline]
    fn send(&mut self, message: &[u8]) {
        // SAFETY: the message is valid for reads of its length.
        let result = unsafe { libc::mq_send(self.0, message.as_ptr().cast(), message.len(), 0) };
        length(result as isize);
    }
}

impl Receiver for Queue {
    #[inline]
    fn recv(&mut self, buffer: &mut [u8]) -> usize {
        // SAFETY: the buffer is valid for writes of its length.
        let result = unsafe {
            libc::mq_receive(
                self.0,
                buffer.as_mut_ptr().cast(),
                buffer.len(),
                std::ptr::null_mut(),
            )
        };
        length(result)
    }
}
