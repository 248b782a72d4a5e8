//! Handing a ring over a Unix socket.
//!
//! A ring to look on at is one descriptor, opened for reading. A ring to take a role in is three of
//! one file: the ring, and two more for a receiver whom the ring's mode does not let open any, one
//! for the attach lock and one for the lock of its role. All are fresh, and the sender keeps no
//! copy, so that locks set through them are the receiver's alone.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;

use crate::attach::Ring;
use crate::error::OpenError;
use crate::observer::Observer;
use crate::options::Options;
use crate::region::{self, passing};
use crate::ucred;

/// The byte that travels with the descriptors: they need at least one to travel with.
const MARK: u8 = b'R';

/// Descriptors that a role is handed over with.
const FOR_A_ROLE: usize = 3;

/// What the receiver of a ring may do with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Grant {
    /// Take a role: the descriptors can be read and written.
    ReadWrite,
    /// Look on: the descriptor can only be read. A receiver whom the ring's mode allows to write,
    /// such as the same user, can still reopen it for writing. Another user cannot, as long as the
    /// [mode](Options::mode) is the default; it can only keep a role from being taken, by a read
    /// lock.
    ReadOnly,
}

impl Ring {
    /// Sends this ring over `socket`, together with one byte, to a process of the caller's own
    /// user; the other side takes it with [`Options::receive`] or [`Options::receive_observer`].
    ///
    /// The descriptors are fresh ones, and this process keeps no copy of them.
    ///
    /// # Errors
    ///
    /// [`OpenError::WrongReceiver`] for another user at the other end: see
    /// [`Ring::hand_over_to`]. [`OpenError::InvalidOption`] for System V, which has no descriptors:
    /// hand over its key or id. Otherwise what the kernel says of the socket.
    ///
    /// ```
    /// use ringduct::{Grant, Options};
    /// use std::os::unix::net::UnixStream;
    /// let (here, there) = UnixStream::pair()?;
    /// let ring = Options::new().create_memfd("orders")?;
    /// ring.hand_over(&here, Grant::ReadWrite)?;
    /// let received = Options::new().receive(&there)?; // in another process, say
    /// assert_eq!(received.uuid(), ring.uuid());
    /// ring.producer()?.send(b"hello")?;
    /// assert_eq!(received.consumer()?.recv(&mut [0; 16])?, 5);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn hand_over(&self, socket: &UnixStream, grant: Grant) -> Result<(), OpenError> {
        self.hand_over_to(socket, grant, rustix::process::geteuid().as_raw())
    }

    /// The same to a process of the user `uid`, who names this process's user as the
    /// [owner](Options::owner) that it receives from.
    ///
    /// A user whom the ring's [mode](Options::mode) does not let in, as it lets in nobody else by
    /// default, takes one role with what one hand-over brings, and keeps it until it ends; for
    /// another one the ring must be handed over again. A durable ring needs a mode that lets that
    /// user in.
    ///
    /// # Errors
    ///
    /// As [`Ring::hand_over`].
    ///
    /// ```
    /// use ringduct::{Grant, OpenError, Options};
    /// use std::os::unix::net::UnixStream;
    /// let (here, _there) = UnixStream::pair()?;
    /// let ring = Options::new().create_memfd("orders")?;
    /// let stranger = ring.hand_over_to(&here, Grant::ReadOnly, 54321).unwrap_err();
    /// assert!(matches!(stranger, OpenError::WrongReceiver { expected: 54321, .. }));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn hand_over_to(
        &self,
        socket: &UnixStream,
        grant: Grant,
        uid: u32,
    ) -> Result<(), OpenError> {
        let found = user_at_the_other_end(self.name(), socket)?;
        if found != uid {
            return Err(OpenError::WrongReceiver {
                name: self.name().to_owned(),
                expected: uid,
                found,
            });
        }
        let fresh = match grant {
            Grant::ReadWrite => (0..FOR_A_ROLE)
                .map(|_| self.descriptor())
                .collect::<Result<Vec<OwnedFd>, OpenError>>()?,
            Grant::ReadOnly => vec![self.read_only_descriptor()?],
        };
        let fresh: Vec<BorrowedFd<'_>> = fresh.iter().map(AsFd::as_fd).collect();
        passing::send(socket, MARK, &fresh)
            .map_err(|errno| OpenError::os(self.name(), "send it over the socket", errno))
    }
}

impl Options {
    /// Receives a ring that the process at the other end of `socket` hands over with
    /// [`Ring::hand_over`]. Waits for it as the socket does.
    ///
    /// The process at the other end, as it was when the socket was connected, must run under the
    /// [owner](Options::owner) given here, the caller's own user unless another was named. What it
    /// sends is checked like any ring that is opened; in particular, a memory file must be sealed.
    /// At most one byte is taken from the socket.
    ///
    /// # Errors
    ///
    /// [`OpenError::WrongOwner`] for another user at the other end. [`OpenError::NotARing`] when
    /// what came is no descriptor, a wrong number of them, or one of something else.
    /// [`OpenError::Os`] when the socket fails, with [`WouldBlock`](std::io::ErrorKind::WouldBlock)
    /// at its timeout. Otherwise as [`Options::open`].
    ///
    /// ```
    /// use ringduct::{OpenError, Options};
    /// use std::os::unix::net::UnixStream;
    /// let (here, there) = UnixStream::pair()?;
    /// drop(here);
    /// let error = Options::new().receive(&there).unwrap_err();
    /// assert!(matches!(error, OpenError::NotARing { .. }));
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn receive(&self, socket: &UnixStream) -> Result<Ring, OpenError> {
        self.receive_ring(socket, false)
    }

    /// Receives a ring for looking on: a descriptor for reading is enough.
    ///
    /// # Errors
    ///
    /// As [`Options::receive`].
    ///
    /// ```
    /// use ringduct::{Grant, Options};
    /// use std::os::unix::net::UnixStream;
    /// let (here, there) = UnixStream::pair()?;
    /// let ring = Options::new().create_memfd("orders")?;
    /// ring.hand_over(&here, Grant::ReadOnly)?;
    /// let observer = Options::new().receive_observer(&there)?;
    /// ring.producer()?.send(b"hello")?;
    /// assert_eq!(observer.snapshot().backlog_messages, 1);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn receive_observer(&self, socket: &UnixStream) -> Result<Observer, OpenError> {
        self.receive_ring(socket, true)?.observer()
    }

    fn receive_ring(&self, socket: &UnixStream, read_only: bool) -> Result<Ring, OpenError> {
        check_peer(NAME, socket, self.expected_owner())?;
        let descriptors = take_descriptors(NAME, socket)?;
        let object = region::open_received(NAME, descriptors, self.trust(), read_only)?;
        Ring::new(object, self)
    }
}

/// What errors call a ring that came over a socket.
const NAME: &str = "the ring handed over the socket";

/// Refuses a socket at whose other end, when it was connected, was another user.
pub(crate) fn check_peer(name: &str, socket: &UnixStream, expected: u32) -> Result<(), OpenError> {
    let found = user_at_the_other_end(name, socket)?;
    if found == expected {
        return Ok(());
    }
    Err(OpenError::WrongOwner {
        name: name.to_owned(),
        expected,
        found,
    })
}

/// The user that the process at the other end ran under when the socket was connected.
fn user_at_the_other_end(name: &str, socket: &UnixStream) -> Result<u32, OpenError> {
    ucred::peer_uid(socket)
        .map_err(|error| OpenError::os(name, "ask who is at the other end of its socket", error))
}

/// Takes one byte and the descriptors that must come with it.
pub(crate) fn take_descriptors(name: &str, socket: &UnixStream) -> Result<Vec<OwnedFd>, OpenError> {
    let received = passing::receive(socket)
        .map_err(|errno| OpenError::os(name, "receive it from the socket", errno))?;
    let found = match (received.byte, received.descriptors.len()) {
        (None, _) => "the end of the stream".to_owned(),
        _ if received.truncated => "more control data than that".to_owned(),
        (_, 0) => "no descriptor".to_owned(),
        (Some(MARK), 1 | FOR_A_ROLE) => return Ok(received.descriptors),
        (Some(MARK), count) => format!("{count} descriptors"),
        (Some(byte), _) => format!("the byte {byte:#04x} with a descriptor"),
    };
    Err(OpenError::NotARing {
        name: name.to_owned(),
        expected: format!("one or {FOR_A_ROLE} descriptors, with the byte {MARK:#04x}"),
        found,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use core::mem::MaybeUninit;
    use std::fs::File;
    use std::io::{IoSlice, Write};

    use rustix::io::Errno;
    use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags};

    /// Sends `count` copies of a descriptor with one byte.
    fn send_raw(socket: &UnixStream, byte: u8, descriptor: BorrowedFd<'_>, count: usize) {
        let descriptors = vec![descriptor; count];
        let mut space = vec![MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(16))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        if count > 0 {
            assert!(control.push(SendAncillaryMessage::ScmRights(&descriptors)));
        }
        let data = [byte];
        let sent = rustix::net::sendmsg(
            socket,
            &[IoSlice::new(&data)],
            &mut control,
            SendFlags::empty(),
        );
        assert_eq!(sent, Ok(1));
    }

    fn finding(socket: &UnixStream) -> String {
        match Options::new().receive(socket) {
            Err(OpenError::NotARing { found, .. }) => found,
            other => panic!("{other:?}"),
        }
    }

    /// Goal: everything but one descriptor of a ring with the right byte is a typed error, and the
    /// socket goes on working. Method: each wrong thing in turn over one socket, then a ring.
    #[test]
    fn wrong_things_are_told_apart() {
        let (here, there) = UnixStream::pair().unwrap();
        let ring = Options::new().create_memfd("test").unwrap();
        let descriptor = ring.descriptor().unwrap();
        let null = File::open("/dev/null").unwrap();
        send_raw(&here, MARK, descriptor.as_fd(), 0);
        assert_eq!(finding(&there), "no descriptor");
        send_raw(&here, MARK, descriptor.as_fd(), 2);
        assert_eq!(finding(&there), "2 descriptors");
        send_raw(&here, MARK, descriptor.as_fd(), 4);
        assert_eq!(finding(&there), "4 descriptors");
        send_raw(&here, MARK, descriptor.as_fd(), 16);
        assert_eq!(finding(&there), "more control data than that");
        send_raw(&here, b'x', descriptor.as_fd(), 1);
        assert_eq!(finding(&there), "the byte 0x78 with a descriptor");
        send_raw(&here, MARK, null.as_fd(), 1);
        assert!(finding(&there).contains("device"), "a device is no ring");
        let other = Options::new().create_memfd("other").unwrap();
        let other = other.descriptor().unwrap();
        let mixed = [descriptor.as_fd(), descriptor.as_fd(), other.as_fd()];
        passing::send(&here, MARK, &mixed).unwrap();
        assert_eq!(finding(&there), "descriptors of several");
        ring.hand_over(&here, Grant::ReadWrite).unwrap();
        assert_eq!(Options::new().receive(&there).unwrap().uuid(), ring.uuid());
        drop(here);
        assert_eq!(finding(&there), "the end of the stream");
    }

    /// Goal: refusing costs no descriptor here, and receiving leaves none behind. Method: count the
    /// open descriptors of the receiving side around a refusal and around a hand-over.
    #[test]
    fn descriptors_are_not_left_open() {
        let _alone = crate::testing::alone();
        let (here, there) = UnixStream::pair().unwrap();
        let ring = Options::new().create_memfd("counted-by-name").unwrap();
        let count = || {
            std::fs::read_dir("/proc/self/fd")
                .unwrap()
                .filter_map(|entry| std::fs::read_link(entry.ok()?.path()).ok())
                .filter(|target| target.to_string_lossy().contains("counted-by-name"))
                .count()
        };
        let before = count();
        let descriptor = ring.descriptor().unwrap();
        send_raw(&here, MARK, descriptor.as_fd(), 4);
        drop(descriptor);
        assert_eq!(finding(&there), "4 descriptors");
        assert_eq!(count(), before);
        ring.hand_over(&here, Grant::ReadOnly).unwrap();
        let observer = Options::new().receive_observer(&there).unwrap();
        assert_eq!(count(), before + 1, "the observer's own");
        drop(observer);
        assert_eq!(count(), before);
    }

    /// Goal: a ring from another user is not taken. Method: ask for an owner that this test does
    /// not run under.
    #[test]
    fn a_stranger_is_refused() {
        let (here, there) = UnixStream::pair().unwrap();
        there
            .set_read_timeout(Some(core::time::Duration::from_secs(2)))
            .unwrap();
        let ring = Options::new().create_memfd("test").unwrap();
        ring.hand_over(&here, Grant::ReadWrite).unwrap();
        let own = rustix::process::geteuid().as_raw();
        let stranger = own + 1;
        match Options::new().owner(stranger).receive(&there) {
            Err(OpenError::WrongOwner {
                expected, found, ..
            }) => assert_eq!((expected, found), (stranger, own)),
            other => panic!("{other:?}"),
        }
        assert!(Options::new().receive(&there).is_ok(), "it is still there");
    }

    /// Goal: a ring is not given to another user than was meant, and nothing is sent then. Method:
    /// name a user that this test does not run under, and look at the socket.
    #[test]
    fn nothing_is_given_to_a_stranger() {
        let (here, there) = UnixStream::pair().unwrap();
        let ring = Options::new().create_memfd("test").unwrap();
        let own = rustix::process::geteuid().as_raw();
        for grant in [Grant::ReadWrite, Grant::ReadOnly] {
            match ring.hand_over_to(&here, grant, own + 1) {
                Err(OpenError::WrongReceiver {
                    expected, found, ..
                }) => assert_eq!((expected, found), (own + 1, own)),
                other => panic!("{other:?}"),
            }
        }
        there.set_nonblocking(true).unwrap();
        assert_eq!(passing::receive(&there).unwrap_err(), Errno::AGAIN);
    }

    /// Goal: a ring without a descriptor, and a socket without a reader, are errors. Method: each.
    #[test]
    fn failures_of_the_sender_are_errors() {
        let (mut here, there) = UnixStream::pair().unwrap();
        here.write_all(b"").unwrap();
        drop(there);
        let ring = Options::new().create_memfd("test").unwrap();
        let error = ring.hand_over(&here, Grant::ReadWrite).unwrap_err();
        assert!(matches!(error, OpenError::Os { .. }), "{error}");
    }
}
