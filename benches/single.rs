//! One message there and back on one thread: what the code alone costs, without a second core.
//!
//! The ring is small enough to stay in the nearest caches. `safe` copies in and out; `trusted`
//! writes a claim in place and reads a borrowed view, with one copy into the claim.

use core::hint::black_box;
use std::error::Error;

use criterion::measurement::WallTime;
use criterion::{BenchmarkGroup, BenchmarkId, Criterion, Throughput};
use ringduct::Options;

const CAPACITY_BYTES: u64 = 1 << 14;
const SIZES: [usize; 5] = [8, 64, 256, 1024, 4096];

fn main() -> Result<(), Box<dyn Error>> {
    let mut criterion = Criterion::default().configure_from_args();
    for (name, checksum) in [("single/plain", false), ("single/checksummed", true)] {
        let options = Options::new()
            .capacity_bytes(CAPACITY_BYTES)
            .checksum(checksum);
        let mut group = criterion.benchmark_group(name);
        for bytes in SIZES {
            group.throughput(Throughput::Bytes(bytes as u64));
            safe(&mut group, &options, bytes)?;
            trusted(&mut group, &options, bytes)?;
        }
        group.finish();
    }
    criterion.final_summary();
    Ok(())
}

fn safe(
    group: &mut BenchmarkGroup<'_, WallTime>,
    options: &Options,
    bytes: usize,
) -> Result<(), Box<dyn Error>> {
    let ring = options.create_anonymous()?;
    let (mut tx, mut rx) = (ring.producer()?, ring.consumer()?);
    let message = vec![7; bytes];
    let mut buffer = vec![0; bytes];
    group.bench_function(BenchmarkId::new("safe", bytes), |bencher| {
        bencher.iter(|| {
            assert_eq!(tx.try_send(black_box(&message)), Ok(()));
            assert_eq!(rx.try_recv(&mut buffer), Ok(bytes));
            black_box(&mut buffer);
        });
    });
    Ok(())
}

fn trusted(
    group: &mut BenchmarkGroup<'_, WallTime>,
    options: &Options,
    bytes: usize,
) -> Result<(), Box<dyn Error>> {
    let (mut tx, mut rx) = options.pair()?;
    let message = vec![7; bytes];
    group.bench_function(BenchmarkId::new("trusted", bytes), |bencher| {
        bencher.iter(|| {
            let sent = tx.try_claim(bytes).map(|mut claim| {
                claim.copy_from_slice(black_box(&message));
                claim.commit();
            });
            assert_eq!(sent, Ok(()));
            let seen = rx.try_view().map(|view| black_box(&*view).len());
            assert_eq!(seen, Ok(bytes));
        });
    });
    Ok(())
}
