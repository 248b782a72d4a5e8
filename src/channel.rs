//! Request and reply: two rings, one each way.

use core::fmt;
use std::error::Error;
use std::ffi::OsString;
use std::time::Instant;

use crate::consumer::Consumer;
use crate::error::{Corruption, OpenError, RecvError, SendError, TryRecvError, TrySendError};
use crate::location::Location;
use crate::options::Options;
use crate::producer::Producer;
use crate::trusted::{Trust, Trusted, Untrusted};
use crate::wait::Patience;

/// Bytes of the call number in front of every request and every reply, little-endian.
const NUMBER_BYTES: usize = 8;

/// Opens both ways of a channel: a ring for requests and a ring for replies, made from one
/// location.
///
/// | location | requests | replies |
/// |---|---|---|
/// | `PATH` | `PATH.request` | `PATH.reply` |
/// | `shm:NAME` | `shm:NAME.request` | `shm:NAME.reply` |
/// | `sysv:KEY` | `sysv:KEY` | `sysv:KEY + 1` |
///
/// Either side may start first: whoever comes first makes the rings. One server and one client at a
/// time; the kernel sees to it.
///
/// ```
/// # let dir = tempfile::tempdir()?;
/// # let place = ringduct::Location::from(dir.path().join("adder"));
/// use ringduct::{Channel, Options};
/// let options = Options::new();
/// let mut server = Channel::serve(&place, &options)?;
/// let mut client = Channel::connect(&place, &options)?; // in another process, say
/// let thread = std::thread::spawn(move || {
///     server.serve(|request, reply| reply.push(request.iter().sum()))
/// });
/// let mut reply = Vec::new();
/// client.call(&[1, 2, 3], &mut reply, None)?;
/// assert_eq!(reply, [6]);
/// drop(client);
/// assert_eq!(thread.join().unwrap()?, 1); // the server answered one call
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug)]
pub enum Channel {}

impl Channel {
    /// Takes the server's ends: of requests the consumer, of replies the producer.
    ///
    /// # Errors
    ///
    /// [`OpenError::InvalidOption`] for a location that two rings cannot be made from: a segment id
    /// or a descriptor names one. [`OpenError::RoleTaken`] while there is another server.
    /// Otherwise as [`Options::open_or_create`] and [`Ring::producer`](crate::Ring::producer).
    ///
    /// ```
    /// use ringduct::{Channel, Location, OpenError, Options};
    /// let error = Channel::serve(&Location::Fd(3), &Options::new()).unwrap_err();
    /// assert!(matches!(error, OpenError::InvalidOption { option: "location", .. }));
    /// ```
    pub fn serve(location: &Location, options: &Options) -> Result<Server, OpenError> {
        let (requests, replies) = locations(location)?;
        let requests = options.open_or_create(&requests)?.consumer()?;
        let replies = options.open_or_create(&replies)?.producer()?;
        Ok(Server::from_ends(replies, requests))
    }

    /// Takes the client's ends: of requests the producer, of replies the consumer.
    ///
    /// # Errors
    ///
    /// As [`Channel::serve`], for another client.
    pub fn connect(location: &Location, options: &Options) -> Result<Client, OpenError> {
        let (requests, replies) = locations(location)?;
        let requests = options.open_or_create(&requests)?.producer()?;
        let replies = options.open_or_create(&replies)?.consumer()?;
        Ok(Client::from_ends(requests, replies))
    }

    /// A channel between two threads of this process, each ring with these options.
    ///
    /// # Errors
    ///
    /// As [`Options::pair`].
    ///
    /// ```
    /// use ringduct::{Channel, Options};
    /// let (mut client, mut server) = Channel::pair(&Options::new())?;
    /// let thread = std::thread::spawn(move || {
    ///     server.serve_one(None, |request, reply| reply.extend(request.iter().rev()))
    /// });
    /// let mut reply = Vec::new();
    /// client.call(b"abc", &mut reply, None)?;
    /// assert_eq!(reply, b"cba");
    /// # thread.join().unwrap()?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn pair(options: &Options) -> Result<(Client<Trusted>, Server<Trusted>), OpenError> {
        let (requests_in, requests_out) = options.pair()?;
        let (replies_in, replies_out) = options.pair()?;
        Ok((
            Client::from_ends(requests_in, replies_out),
            Server::from_ends(replies_in, requests_out),
        ))
    }
}

/// Where the two rings of a channel are.
fn locations(location: &Location) -> Result<(Location, Location), OpenError> {
    let refused = |expected: &str| OpenError::InvalidOption {
        option: "location",
        found: location.to_string(),
        expected: expected.to_owned(),
    };
    match location {
        Location::File(path) => {
            let with = |suffix: &str| {
                let mut name = OsString::from(path);
                name.push(suffix);
                Location::File(name.into())
            };
            Ok((with(".request"), with(".reply")))
        }
        Location::Shm(name) => {
            let with = |suffix: &str| Location::Shm(format!("{name}{suffix}"));
            Ok((with(".request"), with(".reply")))
        }
        Location::SysVKey(key) => match (*key, key.wrapping_add(1)) {
            (0, _) | (_, 0) => Err(refused("a key that is not 0 and not 0xffffffff")),
            (requests, replies) => Ok((Location::SysVKey(requests), Location::SysVKey(replies))),
        },
        _ => Err(refused("a path, shm:NAME or sysv:KEY, for two rings")),
    }
}

/// Why a call was not made, not answered, or not served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum CallError {
    /// The deadline passed. A request that was sent may still be carried out; its reply will not be
    /// taken for that of another call.
    TimedOut,
    /// The other side closed; said once, then a call waits for the next. A request that was sent
    /// may have been carried out, or may be by the next server.
    Closed,
    /// The other side died; said once, then a call waits for the next. A request that was sent may
    /// have been carried out, or may be by the next server.
    PeerGone,
    /// The ring for sending is durable and a sync of it has failed: see [`SendError::Poisoned`].
    Poisoned,
    /// The request or the reply can never fit.
    TooLong {
        /// Bytes of the request or the reply.
        message_bytes: u64,
        /// The longest one the ring takes.
        max_bytes: u64,
    },
    /// A message came that is too short to carry a call number: the other side is no channel. The
    /// message was passed over.
    NoNumber {
        /// Bytes of the message; a number has 8.
        found_bytes: u64,
    },
    /// The other side's page, or a record, says what cannot be.
    Corrupt(Corruption),
    /// This handle was inherited by `fork`; open the channel anew in the child.
    Forked,
}

impl fmt::Display for CallError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::TimedOut => f.write_str("the deadline passed before the call was done"),
            Self::Closed => f.write_str("the other side of the channel has closed"),
            Self::PeerGone => f.write_str("the other side of the channel has died"),
            Self::TooLong {
                message_bytes,
                max_bytes,
            } => write!(
                f,
                "the request or reply has {message_bytes} bytes and this channel takes at most \
                 {max_bytes}: split it, or make the channel with more capacity"
            ),
            Self::NoNumber { found_bytes } => write!(
                f,
                "a message of {found_bytes} bytes came, too short for the 8 bytes of a call \
                 number: the other side does not speak through a channel"
            ),
            Self::Corrupt(corruption) => corruption.fmt(f),
            Self::Poisoned => SendError::Poisoned.fmt(f),
            Self::Forked => SendError::Forked.fmt(f),
        }
    }
}

impl Error for CallError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Corrupt(corruption) => Some(corruption),
            _ => None,
        }
    }
}

impl From<SendError> for CallError {
    fn from(error: SendError) -> Self {
        match error {
            SendError::TimedOut | SendError::WaitingForCheckpoint => Self::TimedOut,
            SendError::Poisoned => Self::Poisoned,
            SendError::Closed => Self::Closed,
            SendError::PeerGone => Self::PeerGone,
            SendError::TooLong {
                message_bytes,
                max_bytes,
            } => Self::TooLong {
                message_bytes: message_bytes.saturating_sub(NUMBER_BYTES as u64),
                max_bytes: max_bytes.saturating_sub(NUMBER_BYTES as u64),
            },
            SendError::Corrupt(corruption) => Self::Corrupt(corruption),
            SendError::Forked => Self::Forked,
        }
    }
}

impl From<RecvError> for CallError {
    fn from(error: RecvError) -> Self {
        match error {
            RecvError::TimedOut => Self::TimedOut,
            RecvError::Closed => Self::Closed,
            RecvError::PeerGone => Self::PeerGone,
            RecvError::BufferTooSmall {
                message_bytes,
                buffer_bytes,
            } => Self::TooLong {
                message_bytes,
                max_bytes: buffer_bytes,
            },
            RecvError::Corrupt(corruption) => Self::Corrupt(corruption),
            RecvError::Forked => Self::Forked,
        }
    }
}

/// Sends a call number and what belongs to it as one message.
fn send_numbered<T: Trust>(
    producer: &mut Producer<T>,
    number: u64,
    body: &[u8],
    deadline: Option<Instant>,
) -> Result<(), CallError> {
    let in_try_form = |error: TrySendError| CallError::from(SendError::from_try(error));
    let length = body.len().saturating_add(NUMBER_BYTES);
    let mut claim = producer.claim(length, deadline)?;
    claim
        .write_at(0, &number.to_le_bytes())
        .map_err(in_try_form)?;
    claim.write_at(NUMBER_BYTES, body).map_err(in_try_form)?;
    claim.commit();
    Ok(())
}

/// Splits a message into its call number and what belongs to it.
fn split_number(message: &[u8]) -> Result<(u64, &[u8]), CallError> {
    match message.split_first_chunk::<NUMBER_BYTES>() {
        Some((number, body)) => Ok((u64::from_le_bytes(*number), body)),
        None => Err(CallError::NoNumber {
            found_bytes: message.len() as u64,
        }),
    }
}

fn longest_body<T: Trust>(producer: &Producer<T>) -> u64 {
    let max = producer.max_message_bytes();
    max.saturating_sub(NUMBER_BYTES as u64)
}

/// The side of a channel that asks: see [`Channel`] for an example.
///
/// Calls are made one at a time. Each carries a number that no other call on this ring has had, not
/// even one of an earlier client, so that a reply that comes after its caller stopped waiting is
/// recognised and dropped.
#[derive(Debug)]
pub struct Client<T: Trust = Untrusted> {
    requests: Producer<T>,
    replies: Consumer<T>,
    buffer: Vec<u8>,
}

impl<T: Trust> Client<T> {
    /// Makes a client of the producer of one ring and the consumer of another.
    ///
    /// ```
    /// let (requests, _) = ringduct::pair(4096)?;
    /// let (_, replies) = ringduct::pair(4096)?;
    /// let client = ringduct::Client::from_ends(requests, replies);
    /// let (requests, _replies) = client.into_ends();
    /// assert_eq!(requests.totals().messages, 0);
    /// # Ok::<(), ringduct::OpenError>(())
    /// ```
    pub const fn from_ends(requests: Producer<T>, replies: Consumer<T>) -> Self {
        Self {
            requests,
            replies,
            buffer: Vec::new(),
        }
    }

    /// Sends `request` and replaces the contents of `reply` with the answer, waiting until
    /// `deadline`, or as long as it takes without one. The clock is monotonic.
    ///
    /// Without a server the request waits in the ring for one.
    ///
    /// # Errors
    ///
    /// Every [`CallError`]; which see for what became of the request.
    ///
    /// ```
    /// use ringduct::{CallError, Channel, Options};
    /// use std::time::Instant;
    /// let (mut client, mut server) = Channel::pair(&Options::new())?;
    /// let mut reply = Vec::new();
    /// let late = client.call(b"first", &mut reply, Some(Instant::now()));
    /// assert_eq!(late, Err(CallError::TimedOut));
    /// let thread = std::thread::spawn(move || {
    ///     server.serve(|request, reply| reply.extend_from_slice(request))
    /// });
    /// client.call(b"second", &mut reply, None)?;
    /// assert_eq!(reply, b"second"); // not the answer to the first
    /// # drop(client);
    /// # thread.join().unwrap()?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn call(
        &mut self,
        request: &[u8],
        reply: &mut Vec<u8>,
        deadline: Option<Instant>,
    ) -> Result<(), CallError> {
        // Every request sent so far counted here, those of earlier clients too: a number of its
        // own, and only ever compared for equality.
        let number = self.requests.totals().messages;
        send_numbered(&mut self.requests, number, request, deadline)?;
        let mut patience = Patience::until(deadline);
        while patience.lasts() {
            self.replies.recv_vec(&mut self.buffer, deadline)?;
            let (found, body) = split_number(&self.buffer)?;
            if found == number {
                reply.clear();
                reply.extend_from_slice(body);
                return Ok(());
            }
        }
        Err(CallError::TimedOut) // a server may answer everything but this request
    }

    /// Bytes of the longest request: 8 less than the ring's longest message.
    ///
    /// ```
    /// use ringduct::{Channel, Options};
    /// let (client, server) = Channel::pair(&Options::new().capacity_bytes(4096))?;
    /// assert_eq!(client.max_request_bytes(), 4072);
    /// assert_eq!(server.max_reply_bytes(), 4072);
    /// # Ok::<(), ringduct::OpenError>(())
    /// ```
    pub fn max_request_bytes(&self) -> u64 {
        longest_body(&self.requests)
    }

    /// Takes the two ends out: full duplex, each side sending when it likes.
    ///
    /// ```
    /// use ringduct::{Channel, Options};
    /// let (client, server) = Channel::pair(&Options::new())?;
    /// let (mut to_server, mut from_server) = client.into_ends();
    /// let (mut to_client, mut from_client) = server.into_ends();
    /// to_server.send(b"to and")?;
    /// to_client.send(b"fro")?;
    /// assert_eq!(from_client.recv(&mut [0; 8])?, 6);
    /// assert_eq!(from_server.recv(&mut [0; 8])?, 3);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn into_ends(self) -> (Producer<T>, Consumer<T>) {
        (self.requests, self.replies)
    }
}

/// The side of a channel that answers: see [`Channel`] for an example.
///
/// **At least once.** A request is released after its reply was sent. A server that dies in between
/// leaves it to the next one, which carries it out again; the client takes one of the two replies
/// and drops the other. A request that kills every server has to be skipped by hand, through
/// [`Server::into_ends`].
#[derive(Debug)]
pub struct Server<T: Trust = Untrusted> {
    replies: Producer<T>,
    requests: Consumer<T>,
    request: Vec<u8>,
    reply: Vec<u8>,
    /// The number of a request that was carried out and whose reply is still to be sent.
    unsent: Option<u64>,
}

impl<T: Trust> Server<T> {
    /// Makes a server of the producer of one ring and the consumer of another.
    ///
    /// ```
    /// let (replies, _) = ringduct::pair(4096)?;
    /// let (_, requests) = ringduct::pair(4096)?;
    /// let server = ringduct::Server::from_ends(replies, requests);
    /// assert_eq!(server.max_reply_bytes(), 4072);
    /// # Ok::<(), ringduct::OpenError>(())
    /// ```
    pub const fn from_ends(replies: Producer<T>, requests: Consumer<T>) -> Self {
        Self {
            replies,
            requests,
            request: Vec::new(),
            reply: Vec::new(),
            unsent: None,
        }
    }

    /// Answers one request, waiting for it until `deadline`, or as long as it takes without one.
    ///
    /// `answer` gets the request and an empty `Vec` for the reply; what it leaves there is sent.
    /// A reply for which there was no room in time is kept: the next call sends it before anything
    /// else, and does not ask `answer` again.
    ///
    /// # Errors
    ///
    /// [`CallError::Closed`] and [`CallError::PeerGone`], once for each client, when every request
    /// was answered and the client ended. [`CallError::TooLong`] for a reply that can never fit:
    /// the request is dropped, unanswered.
    ///
    /// ```
    /// use ringduct::{CallError, Channel, Options};
    /// use std::time::Instant;
    /// let (client, mut server) = Channel::pair(&Options::new())?;
    /// let idle = server.serve_one(Some(Instant::now()), |_, _| ());
    /// assert_eq!(idle, Err(CallError::TimedOut));
    /// drop(client);
    /// assert_eq!(server.serve_one(None, |_, _| ()), Err(CallError::Closed));
    /// # Ok::<(), ringduct::OpenError>(())
    /// ```
    pub fn serve_one(
        &mut self,
        deadline: Option<Instant>,
        answer: impl FnOnce(&[u8], &mut Vec<u8>),
    ) -> Result<(), CallError> {
        if self.unsent.is_some() {
            self.send_reply(deadline)?;
        }
        self.requests.peek_vec(&mut self.request, deadline)?;
        match split_number(&self.request) {
            Ok((number, request)) => {
                self.reply.clear();
                answer(request, &mut self.reply);
                self.unsent = Some(number);
                self.send_reply(deadline)
            }
            Err(error) => {
                self.release_request()?;
                Err(error)
            }
        }
    }

    /// Answers requests until the client closes, and says how many.
    ///
    /// # Errors
    ///
    /// [`CallError::PeerGone`] when the client died instead: call again to wait for the next one.
    /// Otherwise as [`Server::serve_one`].
    ///
    /// ```
    /// use ringduct::{Channel, Options};
    /// let (client, mut server) = Channel::pair(&Options::new())?;
    /// drop(client);
    /// assert_eq!(server.serve(|_, _| ()), Ok(0));
    /// # Ok::<(), ringduct::OpenError>(())
    /// ```
    pub fn serve(&mut self, mut answer: impl FnMut(&[u8], &mut Vec<u8>)) -> Result<u64, CallError> {
        let mut answered = 0_u64;
        loop {
            match self.serve_one(None, &mut answer) {
                Ok(()) => answered = answered.saturating_add(1),
                // Not while a reply waits: then it was the reply ring that said so.
                Err(CallError::Closed) if self.unsent.is_none() => return Ok(answered),
                Err(error) => return Err(error),
            }
        }
    }

    /// Sends the reply that is ready, and then releases its request.
    fn send_reply(&mut self, deadline: Option<Instant>) -> Result<(), CallError> {
        if let Some(number) = self.unsent {
            let sent = send_numbered(&mut self.replies, number, &self.reply, deadline);
            if !matches!(sent, Ok(()) | Err(CallError::TooLong { .. })) {
                return sent;
            }
            self.unsent = None;
            self.release_request()?;
            return sent;
        }
        Ok(())
    }

    fn release_request(&mut self) -> Result<(), CallError> {
        let released = self.requests.skip(1);
        released.map_err(|error: TryRecvError| RecvError::from_try(error))?;
        Ok(())
    }

    /// Bytes of the longest reply: 8 less than the ring's longest message.
    pub fn max_reply_bytes(&self) -> u64 {
        longest_body(&self.replies)
    }

    /// Takes the two ends out: full duplex, as [`Client::into_ends`] shows.
    pub fn into_ends(self) -> (Producer<T>, Consumer<T>) {
        (self.replies, self.requests)
    }
}

#[cfg(test)]
mod tests;
