//! The object that `--json` writes.

use rivals_harness::Failure;
use serde_json::{Map, Value, json};

use crate::figures::{Everything, Figures, Key, Place};
use crate::machine::Machine;
use crate::names::{FLOOR_PAUSE, THREADS_ONLY, TRANSPORTS};

/// The whole object as text.
pub(crate) fn render(everything: &Everything, machine: &Machine) -> Result<String, Failure> {
    let mut object = one_placement(&everything.reported, everything);
    let others = everything.others.iter();
    let others = others.map(|other| one_placement(other, everything));
    object.insert("other_placements".to_owned(), others.collect());
    let full = everything.full.as_ref();
    let full = full.map(|full| crate::full::render(full, machine));
    object.insert("full".to_owned(), full.into());
    object.insert("machine".to_owned(), serde_json::to_value(machine)?);
    object.insert("unsettled".to_owned(), everything.unsettled.into());
    Ok(serde_json::to_string_pretty(&object)?)
}

/// The figures of one placement.
fn one_placement(figures: &Figures, everything: &Everything) -> Map<String, Value> {
    let rows = |stream: bool, named: bool| {
        let wanted = move |key: &Key| {
            (key.ring > 0) == stream && TRANSPORTS.contains(&key.transport.as_str()) == named
        };
        let mut rows: Vec<_> = figures
            .places
            .iter()
            .filter(|(key, _)| wanted(key))
            .collect();
        rows.sort_by_key(|(key, _)| (key.ring, key.bytes, order(&key.transport)));
        let render = |(key, place): &(&Key, &Place)| row(figures, key, place);
        rows.iter().map(render).collect::<Vec<_>>()
    };
    let skipped = everything.skipped(figures);
    let skipped = skipped.iter();
    let skipped = skipped.map(|(name, why)| json!({ "transport": name, "why": why }));
    let object = [
        ("placement", json!(figures.placement)),
        ("floor_rtt_p50_ns", round(figures.floor_ns()).into()),
        ("rtt", rows(false, true).into()),
        ("stream", rows(true, true).into()),
        ("ratios", ratios(figures)),
        ("skipped", skipped.collect()),
        (
            "besides",
            json!({ "rtt": rows(false, false), "stream": rows(true, false) }),
        ),
    ];
    let object = object.into_iter();
    object
        .map(|(name, value)| (name.to_owned(), value))
        .collect()
}

fn order(transport: &str) -> usize {
    TRANSPORTS
        .iter()
        .position(|name| *name == transport)
        .unwrap_or(TRANSPORTS.len())
}

/// Enough digits for people and machines.
fn round(figure: f64) -> f64 {
    (figure * 1e4).round() / 1e4
}

fn row(figures: &Figures, key: &Key, place: &Place) -> Value {
    let threads = THREADS_ONLY.contains(&key.transport.as_str());
    let mut row = Map::new();
    let mut put = |name: &str, value: Value| row.insert(name.to_owned(), value);
    put("transport", key.transport.clone().into());
    put("bytes", key.bytes.into());
    let value = place.value();
    if key.ring == 0 {
        put("p50_ns", round(value).into());
        put("p99_ns", round(figures.percentile_ns(place, 0.99)).into());
        put("p999_ns", round(figures.percentile_ns(place, 0.999)).into());
        put("over_floor", round(place.over_floor()).into());
    } else {
        put("ring_bytes", key.ring.into());
        put("mmsg_per_s", round(value).into());
        put("gb_per_s", round(value * key.bytes as f64 / 1000.0).into());
    }
    put("rounds", place.rounds().into());
    put("spread", round(place.spread()).into());
    put("mode", if threads { "threads" } else { "processes" }.into());
    Value::Object(row)
}

fn ratios(figures: &Figures) -> Value {
    let own = |name: &str| figures.own(name).map(round);
    let [rtt, stream] = figures.spread_a_over_a();
    let both = [rtt, stream].into_iter().flatten().reduce(f64::max);
    json!({
        "bulk_floor_gb_per_s": figures.bulk_gb_per_s().map(round),
        "checksummed_64": figures.checksummed_64().map(round),
        "wake_over_futex": own("wake_over_futex"),
        "instructions_8b": own("instructions_8b"),
        "syscalls_per_million": own("syscalls_per_million"),
        "wake_ns": own("wake_ns"),
        "futex_wake_ns": own("futex_wake_ns"),
        "pipe_wake_ns": own("pipe_wake_ns"),
        "send_to_sleeper_ns": own("send_to_sleeper_ns"),
        "send_after_wake_ns": own("send_after_wake_ns"),
        "floor_pause_rtt_p50_ns": figures.rtt(FLOOR_PAUSE, 8).map(round),
        "spread_a_over_a": both.map(round),
        "spread_a_over_a_rtt": rtt.map(round),
        "spread_a_over_a_stream": stream.map(round),
    })
}
