//! What an agent does as another user: gives up its rights, plants names, tries to write.
#![expect(
    unsafe_code,
    reason = "some of what an intruder tries exists only in libc"
)]

use std::ffi::CString;
use std::fs::{self, File};
use std::io::{self, Write};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt, symlink};
use std::os::unix::net::{SocketAddr, UnixListener, UnixStream};
use std::path::{Path, PathBuf};

use ringduct::{Location, OpenError, Options};
use rustix::fs::{FallocateFlags, Mode, OFlags, SealFlags};
use rustix::mm::{Advice, MapFlags, MprotectFlags, ProtFlags};

use crate::agent::{Answer, said};
use crate::kernel;
use crate::message::Random;

/// Bytes of the pages that are mapped.
const PAGE: usize = 4096;

pub(crate) fn obey(words: &[&str]) -> Answer {
    match *words {
        ["become", uid] => {
            kernel::become_user(uid.parse()?);
            Ok(String::new())
        }
        ["write-attempts", name] => {
            let (_, descriptor) = kernel::receive_marked(&connect(name)?);
            Ok(write_attempts(&descriptor))
        }
        ["plant", kind, path, target] => {
            plant(kind, Path::new(path), Path::new(target))?;
            Ok(String::new())
        }
        ["uproot", path] => {
            uproot(Path::new(path))?;
            Ok(String::new())
        }
        ["plant-until", stop, path, target, seed] => {
            let paths = [stop, path, target].map(Path::new);
            Ok(plant_until(paths, seed.parse()?))
        }
        ["listen", path] => {
            // Stays as long as the process: only its being there matters.
            let listener = UnixListener::bind(path)?;
            fs::set_permissions(path, fs::Permissions::from_mode(0o666))?;
            let _for_ever = Box::leak(Box::new(listener));
            Ok(String::new())
        }
        ["own-proc"] => {
            kernel::mount_own_proc()?;
            Ok(String::new())
        }
        ["secret", path] => {
            let mut file = File::options()
                .write(true)
                .create_new(true)
                .mode(0o600)
                .open(path)?;
            file.write_all(b"nobody else's business")?;
            Ok(String::new())
        }
        ["directory", path] => {
            fs::create_dir(path)?;
            Ok(String::new())
        }
        ["observe", place] => {
            said(Options::new().observe(&place.parse()?))?;
            Ok(String::new())
        }
        ["remove-at", place] => {
            said(
                Options::new()
                    .open(&place.parse()?)
                    .and_then(|ring| ring.remove()),
            )?;
            Ok(String::new())
        }
        ["receive-at", path] => {
            said(Options::new().receive(&UnixStream::connect(path)?))?;
            Ok(String::new())
        }
        ["race", place, path, most, enough] => {
            let place: Location = place.parse()?;
            race(&place, Path::new(path), [most.parse()?, enough.parse()?])
        }
        _ => Err(format!("no such command: {words:?}").into()),
    }
}

/// Connects to a socket whose name is no file, so that no directory has to let this user in.
pub(crate) fn connect(name: &str) -> io::Result<UnixStream> {
    UnixStream::connect_addr(&SocketAddr::from_abstract_name(name)?)
}

/// Makes, uses and removes a ring that somebody else plants things in the way of, until both that
/// and a refusal have happened `enough` times; answers with how often each did.
fn race(place: &Location, path: &Path, [most, enough]: [u64; 2]) -> Answer {
    let options = Options::new().capacity_bytes(4096);
    let (mut made, mut refused) = (0_u64, 0_u64);
    for number in 0..most {
        let opened = if number % 2 == 0 {
            options.open_or_create(place)
        } else {
            options.create(place).and_then(|_| options.open(place))
        };
        let ring = match opened {
            Ok(ring) => ring,
            Err(
                OpenError::NotARing { .. }
                | OpenError::WrongOwner { .. }
                | OpenError::WrongMode { .. }
                | OpenError::AlreadyExists { .. }
                | OpenError::NotFound { .. },
            ) => {
                refused += 1;
                // What is this user's own stands in the way for ever if nobody removes it: a ring
                // that got a second name before it was opened, and second names of the secret.
                let _own = uproot(&aside(path));
                let _own = uproot(path);
                if made >= enough && refused >= enough {
                    break;
                }
                continue;
            }
            Err(error) => return said(Err(error)),
        };
        // It is this user's own: nobody else has a role in it, and nothing in it but what is sent.
        let (mut tx, mut rx) = (said(ring.producer())?, said(ring.consumer())?);
        let mut buffer = [0; 16];
        said(tx.try_send(&number.to_le_bytes()))?;
        assert_eq!(rx.try_recv(&mut buffer), Ok(8));
        assert_eq!(buffer[..8], number.to_le_bytes());
        drop((tx, rx));
        said(ring.remove())?;
        let _second = uproot(&aside(path));
        made += 1;
    }
    Ok(format!("{made} {refused}"))
}

/// Makes something at `path` that is no ring of its own.
fn plant(kind: &str, path: &Path, target: &Path) -> io::Result<()> {
    let name = CString::new(path.as_os_str().as_encoded_bytes())?;
    match kind {
        "empty" => wide_open(path).map(drop),
        "junk" => wide_open(path)?.write_all(&vec![0xA5; 1 << 16]),
        "ring" => foreign_ring(path, 0o666),
        "shown" => foreign_ring(path, 0o644),
        "symlink" => symlink(target, path),
        "hardlink" => fs::hard_link(target, path),
        "directory" => fs::create_dir(path),
        "socket" => UnixListener::bind(path).map(drop),
        // SAFETY: a valid C string; the call makes a name and nothing else.
        "fifo" => match unsafe { libc::mkfifo(name.as_ptr(), 0o666) } {
            0 => Ok(()),
            _ => Err(io::Error::last_os_error()),
        },
        other => Err(io::Error::other(format!("no such plant: {other}"))),
    }
}

/// A ring of this user's own.
fn foreign_ring(path: &Path, mode: u32) -> io::Result<()> {
    let options = Options::new().capacity_bytes(4096).mode(mode);
    Ok(options.create(&path.into()).map(drop)?)
}

fn wide_open(path: &Path) -> io::Result<File> {
    let file = File::options()
        .write(true)
        .create_new(true)
        .mode(0o666)
        .open(path)?;
    file.set_permissions(fs::Permissions::from_mode(0o666))?;
    Ok(file)
}

fn uproot(path: &Path) -> io::Result<()> {
    if fs::symlink_metadata(path)?.is_dir() {
        fs::remove_dir(path)
    } else {
        fs::remove_file(path)
    }
}

/// Where a plant is made that is then renamed.
fn aside(path: &Path) -> PathBuf {
    path.with_extension("aside")
}

/// Plants one thing after another at `path`, at random, by making and by renaming over what is
/// there, until `stop` is there; answers with the number of plants that stood.
fn plant_until([stop, path, target]: [&Path; 3], seed: u64) -> String {
    const KINDS: [&str; 8] = [
        "empty",
        "junk",
        "ring",
        "symlink",
        "hardlink",
        "fifo",
        "directory",
        "socket",
    ];
    let mut random = Random::new(seed);
    let aside = aside(path);
    let mut stood = 0_u64;
    while !stop.exists() {
        let kind = KINDS[random.below_len(KINDS.len())];
        let planted = if random.below(2) == 0 {
            plant(kind, path, target)
        } else {
            plant(kind, &aside, target).and_then(|()| fs::rename(&aside, path))
        };
        stood += u64::from(planted.is_ok());
        // Whatever is there now, the victim's ring perhaps, gets a second name for a moment.
        let _second = fs::hard_link(path, &aside);
        for _ in 0..random.below(200) {
            std::hint::spin_loop();
        }
        // What is somebody else's stays: the directory is sticky.
        let _mine = uproot(&aside);
        let _mine = uproot(path);
        // Leave the name free for a moment, or nobody else ever gets it.
        if random.below(2) == 0 {
            std::thread::yield_now();
        }
    }
    stood.to_string()
}

/// Tries to write to a ring in every way that a descriptor offers; answers with the number of ways,
/// and the names of those that worked.
fn write_attempts(view: &OwnedFd) -> String {
    let mut attempts = through_memory(view);
    attempts.extend(through_names(view));
    attempts.extend(through_the_descriptor(view));
    let worked: Vec<&str> = attempts
        .iter()
        .filter_map(|(name, worked)| worked.then_some(*name))
        .collect();
    format!("{} {}", attempts.len(), worked.join(","))
}

/// What was tried, and whether it worked.
type Attempts = Vec<(&'static str, bool)>;

fn through_memory(view: &OwnedFd) -> Attempts {
    let map = |prot| {
        // SAFETY: at an address of the kernel's choice; what is mapped is not used as memory.
        unsafe { rustix::mm::mmap(std::ptr::null_mut(), PAGE, prot, MapFlags::SHARED, view, 0) }
    };
    let both = ProtFlags::READ | ProtFlags::WRITE;
    let readable = map(ProtFlags::READ).expect("a view can at least be read");
    let writable = MprotectFlags::READ | MprotectFlags::WRITE;
    // SAFETY: the page was mapped above and nobody looks at its contents as Rust memory.
    let protected = unsafe { rustix::mm::mprotect(readable, PAGE, writable) };
    // SAFETY: as above.
    let removed = unsafe { rustix::mm::madvise(readable, PAGE, Advice::LinuxRemove) };
    vec![
        ("map for writing", map(both).is_ok()),
        ("map for writing only", map(ProtFlags::WRITE).is_ok()),
        ("protect for writing", protected.is_ok()),
        ("remove pages", removed.is_ok()),
        ("own memory", write_own_memory(readable.cast()).is_ok()),
    ]
}

fn through_names(view: &OwnedFd) -> Attempts {
    let link = format!("/proc/self/fd/{}", view.as_raw_fd());
    let reopen = |flags| rustix::fs::open(&link, flags, Mode::empty()).is_ok();
    let wide = fs::Permissions::from_mode(0o666);
    vec![
        ("reopen for both", reopen(OFlags::RDWR)),
        ("reopen for writing", reopen(OFlags::WRONLY)),
        ("reopen, truncate", reopen(OFlags::RDONLY | OFlags::TRUNC)),
        ("reopen to append", reopen(OFlags::WRONLY | OFlags::APPEND)),
        (
            "change mode by path",
            fs::set_permissions(&link, wide).is_ok(),
        ),
        ("truncate by path", truncate(&link)),
    ]
}

fn truncate(path: &str) -> bool {
    let path = CString::new(path).unwrap();
    // SAFETY: a valid C string.
    unsafe { libc::truncate(path.as_ptr(), 0) == 0 }
}

fn through_the_descriptor(view: &OwnedFd) -> Attempts {
    use rustix::fs::{fallocate, fchmod, fchown, fcntl_add_seals, ftruncate};
    let (punch, page) = (FallocateFlags::PUNCH_HOLE, PAGE as u64);
    let punched = fallocate(view, punch | FallocateFlags::KEEP_SIZE, 0, page);
    let zeroed = fallocate(view, FallocateFlags::ZERO_RANGE, 0, page);
    let mine = Some(rustix::process::getuid());
    let file = File::from(view.try_clone().unwrap());
    let old = std::time::SystemTime::UNIX_EPOCH;
    vec![
        ("write", rustix::io::write(view, b"x").is_ok()),
        ("pwrite", rustix::io::pwrite(view, b"x", 0).is_ok()),
        ("truncate", ftruncate(view, 0).is_ok()),
        ("extend", ftruncate(view, 1 << 24).is_ok()),
        ("punch", punched.is_ok()),
        ("zero", zeroed.is_ok()),
        ("change mode", fchmod(view, Mode::RWXU).is_ok()),
        ("change owner", fchown(view, mine, None).is_ok()),
        ("seal", fcntl_add_seals(view, SealFlags::WRITE).is_ok()),
        ("change times", file.set_modified(old).is_ok()),
        ("lock", kernel::lock_byte(view.as_fd(), 0).is_ok()),
    ]
}

/// Through `/proc`, which passes over the protection of private pages.
fn write_own_memory(address: *mut u8) -> io::Result<()> {
    use std::os::unix::fs::FileExt;
    let memory = File::options().write(true).open("/proc/self/mem")?;
    memory.write_all_at(b"x", address.addr() as u64)
}
