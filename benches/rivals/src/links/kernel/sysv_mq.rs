//! A System V message queue, with as many bytes as the kernel allows, at most those asked for.
#![expect(unsafe_code, reason = "the standard library has no such queues")]

use std::io;

use rivals_harness::{Failure, Link, Mode, Receiver, Sender, Spec};

use super::length;

/// Bytes of the type in front of every message.
const TYPE_BYTES: usize = size_of::<i64>();

/// A private queue that goes with its maker.
#[derive(Debug)]
pub(crate) struct SysvMq {
    id: i32,
    bytes: usize,
}

impl Drop for SysvMq {
    fn drop(&mut self) {
        // SAFETY: no memory is involved.
        unsafe { libc::msgctl(self.id, libc::IPC_RMID, std::ptr::null_mut()) };
    }
}

impl Link for SysvMq {
    const MODE: Mode = Mode::Processes;
    type Tx = Queue;
    type Rx = Queue;

    fn make(spec: &Spec) -> Result<Self, Failure> {
        // SAFETY: no memory is involved.
        let id = unsafe { libc::msgget(libc::IPC_PRIVATE, 0o600) };
        if id < 0 {
            return Err(io::Error::last_os_error().into());
        }
        let queue = Self {
            id,
            bytes: spec.bytes,
        };
        // SAFETY: plain numbers.
        let mut state: libc::msqid_ds = unsafe { std::mem::zeroed() };
        // SAFETY: the state is valid for writes.
        unsafe { libc::msgctl(id, libc::IPC_STAT, &raw mut state) };
        state.msg_qbytes = spec.ring_bytes as u64;
        // Only a privileged user may raise the limit; the default holds otherwise.
        // SAFETY: the state is valid for reads.
        unsafe { libc::msgctl(id, libc::IPC_SET, &raw mut state) };
        Ok(queue)
    }

    fn tx(&self) -> Result<Self::Tx, Failure> {
        Ok(Queue::new(self))
    }

    fn rx(&self) -> Result<Self::Rx, Failure> {
        Ok(Queue::new(self))
    }
}

/// One end: the kernel wants the type and the bytes in one piece.
#[derive(Debug)]
pub(crate) struct Queue {
    id: i32,
    message: Vec<u64>,
}

impl Queue {
    fn new(queue: &SysvMq) -> Self {
        let mut message = vec![0; 1 + queue.bytes.div_ceil(8)];
        message[0] = 1;
        Self {
            id: queue.id,
            message,
        }
    }

    /// Where the bytes of a message go.
    fn body(&mut self) -> *mut u8 {
        self.message
            .as_mut_ptr()
            .cast::<u8>()
            .wrapping_add(TYPE_BYTES)
    }
}

impl Sender for Queue {
    #[inline]
    fn send(&mut self, message: &[u8]) {
        let length_bytes = message.len();
        // SAFETY: there is room for every message after the type.
        unsafe { std::ptr::copy_nonoverlapping(message.as_ptr(), self.body(), length_bytes) };
        let start = self.message.as_ptr().cast();
        // SAFETY: type and bytes are valid for reads.
        let result = unsafe { libc::msgsnd(self.id, start, length_bytes, 0) };
        length(result as isize);
    }
}

impl Receiver for Queue {
    #[inline]
    fn recv(&mut self, buffer: &mut [u8]) -> usize {
        let start = self.message.as_mut_ptr().cast();
        // SAFETY: there is room for type and bytes.
        let result = unsafe { libc::msgrcv(self.id, start, buffer.len(), 0, 0) };
        let length_bytes = length(result);
        // SAFETY: at most the length of the buffer was received.
        unsafe { std::ptr::copy_nonoverlapping(self.body(), buffer.as_mut_ptr(), length_bytes) };
        length_bytes
    }
}
