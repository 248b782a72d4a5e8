//! Numbers and names, as people read them.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::format::Format;

/// A name on one line: whoever made a ring or runs a program chose it, and a terminal obeys control
/// characters.
pub(crate) fn name(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for char in text.chars() {
        // What turns the direction of the text around is not a control character by class.
        let turns = matches!(char, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
        if char.is_control() || turns {
            shown.extend(char.escape_default());
        } else {
            shown.push(char);
        }
    }
    shown
}

/// A count or rate with a decimal suffix: `17`, `1.2k`, `3.4M`.
pub(crate) fn count(number: f64) -> String {
    scaled(number, 1000.0, ["", "k", "M", "G", "T"])
}

/// Bytes a second or the like with a binary suffix: `17B`, `1.2KiB`, `3.4GiB`.
pub(crate) fn bytes(number: f64) -> String {
    scaled(number, 1024.0, ["B", "KiB", "MiB", "GiB", "TiB"])
}

fn scaled(mut number: f64, step: f64, units: [&str; 5]) -> String {
    let mut shown = String::new();
    for (index, unit) in units.into_iter().enumerate() {
        let digits = usize::from(index > 0);
        shown = format!("{number:.digits$}{unit}");
        if number < step {
            break;
        }
        number /= step;
    }
    shown
}

/// How full a ring is: `42%`.
pub(crate) fn fill(backlog_bytes: u64, capacity_bytes: u64) -> String {
    let hundred = u128::from(backlog_bytes).saturating_mul(100);
    let percent = hundred.checked_div(capacity_bytes.into()).unwrap_or(0);
    format!("{percent}%")
}

/// A time of the wall clock.
pub(crate) fn time(unix_ns: u64) -> String {
    let time = UNIX_EPOCH
        .checked_add(Duration::from_nanos(unix_ns))
        .unwrap_or(UNIX_EPOCH);
    humantime::format_rfc3339_seconds(time).to_string()
}

/// Now, by the wall clock, in nanoseconds since 1970.
pub(crate) fn now_unix_ns() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    let ns = since.unwrap_or_default().as_nanos();
    u64::try_from(ns).unwrap_or(u64::MAX)
}

/// Many bytes as hexadecimal digits.
pub(crate) fn hex(bytes: &[u8]) -> String {
    let mut digits = String::new();
    Format::Hex.render(bytes, &mut digits);
    digits
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_can_not_steer_a_terminal() {
        assert_eq!(name("a\x1b[2J\nb"), "a\\u{1b}[2J\\nb");
        assert_eq!(name("\u{202e}evil \u{9b}1m"), "\\u{202e}evil \\u{9b}1m");
        assert_eq!(name("grün 環"), "grün 環");
    }

    #[test]
    fn numbers_are_short() {
        for (number, as_count, as_bytes) in [
            (0.0, "0", "0B"),
            (999.0, "999", "999B"),
            (1000.0, "1.0k", "1000B"),
            (1536.0, "1.5k", "1.5KiB"),
            (75_000_000.0, "75.0M", "71.5MiB"),
            (1e18, "1000000.0T", "909494.7TiB"),
        ] {
            assert_eq!((&*count(number), &*bytes(number)), (as_count, as_bytes));
        }
        assert_eq!(fill(0, 0), "0%");
        assert_eq!(fill(2048, 4096), "50%");
        assert_eq!(fill(u64::MAX, 1), "1844674407370955161500%");
        assert_eq!(hex(&[0, 0xab]), "00ab");
    }
}
