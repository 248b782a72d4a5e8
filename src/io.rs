//! Byte streams over a ring, for code that speaks `std::io`.
//!
//! The ends themselves are no streams: a message has two edges, and a stream has none. Wrapping an
//! end says that the edges do not matter.

use std::io::{self, BufRead, ErrorKind, Read, Write};

use crate::consumer::Consumer;
use crate::error::{RecvError, SendError, TryRecvError, TrySendError};
use crate::producer::Producer;
use crate::trusted::{Trust, Untrusted};

/// The most bytes that one write puts into a message, however large the ring is.
const MAX_CHUNK_BYTES: u64 = 1 << 16;

/// A producer as a byte stream.
///
/// Each call of `write` publishes one message, of at most [`ByteWriter::chunk_bytes`]; where one
/// message ends and the next begins means nothing to a [`ByteReader`]. An empty write publishes
/// nothing. A write is visible at once, so there is nothing to flush: `flush` does nothing. Many
/// small writes make many small messages: put a [`BufWriter`](io::BufWriter) around it.
///
/// A write waits while the ring is full. If the consumer meanwhile closes, the write fails with
/// [`ErrorKind::BrokenPipe`], and if it dies, with [`ErrorKind::ConnectionReset`]: each once, with
/// nothing written, and a further write waits for the next consumer. While there is room, writes
/// succeed with or without a consumer: what they published stays in the ring for whoever comes.
///
/// Dropping it closes the ring, which is the end of the stream.
///
/// ```
/// use ringduct::{ByteReader, ByteWriter};
/// use std::io::{Read, Write};
/// let (tx, rx) = ringduct::pair(4096)?;
/// let mut writer = ByteWriter::new(tx);
/// writer.write_all(b"one ")?;
/// writer.write_all(b"stream")?;
/// drop(writer);
/// let mut text = String::new();
/// ByteReader::new(rx).read_to_string(&mut text)?;
/// assert_eq!(text, "one stream");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct ByteWriter<T: Trust = Untrusted> {
    producer: Producer<T>,
    chunk_bytes: usize,
}

impl<T: Trust> ByteWriter<T> {
    /// Wraps a producer.
    ///
    /// ```
    /// let (tx, _rx) = ringduct::pair(4096)?;
    /// let writer = ringduct::ByteWriter::new(tx);
    /// assert_eq!(writer.get_ref().totals().bytes, 0);
    /// # Ok::<(), ringduct::OpenError>(())
    /// ```
    pub fn new(producer: Producer<T>) -> Self {
        // A quarter of the ring, so that one side can fill while the other empties.
        let bytes = (producer.capacity_bytes() / 4)
            .min(MAX_CHUNK_BYTES)
            .min(producer.max_message_bytes());
        Self {
            producer,
            chunk_bytes: usize::try_from(bytes).unwrap_or(usize::MAX),
        }
    }

    /// The most bytes one `write` takes: a quarter of the capacity, 64 KiB, or the ring's longest
    /// message, whichever is least.
    ///
    /// ```
    /// let (tx, _rx) = ringduct::pair(4096)?;
    /// assert_eq!(ringduct::ByteWriter::new(tx).chunk_bytes(), 1024);
    /// # Ok::<(), ringduct::OpenError>(())
    /// ```
    pub const fn chunk_bytes(&self) -> usize {
        self.chunk_bytes
    }

    /// The producer inside.
    ///
    /// ```
    /// use std::io::Write;
    /// let (tx, _rx) = ringduct::pair(4096)?;
    /// let mut writer = ringduct::ByteWriter::new(tx);
    /// writer.write_all(b"abc")?;
    /// assert_eq!(writer.get_ref().totals().bytes, 3);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub const fn get_ref(&self) -> &Producer<T> {
        &self.producer
    }

    /// The producer inside, to set how it waits or to send a message of one's own.
    ///
    /// ```
    /// let (tx, _rx) = ringduct::pair(4096)?;
    /// let mut writer = ringduct::ByteWriter::new(tx);
    /// writer.get_mut().set_wait(ringduct::Wait::Spin);
    /// assert_eq!(writer.get_mut().send(b"a message"), Ok(()));
    /// # Ok::<(), ringduct::OpenError>(())
    /// ```
    pub const fn get_mut(&mut self) -> &mut Producer<T> {
        &mut self.producer
    }

    /// Takes the producer out again. Nothing is buffered, so nothing is lost.
    ///
    /// ```
    /// let (tx, _rx) = ringduct::pair(4096)?;
    /// let tx = ringduct::ByteWriter::new(tx).into_inner();
    /// assert_eq!(tx.totals().messages, 0);
    /// # Ok::<(), ringduct::OpenError>(())
    /// ```
    pub fn into_inner(self) -> Producer<T> {
        self.producer
    }
}

impl<T: Trust> Write for ByteWriter<T> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let (part, _) = bytes.split_at(bytes.len().min(self.chunk_bytes));
        if !part.is_empty() {
            self.producer.send(part)?;
        }
        Ok(part.len())
    }

    /// Does nothing: a write is published at once.
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A consumer as a byte stream.
///
/// It waits while the ring is empty. The stream ends, with 0 bytes, once the producer has closed
/// and everything was read; it stays ended until [`ByteReader::resume`]. If the producer died
/// instead, everything it published is read first, then one call fails with
/// [`ErrorKind::ConnectionReset`], and a further one waits for the next producer.
///
/// **At least once.** A message stays in the ring until more is asked for after its last byte was
/// handed out by `read`, or until its last byte was consumed by `consume`. A process that is killed
/// leaves it there, and its successor reads the whole message again, so a program that deals with
/// what it has read before it reads on loses nothing. Dropping the reader in the middle of a stream
/// is the same as dying in this respect; [`ByteReader::into_inner`] is the orderly way out.
///
/// ```
/// use ringduct::{ByteReader, ByteWriter};
/// use std::io::{BufRead, Write};
/// let (tx, rx) = ringduct::pair(4096)?;
/// let mut writer = ByteWriter::new(tx);
/// writeln!(writer, "first line")?;
/// writeln!(writer, "second line")?;
/// drop(writer);
/// let lines: Vec<String> = ByteReader::new(rx).lines().collect::<Result<_, _>>()?;
/// assert_eq!(lines, ["first line", "second line"]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct ByteReader<T: Trust = Untrusted> {
    consumer: Consumer<T>,
    /// A copy of the message at the front of the ring.
    message: Vec<u8>,
    /// Bytes of it that were handed out.
    used: usize,
    /// Whether `message` is that copy: it is still in the ring.
    held: bool,
    ended: bool,
}

impl<T: Trust> ByteReader<T> {
    /// Wraps a consumer.
    ///
    /// ```
    /// let (tx, rx) = ringduct::pair(4096)?;
    /// let reader = ringduct::ByteReader::new(rx);
    /// assert!(!reader.is_ended());
    /// # drop(tx);
    /// # Ok::<(), ringduct::OpenError>(())
    /// ```
    pub const fn new(consumer: Consumer<T>) -> Self {
        Self {
            consumer,
            message: Vec::new(),
            used: 0,
            held: false,
            ended: false,
        }
    }

    /// Bytes that were copied out of the ring and not handed out yet: the rest of one message.
    ///
    /// ```
    /// use std::io::Read;
    /// let (mut tx, rx) = ringduct::pair(4096)?;
    /// tx.send(b"abcd")?;
    /// let mut reader = ringduct::ByteReader::new(rx);
    /// assert_eq!(reader.buffer(), b"");
    /// reader.read_exact(&mut [0; 1])?;
    /// assert_eq!(reader.buffer(), b"bcd");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn buffer(&self) -> &[u8] {
        if self.held {
            self.message.get(self.used..).unwrap_or_default()
        } else {
            &[]
        }
    }

    /// Whether the stream has ended: the producer closed and everything was read.
    ///
    /// ```
    /// use std::io::Read;
    /// let (tx, rx) = ringduct::pair(4096)?;
    /// let mut reader = ringduct::ByteReader::new(rx);
    /// drop(tx);
    /// assert_eq!(reader.read(&mut [0; 8])?, 0);
    /// assert!(reader.is_ended());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub const fn is_ended(&self) -> bool {
        self.ended
    }

    /// Goes on after the end with whatever producer comes next.
    ///
    /// ```
    /// use ringduct::{ByteReader, Options};
    /// use std::io::Read;
    /// let ring = Options::new().create_anonymous()?;
    /// let mut reader = ByteReader::new(ring.consumer()?);
    /// let mut text = String::new();
    /// for part in ["a", "b"] {
    ///     ring.producer()?.send(part.as_bytes())?; // and closes
    ///     reader.resume();
    ///     reader.read_to_string(&mut text)?;
    ///     assert!(reader.is_ended());
    /// }
    /// assert_eq!(text, "ab");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub const fn resume(&mut self) {
        self.ended = false;
    }

    /// The consumer inside.
    ///
    /// ```
    /// use std::io::Read;
    /// let (mut tx, rx) = ringduct::pair(4096)?;
    /// tx.send(b"abc")?;
    /// let mut reader = ringduct::ByteReader::new(rx);
    /// assert_eq!(reader.read(&mut [0; 2])?, 2);
    /// // Part of the message is still to be read, so all of it is still in the ring.
    /// assert_eq!(reader.get_ref().totals().messages, 0);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub const fn get_ref(&self) -> &Consumer<T> {
        &self.consumer
    }

    /// Takes the consumer out again.
    ///
    /// A message that was read to its last byte is released. One that was read in part is still in
    /// the ring, whole; see [`ByteReader::buffer`] for the part that was not read.
    ///
    /// # Errors
    ///
    /// When the ring turns out to be damaged, or the reader was inherited by a fork.
    ///
    /// ```
    /// use std::io::Read;
    /// let (mut tx, rx) = ringduct::pair(4096)?;
    /// tx.try_send_all(["ab", "cd"])?;
    /// let mut reader = ringduct::ByteReader::new(rx);
    /// reader.read_exact(&mut [0; 3])?;
    /// let mut rx = reader.into_inner()?;
    /// let mut message = [0; 2];
    /// rx.recv(&mut message)?;
    /// assert_eq!(&message, b"cd");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn into_inner(mut self) -> io::Result<Consumer<T>> {
        self.release_used()?;
        Ok(self.consumer)
    }

    /// Gives the message back to the producer once all of it was handed out.
    fn release_used(&mut self) -> Result<(), TryRecvError> {
        if self.held && self.used >= self.message.len() {
            self.consumer.skip(1)?;
            self.held = false;
        }
        Ok(())
    }

    fn advance(&mut self, bytes: usize) {
        self.used = self.used.saturating_add(bytes).min(self.message.len());
    }
}

impl<T: Trust> BufRead for ByteReader<T> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        self.release_used()?;
        while !self.held && !self.ended {
            match self.consumer.peek_vec(&mut self.message, None) {
                Ok(()) => {
                    self.used = 0;
                    self.held = true;
                    // An empty message would look like the end.
                    self.release_used()?;
                    if !self.held {
                        // Of these alone there may be a whole ring, which would go round for ever.
                        self.consumer.check_tail()?;
                    }
                }
                Err(RecvError::Closed) => self.ended = true,
                Err(error) => return Err(error.into()),
            }
        }
        Ok(self.buffer())
    }

    fn consume(&mut self, bytes: usize) {
        self.advance(bytes);
        // What fails here fails again, and is reported, when more is asked for.
        let _ = self.release_used();
    }
}

impl<T: Trust> Read for ByteReader<T> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        if out.is_empty() {
            return Ok(0);
        }
        let count = self.fill_buf()?.read(out)?;
        self.advance(count);
        Ok(count)
    }
}

/// What stands in for an error of the ring where `std::io` is spoken; the error itself is inside.
macro_rules! into_io_error {
    ($($error:ident { $($pattern:pat => $kind:ident),* $(,)? })*) => {$(
        impl From<$error> for io::Error {
            fn from(error: $error) -> Self {
                let kind = match error {
                    $($pattern => ErrorKind::$kind,)*
                };
                Self::new(kind, error)
            }
        }
    )*};
}

into_io_error! {
    TrySendError {
        TrySendError::Full | TrySendError::WaitingForCheckpoint => WouldBlock,
        TrySendError::Poisoned => Other,
        TrySendError::TooLong { .. } => InvalidInput,
        TrySendError::Corrupt(_) => InvalidData,
        TrySendError::Forked => Other,
    }
    SendError {
        SendError::TimedOut | SendError::WaitingForCheckpoint => TimedOut,
        SendError::Poisoned => Other,
        SendError::Closed => BrokenPipe,
        SendError::PeerGone => ConnectionReset,
        SendError::TooLong { .. } => InvalidInput,
        SendError::Corrupt(_) => InvalidData,
        SendError::Forked => Other,
    }
    TryRecvError {
        TryRecvError::Empty => WouldBlock,
        TryRecvError::Closed => UnexpectedEof,
        TryRecvError::BufferTooSmall { .. } => InvalidInput,
        TryRecvError::Corrupt(_) => InvalidData,
        TryRecvError::Forked => Other,
    }
    RecvError {
        RecvError::TimedOut => TimedOut,
        RecvError::Closed => UnexpectedEof,
        RecvError::PeerGone => ConnectionReset,
        RecvError::BufferTooSmall { .. } => InvalidInput,
        RecvError::Corrupt(_) => InvalidData,
        RecvError::Forked => Other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Options;
    use crate::testing;

    /// Goal: bytes survive whatever sizes they are written and read in. Method: odd sizes on both
    /// sides of a ring much smaller than the stream, empty messages in between, compared whole.
    #[test]
    fn bytes_survive_any_cutting() {
        let (tx, rx) = crate::pair(4096).unwrap();
        let wanted: Vec<u8> = (0..200_000_u32)
            .map(|n| n.wrapping_mul(31).to_le_bytes()[1])
            .collect();
        let sent = wanted.clone();
        let sender = std::thread::spawn(move || {
            let mut writer = ByteWriter::new(tx);
            for part in sent.chunks(1777) {
                writer.write_all(part).unwrap();
                assert_eq!(writer.write(b"").unwrap(), 0);
                writer.get_mut().send(b"").unwrap();
            }
        });
        let mut reader = ByteReader::new(rx);
        let mut found = Vec::new();
        let mut part = [0; 613];
        loop {
            match reader.read(&mut part).unwrap() {
                0 => break,
                count => found.extend_from_slice(&part[..count]),
            }
        }
        sender.join().unwrap();
        assert!(found == wanted, "{} bytes of {}", found.len(), wanted.len());
        assert_eq!(
            reader.read(&mut part).unwrap(),
            0,
            "the end stays the end until it is resumed"
        );
    }

    /// Goal: a reader that goes away in the middle loses nothing. Method: read up to the last byte
    /// of a message, drop the reader as a death would, and read again with a successor; the same
    /// with `consume`, which does release.
    #[test]
    fn what_was_not_dealt_with_is_read_again() {
        let ring = Options::new().create_anonymous().unwrap();
        let mut tx = ring.producer().unwrap();
        tx.try_send_all(["first", "second"]).unwrap();
        let mut bytes = [0; 5];
        let mut reader = ByteReader::new(ring.consumer().unwrap());
        reader.read_exact(&mut bytes).unwrap();
        drop(reader);
        let mut reader = ByteReader::new(ring.consumer().unwrap());
        assert_eq!(reader.fill_buf().unwrap(), b"first");
        reader.consume(5);
        drop(reader);
        let mut reader = ByteReader::new(ring.consumer().unwrap());
        assert_eq!(reader.fill_buf().unwrap(), b"second");
        reader.consume(3);
        assert_eq!(reader.buffer(), b"ond");
    }

    /// Goal: a producer's death is an error after its last byte, a close is the end. Method: a
    /// forked child publishes and dies without closing; then a successor closes.
    #[test]
    fn a_death_is_not_an_end() {
        let _alone = testing::alone();
        let ring = Options::new().create_anonymous().unwrap();
        let child = testing::in_child(|| {
            let Ok(mut tx) = ring.producer() else {
                return 1;
            };
            let sent = tx.send(b"last words");
            let _never_closed = core::mem::ManuallyDrop::new(tx);
            i32::from(sent.is_err())
        });
        assert_eq!(child, 0);
        let mut reader = ByteReader::new(ring.consumer().unwrap());
        let mut bytes = Vec::new();
        let error = reader.read_to_end(&mut bytes).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ConnectionReset);
        assert_eq!(bytes, b"last words");
        ring.producer().unwrap().send(b"!").unwrap();
        reader.read_to_end(&mut bytes).unwrap();
        assert_eq!(bytes, b"last words!");
    }

    /// Goal: a write that cannot go on says why. Method: fill a ring whose consumer closed.
    #[test]
    fn a_full_ring_without_reader_is_a_broken_pipe() {
        let (tx, rx) = crate::pair(4096).unwrap();
        drop(rx);
        let error = ByteWriter::new(tx).write_all(&[0; 8192]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::BrokenPipe);
    }
}
