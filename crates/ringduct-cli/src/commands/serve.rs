//! `serve`: makes a ring in a sealed memory file and hands it to whoever attaches at a socket.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::builder::{OsStringValueParser, TypedValueParser as _};
use ringduct::{Grant, HugePages, Options, Ring};

use crate::failure::Failure;
use crate::{signals, size, talk};

mod peer;
mod post;

use peer::Peer;
use post::Post;

/// Bytes that the kernel has for the path of a socket.
const MOST_PATH_BYTES: usize = 107;

/// Makes a ring in memory without a name and hands it to whoever attaches to `unix:SOCK`
///
/// The memory file is sealed, so that nobody can shrink it under its users. It lasts as long as
/// this command or anybody who has attached; a server that is started again serves a new ring.
/// Who attaches is asked of the kernel: the user who runs this command, and those named here.
/// Others must name that user in turn to be let in: `ringduct --owner UID recv unix:SOCK`.
#[derive(clap::Args, Debug)]
pub(crate) struct Args {
    /// The socket to serve it at; others use the location `unix:SOCK`
    #[arg(short = 'u', long = "unix", value_name = "SOCK")]
    #[arg(value_parser = OsStringValueParser::new().try_map(socket_path))]
    socket: PathBuf,
    /// Room for messages; the next power of two is taken
    #[arg(long, value_name = "SIZE", default_value = "1M", value_parser = size::bytes)]
    capacity: u64,
    /// Give every message a checksum
    #[arg(long)]
    checksum: bool,
    /// Use huge pages
    #[arg(long)]
    huge: bool,
    /// Hand it to this user too, for either role (may be given several times)
    #[arg(long = "allow-uid", value_name = "UID")]
    allowed: Vec<u32>,
    /// Hand it to this user too, for looking on and no more (may be given several times)
    #[arg(long = "observer-uid", value_name = "UID")]
    observers: Vec<u32>,
}

/// Serves until a signal comes.
pub(crate) fn run(args: &Args) -> Result<(), Failure> {
    let mut options = Options::new()
        .capacity_at_least_bytes(args.capacity)
        .checksum(args.checksum);
    if args.huge {
        options = options.huge_pages(HugePages::Always);
    }
    let ring = options.create_memfd("ringduct-served")?;
    let rights = Rights::of(args);
    signals::catch();
    let post = Post::open(&args.socket, rights.reach_others())?;
    let place = args.socket.display();
    let capacity = size::show_bytes(ring.capacity_bytes());
    talk::say(format_args!(
        "serving a ring of {capacity} at unix:{place}; end with Ctrl-C or SIGTERM"
    ));
    let mut counter = Counter {
        ring,
        rights,
        refused: BTreeMap::new(),
    };
    counter.serve(&post)
}

/// The path, with or without the `unix:` that everybody else writes in front.
fn socket_path(text: OsString) -> Result<PathBuf, String> {
    let path = match text.to_str().and_then(|text| text.strip_prefix("unix:")) {
        Some(path) => PathBuf::from(path),
        None => PathBuf::from(text),
    };
    match path.as_os_str().as_bytes().len() {
        0 => Err("the path is empty".to_owned()),
        bytes if bytes > MOST_PATH_BYTES => Err(format!(
            "the path has {bytes} bytes and the kernel takes {MOST_PATH_BYTES}; change into the \
             folder and write a relative one"
        )),
        _ => Ok(path),
    }
}

/// Who gets the ring, and for what.
#[derive(Debug)]
struct Rights {
    own: u32,
    grants: BTreeMap<u32, Grant>,
}

impl Rights {
    fn of(args: &Args) -> Self {
        let own = rustix::process::geteuid().as_raw();
        let mut grants = BTreeMap::new();
        for uid in &args.observers {
            grants.insert(*uid, Grant::ReadOnly);
        }
        for uid in args.allowed.iter().chain([&own]) {
            grants.insert(*uid, Grant::ReadWrite);
        }
        Self { own, grants }
    }

    /// Whether the socket must be open to other users.
    fn reach_others(&self) -> bool {
        self.grants.keys().any(|uid| *uid != self.own)
    }

    fn grant(&self, uid: u32) -> Option<Grant> {
        self.grants.get(&uid).copied()
    }
}

/// The ring, and those who came for it.
#[derive(Debug)]
struct Counter {
    ring: Ring,
    rights: Rights,
    /// How often each user was refused.
    refused: BTreeMap<u32, u64>,
}

impl Counter {
    /// Answers one connection after the other, until a signal comes. None is waited for: the ring
    /// is put on its way, and the connection closed.
    fn serve(&mut self, post: &Post) -> Result<(), Failure> {
        loop {
            signals::check()?;
            match post.next(signals::MOMENT) {
                Ok(Some(socket)) => self.answer(&socket),
                Ok(None) => {}
                Err(error) if is_passing(&error) => {
                    talk::say(format_args!("cannot take a connection now: {error}"));
                    std::thread::sleep(Duration::from_millis(100));
                }
                Err(error) => return Err(Failure::io("take a connection", &error)),
            }
        }
    }

    fn answer(&mut self, socket: &UnixStream) {
        let peer = match Peer::of(socket) {
            Ok(peer) => peer,
            Err(error) => return talk::say(format_args!("cannot tell who came: {error}")),
        };
        let Some(grant) = self.rights.grant(peer.uid()) else {
            return self.refuse(&peer);
        };
        let right = match grant {
            Grant::ReadWrite => "",
            _ => ", for looking on",
        };
        match self.ring.hand_over_to(socket, grant, peer.uid()) {
            Ok(()) => talk::say(format_args!("handed over to {peer}{right}")),
            Err(error) => talk::say(format_args!("not handed over to {peer}: {error}")),
        }
    }

    /// Says so for the first time and then each time that the number has doubled: whoever may
    /// connect must not be able to fill a log.
    fn refuse(&mut self, peer: &Peer) {
        // Bounded: other users come from outside, and a machine has only so many.
        let times = self.refused.entry(peer.uid()).or_insert(0);
        *times = times.saturating_add(1);
        if times.is_power_of_two() {
            let uid = peer.uid();
            talk::say(format_args!(
                "refused {peer} ({times} so far); --allow-uid {uid} would let that user in"
            ));
        }
    }
}

/// What the kernel says while it is short of something.
fn is_passing(error: &io::Error) -> bool {
    matches!(
        error.raw_os_error(),
        Some(libc::EMFILE | libc::ENFILE | libc::ENOBUFS | libc::ENOMEM | libc::EPERM)
    )
}

/// The name of the folder that a path is in.
fn folder(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}
