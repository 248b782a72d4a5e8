//! Reaching whoever serves a ring at a Unix socket.

use core::time::Duration;
use std::os::unix::net::UnixStream;
use std::path::Path;

use rustix::fs::{AtFlags, CWD};
use rustix::io::{Errno, retry_on_intr};
use rustix::net::sockopt::{Timeout, set_socket_timeout};
use rustix::net::{AddressFamily, RecvFlags, SocketAddrUnix, SocketFlags, SocketType};

use super::names;
use crate::error::OpenError;
use crate::location::check_socket_path;

/// A timeout of zero would mean to wait for ever.
const SHORTEST_WAIT: Duration = Duration::from_millis(1);

/// Connects to the socket at `path`. That call, and receiving from the socket afterwards, each end
/// after `timeout`.
pub(crate) fn connect(name: &str, path: &Path, timeout: Duration) -> Result<UnixStream, OpenError> {
    // A location can also be built in code, unchecked.
    check_socket_path(path).map_err(|why| OpenError::InvalidOption {
        option: "location",
        found: format!("{name}: {why}"),
        expected: "unix:PATH with a path of 1 to 107 bytes".to_owned(),
    })?;
    let failed = |errno| OpenError::os(name, "make a socket", errno);
    let address = SocketAddrUnix::new(path).map_err(failed)?;
    let flags = SocketFlags::CLOEXEC;
    let socket = rustix::net::socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)
        .map_err(failed)?;
    let limit = (timeout != Duration::MAX).then(|| timeout.max(SHORTEST_WAIT));
    for which in [Timeout::Send, Timeout::Recv] {
        set_socket_timeout(&socket, which, limit).map_err(failed)?;
    }
    match retry_on_intr(|| rustix::net::connect(&socket, &address)) {
        Ok(()) => Ok(UnixStream::from(socket)),
        Err(errno) => Err(not_reached(name, path, errno)),
    }
}

/// Waits until something has come over `socket`, and takes nothing.
pub(crate) fn await_server(name: &str, socket: &UnixStream) -> Result<(), OpenError> {
    let mut first = [0_u8];
    match retry_on_intr(|| rustix::net::recv(socket, &mut first, RecvFlags::PEEK)) {
        Ok((_, 1..)) => Ok(()),
        Ok(_) | Err(Errno::CONNRESET) => Err(not_served(
            name,
            "its server ended the connection without handing it over: it does not admit this \
             user, or has just ended",
        )),
        Err(Errno::AGAIN) => Err(not_served(
            name,
            "its server took the connection and did not answer in time",
        )),
        Err(errno) => Err(OpenError::os(name, "receive it from its server", errno)),
    }
}

fn not_reached(name: &str, path: &Path, errno: Errno) -> OpenError {
    match errno {
        Errno::NOENT => names::not_found(name),
        Errno::AGAIN => not_served(name, "its server did not take the connection in time"),
        Errno::PROTOTYPE => not_a_socket(name, "a socket of another type".to_owned()),
        // This is also what the kernel says of a plain file.
        Errno::CONNREFUSED => match rustix::fs::statat(CWD, path, AtFlags::empty()) {
            Ok(stat) if !names::is_socket(&stat) => {
                not_a_socket(name, names::kind(&stat).to_owned())
            }
            Ok(_) => not_served(name, "nobody listens at its socket: its server has ended"),
            Err(Errno::NOENT) => names::not_found(name),
            Err(_) => OpenError::os(name, "connect to its socket", errno),
        },
        _ => OpenError::os(name, "connect to its socket", errno),
    }
}

fn not_served(name: &str, why: &'static str) -> OpenError {
    OpenError::NotServed {
        name: name.to_owned(),
        why,
    }
}

fn not_a_socket(name: &str, found: String) -> OpenError {
    OpenError::NotARing {
        name: name.to_owned(),
        expected: "a stream socket at which a ring is handed over".to_owned(),
        found,
    }
}
