//! Looks at a ring from outside, disturbing nobody:
//!
//! ```sh
//! cargo run --example observer -- shm:demo
//! cargo run --example observer
//! ```
//!
//! Expect a table of both sides, the backlog and the rates over half a second. Without a location
//! it makes a ring of its own and looks at that, with a little traffic in between.

#[path = "common/args.rs"]
mod args;

use std::io::{self, Write};
use std::process::ExitCode;
use std::time::Duration;

use ringduct::{Observer, Options, SideSnapshot, Snapshot};

const HELP: &str = "usage: observer [LOCATION]\nLOCATION: PATH, shm:NAME, sysv:0xKEY, sysv:id:N";

fn main() -> ExitCode {
    args::finish(run())
}

fn run() -> Result<ExitCode, Box<dyn std::error::Error>> {
    let arguments = args::arguments(HELP);
    match arguments.as_slice() {
        [location] => {
            let observer = Options::new().observe(&location.parse()?)?;
            let before = observer.snapshot();
            std::thread::sleep(Duration::from_millis(500));
            print(&observer, &before, &observer.snapshot())?;
        }
        [] => {
            let ring = Options::new().create_anonymous()?;
            let (mut tx, mut rx) = (ring.producer()?, ring.consumer()?);
            let observer = ring.observer()?;
            let before = observer.snapshot();
            tx.try_send_all(["a", "few", "messages"])?;
            rx.skip(1)?;
            print(&observer, &before, &observer.snapshot())?;
        }
        _ => return Err(HELP.into()),
    }
    Ok(ExitCode::SUCCESS)
}

fn print(observer: &Observer, before: &Snapshot, now: &Snapshot) -> io::Result<()> {
    let mut out = io::stdout().lock();
    let (capacity, longest) = (observer.capacity_bytes(), observer.max_message_bytes());
    writeln!(out, "{}: {}", observer.name(), observer.backing())?;
    writeln!(
        out,
        "capacity {capacity} bytes, longest message {longest} bytes"
    )?;
    writeln!(
        out,
        "backlog {} messages, {} bytes",
        now.backlog_messages, now.backlog_bytes
    )?;
    writeln!(out, "{:<12}{:>24}{:>24}", "", "producer", "consumer")?;
    let mut row = |name: &str, tell: &dyn Fn(&SideSnapshot) -> String| {
        let (producer, consumer) = (tell(&now.producer), tell(&now.consumer));
        writeln!(out, "{name:<12}{producer:>24}{consumer:>24}")
    };
    row("state", &|side| side.state.to_string())?;
    row("process", &|side| {
        format!("{} {}", side.holder.pid, side.holder.program)
    })?;
    row("messages", &|side| side.totals.messages.to_string())?;
    row("bytes", &|side| side.totals.bytes.to_string())?;
    row("asleep", &|side| side.parked.to_string())?;
    row("waits", &|side| side.waits.to_string())?;
    row("sleeps", &|side| side.sleeps.to_string())?;
    let rates = now.rates_since(before);
    writeln!(
        out,
        "{:<12}{:>24.0}{:>24.0}",
        "messages/s", rates.published_messages_per_s, rates.released_messages_per_s
    )?;
    writeln!(
        out,
        "{:<12}{:>24.0}{:>24.0}",
        "bytes/s", rates.published_bytes_per_s, rates.released_bytes_per_s
    )?;
    Ok(())
}
