//! Descriptors on their way through sockets: to another process, and in this one, where no forked
//! child gets at them.

use core::mem::MaybeUninit;
use std::io::{IoSlice, IoSliceMut};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::io::{Errno, retry_on_intr};
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags,
    SendAncillaryBuffer, SendAncillaryMessage, SendFlags, SocketFlags, SocketType,
};

/// Room for more descriptors than there may be, so that one too many is seen.
const CONTROL_BYTES: usize = rustix::cmsg_space!(ScmRights(6));

/// The byte that a parked descriptor lies beside: there is no descriptor without one.
const PARKED: u8 = b'P';

/// What came.
#[derive(Debug)]
pub(crate) struct Received {
    /// The byte beside the descriptors; `None` at the end of the stream.
    pub(crate) byte: Option<u8>,
    pub(crate) descriptors: Vec<OwnedFd>,
    /// There was more than there is room for. The kernel has closed the rest.
    pub(crate) truncated: bool,
}

/// Sends at most four descriptors beside one byte.
pub(crate) fn send(
    socket: impl AsFd,
    byte: u8,
    descriptors: &[BorrowedFd<'_>],
) -> Result<(), Errno> {
    let mut space = [MaybeUninit::uninit(); CONTROL_BYTES];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !control.push(SendAncillaryMessage::ScmRights(descriptors)) {
        return Err(Errno::TOOBIG);
    }
    let data = [byte];
    let data = [IoSlice::new(&data)];
    retry_on_intr(|| rustix::net::sendmsg(&socket, &data, &mut control, SendFlags::NOSIGNAL))
        .map(drop)
}

/// Takes one byte and what lies beside it. Every descriptor is owned from here on.
pub(crate) fn receive(socket: impl AsFd) -> Result<Received, Errno> {
    let mut space = [MaybeUninit::uninit(); CONTROL_BYTES];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let mut byte = [0_u8];
    let received = retry_on_intr(|| {
        let mut data = [IoSliceMut::new(&mut byte)];
        rustix::net::recvmsg(&socket, &mut data, &mut control, RecvFlags::CMSG_CLOEXEC)
    })?;
    let descriptors = control
        .drain()
        .filter_map(|message| match message {
            RecvAncillaryMessage::ScmRights(descriptors) => Some(descriptors),
            _ => None,
        })
        .flatten()
        .collect();
    let [byte] = byte;
    Ok(Received {
        byte: (received.bytes != 0).then_some(byte),
        descriptors,
        truncated: received.flags.contains(ReturnFlags::CTRUNC),
    })
}

/// Descriptions that this process received and cannot open anew: each serves one lock.
///
/// They are kept in flight between two sockets. A forked child inherits the sockets but nothing
/// that is on its way between them, so a description that is taken out here is this process's
/// alone, however many children it has: a role that is locked through it ends with its holder.
#[derive(Debug)]
pub(crate) struct Parked {
    put_into: OwnedFd,
    take_from: OwnedFd,
}

impl Parked {
    /// Parks all of `descriptors`.
    pub(crate) fn new(descriptors: Vec<OwnedFd>) -> Result<Self, Errno> {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let (family, kind) = (AddressFamily::UNIX, SocketType::SEQPACKET);
        let (put_into, take_from) = rustix::net::socketpair(family, kind, flags, None)?;
        let parked = Self {
            put_into,
            take_from,
        };
        for descriptor in descriptors {
            parked.put_back(descriptor.as_fd())?;
        }
        Ok(parked)
    }

    /// Takes one out; `None` when none is left.
    pub(crate) fn take(&self) -> Result<Option<OwnedFd>, Errno> {
        match receive(&self.take_from) {
            Ok(mut received) => Ok(received.descriptors.pop()),
            Err(Errno::AGAIN) => Ok(None),
            Err(errno) => Err(errno),
        }
    }

    /// Parks one again that holds no lock.
    pub(crate) fn put_back(&self, descriptor: BorrowedFd<'_>) -> Result<(), Errno> {
        send(&self.put_into, PARKED, &[descriptor])
    }
}
