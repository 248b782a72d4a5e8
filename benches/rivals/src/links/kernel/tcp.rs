//! A TCP connection over the loopback interface, without delay of small segments.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::fd::AsRawFd;

use rivals_harness::{Failure, Link, Mode, Receiver, Sender, Spec, fail};

/// Both ends, in both processes.
#[derive(Debug)]
pub(crate) struct Tcp(TcpStream, TcpStream);

impl Link for Tcp {
    const MODE: Mode = Mode::Processes;
    type Tx = Stream;
    type Rx = Stream;

    fn make(spec: &Spec) -> Result<Self, Failure> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let tx = TcpStream::connect(listener.local_addr()?)?;
        let (rx, _) = listener.accept()?;
        for (stream, option) in [(&tx, libc::SO_SNDBUF), (&rx, libc::SO_RCVBUF)] {
            stream.set_nodelay(true)?;
            super::seqpacket::set_buffer(stream.as_raw_fd(), option, spec.ring_bytes)?;
        }
        Ok(Self(rx, tx))
    }

    fn tx(&self) -> Result<Self::Tx, Failure> {
        Ok(Stream(self.1.try_clone()?))
    }

    fn rx(&self) -> Result<Self::Rx, Failure> {
        Ok(Stream(self.0.try_clone()?))
    }
}

#[derive(Debug)]
pub(crate) struct Stream(TcpStream);

impl Sender for Stream {
    #[inline]
    fn send(&mut self, message: &[u8]) {
        if let Err(error) = self.0.write_all(message) {
            fail(error)
        }
    }
}

impl Receiver for Stream {
    #[inline]
    fn recv(&mut self, buffer: &mut [u8]) -> usize {
        match self.0.read_exact(buffer) {
            Ok(()) => buffer.len(),
            Err(error) => fail(error),
        }
    }
}
