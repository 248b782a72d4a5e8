//! Names: what the documentation allows is read, anything else is refused, and whatever is read is
//! printed so that it reads back the same.
#![no_main]

use std::path::{Path, PathBuf};

use arbitrary::Arbitrary;
use libfuzzer_sys::fuzz_target;
use ringduct::Location;

#[derive(Arbitrary, Debug)]
struct Input {
    prefix: u8,
    /// Filled up with this to about a limit.
    filler: Option<(char, u8)>,
    text: String,
}

const PREFIXES: [&str; 9] = [
    "", "shm:", "shm:/", "sysv:", "sysv:0x", "sysv:id:", "fd:", "./", "unix:",
];

fuzz_target!(|input: Input| {
    let prefix = PREFIXES[usize::from(input.prefix) % PREFIXES.len()];
    let mut text = format!("{prefix}{}", input.text);
    if let Some((filler, count)) = input.filler {
        text.extend(std::iter::repeat_n(filler, count.into()));
    }
    match text.parse::<Location>() {
        Ok(location) => {
            assert_eq!(Some(&location), allowed(&text).as_ref(), "{text:?}");
            assert_eq!(location.to_string().parse(), Ok(location));
        }
        Err(error) => {
            assert_eq!(None, allowed(&text), "{text:?}");
            assert!(!error.to_string().is_empty());
        }
    }
    // A path stays one, whatever it looks like.
    let path = Location::from(Path::new(&text));
    if !text.is_empty() && !text.contains('\0') {
        let Location::File(read) = path.to_string().parse().expect("a path") else {
            panic!("{path} is no path any more");
        };
        let dotted = Path::new(".").join(&text);
        assert!(read == Path::new(&text) || read == dotted, "{read:?}");
    }
});

/// What the documentation makes of a text.
fn allowed(text: &str) -> Option<Location> {
    if text.is_empty() || text.contains('\0') {
        return None;
    }
    let (kind, rest) = text.split_once(':').unwrap_or(("", text));
    match kind {
        "shm" => {
            let name = rest.strip_prefix('/').unwrap_or(rest);
            let bounded = (1..=200).contains(&name.len());
            let named = !name.contains('/') && name != "." && name != "..";
            (bounded && named).then(|| Location::Shm(name.to_owned()))
        }
        "sysv" => match rest.strip_prefix("id:") {
            Some(id) => number(id, 10, 0x7fff_ffff).map(|id| Location::SysVId(id as i32)),
            None => {
                let hex = rest.strip_prefix("0x").or(rest.strip_prefix("0X"));
                let key = match hex {
                    Some(hex) => number(hex, 16, 0xffff_ffff),
                    None => number(rest, 10, 0x7fff_ffff),
                };
                key.filter(|key| *key != 0)
                    .map(|key| Location::SysVKey(key as u32 as i32))
            }
        },
        "fd" => number(rest, 10, 0x7fff_ffff).map(|number| Location::Fd(number as i32)),
        "unix" => (1..=107)
            .contains(&rest.len())
            .then(|| Location::Unix(PathBuf::from(rest))),
        _ => Some(Location::File(PathBuf::from(text))),
    }
}

/// Digits alone, up to a bound, with as many zeros in front as one likes.
fn number(digits: &str, radix: u32, most: u64) -> Option<u64> {
    let mut value = 0_u64;
    for digit in digits.chars() {
        value = value * u64::from(radix) + u64::from(digit.to_digit(radix)?);
        if value > most {
            return None;
        }
    }
    (!digits.is_empty()).then_some(value)
}
