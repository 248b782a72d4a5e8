//! cueue: a ring of bytes in a memory file; messages of one length need no frame.
#![expect(unsafe_code, reason = "makes a memory file")]

use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

use rivals_harness::{Failure, Link, Mode, Receiver, Sender, Spec};

/// The memory file, in both processes.
#[derive(Debug)]
pub(crate) struct Cueue(OwnedFd);

pub(crate) struct Tx(cueue::Writer<u8>);
pub(crate) struct Rx(cueue::Reader<u8>);

impl Cueue {
    /// The file opened anew: attaching reads it from the start.
    fn open(&self) -> Result<File, Failure> {
        let path = format!("/proc/self/fd/{}", self.0.as_raw_fd());
        Ok(File::options().read(true).write(true).open(path)?)
    }
}

impl Link for Cueue {
    const MODE: Mode = Mode::Processes;
    type Tx = Tx;
    type Rx = Rx;

    fn make(spec: &Spec) -> Result<Self, Failure> {
        // SAFETY: the name ends with a zero.
        let file = unsafe { libc::memfd_create(c"cueue".as_ptr(), libc::MFD_CLOEXEC) };
        if file < 0 {
            return Err(io::Error::last_os_error().into());
        }
        // SAFETY: just made, owned by nobody else.
        let file = unsafe { OwnedFd::from_raw_fd(file) };
        cueue::cueue_in_fd::<u8>(file.as_raw_fd(), Some(spec.ring_bytes))?;
        Ok(Self(file))
    }

    fn tx(&self) -> Result<Self::Tx, Failure> {
        Ok(Tx(cueue::cueue_in_fd(self.open()?.as_raw_fd(), None)?.0))
    }

    fn rx(&self) -> Result<Self::Rx, Failure> {
        Ok(Rx(cueue::cueue_in_fd(self.open()?.as_raw_fd(), None)?.1))
    }
}

impl Sender for Tx {
    #[inline(always)]
    fn send(&mut self, message: &[u8]) {
        loop {
            if let Some(room) = self.0.write_chunk().get_mut(..message.len()) {
                room.copy_from_slice(message);
                self.0.commit(message.len());
                return;
            }
        }
    }
}

impl Receiver for Rx {
    #[inline(always)]
    fn recv(&mut self, buffer: &mut [u8]) -> usize {
        loop {
            let chunk = self.0.limited_read_chunk(buffer.len() as u64);
            if chunk.len() == buffer.len() {
                buffer.copy_from_slice(chunk);
                self.0.commit();
                return buffer.len();
            }
        }
    }
}
