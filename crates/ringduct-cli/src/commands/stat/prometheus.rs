//! For Prometheus: the text exposition format, version 0.0.4.

use std::fmt::Write as _;

use ringduct::SideSnapshot;

use super::Reading;
use crate::inspect::side;

/// Name, type and help.
type About = (&'static str, &'static str, &'static str);

/// With the value of a ring.
type OfRing = (About, fn(&Reading<'_>) -> Option<u64>);

/// With the value of a side, where it has one.
type OfSide = (About, fn(&SideSnapshot) -> Option<u64>);

const OF_RINGS: [OfRing; 4] = [
    (
        ("ringduct_capacity_bytes", "gauge", "Room for messages."),
        |ring| Some(ring.observer.capacity_bytes()),
    ),
    (
        (
            "ringduct_backlog_bytes",
            "gauge",
            "Bytes published and not released, record headers and padding included.",
        ),
        |ring| Some(ring.snapshot.backlog_bytes),
    ),
    (
        (
            "ringduct_backlog_messages",
            "gauge",
            "Messages published and not released.",
        ),
        |ring| Some(ring.snapshot.backlog_messages),
    ),
    (
        (
            "ringduct_waits_for_checkpoint",
            "gauge",
            "Whether the producer waits for a checkpoint of the consumer.",
        ),
        |ring| Some(ring.snapshot.waits_for_checkpoint.into()),
    ),
];

const OF_SIDES: [OfSide; 12] = [
    (
        (
            "ringduct_role_held",
            "gauge",
            "Whether a process holds the role, by the kernel's word.",
        ),
        |side| Some(side::is_held(side).into()),
    ),
    (
        (
            "ringduct_role_gone",
            "gauge",
            "Whether the last holder died without closing and nobody holds the role.",
        ),
        |side| Some((side.state == ringduct::PeerState::Gone).into()),
    ),
    (
        (
            "ringduct_position_bytes_total",
            "counter",
            "How far the side has come in the stream of records.",
        ),
        |side| Some(side.totals.position),
    ),
    (
        (
            "ringduct_messages_total",
            "counter",
            "Messages sent or taken since the ring was made.",
        ),
        |side| Some(side.totals.messages),
    ),
    (
        (
            "ringduct_payload_bytes_total",
            "counter",
            "Bytes of those messages.",
        ),
        |side| Some(side.totals.bytes),
    ),
    (
        (
            "ringduct_waits_total",
            "counter",
            "Times the producer found the ring full, or the consumer found it empty.",
        ),
        |side| Some(side.waits),
    ),
    (
        (
            "ringduct_sleeps_total",
            "counter",
            "Times the side went to sleep in the kernel.",
        ),
        |side| Some(side.sleeps),
    ),
    (
        (
            "ringduct_wakes_sent_total",
            "counter",
            "Wakes sent to the other side.",
        ),
        |side| Some(side.wakes_sent),
    ),
    (
        (
            "ringduct_sessions_total",
            "counter",
            "Times the role was taken.",
        ),
        |side| Some(side.sessions),
    ),
    (
        (
            "ringduct_parked",
            "gauge",
            "Whether the side sleeps in the kernel now.",
        ),
        |side| Some(side.parked.into()),
    ),
    (
        (
            "ringduct_durable_position_bytes",
            "gauge",
            "The position that a power cut leaves the side at; durable rings only.",
        ),
        |side| side.durable_position,
    ),
    (
        (
            "ringduct_poisoned",
            "gauge",
            "Whether a sync of the side has failed; durable rings only.",
        ),
        |side| side.durable_position.map(|_| side.poisoned.into()),
    ),
];

/// All that is known of all rings: the samples of one metric follow each other.
pub(super) fn exposition(readings: &[Reading<'_>]) -> String {
    let mut page = String::new();
    for (about, value) in OF_RINGS {
        let samples = readings.iter().filter_map(|reading| {
            let labels = format!("ring=\"{}\"", escape(reading.name));
            Some((labels, value(reading)?))
        });
        append(&mut page, about, samples);
    }
    for (about, value) in OF_SIDES {
        let samples = sides(readings)
            .filter_map(|(reading, role, what)| Some((labels(reading, role), value(what)?)));
        append(&mut page, about, samples);
    }
    let holders = sides(readings)
        .filter(|(_, _, what)| side::is_held(what))
        .map(|(reading, role, what)| {
            let (program, _) = side::program(what);
            let (labels, program) = (labels(reading, role), escape(&program));
            let pid = what.holder.pid;
            (format!("{labels},pid=\"{pid}\",program=\"{program}\""), 1)
        });
    let help = "Who says to hold the role; unverified.";
    append(&mut page, ("ringduct_holder_info", "gauge", help), holders);
    page
}

fn sides<'a>(
    readings: &'a [Reading<'a>],
) -> impl Iterator<Item = (&'a Reading<'a>, &'static str, &'a SideSnapshot)> {
    readings.iter().flat_map(|reading| {
        [
            (reading, "producer", &reading.snapshot.producer),
            (reading, "consumer", &reading.snapshot.consumer),
        ]
    })
}

fn labels(reading: &Reading<'_>, role: &str) -> String {
    format!("ring=\"{}\",role=\"{role}\"", escape(reading.name))
}

/// A metric without samples is left out.
fn append(
    page: &mut String,
    (name, kind, help): (&str, &str, &str),
    samples: impl Iterator<Item = (String, u64)>,
) {
    let mut samples = samples.peekable();
    if samples.peek().is_none() {
        return;
    }
    let _never_fails = write!(page, "# HELP {name} {help}\n# TYPE {name} {kind}\n");
    for (labels, value) in samples {
        let _never_fails = writeln!(page, "{name}{{{labels}}} {value}");
    }
}

/// A label's value: what is special to the format is escaped.
fn escape(text: &str) -> String {
    text.replace('\\', "\\\\")
        .replace('"', "\\\"")
        .replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_can_not_leave_their_quotes() {
        assert_eq!(escape("a\"b\\c\nd"), "a\\\"b\\\\c\\nd");
    }
}
