//! The messages that are sent: numbered, and ready before they are needed.

use crate::link::fail;

/// Bytes that the messages of a pool should stay within, so that they stay in the nearest cache.
const POOL_BYTES: usize = 16 << 10;

/// The number of the message that ends a measurement.
pub const END: u64 = u64::MAX;

/// Bytes that lie as in a cache line.
#[derive(Clone, Copy, Debug)]
#[repr(align(64))]
struct Line(#[expect(dead_code, reason = "looked at as bytes only")] [u8; 64]);

/// Bytes that begin at a cache line.
#[derive(Debug)]
pub struct Buffer {
    lines: Vec<Line>,
    bytes: usize,
}

impl Buffer {
    /// Zeros.
    pub fn new(bytes: usize) -> Self {
        Self {
            lines: vec![Line([0; 64]); bytes.div_ceil(64)],
            bytes,
        }
    }

    /// The bytes.
    #[inline]
    #[expect(unsafe_code, reason = "lines are bytes")]
    pub fn bytes_mut(&mut self) -> &mut [u8] {
        // SAFETY: `bytes` were rounded up to whole lines, which have no padding.
        unsafe { std::slice::from_raw_parts_mut(self.lines.as_mut_ptr().cast(), self.bytes) }
    }
}

/// Several messages in turn. The number of a message is written half a pool ahead: a copy made
/// with wide loads right after a narrow store would wait for that store, and the wait would be
/// taken for the transport's.
#[derive(Debug)]
pub struct Pool {
    buffer: Buffer,
    bytes: usize,
    stride: usize,
    mask: u64,
}

impl Pool {
    /// Messages of `bytes` each, 8 at least.
    pub fn new(bytes: usize) -> Self {
        let stride = bytes.next_multiple_of(64);
        let slots = (POOL_BYTES / stride).clamp(4, 64);
        let mut pool = Self {
            buffer: Buffer::new(slots * stride),
            bytes,
            stride,
            mask: slots as u64 - 1,
        };
        for (place, byte) in pool.buffer.bytes_mut().iter_mut().enumerate() {
            *byte = u8::try_from((place * 7 + place / 251) % 256).unwrap_or(0);
        }
        for index in 0..=pool.mask {
            *pool.number(index) = index.to_ne_bytes();
        }
        pool
    }

    fn start(&self, index: u64) -> usize {
        // No more slots than fit in memory.
        usize::try_from(index & self.mask).unwrap_or(0) * self.stride
    }

    #[inline]
    #[expect(clippy::expect_used, reason = "every message has 8 bytes")]
    fn number(&mut self, index: u64) -> &mut [u8; 8] {
        let start = self.start(index);
        self.buffer.bytes_mut()[start..]
            .first_chunk_mut()
            .expect("every message has 8 bytes")
    }

    /// Message `index`; they must be asked for in order.
    #[inline]
    pub fn message(&mut self, index: u64) -> &[u8] {
        let ahead = index + self.mask.div_ceil(2);
        *self.number(ahead) = ahead.to_ne_bytes();
        let start = self.start(index);
        &self.buffer.bytes_mut()[start..start + self.bytes]
    }

    /// The message that ends a measurement.
    pub fn end(&mut self) -> &[u8] {
        *self.number(0) = END.to_ne_bytes();
        let bytes = self.bytes;
        &self.buffer.bytes_mut()[..bytes]
    }
}

/// The number of a message.
#[inline]
pub fn number(message: &[u8]) -> u64 {
    message
        .first_chunk()
        .map_or(END, |bytes| u64::from_ne_bytes(*bytes))
}

/// The message as one whose length the compiler knows, `N`; of unknown length if that is 0.
#[inline]
pub fn exactly<const N: usize>(message: &[u8]) -> &[u8] {
    if N == 0 {
        return message;
    }
    match message.first_chunk::<N>() {
        Some(all) => all,
        None => fail(format_args!("a message of {} bytes", message.len())),
    }
}

/// The buffer as one whose length the compiler knows: see [`exactly`].
#[inline]
pub fn exactly_mut<const N: usize>(buffer: &mut [u8]) -> &mut [u8] {
    let bytes = buffer.len();
    if N == 0 {
        return buffer;
    }
    match buffer.first_chunk_mut::<N>() {
        Some(all) => all,
        None => fail(format_args!("a buffer of {bytes} bytes")),
    }
}
