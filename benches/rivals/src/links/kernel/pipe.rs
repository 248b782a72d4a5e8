//! A pipe; the buffer is of the size asked for.

use std::io::{PipeReader, PipeWriter, Read, Write, pipe};
use std::os::fd::AsRawFd;

use rivals_harness::{Failure, Link, Mode, Receiver, Sender, Spec, fail};

/// Both ends, in both processes.
#[derive(Debug)]
pub(crate) struct Pipe(PipeReader, PipeWriter);

impl Link for Pipe {
    const MODE: Mode = Mode::Processes;
    type Tx = PipeTx;
    type Rx = PipeRx;

    #[expect(unsafe_code, reason = "sets the size of the buffer")]
    fn make(spec: &Spec) -> Result<Self, Failure> {
        let (rx, tx) = pipe()?;
        let bytes = i32::try_from(spec.ring_bytes)?;
        // SAFETY: no memory is involved.
        unsafe { libc::fcntl(tx.as_raw_fd(), libc::F_SETPIPE_SZ, bytes) };
        Ok(Self(rx, tx))
    }

    fn tx(&self) -> Result<Self::Tx, Failure> {
        Ok(PipeTx(self.1.try_clone()?))
    }

    fn rx(&self) -> Result<Self::Rx, Failure> {
        Ok(PipeRx(self.0.try_clone()?))
    }
}

#[derive(Debug)]
pub(crate) struct PipeTx(PipeWriter);

#[derive(Debug)]
pub(crate) struct PipeRx(PipeReader);

impl Sender for PipeTx {
    #[inline]
    fn send(&mut self, message: &[u8]) {
        if let Err(error) = self.0.write_all(message) {
            fail(error)
        }
    }
}

impl Receiver for PipeRx {
    #[inline]
    fn recv(&mut self, buffer: &mut [u8]) -> usize {
        match self.0.read_exact(buffer) {
            Ok(()) => buffer.len(),
            Err(error) => fail(error),
        }
    }
}
