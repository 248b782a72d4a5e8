//! The socket at which a ring is served: taken without pushing a live server out, and removed at
//! the end.
//!
//! The socket is made and listening under a temporary name before it gets its own, so that nobody
//! ever meets one that does not answer. Its own name is taken without replacing anything. Only a
//! socket of this user at which nobody listens is replaced, under a lock on its folder: of two
//! servers that find the same dead one, the second then finds a live one.

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::fd::{AsFd as _, AsRawFd as _, OwnedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::fs::{AtFlags, CWD, FileType, FlockOperation, Mode, OFlags, RenameFlags, Stat};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};

use super::folder;
use crate::failure::{Code, Failure};
use crate::signals;

/// How long to wait for another server that is starting in the same folder.
const LOCK_PATIENCE: Duration = Duration::from_secs(5);

/// A socket that listens under its name, which goes with it.
#[derive(Debug)]
pub(super) struct Post {
    listener: UnixListener,
    path: PathBuf,
    dir: OwnedFd,
    name: OsString,
    /// Device and inode of the socket's file.
    id: (u64, u64),
}

impl Post {
    /// Takes the path, for this user alone or so that everybody may connect.
    pub(super) fn open(path: &Path, for_everybody: bool) -> Result<Self, Failure> {
        let Some(name) = path.file_name() else {
            let what = format!("unix:{}: does not end with a name", path.display());
            return Err(Failure::new(Code::Usage, what));
        };
        let shown = path.display();
        let failed =
            |action: &str, error| Failure::io(&format!("{action} for unix:{shown}"), &error);
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let dir = rustix::fs::openat(CWD, folder(path), flags, Mode::empty())
            .map_err(|errno| failed("open the folder", errno.into()))?;
        let (mut draft, listener) =
            Draft::new(&dir, for_everybody).map_err(|error| failed("make a socket", error))?;
        let id = draft
            .id()
            .map_err(|errno| failed("look at the socket", errno.into()))?;
        match rustix::fs::renameat_with(&dir, &draft.name, &dir, name, RenameFlags::NOREPLACE) {
            Ok(()) => {}
            Err(Errno::EXIST) => replace_dead(&dir, &draft.name, name, path)?,
            Err(errno) => return Err(failed("name the socket", errno.into())),
        }
        draft.named = true;
        drop(draft);
        Ok(Self {
            listener,
            path: path.to_owned(),
            dir,
            name: name.to_owned(),
            id,
        })
    }

    /// The next connection, if one comes within a moment and no signal does.
    pub(super) fn next(&self, patience: Duration) -> io::Result<Option<UnixStream>> {
        let limit = Timespec::try_from(patience).map_err(|_| io::ErrorKind::InvalidInput)?;
        let mut wanted = [PollFd::new(&self.listener, PollFlags::IN)];
        match rustix::event::poll(&mut wanted, Some(&limit)) {
            Ok(0) | Err(Errno::INTR) => return Ok(None),
            Ok(_) => {}
            Err(errno) => return Err(errno.into()),
        }
        match self.listener.accept() {
            Ok((socket, _)) => {
                socket.set_nonblocking(true)?;
                Ok(Some(socket))
            }
            // It left again, or a signal came.
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::WouldBlock
                        | io::ErrorKind::Interrupted
                        | io::ErrorKind::ConnectionAborted
                ) =>
            {
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }
}

impl Drop for Post {
    /// Removes the name while the socket still listens: nobody replaces a live one meanwhile.
    fn drop(&mut self) {
        let found = rustix::fs::statat(&self.dir, &self.name, AtFlags::SYMLINK_NOFOLLOW);
        if found.is_ok_and(|stat| id_of(&stat) == self.id) {
            let _gone = rustix::fs::unlinkat(&self.dir, &self.name, AtFlags::empty());
        } else {
            let path = self.path.display();
            crate::talk::say(format_args!(
                "unix:{path} is another file by now: left there"
            ));
        }
    }
}

/// A socket under a temporary name, which goes with it.
#[derive(Debug)]
struct Draft<'a> {
    /// Whether it has another name by now.
    named: bool,
    dir: &'a OwnedFd,
    name: OsString,
}

impl<'a> Draft<'a> {
    fn new(dir: &'a OwnedFd, for_everybody: bool) -> io::Result<(Self, UnixListener)> {
        let name = OsString::from(format!(".ringduct-{}.sock", std::process::id()));
        // What a process with the same number has left there.
        match rustix::fs::unlinkat(dir, &name, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => {}
            Err(errno) => return Err(errno.into()),
        }
        // Whoever may connect may connect from the start, and nobody else. This program has one
        // thread, so that no other file is made under this mask.
        let mask = if for_everybody { 0o111 } else { 0o177 };
        let before = rustix::process::umask(Mode::from_raw_mode(mask));
        let listener = UnixListener::bind(through(dir, &name));
        rustix::process::umask(before);
        let draft = Self {
            named: false,
            dir,
            name,
        };
        let listener = listener?;
        listener.set_nonblocking(true)?;
        Ok((draft, listener))
    }

    fn id(&self) -> Result<(u64, u64), Errno> {
        let stat = rustix::fs::statat(self.dir, &self.name, AtFlags::SYMLINK_NOFOLLOW)?;
        Ok(id_of(&stat))
    }
}

impl Drop for Draft<'_> {
    fn drop(&mut self) {
        if !self.named {
            let _gone = rustix::fs::unlinkat(self.dir, &self.name, AtFlags::empty());
        }
    }
}

/// The path of a name in an open folder: short, whatever the folder's own path is.
fn through(dir: &OwnedFd, name: &OsStr) -> PathBuf {
    Path::new("/proc/self/fd")
        .join(dir.as_raw_fd().to_string())
        .join(name)
}

fn id_of(stat: &Stat) -> (u64, u64) {
    (stat.st_dev, stat.st_ino)
}

/// Gives the draft the name of a socket whose server is dead.
fn replace_dead(dir: &OwnedFd, draft: &OsStr, name: &OsStr, path: &Path) -> Result<(), Failure> {
    let place = path.display();
    lock(dir, path)?;
    let failed = |errno: Errno| Failure::io(&format!("replace unix:{place}"), &errno.into());
    match rustix::fs::statat(dir, name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(stat) => check_dead(&stat, path)?,
        Err(Errno::NOENT) => {}
        Err(errno) => return Err(failed(errno)),
    }
    rustix::fs::renameat(dir, draft, dir, name).map_err(failed)?;
    rustix::fs::flock(dir.as_fd(), FlockOperation::Unlock).map_err(failed)
}

/// Refuses whatever is not a socket of this user at which nobody listens.
fn check_dead(stat: &Stat, path: &Path) -> Result<(), Failure> {
    let place = path.display();
    let refuse = |what: String| {
        let failure = Failure::new(Code::Other, format!("unix:{place}: {what}"));
        Err(failure.next("choose another path, or remove it by hand if you know what it is"))
    };
    if FileType::from_raw_mode(stat.st_mode) != FileType::Socket {
        return refuse("there is something else than a socket; it was left untouched".to_owned());
    }
    let own = rustix::process::geteuid().as_raw();
    if stat.st_uid != own {
        let owner = stat.st_uid;
        return refuse(format!(
            "the socket there belongs to user {owner}; it was left untouched"
        ));
    }
    // The kernel refuses a connection exactly when nobody listens; one that is stopped, with a full
    // queue, still does.
    match knock(path) {
        Err(Errno::CONNREFUSED) => Ok(()),
        Ok(()) | Err(Errno::AGAIN) => Err(live(path)),
        Err(errno) => refuse(format!("cannot tell whether it is served ({errno})")),
    }
}

/// Tries to connect, and waits for nothing.
fn knock(path: &Path) -> Result<(), Errno> {
    let address = SocketAddrUnix::new(path)?;
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = rustix::net::socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
    rustix::net::connect(&socket, &address)
}

fn live(path: &Path) -> Failure {
    let what = format!("unix:{}: is being served already", path.display());
    Failure::new(Code::Other, what).next("use that ring, end its server, or choose another path")
}

/// Locks the folder against other servers that replace a dead one. The lock ends with this process
/// at the latest.
fn lock(dir: &OwnedFd, path: &Path) -> Result<(), Failure> {
    let started = Instant::now();
    loop {
        match rustix::fs::flock(dir.as_fd(), FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => return Ok(()),
            Err(Errno::WOULDBLOCK) if started.elapsed() < LOCK_PATIENCE => {
                signals::check()?;
                std::thread::sleep(Duration::from_millis(10));
            }
            Err(errno) => {
                let what = format!("lock the folder of unix:{}", path.display());
                return Err(Failure::io(&what, &errno.into()));
            }
        }
    }
}
