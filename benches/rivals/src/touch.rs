//! What the first lap through a new ring costs, with every page mapped before and without.

use std::hint::black_box;

use ringduct::{Location, Options};
use rivals_harness::cell::pack;
use rivals_harness::clock::now;
use rivals_harness::{Cell, Failure, Output};

/// Makes new rings until the time is up; the samples are ticks for each message of a lap.
pub(crate) fn measure(cell: &Cell) -> Result<Output, Failure> {
    let mut output = Output::default();
    for prefault in [false, true] {
        let [mut attach, mut first, mut second] = [Vec::new(), Vec::new(), Vec::new()];
        let started = now();
        let mut count = 0;
        while now() - started < cell.ticks / 2 {
            count += 1;
            let place = Location::Shm(format!("{}-{prefault}-{count}", cell.name));
            let options = Options::new()
                .capacity_bytes(cell.ring_bytes as u64)
                .prefault(prefault);
            let ring = options.create(&place)?;
            let before = now();
            let (mut tx, mut rx) = (ring.producer()?, ring.consumer()?);
            attach.push(now() - before);
            let message = vec![7; cell.bytes];
            let mut buffer = vec![0; cell.bytes];
            let lap = cell.ring_bytes / (cell.bytes + 8);
            for samples in [&mut first, &mut second] {
                let before = now();
                for _ in 0..lap {
                    tx.send(black_box(&message))?;
                    rx.recv(black_box(&mut buffer))?;
                }
                samples.push((now() - before) / lap as u64);
            }
            drop((tx, rx));
            ring.remove()?;
        }
        let name = if prefault { "prefault" } else { "plain" };
        for (what, samples) in [("attach", attach), ("first", first), ("second", second)] {
            output.more.insert(format!("{name}-{what}"), pack(&samples));
        }
    }
    Ok(output)
}
