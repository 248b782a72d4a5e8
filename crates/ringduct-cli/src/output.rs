//! Standard output: unbuffered by the standard library, and quiet once nobody reads it.

use std::io::{self, ErrorKind, Write};
use std::os::fd::AsFd as _;

use crate::failure::Failure;
use crate::signals;

/// Standard output. A reader that had enough ends the program with exit code 0 and no word.
#[derive(Debug)]
pub(crate) struct Output {
    file: std::fs::File,
}

impl Output {
    /// The file itself: `Stdout` would look for line ends, and keep what follows the last one.
    pub(crate) fn stdout() -> Result<Self, Failure> {
        let file = io::stdout()
            .as_fd()
            .try_clone_to_owned()
            .map_err(|error| Failure::io("use standard output", &error))?;
        Ok(Self { file: file.into() })
    }

    /// Writes all of `bytes`, unless a signal or the end of the reader comes between.
    pub(crate) fn write_all(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        let rest = |start| bytes.get(start..).unwrap_or_default();
        self.write_with(bytes.len(), |mut file, start| file.write(rest(start)))
    }

    /// The same for so many bytes, each write made by `how`, which is told how many went before.
    pub(crate) fn write_with(
        &mut self,
        bytes: usize,
        mut how: impl FnMut(&std::fs::File, usize) -> io::Result<usize>,
    ) -> Result<(), Failure> {
        let mut written = 0_usize;
        while written < bytes {
            match how(&self.file, written) {
                Ok(0) => return Err(failed(&ErrorKind::WriteZero.into())),
                Ok(count) => written = written.saturating_add(count),
                Err(error) if error.kind() == ErrorKind::Interrupted => signals::check()?,
                Err(error) if error.kind() == ErrorKind::BrokenPipe => {
                    return Err(Failure::nobody_reads());
                }
                Err(error) => return Err(failed(&error)),
            }
        }
        Ok(())
    }
}

fn failed(error: &io::Error) -> Failure {
    Failure::io("write to standard output", error)
}
