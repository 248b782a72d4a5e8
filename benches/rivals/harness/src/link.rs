//! What a transport has to bring.

use std::fmt;
use std::path::PathBuf;
use std::sync::Mutex;

/// Why a transport cannot be measured.
pub type Failure = Box<dyn std::error::Error + Send + Sync>;

/// Whether the two ends are in two processes, or only in two threads of one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Two processes, as everything that can is measured.
    Processes,
    /// Two threads, for what cannot cross processes.
    Threads,
}

/// What to make a link for.
#[derive(Clone, Debug)]
pub struct Spec {
    /// The name of the transport, for links that come in several flavours.
    pub transport: String,
    /// Bytes of every message.
    pub bytes: usize,
    /// Bytes of buffer.
    pub ring_bytes: usize,
    /// A name nobody else uses, without a slash.
    pub name: String,
    /// A directory on a disk.
    pub dir: PathBuf,
}

impl Spec {
    /// Slots of `bytes` in the buffer: at least two.
    pub fn slots(&self) -> usize {
        (self.ring_bytes / self.bytes).max(2)
    }

    /// The same, but a power of two: the greatest that fits.
    pub fn slots_power(&self) -> usize {
        1 << self.slots().ilog2()
    }
}

/// The sending end.
pub trait Sender {
    /// Publishes one message, however long that takes.
    fn send(&mut self, message: &[u8]);
}

/// The receiving end.
pub trait Receiver {
    /// Copies the next message to the start of `buffer`, however long that takes, and returns its
    /// length. The buffer has exactly the length of every message.
    fn recv(&mut self, buffer: &mut [u8]) -> usize;
}

/// One direction of a transport.
pub trait Link: Sized {
    /// Where its ends can be.
    const MODE: Mode;
    /// The sending end.
    type Tx: Sender;
    /// The receiving end.
    type Rx: Receiver;

    /// Makes what both ends need, before there are two processes.
    ///
    /// # Errors
    ///
    /// What the transport says.
    fn make(spec: &Spec) -> Result<Self, Failure>;

    /// Takes the sending end, in its process. Called once.
    ///
    /// # Errors
    ///
    /// What the transport says.
    fn tx(&self) -> Result<Self::Tx, Failure>;

    /// Takes the receiving end, in its process. Called once.
    ///
    /// # Errors
    ///
    /// What the transport says.
    fn rx(&self) -> Result<Self::Rx, Failure>;
}

/// Both ends of a link that is made in one piece, to be taken one by one.
#[derive(Debug)]
pub struct Ends<T, R> {
    tx: Mutex<Option<T>>,
    rx: Mutex<Option<R>>,
}

impl<T, R> Ends<T, R> {
    /// Keeps both until they are taken.
    pub fn new(tx: T, rx: R) -> Self {
        Self {
            tx: Mutex::new(Some(tx)),
            rx: Mutex::new(Some(rx)),
        }
    }

    /// Takes the sending end.
    ///
    /// # Errors
    ///
    /// When it was taken before.
    pub fn tx(&self) -> Result<T, Failure> {
        take(&self.tx)
    }

    /// Takes the receiving end.
    ///
    /// # Errors
    ///
    /// When it was taken before.
    pub fn rx(&self) -> Result<R, Failure> {
        take(&self.rx)
    }
}

fn take<T>(place: &Mutex<Option<T>>) -> Result<T, Failure> {
    let mut place = place.lock().map_err(|_| "the other side panicked")?;
    place
        .take()
        .ok_or_else(|| "this end was taken before".into())
}

/// Ends both processes with the reason on standard error: a transport that loses a message is not
/// measured any further.
#[cold]
#[inline(never)]
#[expect(unsafe_code, reason = "ends the process group")]
pub fn fail(why: impl fmt::Display) -> ! {
    eprintln!("{why}");
    // SAFETY: no memory is involved. A worker leads its own process group.
    unsafe { libc::kill(0, libc::SIGKILL) };
    std::process::abort()
}
