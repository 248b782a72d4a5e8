//! Standard input as it is, unbuffered.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::fs::{FileType, SeekFrom};
use rustix::io::Errno;

use crate::failure::Failure;
use crate::signals;

/// Standard input.
#[derive(Debug)]
pub(crate) struct Stdin {
    fd: OwnedFd,
    /// A file never makes one wait, and takes back what was read.
    is_file: bool,
}

impl Stdin {
    /// Standard input.
    pub(crate) fn new() -> Result<Self, Failure> {
        let cannot = |error| Failure::io("use standard input", &error);
        let fd = io::stdin().as_fd().try_clone_to_owned().map_err(cannot)?;
        let kind = rustix::fs::fstat(&fd).map(|stat| FileType::from_raw_mode(stat.st_mode));
        let is_file = kind == Ok(FileType::RegularFile);
        Ok(Self { fd, is_file })
    }

    /// Waits for something to read, or the end; `idle` is called now and then meanwhile.
    pub(crate) fn wait(&self, mut idle: impl FnMut()) -> Result<(), Failure> {
        loop {
            signals::check()?;
            if self.is_file || is_readable(self.as_fd())? {
                return Ok(());
            }
            idle();
        }
    }

    /// Reads with `how`, waiting for something to read; 0 at the end.
    pub(crate) fn read(
        &self,
        mut how: impl FnMut(&Self) -> io::Result<usize>,
        mut idle: impl FnMut(),
    ) -> Result<usize, Failure> {
        use io::ErrorKind::{Interrupted, WouldBlock};
        loop {
            self.wait(&mut idle)?;
            match how(self) {
                Ok(count) => return Ok(count),
                Err(error) if matches!(error.kind(), Interrupted | WouldBlock) => {}
                Err(error) => return Err(Failure::io("read standard input", &error)),
            }
        }
    }

    /// Gives back what was read last, so that whoever reads next begins there. Only files take
    /// anything back.
    pub(crate) fn give_back(&self, bytes: usize) {
        let bytes = i64::try_from(bytes).unwrap_or(0);
        if self.is_file && bytes > 0 {
            let back = SeekFrom::Current(bytes.wrapping_neg());
            let _stays_where_it_is = rustix::fs::seek(&self.fd, back);
        }
    }
}

impl AsFd for Stdin {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// Waits a moment for something to read, or the end.
fn is_readable(fd: BorrowedFd<'_>) -> Result<bool, Failure> {
    let moment = Timespec::try_from(signals::MOMENT).unwrap_or_default();
    let mut polled = [PollFd::from_borrowed_fd(fd, PollFlags::IN)];
    match rustix::event::poll(&mut polled, Some(&moment)) {
        Ok(count) => Ok(count > 0),
        Err(Errno::INTR) => Ok(false),
        Err(errno) => Err(Failure::io("wait for standard input", &errno.into())),
    }
}
