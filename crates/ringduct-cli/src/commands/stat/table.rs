//! For people.

use std::fmt::Write as _;

use ringduct::SideSnapshot;

use super::Reading;
use crate::inspect::{show, side};
use crate::size;

/// Appends what is known of a ring, in a few lines.
pub(super) fn append(reading: &Reading<'_>, page: &mut String) {
    let Reading {
        observer, snapshot, ..
    } = reading;
    let capacity = observer.capacity_bytes();
    let _never_fails = write!(
        page,
        "{}  ({}, {})\n  backlog   {} messages, {} ({} full)\n",
        show::name(reading.name),
        observer.backing(),
        size::show_bytes(capacity),
        snapshot.backlog_messages,
        size::show_bytes(snapshot.backlog_bytes),
        show::fill(snapshot.backlog_bytes, capacity),
    );
    if snapshot.waits_for_checkpoint {
        page.push_str("            the producer waits for a checkpoint of the consumer\n");
    }
    let rates = reading.rates.as_ref();
    append_side(
        ("producer", "sent", "full"),
        &snapshot.producer,
        rates.map(|rates| (rates.published_messages_per_s, rates.published_bytes_per_s)),
        page,
    );
    append_side(
        ("consumer", "taken", "empty"),
        &snapshot.consumer,
        rates.map(|rates| (rates.released_messages_per_s, rates.released_bytes_per_s)),
        page,
    );
}

fn append_side(
    (role, done, lack): (&str, &str, &str),
    what: &SideSnapshot,
    rates: Option<(f64, f64)>,
    page: &mut String,
) {
    let totals = &what.totals;
    let rates = match rates {
        Some((messages, bytes)) => {
            let (messages, bytes) = (show::count(messages), show::bytes(bytes));
            format!("; {messages} messages/s, {bytes}/s")
        }
        None => String::new(),
    };
    let _never_fails = write!(
        page,
        "  {role}  {}\n            {done} {} messages, {}, position {}{rates}\n            found it \
         {lack} {} times, slept {}, woke the other side {}; attached {} times",
        side::full(what),
        totals.messages,
        size::show_bytes(totals.bytes),
        totals.position,
        what.waits,
        what.sleeps,
        what.wakes_sent,
        what.sessions,
    );
    for (is_so, text) in [
        (what.parked, ", parked"),
        (what.fences, ", with fences of its own"),
    ] {
        if is_so {
            page.push_str(text);
        }
    }
    page.push('\n');
    if let Some(position) = what.durable_position {
        let _never_fails = writeln!(page, "            durable up to position {position}");
    }
    if what.poisoned {
        page.push_str("            POISONED: a sync failed, nothing more becomes durable\n");
    }
}
