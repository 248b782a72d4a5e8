//! Handing a ring over a Unix socket.

use core::mem::MaybeUninit;
use std::io::{IoSlice, IoSliceMut};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::net::UnixStream;

use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags,
};

use crate::attach::Ring;
use crate::error::OpenError;
use crate::location::Location;
use crate::observer::Observer;
use crate::options::Options;

/// The byte that travels with the descriptor: a descriptor needs at least one to travel with.
const MARK: u8 = b'R';

/// Room for more descriptors than there may be, so that one too many is seen.
const CONTROL_BYTES: usize = rustix::cmsg_space!(ScmRights(4));

/// What the receiver of a ring may do with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Grant {
    /// Take a role: the descriptor can be read and written.
    ReadWrite,
    /// Look on: the descriptor can only be read. A receiver whom the ring's mode allows to write,
    /// such as the same user, can still reopen it for writing.
    ReadOnly,
}

impl Ring {
    /// Sends a descriptor of this ring over `socket`, together with one byte; the other side takes
    /// both with [`Options::receive`] or [`Options::receive_observer`].
    ///
    /// The descriptor is a fresh one, and this process keeps no copy of it. Whoever receives it
    /// opens the ring anew through it, for which the ring's
    /// [mode](Options::mode) must let that user in: one with the default mode can be handed to the
    /// same user only.
    ///
    /// # Errors
    ///
    /// [`OpenError::InvalidOption`] for System V, which has no descriptors: hand over its key or
    /// id. Otherwise what the kernel says of the socket.
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
        let descriptor = match grant {
            Grant::ReadWrite => self.descriptor()?,
            Grant::ReadOnly => self.read_only_descriptor()?,
        };
        let descriptors = [descriptor.as_fd()];
        let mut space = [MaybeUninit::uninit(); CONTROL_BYTES];
        let mut control = SendAncillaryBuffer::new(&mut space);
        // There is room for four.
        let _ = control.push(SendAncillaryMessage::ScmRights(&descriptors));
        let data = [IoSlice::new(&[MARK])];
        let sent = rustix::io::retry_on_intr(|| {
            rustix::net::sendmsg(socket, &data, &mut control, SendFlags::NOSIGNAL)
        });
        match sent {
            Ok(_) => Ok(()),
            Err(errno) => Err(OpenError::os(self.name(), "send it over the socket", errno)),
        }
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
    /// what came is no descriptor, more than one, or one of something else. [`OpenError::Os`] when
    /// the socket fails, with [`WouldBlock`](std::io::ErrorKind::WouldBlock) at its timeout.
    /// Otherwise as [`Options::open`].
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
        let descriptor = self.receive_descriptor(socket)?;
        self.open(&Location::Fd(descriptor.as_raw_fd()))
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
        let descriptor = self.receive_descriptor(socket)?;
        self.observe(&Location::Fd(descriptor.as_raw_fd()))
    }

    fn receive_descriptor(&self, socket: &UnixStream) -> Result<OwnedFd, OpenError> {
        check_peer(NAME, socket, self.expected_owner())?;
        take_descriptor(NAME, socket)
    }
}

/// Refuses a socket at whose other end, when it was connected, was another user.
pub(crate) fn check_peer(name: &str, socket: &UnixStream, expected: u32) -> Result<(), OpenError> {
    let peer = rustix::net::sockopt::socket_peercred(socket)
        .map_err(|errno| OpenError::os(name, "ask who is at the other end of its socket", errno))?;
    let found = peer.uid.as_raw();
    if found == expected {
        return Ok(());
    }
    Err(OpenError::WrongOwner {
        name: name.to_owned(),
        expected,
        found,
    })
}

/// Takes one byte and the one descriptor that must come with it.
pub(crate) fn take_descriptor(name: &str, socket: &UnixStream) -> Result<OwnedFd, OpenError> {
    let mut space = [MaybeUninit::uninit(); CONTROL_BYTES];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let mut mark = [0_u8];
    let received = rustix::io::retry_on_intr(|| {
        let mut data = [IoSliceMut::new(&mut mark)];
        rustix::net::recvmsg(socket, &mut data, &mut control, RecvFlags::CMSG_CLOEXEC)
    });
    let received =
        received.map_err(|errno| OpenError::os(name, "receive it from the socket", errno))?;
    let refused = |found| not_handed_over(name, found);
    // All of them are owned from here on, and closed unless one is returned.
    let mut descriptors: Vec<OwnedFd> = control
        .drain()
        .filter_map(|message| match message {
            RecvAncillaryMessage::ScmRights(descriptors) => Some(descriptors),
            _ => None,
        })
        .flatten()
        .collect();
    let [byte] = mark;
    let truncated = received.flags.contains(ReturnFlags::CTRUNC);
    match (received.bytes, descriptors.pop(), descriptors.len()) {
        (0, ..) => Err(refused("the end of the stream".to_owned())),
        _ if truncated => Err(refused("more control data than that".to_owned())),
        (_, None, _) => Err(refused("no descriptor".to_owned())),
        (_, Some(_), more @ 1..) => Err(refused(format!("{} descriptors", more.saturating_add(1)))),
        _ if byte != MARK => Err(refused(format!("the byte {byte:#04x} with a descriptor"))),
        (_, Some(descriptor), 0) => Ok(descriptor),
    }
}

/// What errors call a ring that has not arrived yet.
const NAME: &str = "the ring handed over the socket";

fn not_handed_over(name: &str, found: String) -> OpenError {
    OpenError::NotARing {
        name: name.to_owned(),
        expected: format!("one descriptor, with the byte {MARK:#04x}"),
        found,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::File;
    use std::io::Write;
    use std::os::fd::BorrowedFd;

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
        send_raw(&here, MARK, descriptor.as_fd(), 16);
        assert_eq!(finding(&there), "more control data than that");
        send_raw(&here, b'x', descriptor.as_fd(), 1);
        assert_eq!(finding(&there), "the byte 0x78 with a descriptor");
        send_raw(&here, MARK, null.as_fd(), 1);
        assert!(finding(&there).contains("device"), "a device is no ring");
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
