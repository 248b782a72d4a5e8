//! Between a ring and a file descriptor, copied by the kernel and nobody else.

use std::io;
use std::os::fd::AsFd;

use crate::batch::Claim;
use crate::consumer::Consumer;
use crate::trusted::Trust;

impl<T: Trust> Claim<'_, T> {
    /// Reads from `source` into the claimed space, behind what was written so far, with one
    /// `read(2)`: the kernel puts the bytes where the consumer will find them. Returns their number;
    /// 0 at the end of the source, and when nothing is left of the claim.
    ///
    /// # Errors
    ///
    /// What `read(2)` says, [`io::ErrorKind::Interrupted`] among it; the claim is as it was then.
    ///
    /// ```
    /// use std::io::Write;
    /// let (source, mut writer) = std::os::unix::net::UnixStream::pair()?;
    /// let (mut tx, mut rx) = ringduct::pair(4096)?;
    /// writer.write_all(b"from a socket")?;
    /// let mut claim = tx.try_claim(1000)?;
    /// assert_eq!(claim.read_from(&source)?, 13);
    /// claim.commit_written();
    /// let mut message = Vec::new();
    /// rx.try_recv_vec(&mut message)?;
    /// assert_eq!(message, b"from a socket");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn read_from(&mut self, source: impl AsFd) -> io::Result<usize> {
        self.read_from_fd(source.as_fd())
    }
}

impl<T: Trust> Consumer<T> {
    /// Writes the next message to `target` and leaves it in the ring: bytes from `start` on, with
    /// one `write(2)`. Returns the number of bytes written, which may be less than there are.
    ///
    /// The kernel takes the bytes from where they lie; in a ring with checksums they are copied and
    /// checked first. Release the message with [`Consumer::skip`] once all of it was written.
    ///
    /// # Errors
    ///
    /// What `write(2)` says, [`io::ErrorKind::Interrupted`] among it. Where there is no message, a
    /// [`TryRecvError`](crate::TryRecvError) inside the error, as in [`Consumer::try_recv`].
    ///
    /// ```
    /// use std::io::Read;
    /// let (mut reader, target) = std::os::unix::net::UnixStream::pair()?;
    /// let (mut tx, mut rx) = ringduct::pair(4096)?;
    /// tx.send(b"to a socket")?;
    /// assert_eq!(rx.write_next(&target, 3)?, 8);
    /// let mut bytes = [0; 8];
    /// reader.read_exact(&mut bytes)?;
    /// assert_eq!(&bytes, b"a socket");
    /// assert_eq!(rx.skip(1)?, 1);
    /// assert!(rx.write_next(&target, 0).is_err()); // empty
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn write_next(&mut self, target: impl AsFd, start: usize) -> io::Result<usize> {
        let record = self.front()?;
        let core = &self.end.core;
        if core.geometry().is_checksummed() {
            let mut write = |message: &[u8]| {
                let rest = message.get(start..).unwrap_or_default();
                rustix::io::write(target.as_fd(), rest)
            };
            return Ok(self.show(record, &mut write)??);
        }
        let whole = record.message_bytes() as usize;
        let start = start.min(whole);
        let from = crate::position::advance(record.payload(), start as u64);
        let rest = whole.saturating_sub(start);
        let outcome = core.memory().write_out(target.as_fd(), from, rest);
        outcome.map_err(|error| self.end.link.explain_fault(error))
    }
}
