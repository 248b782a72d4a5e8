//! Looking at messages without taking them, and passing over them.

use core::ops::ControlFlow;
use std::time::Instant;

use crate::consumer::Consumer;
use crate::error::{RecvError, TryRecvError};
use crate::trusted::Trust;

impl<T: Trust> Consumer<T> {
    /// Bytes of the next message, which stays where it is.
    ///
    /// # Errors
    ///
    /// As [`Consumer::try_recv`].
    ///
    /// ```
    /// let (mut tx, mut rx) = ringduct::pair(4096)?;
    /// tx.send(b"12345")?;
    /// assert_eq!(rx.peek_len()?, 5);
    /// assert_eq!(rx.peek_len()?, 5);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn peek_len(&mut self) -> Result<usize, TryRecvError> {
        Ok(self.front()?.message_bytes() as usize)
    }

    /// Copies the next message to the start of `buffer` and leaves it in the ring.
    ///
    /// # Errors
    ///
    /// As [`Consumer::try_recv`].
    ///
    /// ```
    /// let (mut tx, mut rx) = ringduct::pair(4096)?;
    /// tx.send(b"stay")?;
    /// let mut buffer = [0; 4];
    /// assert_eq!(rx.peek(&mut buffer)?, 4);
    /// assert_eq!(rx.recv(&mut buffer)?, 4);
    /// assert_eq!(&buffer, b"stay");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn peek(&mut self, buffer: &mut [u8]) -> Result<usize, TryRecvError> {
        let record = self.front()?;
        self.copy_front(record, buffer)
    }

    /// Replaces the contents of `out` with the next message and leaves it in the ring: the way to
    /// work on a message first and release it, with [`Consumer::skip`], only when that succeeded.
    ///
    /// Waits for a message until `deadline`, or as long as it takes without one.
    ///
    /// # Errors
    ///
    /// As [`Consumer::recv_vec`].
    ///
    /// ```
    /// let (mut tx, mut rx) = ringduct::pair(4096)?;
    /// tx.send(b"work")?;
    /// let mut message = Vec::new();
    /// rx.peek_vec(&mut message, None)?;
    /// assert_eq!(message, b"work"); // do it, then:
    /// assert_eq!(rx.skip(1)?, 1);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn peek_vec(
        &mut self,
        out: &mut Vec<u8>,
        deadline: Option<Instant>,
    ) -> Result<(), RecvError> {
        let record = self.front_until(deadline)?;
        out.resize(record.message_bytes() as usize, 0);
        self.copy_front(record, out).map_err(RecvError::from_try)?;
        Ok(())
    }

    /// Shows up to `max` messages, each copied out of the ring, and leaves them there: the way to
    /// work on many at once and release them, with [`Consumer::skip`], only when that succeeded.
    /// Returns the number shown, 0 when nothing is there; `each` ends the look by breaking.
    ///
    /// # Errors
    ///
    /// As [`Consumer::drain`].
    ///
    /// ```
    /// use std::ops::ControlFlow;
    /// let (mut tx, mut rx) = ringduct::pair(4096)?;
    /// tx.try_send_all(["a", "bc", "d"])?;
    /// let mut page = Vec::new();
    /// let shown = rx.peek_many(100, |message| {
    ///     page.extend_from_slice(message);
    ///     if page.len() < 3 { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    /// })?;
    /// assert_eq!((shown, page.as_slice()), (2, &b"abc"[..])); // put it away, then:
    /// assert_eq!(rx.skip(shown)?, 2);
    /// assert_eq!(rx.peek_len()?, 1);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn peek_many(
        &mut self,
        max: usize,
        mut each: impl FnMut(&[u8]) -> ControlFlow<()>,
    ) -> Result<usize, TryRecvError> {
        self.end.link.check()?;
        let mut seen = self.end.core.begin();
        let mut count = 0_usize;
        while count < max {
            let record = match self.end.core.next(&seen) {
                Ok(Some(record)) => record,
                Ok(None) if count == 0 => return self.nothing_there().map(|()| 0),
                Ok(None) => break,
                Err(corruption) => return Err(self.note(corruption).into()),
            };
            let flow = self.show(record, &mut each)?;
            seen.add(record);
            count = count.wrapping_add(1);
            if flow.is_break() {
                break;
            }
        }
        Ok(count)
    }

    /// Releases up to `max` messages unread, and says how many.
    ///
    /// # Errors
    ///
    /// As [`Consumer::drain`].
    ///
    /// ```
    /// let (mut tx, mut rx) = ringduct::pair(4096)?;
    /// tx.try_send_all(["old", "older", "new"])?;
    /// assert_eq!(rx.skip(2)?, 2);
    /// assert_eq!(rx.peek_len()?, 3);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn skip(&mut self, max: usize) -> Result<usize, TryRecvError> {
        self.take_many(max, |_, _| Ok(()))
    }

    /// Releases every message but the newest, which stays; says how many were released.
    ///
    /// For readers who only care for the present. 0 when at most one message is there.
    ///
    /// # Errors
    ///
    /// As [`Consumer::drain`].
    ///
    /// ```
    /// let (mut tx, mut rx) = ringduct::pair(4096)?;
    /// tx.try_send_all(["1", "2", "33"])?;
    /// assert_eq!(rx.skip_to_latest()?, 2);
    /// assert_eq!(rx.peek_len()?, 2);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn skip_to_latest(&mut self) -> Result<usize, TryRecvError> {
        self.end.link.check()?;
        let core = &self.end.core;
        let (mut ahead, mut behind) = (core.begin(), core.begin());
        // Bounded: the records of a run cannot reach round the ring.
        loop {
            match self.end.core.next(&ahead) {
                Ok(Some(record)) => {
                    behind = ahead;
                    ahead.add(record);
                }
                Ok(None) if ahead.messages() == 0 => return self.nothing_there().map(|()| 0),
                Ok(None) => break,
                Err(corruption) => return Err(self.note(corruption).into()),
            }
        }
        self.release(behind);
        Ok(usize::try_from(behind.messages()).unwrap_or(usize::MAX))
    }
}
