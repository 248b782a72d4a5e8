//! Sends standard input through a ring: `send LOCATION < input`.

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let location: ringduct::Location = std::env::args().nth(1).ok_or("usage: send LOC")?.parse()?;
    let mut tx = ringduct::Options::new()
        .open_or_create(&location)?
        .producer()?;
    let mut buffer = vec![0; 65536];
    let mut input = std::io::stdin().lock();
    loop {
        let n = std::io::Read::read(&mut input, &mut buffer)?;
        if n == 0 {
            return Ok(());
        }
        tx.send(&buffer[..n])?;
    }
}
