//! `dump`: what is written in a ring, in use or not, sound or not.

use std::fmt::Write as _;

use ringduct::{Header, Observer, Peeked, Records};

use super::verify;
use crate::failure::Failure;
use crate::format::Format;
use crate::inspect::{self, show};
use crate::output::Output;
use crate::place::{self, Place};
use crate::{signals, size};

/// Shows a ring's header and the messages that wait in it. Takes nothing, disturbs nobody.
#[derive(clap::Args, Debug)]
pub(crate) struct Args {
    /// The ring
    #[arg(value_name = "LOC", value_parser = place::parser())]
    place: Place,
    /// The header and no messages
    #[arg(long)]
    header: bool,
    /// Start at the message at this position, and not at the consumer's
    #[arg(long, value_name = "POSITION")]
    from: Option<u64>,
    /// At most so many messages
    #[arg(short = 'n', value_name = "COUNT")]
    count: Option<u64>,
    /// How it is shown; json: one object on each line, the header's first
    #[arg(long, value_enum, default_value = "text")]
    format: Shape,
}

/// How a dump is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Shape {
    Text,
    Hex,
    Json,
}

/// So many bytes are gathered before they are written.
const PAGE_BYTES: usize = 64 << 10;

/// Writes header and messages, up to the first damage.
pub(crate) fn run(args: &Args) -> Result<(), Failure> {
    signals::catch();
    let mut output = Output::stdout()?;
    let header = inspect::any(&args.place).header(args.place.location())?;
    let text = match args.format {
        Shape::Json => json(&args.place, &header),
        Shape::Text | Shape::Hex => text(&args.place, &header),
    };
    output.write_all(text.as_bytes())?;
    if let Some(fault) = &header.fault {
        return Err(verify::damaged(&args.place, &fault.to_string()));
    }
    if args.header {
        return Ok(());
    }
    let observer = args.place.observe(&inspect::any(&args.place))?;
    records(args, &observer, &mut output)
}

/// One message at a time, so that the largest ring takes no more memory than its longest message.
fn records(args: &Args, observer: &Observer, output: &mut Output) -> Result<(), Failure> {
    let records: Records<'_> = match args.from {
        Some(position) => observer.records_from(position),
        None => observer.records(),
    };
    let mut page = String::new();
    let mut rendered = String::new();
    let mut left = args.count.unwrap_or(u64::MAX);
    let mut damage = None;
    let mut records = records.fuse();
    while left > 0 {
        match records.next() {
            Some(Ok(record)) => line(args.format, &record, &mut rendered, &mut page),
            Some(Err(found)) => {
                damage = Some(found);
                break;
            }
            None => break,
        }
        left = left.saturating_sub(1);
        if page.len() >= PAGE_BYTES {
            signals::check()?;
            output.write_all(page.as_bytes())?;
            page.clear();
        }
    }
    output.write_all(page.as_bytes())?;
    match damage {
        Some(damage) => Err(verify::damaged(&args.place, &damage.to_string())),
        None => Ok(()),
    }
}

/// Position, bytes and payload.
fn line(shape: Shape, record: &Peeked, rendered: &mut String, page: &mut String) {
    let Peeked {
        position, message, ..
    } = record;
    let format = match shape {
        Shape::Text => Format::Text,
        Shape::Hex => Format::Hex,
        Shape::Json => Format::Json,
    };
    format.render(message, rendered);
    let _never_fails = if shape == Shape::Json {
        let next = record.next_position;
        let fields = rendered.strip_prefix('{').unwrap_or_default();
        writeln!(
            page,
            "{{\"position\":{position},\"next_position\":{next},{fields}"
        )
    } else {
        writeln!(page, "{position}\t{}\t{rendered}", message.len())
    };
}

fn text(place: &Place, header: &Header) -> String {
    let mut text = String::new();
    let tag = Format::Text;
    let mut shown_tag = String::new();
    tag.render(&header.application_tag, &mut shown_tag);
    let features = features(header).join(", ");
    let capacity = size::show_bytes(header.capacity_bytes);
    for (name, value) in [
        ("ring", place.to_string()),
        ("format", format!("{}.{}", header.major, header.minor)),
        ("features", features),
        (
            "capacity",
            format!("{} ({capacity})", header.capacity_bytes),
        ),
        ("header bytes", header.header_bytes.to_string()),
        ("total bytes", header.total_bytes.to_string()),
        ("unit bytes", header.unit_bytes.to_string()),
        ("kernel page bytes", header.kernel_page_bytes.to_string()),
        ("record align bytes", header.record_align_bytes.to_string()),
        ("max message bytes", header.max_message_bytes.to_string()),
        ("id", show::hex(&header.uuid)),
        ("application tag", shown_tag),
        ("made", show::time(header.created_unix_ns)),
        (
            "device, inode",
            format!("{}, {}", header.device, header.inode),
        ),
        ("checksum", format!("{:#010x}", header.checksum)),
    ] {
        let _never_fails = writeln!(text, "# {name}: {value}");
    }
    text
}

fn features(header: &Header) -> Vec<String> {
    let mut names = Vec::new();
    for (is_set, name) in [
        (header.is_durable(), "durable"),
        (header.checksummed(), "checksums"),
    ] {
        if is_set {
            names.push(name.to_owned());
        }
    }
    for (kind, bits) in [
        ("incompatible", header.incompatible_features),
        ("read-only", header.read_only_compatible_features),
        ("compatible", header.compatible_features),
    ] {
        names.push(format!("{kind} {bits:#x}"));
    }
    names
}

fn json(place: &Place, header: &Header) -> String {
    let fault = header.fault.as_ref().map(|fault| {
        serde_json::json!({
            "what": fault.what,
            "offset_bytes": fault.offset_bytes,
            "expected": fault.expected,
            "found": fault.found,
        })
    });
    let object = serde_json::json!({ "header": {
        "ring": place.to_string(),
        "format": format!("{}.{}", header.major, header.minor),
        "durable": header.is_durable(),
        "checksums": header.checksummed(),
        "incompatible_features": header.incompatible_features,
        "read_only_compatible_features": header.read_only_compatible_features,
        "compatible_features": header.compatible_features,
        "capacity_bytes": header.capacity_bytes,
        "header_bytes": header.header_bytes,
        "total_bytes": header.total_bytes,
        "unit_bytes": header.unit_bytes,
        "kernel_page_bytes": header.kernel_page_bytes,
        "record_align_bytes": header.record_align_bytes,
        "max_message_bytes": header.max_message_bytes,
        "id": show::hex(&header.uuid),
        "application_tag": show::hex(&header.application_tag),
        "created_unix_ns": header.created_unix_ns,
        "device": header.device,
        "inode": header.inode,
        "checksum": header.checksum,
        "fault": fault,
    }});
    format!("{object}\n")
}
