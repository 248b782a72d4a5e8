//! Writes what comes through a ring to standard output: `recv LOCATION > output`.

fn main() -> Result<(), Box<dyn std::error::Error>> {
    use std::io::Write;
    let location: ringduct::Location = std::env::args().nth(1).ok_or("usage: recv LOC")?.parse()?;
    let mut rx = ringduct::Options::new()
        .open_or_create(&location)?
        .consumer()?;
    let mut out = std::io::stdout().lock();
    for message in rx.messages() {
        out.write_all(&message?)?;
    }
    Ok(())
}
