//! The messages: what each one is, known to both sides, so that every byte can be checked.

use std::time::{Duration, Instant};

/// The longest message without its time of sending.
const MAX_BYTES: usize = 1024;

/// Places in the pattern at which a message may begin.
const PLACES: usize = 1 << 14;

/// One message in so many carries its time of sending.
const SAMPLE: u64 = 256;

/// Bytes of a message of the calm phase, its time of sending included.
const CALM_BYTES: usize = 64;

/// Message number `index` is a stretch of one random pattern; where it begins and how long it is
/// are drawn from the number. A message lost, doubled, torn or out of order shows at the next one.
#[derive(Debug)]
pub(crate) struct Messages {
    pattern: Vec<u8>,
    timed: Vec<u8>,
}

impl Messages {
    pub(crate) fn new() -> Self {
        let words = (PLACES + MAX_BYTES) / 8;
        let pattern = (0..words as u64).flat_map(|n| draw(n).to_le_bytes());
        Self {
            pattern: pattern.collect(),
            timed: Vec::with_capacity(MAX_BYTES + 8),
        }
    }

    /// Three quarters are shorter than 64 bytes, one in sixteen goes up to 1 KiB.
    fn body(&self, index: u64) -> &[u8] {
        let [kind, low, high, place_low, place_high, ..] = draw(index).to_le_bytes();
        let length = usize::from(u16::from_le_bytes([low, high]));
        let length = match kind {
            0..16 => length % (MAX_BYTES + 1),
            16..64 => length % 256,
            _ => length % 64,
        };
        let start = usize::from(u16::from_le_bytes([place_low, place_high])) % PLACES;
        self.pattern.get(start..start + length).unwrap_or_default()
    }

    /// Message `index` of the flood; asks for the time only if it carries it.
    pub(crate) fn make(&mut self, index: u64, now: impl Fn() -> u64) -> &[u8] {
        if index % SAMPLE != 0 {
            return self.body(index);
        }
        let mut timed = std::mem::take(&mut self.timed);
        timed.clear();
        timed.extend_from_slice(&now().to_le_bytes());
        timed.extend_from_slice(self.body(index));
        self.timed = timed;
        &self.timed
    }

    /// Message `index` of the calm phase.
    pub(crate) fn make_timed(&mut self, index: u64, now: u64) -> &[u8] {
        self.timed.clear();
        self.timed.extend_from_slice(&now.to_le_bytes());
        let body = self.pattern.iter().cycle().skip(calm_place(index));
        self.timed.extend(body.take(CALM_BYTES - 8));
        &self.timed
    }

    /// The time in message `index` of the flood, if it is what it has to be.
    pub(crate) fn check(&self, index: u64, message: &[u8]) -> Result<Option<u64>, String> {
        if index % SAMPLE != 0 {
            return same(index, message, self.body(index)).map(|()| None);
        }
        let (sent_at, body) = split(index, message)?;
        same(index, body, self.body(index)).map(|()| Some(sent_at))
    }

    /// The time in message `index` of the calm phase, if it is what it has to be.
    pub(crate) fn check_timed(&self, index: u64, message: &[u8]) -> Result<Option<u64>, String> {
        let (sent_at, body) = split(index, message)?;
        let start = calm_place(index);
        let expected = self.pattern.get(start..start + CALM_BYTES - 8);
        same(index, body, expected.unwrap_or_default()).map(|()| Some(sent_at))
    }
}

fn calm_place(index: u64) -> usize {
    usize::try_from(index).unwrap_or(0) % PLACES
}

fn split(index: u64, message: &[u8]) -> Result<(u64, &[u8]), String> {
    let (sent_at, body) = message
        .split_first_chunk()
        .ok_or_else(|| format!("message {index} is too short for its time of sending"))?;
    Ok((u64::from_le_bytes(*sent_at), body))
}

fn same(index: u64, found: &[u8], expected: &[u8]) -> Result<(), String> {
    if found == expected {
        return Ok(());
    }
    let (found, expected) = (found.escape_ascii(), expected.escape_ascii());
    Err(format!(
        "message {index} is \"{found}\", expected \"{expected}\""
    ))
}

/// A number drawn from another: the finaliser of splitmix64.
fn draw(number: u64) -> u64 {
    let mut z = number.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// Whether both processes have to share a core.
pub(crate) fn one_core() -> bool {
    std::thread::available_parallelism().is_ok_and(|cores| cores.get() == 1)
}

/// How the calm phase goes.
#[derive(Debug)]
pub(crate) struct Pace {
    pub(crate) messages: u64,
    gap: Duration,
    asleep: bool,
    started: Instant,
}

impl Pace {
    /// Slow enough that no queue forms; on a single core, where each message costs two changes of
    /// process, slower.
    pub(crate) fn of_this_machine() -> Self {
        let asleep = one_core();
        let (messages, gap) = if asleep { (500, 2000) } else { (50_000, 20) };
        Self {
            messages,
            gap: Duration::from_micros(gap),
            asleep,
            started: Instant::now(),
        }
    }

    /// Waits until it is time for message `index`.
    pub(crate) fn wait(&self, index: u64) {
        let due = self.gap * u32::try_from(index).unwrap_or(u32::MAX);
        if self.asleep {
            std::thread::sleep(due.saturating_sub(self.started.elapsed()));
        }
        while self.started.elapsed() < due {
            std::hint::spin_loop();
        }
    }
}
