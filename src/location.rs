//! Names of rings: text in, text out, and nothing looked up.

use core::fmt;
use core::str::FromStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use crate::error::ParseLocationError;

/// Bytes that the name of a shared memory object may have: room is left for a temporary suffix.
const MAX_SHM_NAME_BYTES: usize = 200;

/// Bytes that the path of a socket may have: `sun_path` ends with a NUL.
const MAX_SOCKET_PATH_BYTES: usize = 107;

/// Where a ring is.
///
/// Written as text it is a path (`orders.ring`), `shm:NAME`, `sysv:0x5eed` (or the key in
/// decimal), `sysv:id:42`, `fd:3` or `unix:PATH`. A file whose name begins like one of these is
/// written with a directory in front: `./shm:orders`. Other text with a colon is a path like any
/// other.
///
/// ```
/// use ringduct::Location;
///
/// let location: Location = "shm:orders".parse()?;
/// assert_eq!(location, Location::Shm("orders".to_owned()));
/// assert_eq!(location.to_string(), "shm:orders");
/// assert!("shm:a/b".parse::<Location>().is_err());
/// # Ok::<(), ringduct::ParseLocationError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Location {
    /// A file, at this path.
    File(PathBuf),
    /// A POSIX shared memory object: 1 to 200 bytes, no slash, no NUL, neither `.` nor `..`.
    Shm(String),
    /// A System V segment, by its key. Zero, the private key, names nothing.
    SysVKey(i32),
    /// An existing System V segment, by its id: zero or more.
    SysVId(i32),
    /// An open descriptor of this process: zero or more. It stays open and stays the caller's.
    Fd(i32),
    /// The ring that somebody hands over at the Unix socket with this path, of 1 to 107 bytes:
    /// `ringduct serve`, or a program that answers each connection with
    /// [`Ring::hand_over`](crate::Ring::hand_over). It can be opened and not made.
    Unix(PathBuf),
}

impl FromStr for Location {
    type Err = ParseLocationError;

    fn from_str(text: &str) -> Result<Self, ParseLocationError> {
        parse(text).map_err(|why| ParseLocationError {
            text: text.to_owned(),
            why,
        })
    }
}

fn parse(text: &str) -> Result<Location, &'static str> {
    if text.is_empty() {
        return Err("it is empty");
    }
    if text.contains('\0') {
        return Err("it contains a NUL byte");
    }
    if let Some(name) = text.strip_prefix("shm:") {
        let name = name.strip_prefix('/').unwrap_or(name);
        check_shm_name(name)?;
        return Ok(Location::Shm(name.to_owned()));
    }
    if let Some(id) = text.strip_prefix("sysv:id:") {
        return match decimal(id) {
            Some(id) => Ok(Location::SysVId(id)),
            None => Err("the segment id is not a number from 0 to 2147483647"),
        };
    }
    if let Some(key) = text.strip_prefix("sysv:") {
        return match sysv_key(key) {
            Some(0) => Err("key 0 is the private key, which names nothing"),
            Some(key) => Ok(Location::SysVKey(key)),
            None => {
                Err("the key is neither 0x and up to 8 hexadecimal digits nor a decimal number")
            }
        };
    }
    if let Some(number) = text.strip_prefix("fd:") {
        return match decimal(number) {
            Some(number) => Ok(Location::Fd(number)),
            None => Err("the descriptor is not a number from 0 to 2147483647"),
        };
    }
    if let Some(path) = text.strip_prefix("unix:") {
        check_socket_path(Path::new(path))?;
        return Ok(Location::Unix(PathBuf::from(path)));
    }
    Ok(Location::File(PathBuf::from(text)))
}

/// What the path of a socket must be, for parsed names and for those built in code.
pub(crate) fn check_socket_path(path: &Path) -> Result<(), &'static str> {
    let bytes = path.as_os_str().as_bytes();
    if bytes.is_empty() {
        Err("the path of the socket is empty")
    } else if bytes.len() > MAX_SOCKET_PATH_BYTES {
        Err("the path of the socket is longer than 107 bytes; a relative one may be shorter")
    } else if bytes.contains(&0) {
        Err("the path of the socket contains a NUL byte")
    } else {
        Ok(())
    }
}

/// What a shared memory name must be, for parsed names and for those built in code.
pub(crate) fn check_shm_name(name: &str) -> Result<(), &'static str> {
    if name.is_empty() {
        Err("the shared memory name is empty")
    } else if name.len() > MAX_SHM_NAME_BYTES {
        Err("the shared memory name is longer than 200 bytes")
    } else if name.contains('/') {
        Err("the shared memory name contains a slash")
    } else if name.contains('\0') {
        Err("the shared memory name contains a NUL byte")
    } else if name == "." || name == ".." {
        Err("the shared memory name is a directory")
    } else {
        Ok(())
    }
}

/// Digits only: the standard parser would also take a sign.
fn decimal(text: &str) -> Option<i32> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    digits.then(|| text.parse().ok()).flatten()
}

/// A key is 32 bits; written in hexadecimal, the upper half of them is negative.
fn sysv_key(text: &str) -> Option<i32> {
    let Some(hex) = text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) else {
        return decimal(text);
    };
    if hex.is_empty() || !hex.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    let bits = u32::from_str_radix(hex, 16).ok()?;
    Some(i32::from_le_bytes(bits.to_le_bytes()))
}

impl fmt::Display for Location {
    /// Writes what [`FromStr`] reads back; a path that is not UTF-8 is shown as well as it can be.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => {
                let text = path.to_string_lossy();
                if ["shm:", "sysv:", "fd:", "unix:"]
                    .iter()
                    .any(|prefix| text.starts_with(prefix))
                {
                    f.write_str("./")?;
                }
                f.write_str(&text)
            }
            Self::Shm(name) => write!(f, "shm:{name}"),
            Self::SysVKey(key) => write!(f, "sysv:{key:#x}"),
            Self::SysVId(id) => write!(f, "sysv:id:{id}"),
            Self::Fd(number) => write!(f, "fd:{number}"),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

impl From<&Path> for Location {
    /// Always a file, whatever the path looks like.
    fn from(path: &Path) -> Self {
        Self::File(path.to_owned())
    }
}

impl From<PathBuf> for Location {
    /// Always a file, whatever the path looks like.
    fn from(path: PathBuf) -> Self {
        Self::File(path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read(text: &str) -> Location {
        text.parse().unwrap()
    }

    /// Goal: each form of name means what the manual says.
    #[test]
    fn forms_are_read() {
        let shm = |name: &str| Location::Shm(name.to_owned());
        let file = |name: &str| Location::File(PathBuf::from(name));
        let table = [
            ("orders.ring", file("orders.ring")),
            ("/a/b", file("/a/b")),
            ("./shm:x", file("./shm:x")),
            ("http://x", file("http://x")),
            ("shmx", file("shmx")),
            ("SHM:x", file("SHM:x")),
            ("shm:x", shm("x")),
            ("shm:/x", shm("x")),
            ("shm:...", shm("...")),
            ("sysv:0x5eed", Location::SysVKey(0x5eed)),
            ("sysv:24301", Location::SysVKey(0x5eed)),
            ("sysv:0xffffffff", Location::SysVKey(-1)),
            ("sysv:0X80000000", Location::SysVKey(i32::MIN)),
            ("sysv:id:0", Location::SysVId(0)),
            ("sysv:id:42", Location::SysVId(42)),
            ("fd:0", Location::Fd(0)),
            ("fd:2147483647", Location::Fd(i32::MAX)),
            ("unix:a.sock", Location::Unix("a.sock".into())),
            ("unix:/run/a b", Location::Unix("/run/a b".into())),
            ("unix:unix:x", Location::Unix("unix:x".into())),
            ("./unix:x", file("./unix:x")),
            ("unix", file("unix")),
        ];
        for (text, expected) in table {
            assert_eq!(read(text), expected, "{text}");
        }
    }

    /// Goal: text that names nothing is refused, and the error repeats it.
    #[test]
    fn nonsense_is_refused() {
        let table = [
            "",
            "a\0b",
            "shm:",
            "shm:/",
            "shm://x",
            "shm:a/b",
            "shm:.",
            "shm:..",
            "shm:/..",
            "sysv:",
            "sysv:0",
            "sysv:0x0",
            "sysv:0x",
            "sysv:-1",
            "sysv:+1",
            "sysv:0x1ffffffff",
            "sysv:2147483648",
            "sysv:abc",
            "sysv:id:",
            "sysv:id:-1",
            "sysv:id:x",
            "fd:",
            "fd:-1",
            "fd:+1",
            "fd: 1",
            "fd:2147483648",
            "unix:",
            "unix:a\0b",
        ];
        for text in table {
            let error = text.parse::<Location>().unwrap_err();
            assert_eq!(error.text, text);
        }
        assert!(
            format!("shm:{}", "x".repeat(200))
                .parse::<Location>()
                .is_ok()
        );
        assert!(
            format!("shm:{}", "x".repeat(201))
                .parse::<Location>()
                .is_err()
        );
        for (length, allowed) in [(107, true), (108, false)] {
            let text = format!("unix:{}", "x".repeat(length));
            assert_eq!(text.parse::<Location>().is_ok(), allowed, "{length} bytes");
        }
    }

    /// Goal: a path that looks like a name of another kind is printed so that it stays a path.
    #[test]
    fn paths_with_prefixes_stay_paths() {
        for path in ["shm:x", "sysv:1", "fd:3", "unix:x"] {
            let shown = Location::from(Path::new(path)).to_string();
            assert_eq!(
                read(&shown),
                Location::File(PathBuf::from(format!("./{path}")))
            );
        }
        assert_eq!(Location::from(PathBuf::from("a")), read("a"));
    }

    proptest! {
        /// Goal: whatever is read is printed as text that reads back the same; nothing panics.
        #[test]
        fn reading_and_printing_are_inverse(
            text in "(|shm:|sysv:|sysv:0x|sysv:id:|fd:|unix:|\\./)[/.:a-fx0-9\\PC]{0,12}"
        ) {
            if let Ok(location) = text.parse::<Location>() {
                prop_assert_eq!(location.to_string().parse::<Location>(), Ok(location));
            }
        }

        /// Goal: every key and number survives the trip.
        #[test]
        fn numbers_survive(number in any::<i32>()) {
            if number != 0 {
                let key = Location::SysVKey(number);
                prop_assert_eq!(key.to_string().parse::<Location>(), Ok(key));
            }
            if number >= 0 {
                for location in [Location::SysVId(number), Location::Fd(number)] {
                    prop_assert_eq!(location.to_string().parse::<Location>(), Ok(location));
                }
            }
        }
    }
}
