//! Many messages at once on one thread: what one publish and one release for all of them save.
//!
//! A batch is pushed and committed, then drained, by copies in the safe form and by borrowed views
//! in the trusted one. Compare with a batch of 1.

use core::hint::black_box;
use std::error::Error;

use criterion::measurement::WallTime;
use criterion::{BenchmarkGroup, BenchmarkId, Criterion, Throughput};
use ringduct::{Consumer, Options, Producer, Trust, TryRecvError};

const CAPACITY_BYTES: u64 = 1 << 16;
const MESSAGE: [u8; 64] = [7; 64];
const BATCHES: [usize; 3] = [1, 16, 256];

fn main() -> Result<(), Box<dyn Error>> {
    let mut criterion = Criterion::default().configure_from_args();
    let options = Options::new().capacity_bytes(CAPACITY_BYTES);
    let mut group = criterion.benchmark_group("batch");
    for count in BATCHES {
        group.throughput(Throughput::Elements(count as u64));
        let ring = options.create_anonymous()?;
        let ends = (ring.producer()?, ring.consumer()?);
        run(
            &mut group,
            BenchmarkId::new("drain", count),
            count,
            ends,
            |rx| rx.drain(count, |message| _ = black_box(message)),
        );
        let ends = options.pair()?;
        run(
            &mut group,
            BenchmarkId::new("drain_views", count),
            count,
            ends,
            |rx| rx.drain_views(count, |message| _ = black_box(message)),
        );
    }
    group.finish();
    criterion.final_summary();
    Ok(())
}

/// Sends a batch of `count` messages and takes it, again and again.
fn run<T: Trust>(
    group: &mut BenchmarkGroup<'_, WallTime>,
    id: BenchmarkId,
    count: usize,
    (mut tx, mut rx): (Producer<T>, Consumer<T>),
    mut take: impl FnMut(&mut Consumer<T>) -> Result<usize, TryRecvError>,
) {
    group.bench_function(id, |bencher| {
        bencher.iter(|| {
            let sent = tx.batch().map(|mut batch| {
                for _ in 0..count {
                    assert_eq!(batch.push(black_box(&MESSAGE)), Ok(()));
                }
                batch.commit()
            });
            assert_eq!(sent, Ok(count));
            assert_eq!(take(&mut rx), Ok(count));
        });
    });
}
