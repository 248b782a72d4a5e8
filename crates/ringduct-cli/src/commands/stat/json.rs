//! For programs: one object on a line. Stable: fields are added, none changes its meaning.

use ringduct::SideSnapshot;
use serde_json::{Value, json};

use super::Reading;
use crate::inspect::side;

/// Appends what is known of a ring.
pub(super) fn append(reading: &Reading<'_>, page: &mut String) {
    let Reading {
        observer, snapshot, ..
    } = reading;
    let rates = reading.rates.as_ref().map(|rates| {
        json!({
            "published_messages_per_s": rates.published_messages_per_s,
            "published_bytes_per_s": rates.published_bytes_per_s,
            "released_messages_per_s": rates.released_messages_per_s,
            "released_bytes_per_s": rates.released_bytes_per_s,
        })
    });
    let object = json!({
        "ring": reading.name,
        "backing": observer.backing().to_string(),
        "capacity_bytes": observer.capacity_bytes(),
        "taken_at_unix_ns": reading.taken_at_unix_ns,
        "backlog_bytes": snapshot.backlog_bytes,
        "backlog_messages": snapshot.backlog_messages,
        "waits_for_checkpoint": snapshot.waits_for_checkpoint,
        "rates": rates,
        "producer": of_side(&snapshot.producer),
        "consumer": of_side(&snapshot.consumer),
    });
    page.push_str(&object.to_string());
    page.push('\n');
}

fn of_side(what: &SideSnapshot) -> Value {
    let holder = side::is_held(what).then(|| {
        let (program, source) = side::program(what);
        json!({
            "verified": false,
            "pid": what.holder.pid,
            "uid": what.holder.uid,
            "program": program,
            "program_source": source,
            "attached_unix_ns": what.holder.attached_unix_ns,
        })
    });
    json!({
        "state": side::word(what.state),
        "holder": holder,
        "position": what.totals.position,
        "messages": what.totals.messages,
        "bytes": what.totals.bytes,
        "parked": what.parked,
        "fences": what.fences,
        "sessions": what.sessions,
        "waits": what.waits,
        "sleeps": what.sleeps,
        "wakes_sent": what.wakes_sent,
        "durable_position": what.durable_position,
        "poisoned": what.poisoned,
    })
}
