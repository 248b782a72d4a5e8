//! The transports: a ring, and three ways of the kernel, all of them blocking.

use std::ffi::CString;
use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::os::fd::OwnedFd;

use ringduct::{Consumer, Location, Options, Producer, Ring};
use rivals_harness::{Failure, Link, Mode, Receiver, Sender, Spec, fail};
use rustix::net::sockopt::set_socket_send_buffer_size;
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType};
use rustix::pipe::PipeFlags;

pub(super) mod queue;

use queue::Queue;

/// A ring with the default waits.
#[derive(Debug)]
pub(super) struct Duct {
    ring: Ring,
    place: Location,
}

/// Where the ring of a cell is.
pub(super) fn place(spec: &Spec) -> Location {
    if spec.transport.starts_with("ringduct-file") {
        Location::from(spec.dir.join(&spec.name))
    } else {
        Location::Shm(spec.name.clone())
    }
}

fn options() -> Options {
    Options::new().prefault(true)
}

impl Link for Duct {
    const MODE: Mode = Mode::Processes;
    type Tx = Tx;
    type Rx = Rx;

    fn make(spec: &Spec) -> Result<Self, Failure> {
        let place = place(spec);
        let options = options()
            .capacity_bytes(u64::try_from(spec.ring_bytes)?)
            .checksum(spec.transport.ends_with("-checksum"));
        let ring = options.create(&place)?;
        Ok(Self { ring, place })
    }

    fn tx(&self) -> Result<Self::Tx, Failure> {
        Ok(Tx(options().open(&self.place)?.producer()?))
    }

    fn rx(&self) -> Result<Self::Rx, Failure> {
        Ok(Rx(options().open(&self.place)?.consumer()?))
    }
}

impl Drop for Duct {
    fn drop(&mut self) {
        // Nobody is left to tell; whoever started this looks again.
        let _removed = self.ring.remove();
    }
}

#[derive(Debug)]
pub(super) struct Tx(Producer);

#[derive(Debug)]
pub(super) struct Rx(Consumer);

impl Sender for Tx {
    #[inline]
    fn send(&mut self, message: &[u8]) {
        if let Err(error) = self.0.send(message) {
            fail(error)
        }
    }
}

impl Receiver for Rx {
    #[inline]
    fn recv(&mut self, buffer: &mut [u8]) -> usize {
        match self.0.recv(buffer) {
            Ok(length) => length,
            Err(error) => fail(error),
        }
    }
}

/// A pipe, with as much room as the kernel allows, at most what was asked for.
#[derive(Debug)]
pub(super) struct Pipe(OwnedFd, OwnedFd);

impl Link for Pipe {
    const MODE: Mode = Mode::Processes;
    type Tx = PipeTx;
    type Rx = PipeRx;

    fn make(spec: &Spec) -> Result<Self, Failure> {
        let (rx, tx) = rustix::pipe::pipe_with(PipeFlags::CLOEXEC)?;
        // What an ordinary user may have is limited: the default holds then.
        let _limited = rustix::pipe::fcntl_setpipe_size(&tx, spec.ring_bytes);
        Ok(Self(rx, tx))
    }

    fn tx(&self) -> Result<Self::Tx, Failure> {
        Ok(PipeTx(self.1.try_clone()?.into()))
    }

    fn rx(&self) -> Result<Self::Rx, Failure> {
        Ok(PipeRx(self.0.try_clone()?.into()))
    }
}

#[derive(Debug)]
pub(super) struct PipeTx(File);

#[derive(Debug)]
pub(super) struct PipeRx(File);

impl Sender for PipeTx {
    #[inline]
    fn send(&mut self, message: &[u8]) {
        if let Err(error) = self.0.write_all(message) {
            fail(error)
        }
    }
}

impl Receiver for PipeRx {
    #[inline]
    fn recv(&mut self, buffer: &mut [u8]) -> usize {
        match self.0.read_exact(buffer) {
            Ok(()) => buffer.len(),
            Err(error) => fail(error),
        }
    }
}

/// A pair of Unix sockets that keep messages apart.
#[derive(Debug)]
pub(super) struct Unix(OwnedFd, OwnedFd);

impl Link for Unix {
    const MODE: Mode = Mode::Processes;
    type Tx = Socket;
    type Rx = Socket;

    fn make(spec: &Spec) -> Result<Self, Failure> {
        let (family, kind) = (AddressFamily::UNIX, SocketType::SEQPACKET);
        let (tx, rx) = rustix::net::socketpair(family, kind, SocketFlags::CLOEXEC, None)?;
        set_socket_send_buffer_size(&tx, spec.ring_bytes)?;
        Ok(Self(tx, rx))
    }

    fn tx(&self) -> Result<Self::Tx, Failure> {
        Ok(Socket(self.0.try_clone()?))
    }

    fn rx(&self) -> Result<Self::Rx, Failure> {
        Ok(Socket(self.1.try_clone()?))
    }
}

#[derive(Debug)]
pub(super) struct Socket(OwnedFd);

impl Sender for Socket {
    #[inline]
    fn send(&mut self, message: &[u8]) {
        if let Err(errno) = rustix::net::send(&self.0, message, SendFlags::empty()) {
            fail(errno)
        }
    }
}

impl Receiver for Socket {
    #[inline]
    fn recv(&mut self, buffer: &mut [u8]) -> usize {
        match rustix::net::recv(&self.0, buffer, RecvFlags::empty()) {
            Ok((_, length)) => length,
            Err(errno) => fail(errno),
        }
    }
}

/// A POSIX message queue, as long as the kernel allows, at most what was asked for.
#[derive(Debug)]
pub(super) struct Mq(Queue);

impl Link for Mq {
    const MODE: Mode = Mode::Processes;
    type Tx = Queue;
    type Rx = Queue;

    fn make(spec: &Spec) -> Result<Self, Failure> {
        let name = CString::new(format!("/{}", spec.name))?;
        let mut slots = spec.slots();
        loop {
            match Queue::make(&name, slots, spec.bytes) {
                Ok(queue) => return Ok(Self(queue)),
                Err(error) if slots <= 2 => return Err(said(&error, spec.bytes)),
                Err(_) if slots > 16 => slots /= 2,
                Err(_) if slots > 10 => slots = 10,
                Err(_) => slots = 2,
            }
        }
    }

    fn tx(&self) -> Result<Self::Tx, Failure> {
        Ok(self.0)
    }

    fn rx(&self) -> Result<Self::Rx, Failure> {
        Ok(self.0)
    }
}

fn said(error: &io::Error, bytes: usize) -> Failure {
    format!("no queue for messages of {bytes} bytes ({error}); see /proc/sys/fs/mqueue").into()
}

impl Sender for Queue {
    #[inline]
    fn send(&mut self, message: &[u8]) {
        if let Err(error) = self.put(message) {
            fail(error)
        }
    }
}

impl Receiver for Queue {
    #[inline]
    fn recv(&mut self, buffer: &mut [u8]) -> usize {
        match self.take(buffer) {
            Ok(length) => length,
            Err(error) => fail(error),
        }
    }
}
