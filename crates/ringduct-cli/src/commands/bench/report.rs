//! The figures as a table, as JSON, and as a log of histograms.

use std::fmt::Write as _;
use std::fs::File;
use std::io::{self, BufWriter, Write as _};
use std::path::Path;
use std::time::{Duration, SystemTime};

use hdrhistogram::serialization::V2DeflateSerializer;
use hdrhistogram::serialization::interval_log::{IntervalLogWriterBuilder, Tag};
use serde_json::{Map, Value, json};

use super::figures::{Figures, Key, PERCENTILES, Series};
use super::plan::{OURS, Plan};
use crate::cores;
use crate::failure::Failure;

/// For people: round trips first, then streams.
pub(super) fn table(plan: &Plan, figures: &Figures) -> String {
    let mut text = String::new();
    let (floor, floor_spread) = figures.floor_ns();
    let [first, second] = plan.cores;
    let _infallible = writeln!(
        text,
        "{}, Linux {}, processors {first} and {second}{}\n\
         rings in {}; {} rounds of {:?}; room {} bytes\n\
         floor: a cache line there and back takes {floor:.0} ns (±{:.0} %)",
        plan.cpu,
        plan.kernel,
        if cores::virtual_machine() {
            " of a virtual machine"
        } else {
            ""
        },
        plan.backing(),
        plan.rounds,
        plan.duration,
        plan.capacity_bytes,
        100.0 * floor_spread,
    );
    let heads = [
        "\nround trip       bytes        ns    ±  floors      p99    p99.9",
        "\nstream           bytes    M msg/s  ±    GB/s  of a ring",
    ];
    for (is_stream, head) in [(false, heads[0]), (true, heads[1])] {
        let _infallible = writeln!(text, "{head}");
        let of_kind = figures.series.iter();
        for (key, series) in of_kind.filter(|(key, _)| key.is_stream == is_stream) {
            row(&mut text, figures, *key, series);
        }
    }
    for ((transport, bytes), why) in &figures.skipped {
        let _infallible = writeln!(text, "\n{transport}, {bytes} bytes: not measured: {why}");
    }
    text
}

fn row(text: &mut String, figures: &Figures, key: Key, series: &Series) {
    let Key {
        is_stream,
        bytes,
        transport,
    } = key;
    let (value, spread) = (series.median(), 100.0 * series.spread());
    let _infallible = if is_stream {
        let ours = Key {
            transport: OURS,
            ..key
        };
        let ours = figures.series.get(&ours).map_or(f64::NAN, Series::median);
        let gigabytes = gigabytes(value, bytes);
        let part = value / ours;
        writeln!(
            text,
            "{transport:<16}{bytes:>6}{:>11.2}{spread:>3.0} %{gigabytes:>7.2}{part:>11.3}",
            value / 1e6
        )
    } else {
        let at = |part| series.all.value_at_quantile(part);
        writeln!(
            text,
            "{transport:<16}{bytes:>6}{value:>10.0}{spread:>4.0} %{:>7.2}{:>9}{:>9}",
            series.over_floor(),
            at(0.99),
            at(0.999)
        )
    };
}

fn gigabytes(messages_per_s: f64, bytes: usize) -> f64 {
    let bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
    messages_per_s * f64::from(bytes) / 1e9
}

/// For programs.
pub(super) fn json(plan: &Plan, figures: &Figures) -> String {
    let (floor, floor_spread) = figures.floor_ns();
    let results: Vec<_> = figures
        .series
        .iter()
        .map(|(key, series)| one(*key, series))
        .collect();
    let skipped: Vec<_> = figures
        .skipped
        .iter()
        .map(|((transport, bytes), why)| json!({ "transport": transport, "bytes": bytes, "why": why }))
        .collect();
    let document = json!({
        "version": 1,
        "machine": {
            "cpu": plan.cpu,
            "kernel": plan.kernel,
            "processors": plan.cores,
            "virtual_machine": cores::virtual_machine(),
        },
        "settings": {
            "backing": plan.backing(),
            "rounds": plan.rounds,
            "duration_ms": u64::try_from(plan.duration.as_millis()).ok(),
            "capacity_bytes": plan.capacity_bytes,
            "checksum": plan.checksum,
        },
        "floor": { "median_ns": floor, "spread": floor_spread },
        "results": results,
        "skipped": skipped,
    });
    format!("{document:#}\n")
}

fn one(key: Key, series: &Series) -> Value {
    let mut object = Map::new();
    let mut put = |name: &str, value: Value| object.insert(name.to_owned(), value);
    put("transport", json!(key.transport));
    put(
        "kind",
        json!(if key.is_stream {
            "stream"
        } else {
            "round_trip"
        }),
    );
    put("bytes", json!(key.bytes));
    put("rounds", json!(series.values));
    put("floors_ns", json!(series.floors));
    put("spread", json!(series.spread()));
    if key.is_stream {
        put("messages_per_s", json!(series.median()));
        put(
            "gigabytes_per_s",
            json!(gigabytes(series.median(), key.bytes)),
        );
        return Value::Object(object);
    }
    put("median_ns", json!(series.median()));
    put("over_floor", json!(series.over_floor()));
    put("samples", json!(series.all.len()));
    let at =
        |(name, part): (&str, f64)| (name.to_owned(), json!(series.all.value_at_quantile(part)));
    let mut percentiles: Map<_, _> = PERCENTILES.into_iter().map(at).collect();
    percentiles.insert("max".to_owned(), json!(series.all.max()));
    put("percentiles_ns", Value::Object(percentiles));
    Value::Object(object)
}

/// Every round trip, in nanoseconds: one histogram for each transport and size, told apart by tags.
pub(super) fn hdr(path: &Path, plan: &Plan, figures: &Figures) -> Result<(), Failure> {
    let failed = |error: &io::Error| Failure::io(&format!("write {}", path.display()), error);
    let mut file = BufWriter::new(File::create(path).map_err(|error| failed(&error))?);
    write_log(&mut file, plan, figures)
        .and_then(|()| file.flush())
        .map_err(|error| failed(&error))
}

fn write_log(file: &mut impl io::Write, plan: &Plan, figures: &Figures) -> io::Result<()> {
    let mut serializer = V2DeflateSerializer::new();
    let lasted = plan.duration.saturating_mul(plan.rounds);
    let now = SystemTime::now();
    let mut log = IntervalLogWriterBuilder::new()
        .add_comment("ringduct bench: round trips in nanoseconds")
        .with_start_time(now)
        .with_base_time(now)
        .begin_log_with(file, &mut serializer)?;
    for (key, series) in figures.series.iter().filter(|(key, _)| !key.is_stream) {
        let tag = format!("{}-{}", key.transport, key.bytes);
        log.write_histogram(&series.all, Duration::ZERO, lasted, Tag::new(&tag))
            .map_err(|error| io::Error::other(error.to_string()))?;
    }
    Ok(())
}
