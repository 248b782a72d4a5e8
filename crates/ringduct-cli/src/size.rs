//! Sizes, durations and rates: how they are read and how they are shown.
//!
//! Sizes are binary throughout: `64M` and `64MiB` are 64 * 2^20 bytes.

use std::time::Duration;

/// Suffixes of sizes, each 1024 times the one before.
const UNITS: [&str; 6] = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"];

/// Reads a size: `4096`, `64K`, `64M`, `1.5G`, `64MiB`.
pub(crate) fn bytes(text: &str) -> Result<u64, String> {
    let wrong = || format!("{text:?} is not a size such as 4096, 64K, 64M or 1G (binary)");
    let (number, unit) = split(text);
    let unit = unit.to_ascii_lowercase();
    let letter = match unit.strip_suffix("ib") {
        Some(letter) if letter.len() == 1 => letter,
        Some(_) => return Err(wrong()),
        None => unit.strip_suffix('b').unwrap_or(&unit),
    };
    let shift = match letter {
        "" if unit.len() < 2 => 0,
        "k" => 10,
        "m" => 20,
        "g" => 30,
        "t" => 40,
        _ => return Err(wrong()),
    };
    scaled(number, 1 << shift).ok_or_else(wrong)
}

/// Reads a duration: `10us`, `200ms`, `1s`, `1.5s`, `5m`, `2h`; a bare number is seconds.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    let wrong = || format!("{text:?} is not a duration such as 200ms, 1s or 5m");
    let (number, unit) = split(text);
    let unit_ns: u64 = match unit {
        "ns" => 1,
        "us" => 1_000,
        "ms" => 1_000_000,
        "s" | "" => 1_000_000_000,
        "m" | "min" => 60_000_000_000,
        "h" => 3_600_000_000_000,
        _ => return Err(wrong()),
    };
    scaled(number, unit_ns)
        .map(Duration::from_nanos)
        .ok_or_else(wrong)
}

/// The number in front, and what follows it.
fn split(text: &str) -> (&str, &str) {
    let end = text
        .find(|c: char| !c.is_ascii_digit() && c != '.')
        .unwrap_or(text.len());
    text.split_at(end)
}

/// A decimal number times `unit`, exactly, if it is a whole number that fits.
fn scaled(number: &str, unit: u64) -> Option<u64> {
    let (whole, fraction) = number.split_once('.').unwrap_or((number, "0"));
    if whole.is_empty() || fraction.is_empty() || fraction.len() > 9 {
        return None;
    }
    let whole = whole.parse::<u64>().ok()?.checked_mul(unit)?;
    let scale = 10_u128.checked_pow(u32::try_from(fraction.len()).ok()?)?;
    let part = fraction
        .parse::<u128>()
        .ok()?
        .checked_mul(u128::from(unit))?;
    whole.checked_add(u64::try_from(part.checked_div(scale)?).ok()?)
}

/// Shows a size with a binary unit: `17 B`, `64.0 MiB`.
pub(crate) fn show_bytes(bytes: u64) -> String {
    if bytes < 1024 {
        return format!("{bytes} B");
    }
    // The unit is the tens of bits: 10 to 19 is KiB. At most 63, so an exabyte is 1024 PiB.
    let index = (bytes.ilog2() / 10).min(5);
    let tenths = u128::from(bytes).saturating_mul(10) >> index.saturating_mul(10);
    let unit = UNITS
        .get(usize::try_from(index).unwrap_or(0))
        .unwrap_or(&"B");
    format!("{}.{} {unit}", tenths / 10, tenths % 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_binary() {
        for (text, expected) in [
            ("0", 0),
            ("17", 17),
            ("17b", 17),
            ("64K", 65_536),
            ("64k", 65_536),
            ("64M", 67_108_864),
            ("64MiB", 67_108_864),
            ("64mb", 67_108_864),
            ("1.5G", 1_610_612_736),
            ("1T", 1 << 40),
        ] {
            assert_eq!(bytes(text), Ok(expected), "{text}");
        }
        for text in [
            "",
            "M",
            "-1",
            "1.M",
            ".5M",
            "1X",
            "1ib",
            "1KK",
            "99999999999T",
            "1 M",
            "1.1.1",
        ] {
            assert!(bytes(text).is_err(), "{text}");
        }
    }

    #[test]
    fn durations_have_units() {
        for (text, expected_ns) in [
            ("200ms", 200_000_000),
            ("10us", 10_000),
            ("1", 1_000_000_000),
            ("1.5s", 1_500_000_000),
            ("5m", 300_000_000_000),
            ("2h", 7_200_000_000_000),
            ("7ns", 7),
        ] {
            assert_eq!(
                duration(text),
                Ok(Duration::from_nanos(expected_ns)),
                "{text}"
            );
        }
        for text in ["", "s", "1d", "-1s", "1 s", "1e3"] {
            assert!(duration(text).is_err(), "{text}");
        }
    }

    #[test]
    fn sizes_are_shown_with_one_digit() {
        for (bytes, expected) in [
            (0, "0 B"),
            (1023, "1023 B"),
            (1024, "1.0 KiB"),
            (1536, "1.5 KiB"),
            (67_108_864, "64.0 MiB"),
            (u64::MAX, "16383.9 PiB"),
        ] {
            assert_eq!(show_bytes(bytes), expected);
        }
    }
}
