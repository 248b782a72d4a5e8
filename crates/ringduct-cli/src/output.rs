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
    pub(crate) fn write_all(&mut self, mut bytes: &[u8]) -> Result<(), Failure> {
        while !bytes.is_empty() {
            match self.file.write(bytes) {
                Ok(0) => {
                    return Err(Failure::io(
                        "write to standard output",
                        &ErrorKind::WriteZero.into(),
                    ));
                }
                Ok(count) => bytes = bytes.get(count..).unwrap_or_default(),
                Err(error) if error.kind() == ErrorKind::Interrupted => signals::check()?,
                Err(error) if error.kind() == ErrorKind::BrokenPipe => {
                    return Err(Failure::nobody_reads());
                }
                Err(error) => return Err(Failure::io("write to standard output", &error)),
            }
        }
        Ok(())
    }
}
