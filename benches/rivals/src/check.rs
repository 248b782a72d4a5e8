//! Whether the object that `--json` writes has everything that readers of it rely on.

use std::collections::BTreeSet;

use rivals_harness::Failure;
use serde_json::Value;

use crate::names::{RINGS, SIZES, TRANSPORTS};
use crate::placement::Placement;

/// Ratios that a complete run has; some can be zero, none less.
const RATIOS: [(&str, bool); 6] = [
    ("bulk_floor_gb_per_s", false),
    ("checksummed_64", false),
    ("wake_over_futex", false),
    ("instructions_8b", false),
    ("syscalls_per_million", true),
    ("spread_a_over_a", false),
];

/// Checks a whole object, and says all that is wrong with it.
pub(crate) fn check(text: &str) -> Result<(), Failure> {
    let object: Value = serde_json::from_str(text)?;
    let mut wrong = Vec::new();
    let placement = object["placement"].as_str();
    let known = Placement::ALL.map(|placement| placement.to_string());
    if !known.iter().any(|known| placement == Some(known)) {
        wrong.push(format!("placement: {}", object["placement"]));
    }
    positive(&object, "floor_rtt_p50_ns", &mut wrong);
    // Where the placement changed, what was seen in one need not have been seen in the other.
    let others = object["other_placements"].as_array();
    let drifts = others.is_some_and(|others| !others.is_empty());
    for (name, zero) in RATIOS {
        let ratio = &object["ratios"][name];
        if drifts && ratio.is_null() {
            continue;
        }
        if !zero {
            positive(&object["ratios"], name, &mut wrong);
        } else if ratio.as_f64().is_none() {
            wrong.push(format!("{name}: {ratio}"));
        }
    }
    let skipped = rows(&object, "skipped", &mut wrong);
    let reasons = skipped.iter().filter(|row| row["why"].is_string());
    let skipped: BTreeSet<_> = reasons
        .filter_map(|row| row["transport"].as_str())
        .collect();
    let of = |of: &str, numbers: &[&str], wrong: &mut Vec<String>| {
        let rows = rows(&object, of, wrong);
        let mut seen = BTreeSet::new();
        for row in rows {
            for number in numbers.iter().chain(&["bytes", "rounds"]) {
                positive(row, number, wrong);
            }
            let ring = row["ring_bytes"].as_u64().unwrap_or(0);
            seen.insert((
                row["transport"].as_str().unwrap_or_default(),
                row["bytes"].as_u64().unwrap_or(0),
                ring,
            ));
        }
        let rings = RINGS.map(|ring| ring as u64);
        let rings = if of == "rtt" { &[0][..] } else { &rings };
        for name in TRANSPORTS.iter().filter(|name| !skipped.contains(*name)) {
            for bytes in SIZES.map(|bytes| bytes as u64) {
                for ring in rings
                    .iter()
                    .filter(|at| !seen.contains(&(*name, bytes, **at)))
                {
                    wrong.push(format!("{of}: no {name} at {bytes} bytes, ring {ring}"));
                }
            }
        }
    };
    of("rtt", &["p50_ns", "p99_ns", "over_floor"], &mut wrong);
    let numbers = ["ring_bytes", "mmsg_per_s", "gb_per_s"];
    of("stream", &numbers, &mut wrong);
    if wrong.is_empty() {
        Ok(())
    } else {
        Err(wrong.join("\n").into())
    }
}

fn rows<'a>(object: &'a Value, name: &str, wrong: &mut Vec<String>) -> &'a [Value] {
    object[name].as_array().map_or_else(
        || {
            wrong.push(format!("no list {name}"));
            &[][..]
        },
        Vec::as_slice,
    )
}

fn positive(row: &Value, name: &str, wrong: &mut Vec<String>) {
    let number = row[name].as_f64();
    if !number.is_some_and(|number| number > 0.0 && number.is_finite()) {
        let of = row["transport"].as_str().unwrap_or("the whole");
        wrong.push(format!("{name} of {of}: {}", row[name]));
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn what_is_missing_is_told() {
        let found = super::check(r#"{"placement": "here", "rtt": [{"transport": "a"}]}"#);
        let found = found.map_err(|error| error.to_string());
        let complaints = found.err().unwrap_or_default();
        for part in [
            "placement: \"here\"",
            "floor_rtt_p50_ns of the whole: null",
            "p50_ns of a: null",
            "no list stream",
            "rtt: no pipe at 64 bytes, ring 0",
        ] {
            assert!(complaints.contains(part), "{part} is not in {complaints}");
        }
    }
}
